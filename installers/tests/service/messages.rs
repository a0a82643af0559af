//! Packages inside a message: the staged files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wharf_frames::{
    Cause, Step,
    installer::{InstallerReply, InstallerRequest},
};

use crate::machine::{Built, Deb, Machine, Signer, perform, refused};

fn folder(machine: &Machine) -> PathBuf {
    machine.root().join("var/lib/wharf-installer/staged")
}

/// The names of the staged files.
fn staged(machine: &Machine) -> Vec<String> {
    let entries = fs::read_dir(folder(machine)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The signed package, without its message.
fn bare(message: &Built) -> PathBuf {
    message.path.with_extension("")
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn the_package_inside_a_message_takes_its_place_and_is_installed() {
    let machine = Machine::simulated().started();
    let deb = Deb::new("acme", "1").padding(200_000);
    let message = machine.build_inside(&deb, Signer::Vendor);
    let stage = machine.stage_id();
    let InstallerReply::Sealed(package) = machine.put(stage, &message) else {
        panic!("not sealed");
    };
    let bare = fs::read(bare(&message)).unwrap();
    assert_eq!(package.length, bare.len() as u64);
    let certificate = machine.keys.fingerprint(Signer::Vendor);
    assert_eq!(package.signer.as_ref().unwrap().as_str(), certificate);
    let names = [stage.to_string(), format!("{stage}.verdict")];
    assert_eq!(staged(&machine), names);
    assert!(fs::read(folder(&machine).join(stage.to_string())).unwrap() == bare);
    assert_eq!(
        machine.seal(stage, &message),
        InstallerReply::Sealed(package),
        "asked again"
    );

    let operation = machine.operation();
    let outcome = machine.run(&perform(operation, Step::Install(stage)));
    assert_eq!(outcome.failure, None);
    assert_eq!(machine.effects(), ["install acme 1"]);
    assert_eq!(
        machine.ask(&InstallerRequest::Discard { stage }),
        InstallerReply::Done
    );
    assert_eq!(staged(&machine), [""; 0]);
}

#[test]
fn a_refused_message_leaves_its_verdict_alone() {
    let machine = Machine::simulated().started();
    let stage = machine.stage_id();
    let message = machine.build_inside(&Deb::new("acme", "1"), Signer::Stranger);
    let cause = refused(machine.put(stage, &message));
    assert_eq!(cause, Cause::UntrustedSigner);
    assert_eq!(staged(&machine), [format!("{stage}.verdict")]);
}

#[test]
fn message_and_package_have_to_fit_into_the_quota_together() {
    for missing in [1, 0] {
        let machine = Machine::simulated();
        let deb = Deb::new("acme", "1").padding(200_000);
        let message = machine.build_inside(&deb, Signer::Vendor);
        let both = length(&message.path) + length(&bare(&message));
        machine.policy(&format!("[quota]\nbytes = {}\n", both - missing));
        let machine = machine.started();
        let stage = machine.stage_id();
        let reply = machine.put(stage, &message);
        if missing == 0 {
            assert!(matches!(reply, InstallerReply::Sealed(_)), "{reply:?}");
        } else {
            assert_eq!(refused(reply), Cause::Quota);
            assert_eq!(staged(&machine), [format!("{stage}.verdict")]);
        }
    }
}

#[test]
fn what_an_interrupted_judgement_left_is_never_put_into_place() {
    let machine = Machine::simulated().started();
    let stage = machine.stage_id();
    let inner = folder(&machine).join(format!("{stage}.inner"));
    fs::write(&inner, "half a package").unwrap();
    let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
    let reply = machine.put(stage, &built);
    assert!(matches!(reply, InstallerReply::Sealed(_)), "{reply:?}");
    assert!(!inner.exists());
    assert!(
        fs::read(folder(&machine).join(stage.to_string())).unwrap()
            == fs::read(&built.path).unwrap()
    );
    fs::write(&inner, "of nobody").unwrap();
    assert_eq!(
        machine.ask(&InstallerRequest::Discard { stage }),
        InstallerReply::Done
    );
    assert_eq!(staged(&machine), [""; 0]);
}

#[test]
fn what_a_crash_left_beside_a_discarded_message_goes_and_beside_another_it_stays() {
    let machine = Machine::simulated().started();
    let (gone, there) = (machine.stage_id(), machine.stage_id());
    drop(machine.stage(there));
    let inner = |stage| folder(&machine).join(format!("{stage}.inner"));
    for stage in [gone, there] {
        fs::write(inner(stage), "half a package").unwrap();
    }
    drop(machine.stage(machine.stage_id()));
    assert!(!inner(gone).exists());
    assert!(inner(there).exists());
}
