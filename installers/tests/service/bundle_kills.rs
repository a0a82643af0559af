//! Exits after each step of wharf-installer and of wharf-job while a bundle is sealed, installed, upgraded and removed.

use std::fs;

use wharf_frames::installer::InstallerRequest;
use wharf_frames::{Step, installer::InstallerReply};

use crate::{
    bundles::shown,
    crash::{Fault, Run, lines},
    machine::{Deb, Machine, Script, Signer, name, perform},
};

/// Installs a bundle of three, upgrades it to one that drops a package and adds one, and removes it. Returns whether the exit
/// was reached.
fn all_operations(mut run: Run) -> bool {
    let noted = |package: &str, version: &str| {
        let note = format!("echo {package} {version} >>/var/log/acme-effects");
        Deb::new(package, version).script(Script::Postinst, &note)
    };
    let [core, ui, old] = ["core", "ui", "old"].map(|package| noted(package, "1"));
    let [ui2, new] = [noted("ui", "2"), noted("new", "1")];
    let machine = &run.machine;
    let bundles = [
        machine.bundle_of("stack", "1", &[&core, &ui, &old]),
        machine.bundle_of("stack", "2", &[&core, &ui2, &new]),
    ];
    let bundles = bundles.map(|bundle| machine.signed(&bundle, Signer::Vendor));
    let expected = [
        "stack 1: core 1, ui 1, old 1",
        "stack 2: core 1, ui 2, new 1",
    ];
    for (bundle, expected) in bundles.iter().zip(expected) {
        let (stage, operation) = (run.machine.stage_id(), run.machine.operation());
        run.seal(stage, bundle);
        let outcome = run.job(operation, &perform(operation, Step::Install(stage)));
        assert_eq!(outcome.failure, None);
        assert_eq!(shown(outcome.device.as_ref()), expected);
        let discard = InstallerRequest::Discard { stage };
        assert_eq!(run.ask(&discard).0, InstallerReply::Done);
    }
    assert_eq!(run.machine.version("old"), None);
    let operation = run.machine.operation();
    let uninstall = perform(operation, Step::Uninstall(name("stack")));
    let outcome = run.job(operation, &uninstall);
    assert_eq!((outcome.failure, outcome.device), (None, None));
    // Leftovers of an exit beside a file that is gone go with the next file that comes.
    let stage = run.machine.stage_id();
    let (size, keep) = (None, 0);
    drop(run.ask(&InstallerRequest::Stage { stage, keep, size }));
    let discard = InstallerRequest::Discard { stage };
    assert_eq!(run.ask(&discard).0, InstallerReply::Done);
    assert_eq!(run.machine.staged_files(), [""; 0]);
    is_done_once(&run.machine);
    run.was_reached()
}

fn is_done_once(machine: &Machine) {
    let root = machine.root();
    if matches!(machine.place, crate::machine::Place::Scratch(_)) {
        let effects = machine.effects();
        let expected = [
            "install core 1",
            "install ui 1",
            "install old 1",
            "install ui 2",
            "install new 1",
            "remove old",
            "remove new",
            "remove ui",
            "remove core",
        ];
        assert_eq!(effects, expected);
        return;
    }
    let mut ran = lines(&root.join("var/log/acme-effects"));
    ran.sort();
    assert_eq!(ran, ["core 1", "new 1", "old 1", "ui 1", "ui 2"]);
    let debian = machine.place.debian();
    let audit = debian.command("dpkg").arg("--audit").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&audit.stdout), "");
    assert!(!fs::exists(root.join("usr/share/core")).unwrap());
}

fn after_each_step(machine: fn() -> Machine, fault: fn(u32) -> Fault) {
    let reached = |step: &u32| all_operations(Run::new(machine(), fault(*step)));
    let steps = (1..200).take_while(reached).count();
    assert!(steps >= 6, "only {steps} steps were there to exit at");
}

#[test]
fn a_bundle_is_whole_after_an_exit_at_any_step_of_wharf_installer_or_of_its_removal() {
    after_each_step(Machine::simulated, Fault::Installer);
    after_each_step(Machine::simulated, |step| Fault::Job(3, step));
}

#[test]
fn a_bundle_is_whole_after_an_exit_at_any_step_of_its_installation_by_apt() {
    after_each_step(Machine::debian, |step| Fault::Job(1, step));
}

#[test]
fn a_bundle_is_whole_after_an_exit_at_any_step_of_its_upgrade_by_apt() {
    after_each_step(Machine::debian, |step| Fault::Job(2, step));
}
