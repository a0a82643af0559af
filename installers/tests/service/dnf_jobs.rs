//! Jobs with dnf, from the sealed .rpm to the outcome: dnf 4, or dnf 5 if `WHARF_DNF5` is set.

use std::fs;

use wharf_frames::{
    Cause, Step,
    installer::{InstallerReply, InstallerRequest},
};

use crate::{
    activation::{FOREVER, service, succeeded},
    crash::{
        Fault, after_each_step, applied_before_a_power_cut, stops_once,
        upgrade_while_each_script_kills,
    },
    machine::{Deb, Machine, Script, perform, refused},
};

#[test]
fn jobs_install_upgrade_and_remove_an_rpm() {
    let machine = Machine::dnf().started();
    match machine.ask(&InstallerRequest::Hello { protocol: 1 }) {
        InstallerReply::Hello {
            package_manager,
            architecture,
            ..
        } => assert_eq!(
            (package_manager.as_str(), architecture.as_str()),
            ("dnf", "x86_64")
        ),
        other => panic!("{other:?}"),
    }
    for version in ["1.0-1", "1:0.5-2"] {
        let (_, package) = machine.sealed(&Deb::new("acme", version));
        assert_eq!(package.version.as_str(), version);
        let outcome = machine.install(&Deb::new("acme", version));
        assert_eq!(outcome.failure, None, "{version}");
        let device = outcome.device.expect("the package");
        assert_eq!(device.to_string(), format!("acme {version}"));
        assert!(device.managed);
    }
    let (stage, _) = machine.sealed(&Deb::new("acme", "9.0-1"));
    let operation = machine.operation();
    let lower = refused(machine.ask(&perform(operation, Step::Install(stage))));
    assert_eq!(lower, Cause::Downgrade, "the epoch counts");
    let fails = Deb::new("acme", "2:1").script(Script::Postinst, "echo no anchor; exit 3");
    let outcome = machine.install(&fails);
    let failure = outcome.failure.expect("it fails");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    assert!(
        failure.detail.as_str().contains("it said: no anchor"),
        "{failure}"
    );
    let left = outcome.device.expect("a part of it").to_string();
    assert!(
        left.starts_with("acme 2:1-1 (installed in part: %post failed"),
        "{left}"
    );
    let outcome = machine.remove("acme");
    assert_eq!((outcome.failure, outcome.device), (None, None));
}

#[test]
fn each_end_is_true_after_an_upgrade_by_dnf_ended_at_any_step() {
    after_each_step(Machine::dnf, |step| Fault::Job(2, step));
}

#[test]
fn each_end_is_true_after_a_removal_by_dnf_ended_at_any_step() {
    after_each_step(Machine::dnf, |step| Fault::Job(4, step));
}

#[test]
fn services_of_an_rpm_are_held_back_until_they_are_activated() {
    if std::env::var_os("WHARF_DNF5").is_some() {
        return; // no system that boots has it here
    }
    let mut machine = Machine::booted_with_dnf();
    for version in ["1", "2"] {
        // %post enables and starts it.
        succeeded(&machine.install(&service("acme", version, FOREVER)), false);
        assert_eq!(machine.running("acme"), [""; 0], "{version} is installed");
        succeeded(&machine.activate("acme"), true);
        assert_eq!(machine.running("acme"), [".service"], "{version}");
    }
    machine.reboot();
    assert!(machine.is_active("acme"));
    succeeded(&machine.deactivate("acme"), false);
    let outcome = machine.remove("acme");
    assert_eq!((outcome.failure, outcome.device), (None, None));
}

/// Kills wharf-job, the tool and the script, from the outside in; the first time only.
const KILL: &str =
    "if mkdir /killed 2>/dev/null; then kill -9 $(cut -d' ' -f4 /proc/$PPID/stat) $PPID $$; fi";

#[test]
fn a_job_of_which_every_process_was_killed_is_repaired_and_ends_true() {
    upgrade_while_each_script_kills(Machine::dnf, KILL, "2-1", |_, _| ());
}

#[test]
fn what_a_script_wrote_and_a_power_cut_took_is_written_again() {
    for step in ["dnf.installed", "job.applied"] {
        let (mut machine, stops) = stops_once(Machine::dnf(), step);
        machine.start_program(&stops, &[]);
        let deb = Deb::new("acme", "1").script(Script::Postinst, "echo on >/var/lib/lamp");
        let deb = deb.file("/usr/share/acme/lamp", "on");
        let (stage, _) = machine.sealed(&deb);
        let operation = applied_before_a_power_cut(&mut machine, stage);
        let lost = ["var/lib/lamp", "usr/share/acme/lamp"].map(|path| machine.root().join(path));
        for path in &lost {
            fs::write(path, "").unwrap();
        }
        machine.start();

        let outcome = machine.outcome(operation);
        assert_eq!((outcome.failure, outcome.attempts), (None, 2), "{step}");
        for path in &lost {
            assert_eq!(fs::read_to_string(path).unwrap().trim(), "on", "{step}");
        }
        assert!(outcome.note.is_some(), "{step}");
    }
}
