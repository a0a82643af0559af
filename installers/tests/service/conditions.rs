//! Units that systemd skips because a condition is not met, and failed activations.

use wharf_frames::{Cause, installer::Outcome};
use wharf_tests::{debian_root::archived, services::UNITS};

use crate::{
    activation::{FOREVER, service, succeeded},
    aliases::{held, pulled},
    machine::{Deb, Machine, Script},
};

impl Machine {
    pub(crate) fn skipped(&self, package: &str) -> String {
        let skipped = self.state(package).expect("it is installed").skipped;
        skipped.map_or_else(String::new, |skipped| skipped.to_string())
    }

    fn unit_is(&mut self, unit: &str) -> [String; 2] {
        ["ActiveState", "UnitFileState"].map(|it| self.container().unit(unit, it))
    }
}

#[track_caller]
fn fails(outcome: &Outcome, words: &str) {
    let failure = outcome.failure.as_ref().expect("a unit is down");
    assert_eq!(failure.cause, Cause::Unit);
    assert!(failure.detail.as_str().contains(words), "{failure}");
    assert_eq!(
        outcome.device.as_ref().map(|device| device.active),
        Some(false)
    );
}

/// Services that start only on a certain board; no loaded target wants the last one.
fn of_a_board() -> Deb {
    let unit = |wanted_by: &str| {
        format!(
            "[Unit]\nConditionPathExists=/opt/board\n[Service]\n{FOREVER}\n[Install]\nWantedBy={wanted_by}\n"
        )
    };
    let by_command = format!(
        "[Service]\nExecCondition=/bin/false\n{FOREVER}\n[Install]\nWantedBy=multi-user.target\n"
    );
    service("mixed", "1", FOREVER)
        .file(
            &format!("{UNITS}/mixed-board.service"),
            unit("multi-user.target"),
        )
        .file(&format!("{UNITS}/mixed-command.service"), by_command)
        .file(
            &format!("{UNITS}/mixed-radio.service"),
            unit("radio.target"),
        )
        .then(
            Script::Postinst,
            "systemctl enable --quiet mixed-board mixed-command mixed-radio",
        )
}

const BOARD: &str = "mixed-board.service (ConditionPathExists=/opt/board is not met)";
const COMMAND: &str = "mixed-command.service (ExecCondition is not met)";
const RADIO: &str = "mixed-radio.service (ConditionPathExists=/opt/board is not met)";

#[test]
fn a_unit_that_systemd_skips_by_a_condition_has_not_failed() {
    let mut machine = Machine::booted();
    machine.unpack_by_hand(&archived("lsb-base"));
    succeeded(&machine.install_archived("smartmontools"), false);
    succeeded(&machine.install(&of_a_board()), false);
    for package in ["smartmontools", "mixed"] {
        assert_eq!(machine.skipped(package), "", "{package} is INACTIVE");
        succeeded(&machine.activate(package), true);
        succeeded(&machine.activate(package), true);
    }
    let smart = "systemd skipped smartmontools.service (ConditionVirtualization=no is not met)";
    let mixed = format!("systemd skipped {BOARD}, {COMMAND}, {RADIO}");
    let told = |machine: &Machine| ["smartmontools", "mixed"].map(|it| machine.skipped(it));
    assert_eq!(told(&machine), [smart, &mixed]);
    machine.container().sh("systemctl daemon-reload");
    assert_eq!(
        told(&machine),
        [smart, &mixed],
        "systemd forgets which condition"
    );
    machine.reboot();
    assert_eq!(told(&machine), [smart, &mixed], "after a boot");
    assert!(machine.is_active("smartmontools") && machine.is_active("mixed"));
    assert_eq!(machine.running("mixed"), [".service"]);

    // A unit that is no longer skipped is dropped from the text, and a stopped one is noticed.
    machine
        .container()
        .sh("touch /opt/board; systemctl start mixed-board");
    assert_eq!(
        machine.skipped("mixed"),
        format!("systemd skipped {COMMAND}, {RADIO}")
    );
    machine.container().sh("systemctl stop mixed-board");
    assert!(!machine.is_active("mixed"), "its condition was met");
    machine
        .container()
        .sh("rm /opt/board; systemctl start mixed-board");
    assert!(machine.is_active("mixed"), "it was skipped again");
    succeeded(&machine.deactivate("mixed"), false);
    assert_eq!(
        machine.unit_is("mixed-board.service"),
        ["inactive", "disabled"]
    );
    assert!(!machine.is_active("mixed"));

    an_upgrade_that_fails_leaves_it_skipped(&mut machine);
    a_unit_that_its_package_masks_is_skipped(&mut machine);
    an_upgrade_that_fails_leaves_a_masked_unit_skipped(&mut machine);
    an_assert_that_is_not_met_fails(&mut machine);
    a_unit_that_was_held_back_and_does_not_start_now_is_not_skipped(&mut machine);
    a_failed_activation_puts_back_what_ran_and_was_enabled(&mut machine);
    a_failed_activation_holds_back_what_was_held(&mut machine);
}

