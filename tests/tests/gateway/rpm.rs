//! wharfd's own rpm package on a booted system with dnf: its installation, its upgrade through Object 9, its removal.

use std::{fs, process::Command};

use wharf_tests::{
    booted::{Booted, dnf, install_wharfd},
    command::text_of,
    container::Container,
    manager::Manager,
    server::{RegistrationEvent, TestServer},
    services::{By, running, services},
    waiting::wait_until,
    wharfd_package::{rebuilt_rpm, wharfd_rpm},
};

use crate::{
    ipk::its_scripts_stop_nothing_on_an_upgrade_and_keep_state,
    package::{HELD, can_be_started},
    self_upgrade::REPLACED,
};

pub(crate) const UNITS: [&str; 3] = [
    "wharf-fetch.socket",
    "wharf-installer.socket",
    "wharfd.service",
];

/// One boot for all: a system costs more than what is done on it.
#[test]
fn an_rpm_of_wharfd_is_installed_upgraded_by_wharfd_and_removed_and_state_stays() {
    let gateway = Booted::installed_on(Manager::Dnf.container(), Manager::Dnf, TestServer::at);
    is_whole(&gateway);
    gateway.configure();
    gateway.container.sh("systemctl reload wharfd");
    gateway.server.wait_for_client();
    holds_the_services_of_a_package(&gateway);

    let client = gateway.client();
    client.create("/9", Some(1), &[]).expect("2.01");
    client.observe("/9/1/7").expect("2.05");
    upgrades_itself(&gateway, "0.1.0-2", waits_in_post);
    client.execute("/9/1/6", "1").expect("2.04"); // ForUpdate: it keeps running
    gateway.wait_for("/9/1", "0/0");
    // %post of a package whose vendor restarts every unit of it.
    upgrades_itself(&gateway, "0.1.0-3", |spec| {
        let restart = format!(
            "systemctl restart {} wharf-installer.service",
            UNITS.join(" ")
        );
        waits_in_post(spec.replacen("%post\n", &format!("%post\n{restart}\n"), 1))
    });
    let told = gateway.server.notifications().into_iter();
    let told = told.filter(|told| told.path == "/9/1/7");
    let told: Vec<String> = told.map(|told| told.response.text()).collect();
    assert_eq!(told.concat(), "123401234");

    // A wharfd that is stopped stays so.
    gateway.container.sh("systemctl stop wharfd");
    fs::copy(
        wharfd_rpm(),
        gateway.container.path().join("root/shipped.rpm"),
    )
    .expect("a copy");
    dnf(&gateway.container, "downgrade /root/shipped.rpm");
    assert_eq!(
        gateway.container.unit::<String>("wharfd", "ActiveState"),
        "inactive"
    );

    is_removed_and_its_state_stays(&gateway);

    remove(&gateway.container);
    its_scripts_stop_nothing_on_an_upgrade_and_keep_state(&gateway);
}

/// Files, owners, units and catalog, right after the installation.
fn is_whole(gateway: &Booted) {
    let container = &gateway.container;
    assert_eq!(container.sh("rpm -V wharfd"), "");
    assert_eq!(
        container.sh("stat -c '%a %U:%G' /etc/wharfd"),
        "750 root:wharfd"
    );
    for unit in UNITS {
        let state = container.sh(&format!(
            "systemctl is-enabled {unit}; systemctl is-active {unit}"
        ));
        assert_eq!(state, "enabled\nactive", "{unit}");
    }
    let catalog = container.sh("journalctl --list-catalog 40e1a8df33e54f4697d9d244ca308da9");
    assert!(
        catalog.contains("registered with its LwM2M server"),
        "{catalog}"
    );
    container.sh("wharfctl status");
    assert_eq!(failed_units(container), [""; 0]);
}

fn holds_the_services_of_a_package(gateway: &Booted) {
    let package = services("acme", "1", By::Hand)
        .as_rpm()
        .build(gateway.folder.path());
    let uri = gateway.publish_file(&package);
    gateway.client().write_text("/9/0/3", &uri).expect("2.04");
    gateway.wait_for("/9/0", "3/0");
    gateway.client().execute("/9/0/4", "").expect("2.04");
    gateway.wait_for("/9/0", "4/2");
    assert_eq!(running(&gateway.container, "acme"), [""; 0]);
    assert!(!can_be_started(&gateway.container), "{HELD} is not held");
}

