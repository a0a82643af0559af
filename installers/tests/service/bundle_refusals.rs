//! Bundles that are refused: by their bytes, their signers, their names and the device.

use std::{fs, path::Path};

use wharf_frames::{Cause, Failure, Step, installer::InstallerReply};
use wharf_tests::bundle::Bundle;

use crate::{
    bundles::shown,
    machine::{Deb, Machine, Signer, perform},
};

/// Seals a bundle by the vendor, which must be refused. Only the verdict is left of it.
#[track_caller]
fn refused(machine: &Machine, bundle: &Bundle) -> Failure {
    refused_from(machine, bundle, Signer::Vendor)
}

#[track_caller]
fn refused_from(machine: &Machine, bundle: &Bundle, signer: Signer) -> Failure {
    let before = machine.staged_files();
    let stage = machine.stage_id();
    let failure = match machine.put(stage, &machine.signed(bundle, signer)) {
        InstallerReply::Refused(failure) => failure,
        other => panic!("not refused: {other:?}"),
    };
    let mut left = machine.staged_files();
    left.retain(|name| !before.contains(name));
    assert_eq!(left, [format!("{stage}.verdict")], "{failure}");
    failure
}

#[test]
fn a_bundle_with_other_packages_than_its_manifest_says_is_refused_and_nothing_of_it_is_left() {
    let machine = Machine::simulated().started();
    let [core, ui] = ["core", "ui"].map(|package| machine.file(&Deb::new(package, "1")));
    let other = machine.packages.join("other");
    fs::write(&other, "other").unwrap();
    let stack = || Bundle::new("stack", "1").install(&core);
    let zeros = "0".repeat(64);
    for (what, bundle, causes) in [
        (
            "another digest of the last package",
            stack().install_as(&ui, &zeros),
            [Cause::WrongDigest, Cause::WrongDigest],
        ),
        (
            "another digest of the first package",
            Bundle::new("stack", "1")
                .install_as(&core, &zeros)
                .install(&ui),
            [Cause::WrongDigest, Cause::WrongDigest],
        ),
        (
            "a file that no step has",
            stack().file(&ui),
            [Cause::Malformed, Cause::Malformed],
        ),
        (
            "a file that is no package",
            stack().install(&other),
            [Cause::WrongKind, Cause::Malformed],
        ),
    ] {
        let failure = refused(&machine, &bundle);
        assert!(causes.contains(&failure.cause), "{what}: {failure:?}");
    }
    assert_eq!(machine.effects(), [""; 0]);
}

#[test]
fn each_name_in_a_bundle_is_there_once_and_no_bundle_has_the_name_of_a_package() {
    let machine = Machine::simulated().started();
    let (core, twin) = (
        machine.file(&Deb::new("core", "1")),
        machine.packages.join("twin"),
    );
    fs::copy(machine.file(&Deb::new("core", "2")), &twin).unwrap();
    let named_as_it = machine.file(&Deb::new("stack", "1"));
    let stack = || Bundle::new("stack", "1").install(&core);
    assert_eq!(machine.install(&Deb::new("lamp", "1")).failure, None);
    let inner = Bundle::new("inner", "1").install(&core);
    let inner = machine.signed(&inner, Signer::Vendor).path;
    let message = machine.keys.sign_around(Signer::Vendor, &core);
    for (what, bundle, cause) in [
        (
            "one package twice",
            stack().install(&twin),
            Cause::Malformed,
        ),
        (
            "a package with its name",
            stack().install(&named_as_it),
            Cause::Malformed,
        ),
        (
            "a package that it removes",
            stack().remove("core"),
            Cause::Malformed,
        ),
        (
            "a message in it",
            stack().install(&message),
            Cause::WrongKind,
        ),
        (
            "a bundle in it",
            Bundle::new("outer", "1").install(&inner),
            Cause::WrongKind,
        ),
        (
            "the name of a package",
            Bundle::new("lamp", "2").install(&core),
            Cause::Policy,
        ),
    ] {
        let failure = refused(&machine, &bundle);
        assert_eq!(failure.cause, cause, "{what}: {failure}");
    }
    assert_eq!(machine.install_bundle(&stack()).failure, None);
    let package = machine.build(&Deb::new("stack", "2"), Some(Signer::Vendor));
    let reply = machine.put(machine.stage_id(), &package);
    assert!(
        matches!(&reply, InstallerReply::Refused(failure) if failure.cause == Cause::Policy),
        "{reply:?}"
    );
}

/// Only the vendor's other key may sign `core`.
fn scopes(machine: &Machine) {
    let keys = &machine.keys;
    for signer in [Signer::Vendor, Signer::VendorRsa] {
        keys.add_to_keyring(signer, &machine.root());
    }
    let [vendor, other] =
        [Signer::Vendor, Signer::VendorRsa].map(|signer| keys.fingerprint(signer));
    let policy = format!(
        "backend = \"simulated\"\n\
         [[key]]\nfingerprint = \"{vendor}\"\npackages = [\"stack\", \"ui\"]\n\
         [[key]]\nfingerprint = \"{other}\"\npackages = [\"core\", \"old\"]\n"
    );
    fs::write(machine.root().join("etc/wharfd/installer.toml"), policy).unwrap();
}