fn an_upgrade_that_fails_leaves_it_skipped(machine: &mut Machine) {
    succeeded(&machine.activate("mixed"), true);
    let refused = Deb::new("mixed", "2").script(Script::Preinst, "exit 1");
    let outcome = machine.install(&refused);
    let cause = outcome.failure.map(|failure| failure.cause);
    assert_eq!(cause, Some(Cause::Script));
    assert_eq!(outcome.device.map(|device| device.active), Some(true));
    assert_eq!(
        machine.skipped("mixed"),
        format!("systemd skipped {BOARD}, {COMMAND}, {RADIO}")
    );
}

/// As hostapd does without a configuration.
fn a_unit_that_its_package_masks_is_skipped(machine: &mut Machine) {
    let extra = format!("[Service]\n{FOREVER}\n[Install]\nWantedBy=multi-user.target\n");
    let deb = service("shy", "1", FOREVER)
        .file(&format!("{UNITS}/shy-extra.service"), extra)
        .then(
            Script::Postinst,
            "systemctl enable --quiet shy-extra; systemctl stop shy-extra; systemctl mask shy-extra",
        );
    succeeded(&machine.install(&deb), false);
    assert_eq!(machine.skipped("shy"), "", "it is INACTIVE");
    succeeded(&machine.activate("shy"), true);
    let told = "systemd skipped shy-extra.service (it is masked)";
    assert_eq!(machine.skipped("shy"), told);
    machine.reboot();
    assert_eq!(machine.skipped("shy"), told);
    assert_eq!(machine.running("shy"), [".service"]);
    assert!(machine.is_active("shy"));

    // A mask by hand is a stop by hand.
    machine.container().sh("systemctl mask --now shy");
    assert!(!machine.is_active("shy"));
    machine
        .container()
        .sh("systemctl unmask shy shy-extra; systemctl start shy");
    assert!(!machine.is_active("shy"), "nothing skips the other one");
    succeeded(&machine.activate("shy"), true);
    assert_eq!(machine.running("shy"), ["-extra.service", ".service"]);
    succeeded(&machine.deactivate("shy"), false);
}

/// The package has nothing running, and its unit is bound to another one.
fn an_upgrade_that_fails_leaves_a_masked_unit_skipped(machine: &mut Machine) {
    let masked = Deb::new("shut", "1")
        .file(
            &format!("{UNITS}/shut.service"),
            format!("[Service]\n{FOREVER}\n"),
        )
        .link(
            &format!("{UNITS}/multi-user.target.wants/shut.service"),
            "../shut.service",
        )
        .script(Script::Postinst, "systemctl mask shut");
    succeeded(&machine.install(&masked), false);
    succeeded(&machine.activate("shut"), true);
    let told = "systemd skipped shut.service (it is masked)";
    assert_eq!(machine.skipped("shut"), told);
    let refused = Deb::new("shut", "2").script(Script::Preinst, "exit 1");
    let outcome = machine.install(&refused);
    assert_eq!(outcome.device.map(|device| device.active), Some(true));
    assert_eq!(machine.skipped("shut"), told);
    assert_eq!(held(machine.container()), "");
}