/// Package URI and Install of another version. Until %post ends, the older wharfd uses the new wharf-installer.
fn upgrades_itself(gateway: &Booted, version: &str, change: fn(String) -> String) {
    let container = &gateway.container;
    let package = rebuilt_rpm(gateway.folder.path(), version, change);
    let uri = gateway.publish_file(&package);
    let client = gateway.client();
    client.write_text("/9/1/3", &uri).expect("2.04");
    gateway.wait_for("/9/1", "3/0");
    let runs = || container.unit::<u32>("wharfd", "MainPID");
    let before = runs();
    client.execute("/9/1/4", "").expect("2.04");
    gateway.wait_for_file(WAITS);
    container.sh("systemctl kill --signal=KILL wharf-installer || true");
    assert_eq!(
        container.sh("systemctl is-active wharfd wharf-fetch.socket wharf-installer.socket"),
        "active\nactive\nactive"
    );
    assert_eq!(runs(), before, "wharfd was restarted too early");
    gateway.wait_for("/9/1", "3/0");
    container.sh(&format!("rm {WAITS}"));

    gateway.wait_for("/9/1", "4/2");
    assert_eq!(gateway.client().read_text("/9/1/1"), version);
    assert_eq!(gateway.client().read_text("/9/1/12"), "1");
    assert_eq!(container.sh("rpm -q --qf '%{EVR}\\n' wharfd"), version);
    assert_eq!(container.sh("rpm -V wharfd | grep -v '  c ' || true"), "");
    assert_eq!(failed_units(container), [""; 0]);
    wait_until("every program to be the new one", || {
        container.sh(REPLACED).is_empty().then_some(())
    });
    gateway.wait_for("/9/0", "4/2");
    assert!(!can_be_started(container), "{HELD} is not held");
    let events = gateway.server.events();
    let registered = events
        .iter()
        .filter(|event| matches!(event, RegistrationEvent::Registered(_)));
    assert_eq!(registered.count(), 1, "{events:?}");
}

const WAITS: &str = "/run/post.waits";

fn waits_in_post(spec: String) -> String {
    let wait = format!("%post\ntouch {WAITS}; while test -e {WAITS}; do sleep 0.05; done\n");
    spec.replacen("%post\n", &wait, 1)
}

/// Without mounts, which newer systemds cannot make in a container.
pub(crate) fn failed_units(container: &Container) -> Vec<String> {
    let mut failed = container.failed_units();
    failed.retain(|unit| !unit.ends_with(".mount"));
    failed
}

fn remove(container: &Container) {
    dnf(container, "remove wharfd");
    // rpm keeps a changed file of the configuration under another name.
    container.sh("cd /etc/wharfd; for file in *.rpmsave; do mv $file ${file%.rpmsave}; done");
}

fn is_removed_and_its_state_stays(gateway: &Booted) {
    let container = &gateway.container;
    container.sh("systemctl start wharfd");
    remove(container);
    container.sh("test -e /var/lib/wharfd/wharfd.db; test -d /var/lib/wharf-installer/ledger");
    container.sh("getent passwd wharfd; test -n \"$(ls /etc/wharfd/keys)\"");
    assert_eq!(container.sh("ls /run/*wharf*.sock 2>/dev/null || true"), "");
    assert_eq!(
        container.sh("ls /etc/systemd/system/*/*wharf* 2>/dev/null || true"),
        ""
    );
    assert!(can_be_started(container), "{HELD} is held");
    assert_eq!(failed_units(container), [""; 0]);

    install_wharfd(container);
    gateway.wait_for("/9/0", "4/2");
}

#[test]
fn an_rpm_of_wharfd_is_installed_and_removed_in_a_chroot_whose_systemd_does_not_run() {
    let root = Manager::Dnf.container();
    fs::copy(wharfd_rpm(), root.path().join("root/package.rpm")).expect("a copy");
    let rpm = |arguments: &str| {
        let line = format!("rpm --nodeps {arguments} 2>&1");
        let mut chroot = Command::new("chroot");
        let chroot = chroot.arg(root.path()).args(["sh", "-ec", &line]);
        text_of(chroot.env_clear().env("PATH", "/usr/sbin:/usr/bin"))
    };
    let said = rpm("--upgrade /root/package.rpm");
    assert!(!said.contains("scriptlet failed"), "{said}");
    assert_eq!(rpm("--verify wharfd"), "");
    let enabled = |unit: &str| {
        let links = root.path().join("etc/systemd/system");
        let wanted = ["sockets.target.wants", "multi-user.target.wants"];
        wanted
            .iter()
            .any(|by| links.join(by).join(unit).is_symlink())
    };
    assert!(UNITS.iter().all(|unit| enabled(unit)));
    let said = rpm("--erase wharfd");
    assert!(!said.contains("scriptlet failed"), "{said}");
    assert!(!UNITS.iter().any(|unit| enabled(unit)));
}
