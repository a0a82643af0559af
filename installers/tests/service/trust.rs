//! Signers and their packages, judged again before each use of a sealed file.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use sequoia_openpgp::{
    Cert,
    packet::signature::SignatureBuilder,
    parse::Parse,
    policy::StandardPolicy,
    serialize::stream::{Message, Signer as Signing},
    types::SignatureType,
};
use wharf_frames::{
    Cause, Failure, Step, encode,
    installer::{InstallerReply, InstallerRequest},
};
use wharf_tests::command::output_of;

use crate::jobs::apt_get_install;
use crate::machine::{Built, Deb, Machine, Script, Signer, perform, place_script};

/// Replaces the vendor's certificate in the keyring with the one of its GnuPG home.
fn publish(machine: &Machine) {
    let file = machine.root().join("etc/wharfd/keys/vendor.asc");
    fs::write(file, machine.keys.unspoiled(Signer::Vendor)).unwrap();
}

#[track_caller]
fn refusal(reply: InstallerReply) -> Failure {
    match reply {
        InstallerReply::Refused(failure) => failure,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_file_signed_by_a_subkey_that_was_revoked_since_is_not_installed() {
    let machine = Machine::simulated().started();
    let subkey = machine.keys.add_subkey(Signer::Vendor);
    publish(&machine);
    let gate = machine.gate();
    let (first, _) = machine.accepted(&Deb::new("first", "1"));
    let at_work = gate.wait();
    let (accepted, _) = machine.accepted(&Deb::new("acme", "1"));
    let (sealed, package) = machine.sealed(&Deb::new("acme", "2"));
    let certificate = machine.keys.fingerprint(Signer::Vendor);
    assert_eq!(package.signer.unwrap().as_str(), certificate);

    machine.keys.revoke_subkey(Signer::Vendor);
    publish(&machine);
    let failure = refusal(machine.ask(&perform(machine.operation(), Step::Install(sealed))));
    assert_eq!(failure.cause, Cause::Policy);
    for word in [&*subkey, &*certificate, "was revoked"] {
        assert!(failure.detail.as_str().contains(word), "{failure}: {word}");
    }
    gate.open(at_work);
    assert_eq!(machine.outcome(first).failure, None);
    let failure = machine.outcome(accepted).failure;
    assert_eq!(failure.map(|failure| failure.cause), Some(Cause::Policy));
    assert_eq!(machine.effects(), ["install first 1"]);
}

#[test]
fn a_certificate_that_policy_does_not_mention_signs_only_what_it_signed_last() {
    let machine = Machine::simulated().started();
    machine.install(&Deb::new("acme", "1"));
    let signer = Signer::VendorRsa;
    machine.keys.add_to_keyring(signer, &machine.root());
    let seal = |version| {
        let built = machine.build(&Deb::new("acme", version), Some(signer));
        let stage = machine.stage_id();
        (stage, machine.put(stage, &built))
    };
    let install = |stage| {
        let operation = machine.operation();
        machine.run(&perform(operation, Step::Install(stage)))
    };
    let failure = refusal(seal("2").1);
    assert_eq!(failure.cause, Cause::OutOfScope);
    let [other, last] = [signer, Signer::Vendor].map(|one| machine.keys.fingerprint(one));
    let command = "`wharfctl keys add FILE --allow acme`";
    for word in [command, &*other, &*last] {
        assert!(failure.detail.as_str().contains(word), "{failure}: {word}");
    }

    // The scope allows the change of signer once. From then on the ledger has the new one.
    let policy = machine.root().join("etc/wharfd/installer.toml");
    let before = fs::read_to_string(&policy).unwrap();
    machine.policy(&format!(
        "\n[[key]]\nfingerprint = \"{other}\"\npackages = [\"acme\"]\n"
    ));
    let (stage, reply) = seal("2");
    assert!(matches!(reply, InstallerReply::Sealed(_)), "{reply:?}");
    assert_eq!(install(stage).failure, None);
    fs::write(&policy, before).unwrap();
    let (stage, reply) = seal("3");
    assert!(matches!(reply, InstallerReply::Sealed(_)), "{reply:?}");
    assert_eq!(install(stage).failure, None);
}

#[test]
fn a_version_that_was_installed_by_hand_leaves_the_package_to_its_signer() {
    let machine = Machine::debian().started();
    assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
    apt_get_install(&machine, &Deb::new("acme", "2"));
    assert_eq!(machine.remove("acme").failure, None);
    machine
        .keys
        .add_to_keyring(Signer::VendorRsa, &machine.root());
    let policy = machine.root().join("etc/wharfd/installer.toml");
    fs::write(policy, "").unwrap();
    let seal = |signer| {
        let built = machine.build(&Deb::new("acme", "3"), Some(signer));
        machine.put(machine.stage_id(), &built)
    };
    let reply = seal(Signer::Vendor);
    assert!(matches!(reply, InstallerReply::Sealed(_)), "{reply:?}");
    let failure = refusal(seal(Signer::VendorRsa));
    assert_eq!(failure.cause, Cause::OutOfScope);
}

/// A wharf-inspect that only notes whether another one runs beside it.
fn inspector_that_counts(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#!/bin/sh\nmkdir {folder}/busy || touch {folder}/beside\n\
         while test ! -e {folder}/all; do sleep 0.01; done\n\
         sleep 0.2\nrmdir {folder}/busy\nkill -KILL $$\n"
    )
}

#[test]
fn one_file_is_judged_at_a_time() {
    let mut machine = Machine::simulated();
    let programs = machine.programs();
    let notes = machine.root().join("notes");
    fs::create_dir(&notes).unwrap();
    fs::set_permissions(&notes, fs::Permissions::from_mode(0o777)).unwrap();
    place_script(
        &inspector_that_counts(&notes),
        &programs.join("wharf-inspect"),
    );
    machine.start_program(&programs.join("wharf-installer"), &[]);
    let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
    let bytes = fs::read(&built.path).unwrap();
    let asked = [(); 4].map(|()| {
        let (stage, client) = (machine.stage_id(), machine.wharfd());
        machine.stage(stage).write_all(&bytes).unwrap();
        let signature = built.signature.clone().map(Into::into);
        let request = InstallerRequest::Seal { stage, signature };
        client.send(&encode(&request).unwrap(), &[]);
        client
    });
    fs::write(notes.join("all"), "").unwrap();
    for client in asked {
        let reply = client.receive().expect("an answer").0;
        assert!(matches!(reply, InstallerReply::NotNow(_)), "{reply:?}");
    }
    assert!(!notes.join("beside").exists(), "two ran at once");
}

/// Packs a package again without compression, so that its scripts are readable in the file.
fn uncompressed(machine: &Machine, package: &Path) -> PathBuf {
    let tree = machine.packages.join("tree");
    output_of(Command::new("dpkg-deb").arg("-R").args([package, &*tree]));
    let plain = machine.packages.join("plain.deb");
    output_of(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "--uniform-compression", "-Znone"])
            .arg("--build")
            .args([&tree, &plain]),
    );
    plain
}

