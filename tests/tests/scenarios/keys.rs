//! Who may sign, in an administrator's hands: `wharfctl keys`, on files of root alone.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use wharf_tests::{
    folder::Folder,
    gateway::Gateway,
    keys::{Keys, Signer},
    package::Package,
};

/// A root with an installer's policy and an empty keyring; nothing runs.
struct Keyring {
    gateway: Gateway,
    keys: Keys,
    folder: Folder,
}

impl Keyring {
    fn empty() -> Self {
        let gateway = Gateway::simulated();
        let keys = Keys::new();
        let folder = Folder::new();
        Self {
            gateway,
            keys,
            folder,
        }
    }

    /// The code, and all that was printed.
    fn ask(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.gateway.command("wharfctl", &[]);
        let output = command.args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let (code, text) = self.ask(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], why: &str) {
        let (code, text) = self.ask(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {text}");
        assert!(text.contains(why), "no {why:?} in {text}");
    }

    fn certificate(&self, signer: Signer) -> String {
        let file = self.folder.join(format!("{}.asc", signer.name()));
        fs::write(&file, self.keys.certificate(signer)).unwrap();
        text(&file)
    }

    fn files(&self) -> Vec<PathBuf> {
        let folder = self.gateway.path().join("etc/wharfd/keys");
        let files = fs::read_dir(folder).into_iter().flatten();
        files.map(|entry| entry.unwrap().path()).collect()
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_certificate_is_added_listed_and_removed() {
    let ring = Keyring::empty();
    let fingerprint = ring.keys.fingerprint(Signer::Vendor);
    assert!(ring.done(&["keys", "list"]).starts_with("nobody may sign"));

    let added = ring.done(&["keys", "add", &ring.certificate(Signer::Vendor)]);
    for line in [
        format!("{fingerprint}\n"),
        "  user id   vendor@example.org\n".to_owned(),
        "  valid     for ever\n".to_owned(),
        "  may sign  what wharfd installed before, and nothing new.".to_owned(),
        format!("fingerprint = \"{fingerprint}\"\n"),
    ] {
        assert!(added.contains(&line), "no {line:?} in {added}");
    }
    assert_eq!(ring.done(&["keys", "list"]), added);
    assert_eq!(
        ring.done(&["keys", "add", &ring.certificate(Signer::Vendor)]),
        added
    );
    assert_eq!(ring.files().len(), 1, "added once more, it is there once");

    let lower: String = fingerprint.to_lowercase();
    ring.done(&["keys", "remove", &lower]);
    assert_eq!(ring.files(), Vec::<PathBuf>::new());
    ring.refused(
        &["keys", "remove", &lower],
        "no certificate of the keyring has this fingerprint",
    );
}

#[test]
fn what_each_certificate_may_sign_and_until_when_is_told() {
    let ring = Keyring::empty();
    ring.keys.trust(Signer::Vendor, &ring.gateway.path());
    ring.done(&["keys", "add", &ring.certificate(Signer::Expired)]);
    ring.done(&["keys", "add", &ring.certificate(Signer::Revoked)]);
    let listed: Value = serde_json::from_str(&ring.done(&["--json", "keys", "list"])).unwrap();
    let of = |signer: Signer| {
        let fingerprint = ring.keys.fingerprint(signer);
        let mut keys = listed.as_array().unwrap().iter();
        keys.find(|key| key["fingerprint"] == fingerprint)
            .unwrap()
            .clone()
    };
    assert_eq!(of(Signer::Vendor)["packages"], serde_json::json!(["*"]));
    assert_eq!(of(Signer::Vendor)["unusable"], Value::Null);
    assert_eq!(of(Signer::Expired)["packages"], Value::Null);
    let expired = of(Signer::Expired)["unusable"].to_string();
    assert!(expired.contains("expired on"), "{expired}");
    assert_eq!(of(Signer::Revoked)["unusable"], "it was revoked");
}

#[test]
fn what_is_no_certificate_or_brings_a_secret_key_is_not_added() {
    let ring = Keyring::empty();
    let file = ring.folder.join("file");
    fs::write(&file, "no certificate").unwrap();
    ring.refused(
        &["keys", "add", &text(&file)],
        "is not an OpenPGP certificate",
    );

    let mut gpg = std::process::Command::new("gpg");
    gpg.arg("--homedir").arg(ring.keys.home());
    gpg.args([
        "--batch",
        "--armor",
        "--export-secret-keys",
        "vendor@example.org",
    ]);
    fs::write(&file, gpg.output().unwrap().stdout).unwrap();
    ring.refused(&["keys", "add", &text(&file)], "it holds a secret key");

    fs::write(&file, vec![0; 97 * 1024]).unwrap();
    ring.refused(&["keys", "add", &text(&file)], "it is longer than");
    assert_eq!(ring.files(), Vec::<PathBuf>::new());
}

#[test]
fn check_says_who_signed_a_package_and_whether_it_would_be_installed() {
    let ring = Keyring::empty();
    let package = Package::new("hello", "1.0-1").build(ring.folder.path());
    let check = ["keys", "check", &text(&package)];
    ring.refused(
        &check,
        "it would be refused: there is no signature beside the package, and none in it",
    );

    ring.keys.sign_beside(Signer::Vendor, &package);
    ring.refused(&check, "whose certificate is not in the keyring");

    let fingerprint = ring.keys.fingerprint(Signer::Vendor);
    ring.keys.trust(Signer::Vendor, &ring.gateway.path());
    assert_eq!(
        ring.done(&check),
        format!("hello 1.0-1 is signed by {fingerprint}\nit would be installed\n")
    );
}

#[test]
fn the_keyring_is_for_root_alone() {
    let ring = Keyring::empty();
    let mut command = ring.gateway.command("wharfctl", &[]);
    let output = command.args(["keys", "list"]).uid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
}
