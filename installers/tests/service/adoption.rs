//! The first Install of a package that the device had before wharfd managed it: its software keeps running.

use std::fs;

use wharf_frames::Cause;
use wharf_tests::{
    debian_root::archived,
    services::{By, KINDS, UNITS, services},
    waiting::wait_until,
};

use crate::{
    activation::{FOREVER, service, succeeded},
    aliases::held,
    machine::{Deb, Machine, Script},
};

impl Machine {
    fn runs_by_hand(&mut self, package: &str, by: By) {
        self.install_by_hand(&services(package, "1", by));
        let linked = format!("systemctl start {package}-linked"); // like a boot
        self.container().sh(&linked);
        assert_eq!(self.running(package), KINDS);
    }

    /// Whether each of these units is active and enabled.
    fn stand(&mut self, units: &[&str]) -> Vec<String> {
        let states = |unit: &&str| {
            let state: [String; 2] =
                ["ActiveState", "UnitFileState"].map(|it| self.container().unit(unit, it));
            state.join(" ")
        };
        units.iter().map(states).collect()
    }

    fn runs_version(&mut self, package: &str, version: &str) -> bool {
        let commands = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'";
        let commands = self.container().sh(commands);
        let command = format!("{package}-{version}");
        commands.lines().any(|word| word == command)
    }
}

/// The script that only starts its service leaves the old program running.
const BOTH: [(&str, By, &str); 2] = [("acme", By::Debhelper, "2"), ("other", By::Hand, "1")];

#[test]
fn software_that_ran_before_wharfd_managed_it_runs_on() {
    let mut machine = Machine::booted();
    for package in ["sensible-utils", "cron-daemon-common", "cron"] {
        machine.unpack_by_hand(&archived(package));
    }
    succeeded(&machine.install_archived("cron"), true);
    assert_eq!(machine.stand(&["cron.service"]), ["active enabled"]);
    let journal = machine
        .container()
        .sh("journalctl --sync; journalctl WHARF_PACKAGE=cron --output cat");
    let told =
        "cron: the device had it before wharfd managed it, so its running units are not held back";
    assert_eq!(journal.matches(told).count(), 1, "{journal}");

    for (package, by, runs) in BOTH {
        machine.runs_by_hand(package, by);
        let refused = services(package, "2", by).script(Script::Preinst, "exit 1");
        let outcome = machine.install(&refused);
        let cause = outcome.failure.map(|failure| failure.cause);
        assert_eq!(cause, Some(Cause::Script));
        assert_eq!(machine.running(package), KINDS, "{package} is old");
        assert!(machine.runs_version(package, "1"), "{package} is old");
        assert!(!machine.state(package).unwrap().managed);

        succeeded(&machine.install(&services(package, "2", by)), true);
        assert_eq!(machine.running(package), KINDS, "{package} is new");
        assert!(machine.runs_version(package, runs), "{package} is new");
    }
    what_somebody_stopped_stays_so(&mut machine);
    what_has_no_unit_of_its_own_is_active_where_it_is_used(&mut machine);
    what_somebody_repairs_by_hand_is_theirs(&mut machine);
    assert_eq!(held(machine.container()), "");

    an_adoption_that_a_power_cut_interrupts_leaves_it_running(&mut machine);
    assert_eq!(machine.stand(&["cron.service"]), ["active enabled"]);
    assert!(machine.is_active("cron"));
    for (package, by, _) in BOTH {
        assert_eq!(machine.running(package), KINDS, "{package} after a boot");
        assert!(machine.is_active(package), "{package} after a boot");
        succeeded(&machine.deactivate(package), false);
        assert_eq!(machine.running(package), [""; 0], "{package} deactivated");
        succeeded(&machine.activate(package), true);
        assert_eq!(machine.running(package), KINDS, "{package} activated");
        // Now the package is wharfd's.
        succeeded(&machine.install(&services(package, "3", by)), false);
        assert_eq!(machine.running(package), [""; 0], "{package} upgraded");
        assert_eq!(machine.remove(package).failure, None);
    }
    assert_eq!(machine.container().failed_units(), [""; 0]);
}

fn what_somebody_stopped_stays_so(machine: &mut Machine) {
    machine.runs_by_hand("part", By::Hand);
    let by_hand = "systemctl disable --quiet --now part.service; systemctl stop part.timer";
    machine.container().sh(by_hand);
    let unit = format!("[Service]\n{FOREVER}\n[Install]\nWantedBy=multi-user.target\n");
    let with_a_new_one = services("part", "2", By::Hand)
        .file(&format!("{UNITS}/part-new.service"), unit)
        .then(Script::Postinst, "systemctl enable --quiet --now part-new");
    succeeded(&machine.install(&with_a_new_one), false);
    let units = [
        "part.service",
        "part.timer",
        "part.socket",
        "part-new.service",
    ];
    let expected = [
        "inactive disabled",
        "inactive enabled",
        "active enabled",
        "active enabled",
    ];
    assert_eq!(machine.stand(&units), expected);
    let told = "journalctl --sync; journalctl WHARF_PACKAGE=part --output cat";
    let told = machine.container().sh(told);
    let stays = r#", and stopped units stay stopped: ["part.service", "part.timer"]"#;
    assert!(told.contains(stays), "{told}");
    machine.container().sh("systemctl start part.timer");
    assert!(machine.is_active("part"), "all that starts at boot runs");

    machine.install_by_hand(&service("off", "1", FOREVER));
    machine
        .container()
        .sh("systemctl disable --quiet --now off");
    succeeded(&machine.install(&service("off", "2", FOREVER)), false);
    assert_eq!(machine.stand(&["off.service"]), ["inactive disabled"]);
    succeeded(&machine.activate("off"), true);
    assert_eq!(machine.stand(&["off.service"]), ["active enabled"]);
}