/// Signs with sequoia, since only gpg skips NUL in text mode.
fn sign_as_text(machine: &Machine, bytes: &[u8]) -> Vec<u8> {
    let cert = Cert::from_bytes(&machine.keys.secret(Signer::Vendor)).unwrap();
    let policy = StandardPolicy::new();
    let keys = cert.keys().secret().with_policy(&policy, None);
    let key = keys.for_signing().next().unwrap().key().clone();
    let mut signature = Vec::new();
    let template = SignatureBuilder::new(SignatureType::Text);
    let message = Message::new(&mut signature);
    let signing = Signing::with_template(message, key.into_keypair().unwrap(), template);
    let mut signing = signing.unwrap().detached().build().unwrap();
    signing.write_all(bytes).unwrap();
    signing.finalize().unwrap();
    signature
}

/// A text-mode signature does not tell CR, LF and CR LF apart (RFC 9580 5.2.1.2). A comment that ends with CR swallows the
/// command in the next line.
#[test]
fn what_a_text_mode_signature_lets_change_runs_no_script() {
    let machine = Machine::debian().started();
    let comment = "# only where it is allowed";
    let script = format!("{comment}\ntest -e /nowhere\necho > /marker");
    let package = Deb::new("acme", "1").script(Script::Postinst, &script);
    let path = uncompressed(&machine, &package.build(machine.packages.path()));
    let mut bytes = fs::read(&path).unwrap();
    let signature = Some(sign_as_text(&machine, &bytes));
    let line = format!("{comment}\n");
    let mut lines = bytes.windows(line.len());
    let at = lines.position(|bytes| bytes == line.as_bytes()).unwrap();
    bytes[at + comment.len()] = b'\r';
    fs::write(&path, bytes).unwrap();

    let stage = machine.stage_id();
    let reply = machine.put(stage, &Built { path, signature });
    if let InstallerReply::Sealed(_) = reply {
        let operation = machine.operation();
        machine.run(&perform(operation, Step::Install(stage)));
    }
    let ran = machine.root().join("marker").exists();
    assert!(!ran, "a line of the script vanished, and it ran as root");
    let failure = refusal(reply);
    assert_eq!(failure.cause, Cause::BadSignature);
    assert!(failure.detail.as_str().contains("text mode"), "{failure}");
}
