//! Jobs with opkg, from the sealed .ipk to the outcome, where this machine has an opkg.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use wharf_frames::{
    Cause, Step,
    installer::{InstallerReply, InstallerRequest},
};
use wharf_tests::command::output_of;

use crate::{
    crash::{Fault, after_each_step, mount_proc, writes_again_what_a_power_cut_took},
    machine::{Deb, Machine, Script, Signer, perform, place_script, refused},
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
pub(crate) const KILL: &str =
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

/// wharf-inspect, of which each run takes the next number as a folder in `runs`. The run whose number is in the file
/// `killed` ends by a signal.
fn inspect_that_is_killed(programs: &Path, runs: &Path) {
    fs::create_dir(runs).unwrap();
    fs::set_permissions(runs, Permissions::from_mode(0o777)).unwrap();
    let inspect = programs.join("wharf-inspect");
    let sound = programs.join("sound");
    fs::rename(&inspect, &sound).unwrap();
    let (runs, sound) = (runs.display(), sound.display());
    let script = format!(
        "#!/bin/sh\nrun=1\nwhile ! mkdir {runs}/$run 2>/dev/null; do run=$((run + 1)); done\n\
         [ \"$(cat {runs}/killed 2>/dev/null)\" = $run ] && kill -KILL $$\nexec {sound}\n"
    );
    place_script(&script, &inspect);
}

/// The administrator's installation of the package before wharfd's, in a shell of the root.
const BEFORE: [Option<&str>; 3] = [
    None,
    Some("opkg install /tmp/it"),
    Some("opkg install /tmp/it && echo changed >/usr/share/acme/version"),
];

#[test]
fn a_wharf_inspect_that_is_killed_in_a_job_puts_the_work_off_and_ends_no_operation() {
    for before in BEFORE {
        let Some(mut machine) = Machine::opkg() else {
            return;
        };
        let (programs, runs) = (machine.programs(), machine.root().join("runs"));
        inspect_that_is_killed(&programs, &runs);
        machine.start_program(&programs.join("wharf-installer"), &[]);
        let begun = || fs::read_dir(&runs).unwrap().count();
        for number in 1.. {
            let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
            if let Some(command) = before {
                fs::copy(&built.path, machine.root().join("tmp/it")).unwrap();
                output_of(machine.place.opkg().command("sh").args(["-c", command]));
            }
            let stage = machine.stage_id();
            machine.put(stage, &built);
            let _ = fs::remove_file(runs.join("killed"));
            let killed = begun() + number;
            fs::write(runs.join("killed"), killed.to_string()).unwrap();
            let operation = machine.operation();
            let request = perform(operation, Step::Install(stage));
            let accepted = [machine.ask(&request), machine.ask(&request)];
            assert!(accepted.contains(&InstallerReply::Accepted), "{accepted:?}");
            let outcome = machine.outcome(operation);
            let is_killed = begun() > killed;
            let what = format!("{before:?}, run {number} of the job");
            assert_eq!(outcome.failure, None, "{what}");
            assert!(
                outcome.attempts <= 2,
                "{what}: {} attempts",
                outcome.attempts
            );
            assert_eq!(machine.version("acme").as_deref(), Some("1"), "{what}");
            assert_eq!(machine.remove("acme").failure, None, "{what}");
            if !is_killed {
                assert!(number > 2, "{what}: it is asked twice at least");
                break;
            }
        }
    }
}
