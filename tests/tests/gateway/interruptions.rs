//! The server learns the true state after any kill during an installation.

use std::{collections::BTreeMap, fs, process::Child};

use wharf_tests::{
    booted::Booted,
    gateway::ENDPOINT,
    origin::Fault,
    package::{Package, Script},
    server::RegistrationEvent,
};

/// A package with a postinst that waits for the test.
fn slow(version: &str) -> Package {
    Package::new("slow", version).script(
        Script::Postinst,
        "touch /run/slow.waits; while test -e /run/slow.waits; do sleep 0.05; done",
    )
}

fn job_unit(gateway: &Booted) -> String {
    let units = gateway
        .container
        .sh("systemctl list-units --plain --no-legend 'wharf-job@*'");
    let unit = units.split(' ').next().expect("a job's unit");
    assert!(unit.starts_with("wharf-job@"), "{units:?}");
    unit.to_owned()
}

#[test]
fn whatever_is_killed_the_server_ends_up_knowing_the_truth() {
    let gateway = Booted::registered();
    a_wharfd_that_hangs_is_started_again_and_goes_on(&gateway);
    a_job_goes_on_without_wharf_installer_and_wharfd(&gateway);
    uninstall(&gateway);
    a_job_whose_process_was_killed_is_taken_up_again(&gateway);
    uninstall(&gateway);
    killed_at_random_moments_it_does_what_it_accepted(&gateway);
}

/// Its watchdog ends it (systemd.service(5)), and the server need not observe again.
fn a_wharfd_that_hangs_is_started_again_and_goes_on(gateway: &Booted) {
    let [registered, updated] = events(gateway);
    let is_back = |times| {
        let update = RegistrationEvent::Updated(ENDPOINT.to_owned());
        gateway.server.wait_for_event(&update, updated + times);
    };
    write_drop_in(gateway, "watchdog", "[Service]\nWatchdogSec=3s\n");
    gateway.container.sh("systemctl restart wharfd");
    is_back(1);
    gateway.client().observe("/9/0/9").expect("2.05");
    gateway
        .container
        .sh("systemctl kill --kill-whom=main --signal=STOP wharfd");
    is_back(2);
    assert_ne!(gateway.container.unit::<u32>("wharfd", "NRestarts"), 0);
    gateway
        .client()
        .write_text("/9/0/3", "nonsense")
        .expect("4.00");
    gateway.server.wait_for_notification("/9/0/9", "56", 0);
    assert_eq!(events(gateway)[0], registered);
    write_drop_in(gateway, "watchdog", "");
}

/// The numbers of its Registers and Updates.
fn events(gateway: &Booted) -> [usize; 2] {
    let events = gateway.server.events();
    let count = |of: fn(String) -> RegistrationEvent| {
        let event = of(ENDPOINT.to_owned());
        events.iter().filter(|one| **one == event).count()
    };
    [
        count(RegistrationEvent::Registered),
        count(RegistrationEvent::Updated),
    ]
}

/// Adds settings to wharfd's unit until the next boot.
fn write_drop_in(gateway: &Booted, name: &str, text: &str) {
    let folder = "/run/systemd/system/wharfd.service.d";
    let folder = gateway.container.inside(folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.conf")), text).unwrap();
    gateway.container.sh("systemctl daemon-reload");
}

fn a_job_goes_on_without_wharf_installer_and_wharfd(gateway: &Booted) {
    gateway.begin_install(&slow("1.0-1"));
    gateway.wait_for_file("/run/slow.waits");
    let unit = job_unit(gateway);
    gateway
        .container
        .sh("systemctl kill --signal=KILL wharf-installer wharfd");
    gateway.container.sh(&format!("systemctl is-active {unit}"));
    gateway.container.sh("rm /run/slow.waits");
    is_installed(gateway, "slow", "1.0-1");
}

fn a_job_whose_process_was_killed_is_taken_up_again(gateway: &Booted) {
    gateway.begin_install(&slow("1.1-1"));
    gateway.wait_for_file("/run/slow.waits");
    let unit = job_unit(gateway);
    let job: i32 = gateway.container.unit(&unit, "MainPID");
    gateway.container.sh(&format!("kill -KILL {job}"));
    gateway.container.sh("rm /run/slow.waits");
    is_installed(gateway, "slow", "1.1-1");
}

/// Kills at some moments of each operation.
fn killed_at_random_moments_it_does_what_it_accepted(gateway: &Booted) {
    // systemd waits 5 s before it restarts wharfd; without that, kills hit more moments.
    let at_once = "[Unit]\nStartLimitIntervalSec=0\n\n[Service]\nRestartSec=100ms\n";
    write_drop_in(gateway, "at-once", at_once);
    let mut kills = Kills::new(gateway);
    for round in 1..=ROUNDS {
        let version = format!("{round}.0-1");
        let package = Package::new("random", &version).padding(4 << 20);
        let uri = gateway.publish(&package);
        let path = format!("/{}", uri.rsplit('/').next().expect("a path"));
        gateway.origin.fault(&path, Fault::StallAfter(1 << 20));
        gateway.client().write_text("/9/0/3", &uri).expect("2.04");
        gateway.origin.wait_for_stall();
        kills.among(&["wharf-fetch@*"]);
        kills.among(&["wharfd"]);
        gateway.origin.release();
        gateway.wait_for("/9/0", "3/0");
        gateway.client().execute("/9/0/4", "").expect("2.04");
        kills.among(&["wharf-job@*", "wharf-installer", "wharfd"]);
        is_installed(gateway, "random", &version);
        gateway.client().execute("/9/0/6", "1").expect("2.04");
        gateway.wait_for("/9/0", "0/0");
    }
    kills.each_unit_lost_a_process();
}

const ROUNDS: u32 = 3;
const SEED: u64 = 0x5EED_0F3A;

/// The number of killed processes by unit. The moments are the same in each run, as far as the machine allows.
struct Kills<'a> {
    gateway: &'a Booted,
    moments: u64,
    hits: BTreeMap<&'static str, u32>,
}