fn an_assert_that_is_not_met_fails(machine: &mut Machine) {
    let unit = format!(
        "[Unit]\nAssertPathExists=/opt/none\n[Service]\n{FOREVER}\n[Install]\nWantedBy=multi-user.target\n"
    );
    let deb = Deb::new("sure", "1").file(&format!("{UNITS}/sure.service"), unit);
    succeeded(&machine.install(&deb), false);
    let words = "sure.service did not start: AssertPathExists=/opt/none is not met";
    fails(&machine.activate("sure"), words);
    assert_eq!(machine.unit_is("sure.service"), ["inactive", "disabled"]);
}

/// systemd forgets the unit, so only the journal shows that it was skipped while it was held back.
fn a_unit_that_was_held_back_and_does_not_start_now_is_not_skipped(machine: &mut Machine) {
    let unit = format!(
        "[Unit]\nRequires=far-need.service\nAfter=far-need.service\n[Service]\n{FOREVER}\n\
         [Install]\nWantedBy=radio.target\n"
    );
    let need = "[Service]\nType=oneshot\nExecStart=/bin/sh -c '[ ! -e /opt/no-need ]'\n";
    let deb = Deb::new("far", "1")
        .file(&format!("{UNITS}/far.service"), unit)
        .file(&format!("{UNITS}/far-need.service"), need)
        .script(
            Script::Postinst,
            "systemctl daemon-reload; systemctl enable --quiet far; systemctl start far",
        );
    succeeded(&machine.install(&deb), false);
    machine.container().sh("touch /opt/no-need");
    fails(&machine.activate("far"), "far.service did not stay up");
    machine.container().sh("rm /opt/no-need");
    succeeded(&machine.activate("far"), true);
    assert_eq!(machine.running("far"), [".service"]);
}

/// A service that exits if the file exists.
pub(crate) const FRAGILE: &str =
    "ExecStart=/bin/sh -c '[ ! -e /opt/broken ] && exec sleep infinity'";

fn a_failed_activation_puts_back_what_ran_and_was_enabled(machine: &mut Machine) {
    let unit = |exec: &str| format!("[Service]\n{exec}\n[Install]\nWantedBy=multi-user.target\n");
    let with_once =
        format!("{FOREVER}\n[Unit]\nRequires=pair-once.service\nAfter=pair-once.service");
    let once = "[Service]\nType=oneshot\nExecStart=/bin/true\n";
    let deb = service("pair", "1", &with_once)
        .file(&format!("{UNITS}/pair-once.service"), once)
        .file(&format!("{UNITS}/pair-extra.service"), unit(FOREVER))
        .file(&format!("{UNITS}/pair-worker.service"), unit(FRAGILE))
        .then(
            Script::Postinst,
            "systemctl enable --quiet pair-extra pair-worker",
        );
    succeeded(&machine.install(&deb), false);
    succeeded(&machine.activate("pair"), true);
    let by_hand =
        "touch /opt/broken; systemctl stop pair-worker; systemctl disable --quiet --now pair-extra";
    machine.container().sh(by_hand);
    let pid = |machine: &mut Machine| machine.container().unit::<u32>("pair.service", "MainPID");
    let before = pid(machine);
    fails(
        &machine.activate("pair"),
        "pair-worker.service did not stay up",
    );
    assert_eq!(pid(machine), before, "it was not restarted");
    assert_eq!(machine.unit_is("pair.service"), ["active", "enabled"]);
    assert_eq!(
        machine.unit_is("pair-extra.service"),
        ["inactive", "disabled"]
    );
    let [state, file] = machine.unit_is("pair-worker.service");
    assert_eq!((state.as_str(), file.as_str()), ("failed", "enabled"));
    machine.container().sh("rm /opt/broken");
    succeeded(&machine.activate("pair"), true);
    assert_eq!(
        machine.running("pair"),
        ["-extra.service", "-worker.service", ".service"]
    );
}

fn a_failed_activation_holds_back_what_was_held(machine: &mut Machine) {
    succeeded(&machine.install(&pulled("tied", "1", FRAGILE)), false);
    let drop_in = "/etc/systemd/system/tied.service.d/00-wharfd-held.conf";
    assert_eq!(held(machine.container()), drop_in);
    machine.container().sh("touch /opt/broken");
    fails(&machine.activate("tied"), "tied.service did not stay up");
    machine
        .container()
        .sh("rm /opt/broken; systemctl start tied");
    assert_eq!(machine.running("tied"), [""; 0], "it is held again");
    assert_eq!(held(machine.container()), drop_in);
}
