//! Isolation on a gateway: each unit is hardened as far as possible, and other users have no access.

use wharf_tests::{
    booted::Booted, container::Container, gateway::ENDPOINT, origin::Fault, package::Package,
    process::Process, waiting::wait_until,
};

#[test]
fn each_unit_is_hardened_and_other_users_get_nothing() {
    let gateway = Booted::registered();
    let container = &gateway.container;
    container.sh("useradd --system somebody");
    what_handles_strangers_bytes_hears_nothing_on_the_bus(&gateway);
    other_users_get_no_file_and_no_socket(container);
    what_handles_strangers_bytes_gets_nothing_on_the_bus(container);
    wharfd_gets_signals_of_systemd_and_the_bus_alone(container);
    a_local_user_reads_on_the_bus_and_changes_nothing(container);
    wharfd_writes_nothing_of_roots(container);
    exposure_is_at_most(container, "wharfd.service", 1.5);
    exposure_is_at_most(container, "wharf-fetch@.service", 1.5);
    exposure_is_at_most(container, "wharf-installer.service", 3.5);
    judging_gives_way_to_the_gateways_own_work(container);
    gone_when_idle(container);
}

/// `→ Overall exposure level for wharfd.service: 1.2 OK`
fn exposure_is_at_most(container: &Container, unit: &str, limit: f64) {
    let security = container.sh(&format!("systemd-analyze security --no-pager {unit}"));
    let last = security.lines().last().unwrap_or_default();
    let level = last
        .split(": ")
        .nth(1)
        .and_then(|level| level.split(' ').next());
    let level: f64 = level.and_then(|level| level.parse().ok()).expect("a level");
    assert!(
        level <= limit,
        "{unit} is exposed {level}, and may {limit}:\n{security}"
    );
}

fn judging_gives_way_to_the_gateways_own_work(container: &Container) {
    for (property, value) in [
        ("MemoryHigh", "201326592"),
        ("CPUWeight", "20"),
        ("OOMScoreAdjust", "100"),
    ] {
        let show = format!("systemctl show --value -p {property} wharf-installer.service");
        assert_eq!(container.sh(&show), value, "{property}");
    }
}

/// Everything of ours on a running gateway, except files below /usr, which every Debian package has.
const OURS: &str = "/etc/wharfd /var/lib/wharfd /var/lib/wharf-installer /run/wharfd /run/wharf-installer \
    /run/wharf-fetch.sock /run/wharf-installer.sock /run/credentials/wharfd.service";

fn as_user(user: &str, line: &str) -> String {
    format!("setpriv --reuid={user} --regid={user} --clear-groups {line}")
}

fn other_users_get_no_file_and_no_socket(container: &Container) {
    container.sh("test -S /run/wharf-fetch.sock; test -S /run/wharf-installer.sock");
    for user in ["somebody", "wharf-fetch", "wharf-inspect"] {
        let find = format!("find {OURS} \\( -readable -o -writable \\) 2>/dev/null || true");
        // An empty folder.
        assert_eq!(container.sh(&as_user(user, &find)), "/run/wharfd", "{user}");
        let environment = as_user(
            user,
            "cat /proc/$(systemctl show -P MainPID wharfd)/environ",
        );
        assert!(!container.try_sh(&environment).status.success(), "{user}");
    }
    let sockets = container.sh("grep -o '[@/].*wharf.*' /proc/net/unix | sort -u");
    assert_eq!(sockets, "/run/wharf-fetch.sock\n/run/wharf-installer.sock");
}

const STRANGERS_BYTES: [&str; 2] = ["wharf-fetch", "wharf-inspect"];

/// They do not even hear of an install, which any other user does. And wharf-fetch cannot see the bus.
fn what_handles_strangers_bytes_hears_nothing_on_the_bus(gateway: &Booted) {
    let container = &gateway.container;
    let kept_out = STRANGERS_BYTES.map(|user| (user, listener(container, user)));
    let anybody = listener(container, "somebody");
    let uri = gateway.publish(&Package::new("hello", "1.0-1").padding(4 << 20));
    let path = format!("/{}", uri.rsplit('/').next().expect("a path"));
    gateway.origin.fault(&path, Fault::StallAfter(1 << 20));
    gateway.client().write_text("/9/0/3", &uri).expect("2.04");
    gateway.origin.wait_for_stall();
    let fetch = "systemctl show --value --property=MainPID 'wharf-fetch@*'";
    container.sh(&format!(
        "seen=/proc/$({fetch})/root; test -d $seen/run; ! test -e $seen{BUS}"
    ));
    gateway.origin.release();
    gateway.wait_for("/9/0", "3/0");
    gateway.client().execute("/9/0/4", "").expect("2.04");
    gateway.wait_for("/9/0", "4/2");
    // The bus announces to every user that the name is gone and back, after all of wharfd's earlier signals.
    container.sh("systemctl restart wharfd");
    wait_for_names(&anybody);
    assert!(
        heard(&anybody)
            .iter()
            .any(|line| line.contains("PropertiesChanged"))
    );
    for (user, listener) in kept_out {
        wait_for_names(&listener);
        assert_eq!(heard(&listener), [""; 0], "{user}");
    }
}