/// Waits for a process of the unit, then for a moment, and kills it. Fails if it has ended by itself.
const KILL: &str = r#"
    until pid=$(systemctl show --value --property=MainPID "$0" | grep --max-count=1 '[1-9]'); do :; done
    sleep "$1"
    kill -KILL "$pid"
    while test -e "/proc/$pid"; do sleep 0.01; done"#;

impl<'a> Kills<'a> {
    fn new(gateway: &'a Booted) -> Self {
        Self {
            gateway,
            moments: SEED,
            hits: BTreeMap::new(),
        }
    }

    /// Kills one process of each unit within the same time.
    fn among(&mut self, units: &[&'static str]) {
        let kills: Vec<_> = units.iter().map(|unit| (*unit, self.begin(unit))).collect();
        for (unit, mut kill) in kills {
            let killed = kill.wait().expect("a shell's end").success();
            *self.hits.entry(unit).or_default() += u32::from(killed);
        }
    }

    fn begin(&mut self, unit: &str) -> Child {
        let moment = format!("0.{:03}", self.next(400));
        let mut shell = self.gateway.container.command("timeout");
        shell.args(["60", "sh", "-ec", KILL, unit, &moment]);
        shell.spawn().expect("a shell inside")
    }

    fn next(&mut self, below: u64) -> u64 {
        self.moments ^= self.moments << 13;
        self.moments ^= self.moments >> 7;
        self.moments ^= self.moments << 17;
        self.moments % below
    }

    fn each_unit_lost_a_process(&self) {
        eprintln!("killed in {ROUNDS} rounds: {:?}", self.hits);
        assert!(
            self.hits.values().all(|hits| *hits > 0),
            "{:?} in {ROUNDS} rounds",
            self.hits
        );
    }
}

/// For the server and for dpkg.
#[track_caller]
fn is_installed(gateway: &Booted, package: &str, version: &str) {
    gateway.wait_for("/9/0", "4/2");
    assert_eq!(gateway.client().read_text("/9/0/1"), version);
    assert_eq!(gateway.version(package).as_deref(), Some(version));
    assert_eq!(gateway.container.sh("dpkg --audit"), "");
}

fn uninstall(gateway: &Booted) {
    gateway.client().execute("/9/0/6", "").expect("2.04");
    gateway.wait_for("/9/0", "0/0");
}

#[test]
fn a_boot_in_the_middle_ends_at_the_truth() {
    let mut gateway = Booted::registered();
    a_power_cut_in_a_maintainer_script_is_repaired_after_the_boot(&mut gateway);
    uninstall(&gateway);
    a_reboot_that_a_maintainer_script_asks_for_waits_for_the_job(&mut gateway);
}

fn a_power_cut_in_a_maintainer_script_is_repaired_after_the_boot(gateway: &mut Booted) {
    gateway.begin_install(&slow("1.0-1"));
    gateway.wait_for_file("/run/slow.waits");
    gateway.container.cut_power();
    gateway.container.boot();
    gateway.wait_for_file("/run/slow.waits");
    gateway.container.sh("rm /run/slow.waits");
    is_installed(gateway, "slow", "1.0-1");
}

fn a_reboot_that_a_maintainer_script_asks_for_waits_for_the_job(gateway: &mut Booted) {
    let package = Package::new("rebooting", "1.0-1").script(
        Script::Postinst,
        "systemctl --no-block reboot; sleep 1; touch /var/lib/rebooting.done",
    );
    gateway.begin_install(&package);
    gateway.container.wait_for_reboot();
    is_installed(gateway, "rebooting", "1.0-1");
    gateway.container.sh("test -e /var/lib/rebooting.done");
}
