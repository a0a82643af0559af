//! Jobs with opkg, from the sealed .ipk to the outcome, where this machine has an opkg.

use wharf_frames::{
    Cause, Step,
    installer::{InstallerReply, InstallerRequest},
};

use crate::{
    crash::{Fault, after_each_step, mount_proc, writes_again_what_a_power_cut_took},
    machine::{Deb, Machine, Script, perform, refused},
};

fn machine() -> Machine {
    Machine::opkg().expect("it was there before")
}

#[test]
fn jobs_install_upgrade_and_remove_an_ipk() {
    let Some(machine) = Machine::opkg() else {
        return;
    };
    let machine = machine.started();
    match machine.ask(&InstallerRequest::Hello { protocol: 1 }) {
        InstallerReply::Hello {
            package_manager,
            architecture,
            ..
        } => assert_eq!(
            (package_manager.as_str(), architecture.as_str()),
            ("opkg", "x86_64")
        ),
        other => panic!("{other:?}"),
    }
    for version in ["1.0-r0", "1.0^git1-r0", "1:0.5-r2"] {
        let outcome = machine.install(&Deb::new("acme", version));
        assert_eq!(outcome.failure, None, "{version}");
        let device = outcome.device.expect("the package");
        assert_eq!(device.to_string(), format!("acme {version}"));
        assert!(device.managed);
    }
    let (stage, _) = machine.sealed(&Deb::new("acme", "9.0-r0"));
    let operation = machine.operation();
    let lower = refused(machine.ask(&perform(operation, Step::Install(stage))));
    assert_eq!(lower, Cause::Downgrade, "the epoch counts");
    let fails = Deb::new("acme", "2:1").script(Script::Postinst, "echo no anchor; exit 3");
    let outcome = machine.install(&fails);
    let failure = outcome.failure.expect("it fails");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    let said = failure.detail.as_str();
    assert!(said.ends_with("it said: no anchor"), "{failure}");
    assert!(said.starts_with("it was sent back: "), "{failure}");
    let device = outcome.device.expect("the version before");
    assert_eq!(device.to_string(), "acme 1:0.5-r2");
    let outcome = machine.remove("acme");
    assert_eq!((outcome.failure, outcome.device), (None, None));
}

#[test]
fn each_end_is_true_after_an_installation_by_opkg_ended_at_any_step() {
    if Machine::opkg().is_some() {
        after_each_step(machine, |step| Fault::Job(1, step));
    }
}

#[test]
fn each_end_is_true_after_an_upgrade_by_opkg_ended_at_any_step() {
    if Machine::opkg().is_some() {
        after_each_step(machine, |step| Fault::Job(2, step));
    }
}

#[test]
fn each_end_is_true_after_a_removal_by_opkg_ended_at_any_step() {
    if Machine::opkg().is_some() {
        after_each_step(machine, |step| Fault::Job(4, step));
    }
}

/// Kills wharf-job, opkg and the script, from the outside in; the first time only.
const KILL: &str =
    "if mkdir /killed 2>/dev/null; then kill -9 $(cut -d' ' -f4 /proc/$PPID/stat) $PPID $$; fi";

#[test]
fn a_job_of_which_every_process_was_killed_is_repaired_and_ends_true() {
    for script in [
        Script::Preinst,
        Script::Postinst,
        Script::Prerm,
        Script::Postrm,
    ] {
        let Some(machine) = Machine::opkg() else {
            return;
        };
        let machine = machine.started();
        mount_proc(&machine);
        let is_olds = matches!(script, Script::Prerm | Script::Postrm);
        let with = |version: &str, killing: bool| match killing {
            true => Deb::new("acme", version).script(script, KILL),
            false => Deb::new("acme", version),
        };
        assert_eq!(machine.install(&with("1", is_olds)).failure, None);
        let outcome = machine.install(&with("2", !is_olds));
        assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{script:?}");
        assert_eq!(machine.version("acme").as_deref(), Some("2"), "{script:?}");
        assert!(machine.root().join("killed").exists(), "{script:?}");
    }
}

#[test]
fn a_removal_of_which_every_process_was_killed_is_done_again() {
    for script in [Script::Prerm, Script::Postrm] {
        let Some(machine) = Machine::opkg() else {
            return;
        };
        let machine = machine.started();
        mount_proc(&machine);
        let deb = Deb::new("acme", "1").script(script, KILL);
        assert_eq!(machine.install(&deb).failure, None);
        let outcome = machine.remove("acme");
        assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{script:?}");
        assert_eq!(machine.state("acme"), None, "{script:?}");
        assert!(
            !machine.root().join("usr/share/acme/version").exists(),
            "{script:?}"
        );
    }
}

#[test]
fn what_a_script_wrote_and_a_power_cut_took_is_written_again() {
    for step in ["opkg.ended", "job.applied"] {
        let Some(machine) = Machine::opkg() else {
            return;
        };
        writes_again_what_a_power_cut_took(machine, step);
    }
}