#[test]
fn each_package_needs_a_signer_who_may_sign_it_in_the_package_or_around_the_bundle() {
    let machine = Machine::simulated().started();
    scopes(&machine);
    let ui = machine.file(&Deb::new("ui", "1"));
    let core = |signer: Option<Signer>| {
        let file = machine.file(&Deb::new("core", "1"));
        if let Some(signer) = signer {
            machine.keys.sign_inside(signer, &file);
        }
        file
    };
    let stack = |core: &Path| Bundle::new("stack", "1").install(&ui).install(core);
    // The bundle's signer may not sign core.
    for inside in [None, Some(Signer::Stranger), Some(Signer::Vendor)] {
        let failure = refused(&machine, &stack(&core(inside)));
        assert_eq!(failure.cause, Cause::OutOfScope, "{inside:?}: {failure}");
        assert!(
            failure.detail.as_str().contains("may not sign core"),
            "{failure}"
        );
    }
    let failure = refused(&machine, &stack(&core(Some(Signer::Revoked))));
    assert!(
        matches!(failure.cause, Cause::Revoked | Cause::OutOfScope),
        "{failure:?}"
    );
    // Nor may core's signer make a bundle.
    let bundle = stack(&core(Some(Signer::VendorRsa)));
    let failure = refused_from(&machine, &bundle, Signer::VendorRsa);
    assert_eq!(failure.cause, Cause::OutOfScope, "{failure}");
    let failure = refused_from(&machine, &bundle, Signer::Stranger);
    assert_eq!(failure.cause, Cause::UntrustedSigner, "{failure}");

    let outcome = machine.install_bundle(&bundle);
    assert_eq!(outcome.failure, None);
    assert_eq!(shown(outcome.device.as_ref()), "stack 1: ui 1, core 1");
}

#[test]
fn the_signer_of_a_bundle_removes_only_what_it_may_sign_and_what_wharfd_installed() {
    let machine = Machine::simulated().started();
    assert_eq!(machine.install(&Deb::new("old", "1")).failure, None);
    fs::write(
        machine
            .root()
            .join("var/lib/wharf-simulated/foreign_version"),
        "1",
    )
    .unwrap();
    let core = machine.file(&Deb::new("ui", "1"));
    scopes(&machine);
    for (removed, cause) in [("old", Cause::OutOfScope), ("foreign", Cause::NotManaged)] {
        let bundle = Bundle::new("stack", "1").install(&core).remove(removed);
        let (stage, _) = machine.sealed_bundle(&bundle);
        let reply = machine.ask(&perform(machine.operation(), Step::Install(stage)));
        assert!(
            matches!(&reply, InstallerReply::Refused(failure) if failure.cause == cause),
            "{removed}: {reply:?}"
        );
    }
    assert_eq!(machine.effects(), ["install old 1"]);
}

#[test]
fn what_a_bundle_needs_is_checked_before_anything_is_changed() {
    let machine = Machine::simulated().started();
    let bundle = |version: &str, needs: &str| {
        let core = machine.file(&Deb::new("core", version));
        Bundle::new("stack", version).lines(needs).install(&core)
    };
    let needs = |needs: &str| format!("[needs]\n{needs}");
    // A first installation upgrades nothing.
    let first = bundle("1", &needs("upgrades-from = [\">= 9\"]"));
    assert_eq!(machine.install_bundle(&first).failure, None);
    for (what, version, lines, cause, told) in [
        (
            "too old",
            "3",
            needs("upgrades-from = [\">= 2\"]"),
            Cause::Policy,
            "stack 3 upgrades from >= 2, and here is 1",
        ),
        (
            "too new",
            "3",
            needs("upgrades-from = [\">= 0.5\", \"<< 1\"]"),
            Cause::Policy,
            "stack 3 upgrades from << 1, and here is 1",
        ),
        (
            "no room",
            "3",
            needs(&format!("free = {}", i64::MAX)),
            Cause::DiskFull,
            "free bytes",
        ),
    ] {
        let (stage, _) = machine.sealed_bundle(&bundle(version, &lines));
        let reply = machine.ask(&perform(machine.operation(), Step::Install(stage)));
        let InstallerReply::Refused(failure) = reply else {
            panic!("{what}: {reply:?}");
        };
        assert_eq!(failure.cause, cause, "{what}: {failure}");
        assert!(failure.detail.as_str().contains(told), "{what}: {failure}");
    }
    let failure = refused(&machine, &bundle("3", "architecture = \"vax\""));
    assert_eq!(failure.cause, Cause::WrongArchitecture, "{failure}");
    assert_eq!(machine.effects(), ["install core 1"]);

    let met = needs("upgrades-from = [\">= 1\", \"<< 3\"]\nfree = 1");
    let outcome = machine.install_bundle(&bundle("3", &met));
    assert_eq!(outcome.failure, None);
    assert_eq!(shown(outcome.device.as_ref()), "stack 3: core 3");
    // An older version is a downgrade.
    let (stage, _) = machine.sealed_bundle(&bundle("2", ""));
    let reply = machine.ask(&perform(machine.operation(), Step::Install(stage)));
    assert!(
        matches!(&reply, InstallerReply::Refused(failure) if failure.cause == Cause::Downgrade),
        "{reply:?}"
    );
}