fn wait_for_names(listener: &Process) {
    let name = "string \"org.wharfd.Agent1\"";
    wait_until("wharfd's name gone and back", || {
        let lines = listener.output().all();
        let told = lines.iter().filter(|line| line.contains(name)).count();
        (told >= 2).then_some(())
    });
}

const BUS: &str = "/run/dbus/system_bus_socket";

/// A user who listens to all signals of wharfd, and to those of the bus about names.
fn listener(container: &Container, user: &str) -> Process {
    listener_to(container, user, "/org/wharfd")
}

fn listener_to(container: &Container, user: &str, path: &str) -> Process {
    let mut command = container.command("setpriv");
    command
        .args(["--reuid", user, "--regid", user, "--clear-groups"])
        .args(["dbus-monitor", "--system"])
        .args([
            &format!("path_namespace='{path}'"),
            "sender='org.freedesktop.DBus'",
        ]);
    let listener = Process::spawn(&mut command);
    listener.output().wait_for("member=NameAcquired");
    listener
}

/// The heads of wharfd's messages.
fn heard(listener: &Process) -> Vec<String> {
    let mut lines = listener.output().all();
    lines.retain(|line| line.contains("path=/org/wharfd"));
    lines
}

fn what_handles_strangers_bytes_gets_nothing_on_the_bus(container: &Container) {
    for user in STRANGERS_BYTES {
        for call in ["introspect org.wharfd.Agent1 /org/wharfd/Agent1", HISTORY] {
            denied(container, &as_user(user, &format!("busctl {call}")));
        }
    }
}

/// wharfd receives the signals of the bus and of systemd. Forged ones reach only other users.
fn wharfd_gets_signals_of_systemd_and_the_bus_alone(container: &Container) {
    let [wharfd, anybody] = ["wharfd", "somebody"]
        .map(|user| listener_to(container, user, "/org/freedesktop/systemd1"));
    let forged = "busctl emit /org/freedesktop/systemd1/unit/forged_2eservice \
                  org.freedesktop.DBus.Properties PropertiesChanged 'sa{sv}as' \
                  org.freedesktop.systemd1.Unit 0 0";
    container.sh(&as_user("somebody", forged));
    container.sh("systemd-run --quiet --wait --unit=real true");
    for listener in [&wharfd, &anybody] {
        listener.output().wait_for("unit/real_2eservice");
    }
    let is_forged = |line: &String| line.contains("unit/forged_2eservice");
    assert!(anybody.output().all().iter().any(is_forged));
    assert!(!wharfd.output().all().iter().any(is_forged));
}

const HISTORY: &str = "call org.wharfd.Agent1 /org/wharfd/Agent1 org.wharfd.Agent1 History i 0";

fn a_local_user_reads_on_the_bus_and_changes_nothing(container: &Container) {
    let status = container.sh(&as_user("somebody", "wharfctl status --json"));
    assert!(
        status.contains(&format!("\"endpoint\":\"{ENDPOINT}\"")),
        "{status}"
    );
    container.sh(&as_user("somebody", &format!("busctl {HISTORY}")));
    for path in ["", "/instances/0"] {
        let path = format!("/org/wharfd/Agent1{path}");
        for (interface, method) in methods(container, &path) {
            if !["History", "Operations"].contains(&method.as_str()) {
                let call = format!("busctl call org.wharfd.Agent1 {path} {interface} {method}");
                denied(container, &as_user("somebody", &call));
            }
        }
    }
    let stands = container.sh("wharfctl show 0 --json");
    assert!(stands.contains("\"update_state\":4"), "{stands}");
}

/// The methods of our own interfaces that an object has, each with its interface.
fn methods(container: &Container, path: &str) -> Vec<(String, String)> {
    let listed = container.sh(&format!(
        "busctl introspect --no-legend org.wharfd.Agent1 {path}"
    ));
    let mut interface = "";
    let mut methods = Vec::new();
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some(name), Some("interface")) => interface = name,
            (Some(name), Some("method")) if interface.starts_with("org.wharfd.") => {
                methods.push((
                    interface.to_owned(),
                    name.trim_start_matches('.').to_owned(),
                ));
            }
            _ => {}
        }
    }
    assert!(!methods.is_empty(), "{path}: {listed}");
    methods
}

#[track_caller]
fn denied(container: &Container, line: &str) {
    let tried = container.try_sh(line);
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(
        !tried.status.success() && said.contains("Access denied"),
        "{line}: {said}"
    );
}

fn wharfd_writes_nothing_of_roots(container: &Container) {
    for path in ["/var/lib/wharf-installer", "/etc/wharfd/wharfd.toml.d"] {
        let tried = container.try_sh(&as_user("wharfd", &format!("touch {path}/x")));
        assert!(!tried.status.success(), "wharfd may write to {path}");
    }
}

/// A download's wharf-fetch ends with it; the installer ends a minute after the last question.
fn gone_when_idle(container: &Container) {
    wait_until("the end of wharf-fetch", || {
        let left = container.sh("systemctl list-units --plain --no-legend 'wharf-fetch@*'");
        left.is_empty().then_some(())
    });
    let installer: i32 = container.unit("wharf-installer", "MainPID");
    if installer != 0 {
        container.sh(&format!(
            "timeout 120 tail --pid={installer} --follow /dev/null"
        ));
    }
    assert_eq!(
        container.unit::<String>("wharf-installer", "Result"),
        "success"
    );
    container.sh("test -S /run/wharf-installer.sock");
}