fn what_has_no_unit_of_its_own_is_active_where_it_is_used(machine: &mut Machine) {
    machine.install_by_hand(&Deb::new("library", "1"));
    succeeded(&machine.install(&Deb::new("library", "2")), true);
    let unit = format!("[Service]\n{FOREVER}\n[Install]\nWantedBy=multi-user.target\n");
    let remote = |version: &str| {
        Deb::new("remote", version)
            .file(&format!("{UNITS}/sshd.service"), unit.as_str())
            .script(Script::Postinst, "systemctl daemon-reload")
    };
    machine.install_by_hand(&remote("1"));
    machine
        .container()
        .sh("systemctl enable --quiet --now sshd");
    succeeded(&machine.install(&remote("2")), true);
    assert_eq!(machine.stand(&["sshd.service"]), ["active enabled"]);

    let protected = |version: &str, unit_name: &str| {
        Deb::new("dropbear", version)
            .file(&format!("{UNITS}/{unit_name}.service"), unit.as_str())
            .script(Script::Prerm, "systemctl disable --quiet --now dropbear")
            .script(
                Script::Postinst,
                &format!("systemctl daemon-reload\nsystemctl enable --quiet --now {unit_name}"),
            )
    };
    machine.install_by_hand(&protected("1", "dropbear"));
    succeeded(&machine.install(&protected("2", "dropbear")), true);
    succeeded(&machine.install(&protected("3", "dropbear-new")), true);
    assert_eq!(machine.stand(&["dropbear-new.service"]), ["active enabled"]);
}

/// The adoption failed half way, and the administrator resumes dpkg. A unit was disabled before.
fn repaired_by_hand(machine: &mut Machine, package: &str) {
    machine.runs_by_hand(package, By::Hand);
    let down = format!("systemctl disable --quiet --now {package}.socket");
    machine.container().sh(&down);
    let fails = format!("[ -e /root/{package}-is-repaired ]");
    let outcome = machine.install(&services(package, "2", By::Hand).then(Script::Postinst, &fails));
    let cause = outcome.failure.map(|failure| failure.cause);
    assert_eq!(cause, Some(Cause::Script));
    let repair = format!("touch /root/{package}-is-repaired; dpkg --configure -a");
    machine.container().sh(&repair);
    assert_eq!(machine.running(package), WITHOUT_SOCKET);
}

const WITHOUT_SOCKET: [&str; 3] = ["-linked.service", ".service", ".timer"];

fn what_somebody_repairs_by_hand_is_theirs(machine: &mut Machine) {
    repaired_by_hand(machine, "again");
    succeeded(&machine.install(&services("again", "3", By::Hand)), true);
    assert_eq!(machine.running("again"), WITHOUT_SOCKET);
    assert_eq!(machine.stand(&["again.socket"]), ["inactive disabled"]);

    repaired_by_hand(machine, "begun");
    succeeded(&machine.activate("cron"), true); // any other job
    assert_eq!(held(machine.container()), "");
    assert_eq!(machine.stand(&["begun.socket"]), ["inactive disabled"]);
    let by_hand = "systemctl enable --quiet --now begun.socket; systemctl stop begun.timer";
    machine.container().sh(by_hand);
    let with_socket = ["-linked.service", ".service", ".socket"];
    assert_eq!(machine.running("begun"), with_socket);
    succeeded(&machine.install(&services("begun", "3", By::Hand)), false);
    assert_eq!(machine.running("begun"), with_socket);

    repaired_by_hand(machine, "ended");
    succeeded(&machine.deactivate("ended"), false);
    let tied = "/etc/systemd/system/ended-linked.service.d/00-wharfd-held.conf";
    assert_eq!(held(machine.container()), tied);
    succeeded(&machine.install(&services("ended", "3", By::Hand)), false);
    assert_eq!(machine.running("ended"), [""; 0], "it was deactivated");
    assert_eq!(machine.remove("ended").failure, None);
}

fn an_adoption_that_a_power_cut_interrupts_leaves_it_running(machine: &mut Machine) {
    machine.runs_by_hand("cut", By::Hand);
    machine
        .container()
        .sh("systemctl disable --quiet --now cut.socket");
    let then = "[ -e /root/cut ] || { touch /root/cut-waits; sleep infinity; }";
    let deb = services("cut", "2", By::Hand).then(Script::Postinst, then);
    let (operation, _) = machine.accepted(&deb);
    let waits = machine.root().join("root/cut-waits");
    wait_until("the postinst", || waits.exists().then_some(()));
    machine.container().cut_power();
    machine.container().boot();
    let running = ["-linked.service", ".service", ".timer"];
    assert_eq!(machine.running("cut"), running, "after the power cut");
    fs::write(machine.root().join("root/cut"), "").unwrap();
    machine.start();
    let outcome = machine.outcome(operation);
    succeeded(&outcome, true);
    assert_eq!(outcome.attempts, 2);
    assert_eq!(machine.running("cut"), running, "once it is repaired");
    assert_eq!(machine.stand(&["cut.socket"]), ["inactive disabled"]);
}
