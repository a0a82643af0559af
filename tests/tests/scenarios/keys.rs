//! `wharfctl keys`: the certificates that may sign, managed by an administrator as files of root.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
};

use serde_json::Value;
use wharf_tests::{
    folder::Folder,
    gateway::Gateway,
    keys::{GnupgKeys, Signer},
    package::Package,
};

/// A root with an installer's policy and an empty keyring, without running programs.
struct Keyring {
    gateway: Gateway,
    keys: GnupgKeys,
    folder: Folder,
}

impl Keyring {
    fn empty() -> Self {
        let gateway = Gateway::simulated();
        let keys = GnupgKeys::new();
        let folder = Folder::new();
        Self {
            gateway,
            keys,
            folder,
        }
    }

    fn build(&self, package: &Package) -> PathBuf {
        self.gateway.build(package, self.folder.path())
    }

    /// The exit code, and all output.
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
        let name = format!("{}.asc", signer.name());
        self.file(&name, self.keys.certificate(signer))
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let file = self.folder.join(name);
        fs::write(&file, bytes).unwrap();
        text(&file)
    }

    /// A file with this many certificates: a public key with another creation time is another one (RFC 9580 5.5.4.2).
    fn many(&self, count: u8) -> Vec<u8> {
        let packets = self.keys.unspoiled(Signer::Vendor);
        let key = &packets[..2 + usize::from(packets[1])];
        let at = |second: u8| [&key[..6], &[second], &key[7..]].concat();
        (0..count).flat_map(at).collect()
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
        "  may sign  the packages that it signed when wharfd installed them last.".to_owned(),
        format!(
            "wharfctl keys add {} --allow PATTERN\n",
            ring.files()[0].display()
        ),
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
fn a_certificate_is_added_with_what_it_may_sign_and_the_rest_of_the_policy_stays_as_it_was() {
    let ring = Keyring::empty();
    let policy = ring.gateway.path().join("etc/wharfd/installer.toml");
    let before = "# ours\nbackend = \"simulated\" # none\n\n[quota]\nfiles = 9\n";
    ring.gateway.write("etc/wharfd/installer.toml", before);
    let file = ring.certificate(Signer::Vendor);
    let add = ["keys", "add", &file, "--allow", "acme-*", "edge"];
    let fingerprint = ring.keys.fingerprint(Signer::Vendor);
    let scope =
        format!("[[key]]\nfingerprint = \"{fingerprint}\"\npackages = [\"acme-*\", \"edge\"]\n");

    let added = ring.done(&add);
    let shown = format!("into {}:\n{scope}\n{fingerprint}\n", policy.display());
    assert!(added.starts_with(&shown), "{added}");
    assert!(added.contains("  may sign  acme-* edge\n"), "{added}");
    let after = format!("{before}\n{scope}");
    assert_eq!(fs::read_to_string(&policy).unwrap(), after);
    let package = ring.build(&Package::new("acme-agent", "1.0.1"));
    ring.keys.sign_beside(Signer::Vendor, &package);
    let judged = ring.done(&["keys", "check", &text(&package)]);
    assert!(judged.contains("it would be installed"), "{judged}");

    // The keyring has all of them. Another scope is added with the keyring's own file.
    let added = ring.done(&add);
    assert!(added.starts_with(&fingerprint), "{added}");
    let own = text(&ring.files()[0]);
    ring.done(&["keys", "add", &own, "--allow", "third"]);
    let written = fs::read_to_string(&policy).unwrap();
    assert!(
        written.starts_with(&after) && written.ends_with("packages = [\"third\"]\n"),
        "{written}"
    );
    assert_eq!(ring.files().len(), 1);
}

#[test]
fn a_file_that_the_keyring_passes_over_is_added_and_one_that_it_has_is_not_counted_again() {
    let ring = Keyring::empty();
    let folder = ring.gateway.path().join("etc/wharfd/keys");
    fs::create_dir_all(&folder).unwrap();
    let copy = folder.join("new.pgp~");
    fs::write(&copy, ring.keys.certificate(Signer::Vendor)).unwrap();
    ring.done(&["keys", "add", &text(&copy)]);
    let fingerprint = ring.keys.fingerprint(Signer::Vendor);
    let own = folder.join(format!("{fingerprint}.pgp"));
    assert!(own.exists(), "{:?}", ring.files());
    assert!(ring.done(&["keys", "list"]).starts_with(&fingerprint));

    for number in 1..64 {
        fs::copy(&own, folder.join(format!("{number}.pgp"))).unwrap();
    }
    let other = ring.certificate(Signer::Stranger);
    ring.refused(&["keys", "add", &other], "the keyring is full");
    let allowed = ring.done(&["keys", "add", &text(&own), "--allow", "edge"]);
    assert!(allowed.contains("  may sign  edge\n"), "{allowed}");
}

#[test]
fn what_cannot_be_allowed_changes_neither_policy_nor_keyring() {
    let ring = Keyring::empty();
    let policy = ring.gateway.path().join("etc/wharfd/installer.toml");
    let file = ring.certificate(Signer::Vendor);
    let closed = "backend = \"simulated\"\nkey = []\n";
    ring.gateway.write("etc/wharfd/installer.toml", closed);
    ring.refused(
        &["keys", "add", &file, "--allow", "edge"],
        "installer.toml, line ",
    );
    ring.refused(
        &["keys", "add", &file, "--allow", "two words"],
        "--allow \"two words\": expected the name",
    );
    assert_eq!(fs::read_to_string(&policy).unwrap(), closed);
    assert_eq!(ring.files(), Vec::<PathBuf>::new());
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
fn what_all_files_of_a_certificate_say_together_is_listed_as_it_is_judged() {
    let ring = Keyring::empty();
    let package = ring.build(&Package::new("hello", "1.0.1"));
    // A signature is judged by its certificate at the time of signing, too.
    ring.keys
        .sign_beside_at(Signer::Expired, &package, "20250101T120000");
    let check = ["keys", "check", &text(&package)];
    let by_hand = ring.keys.trust(Signer::Expired, &ring.gateway.path());
    assert!(ring.done(&["keys", "list"]).contains("NO: expired on"));
    ring.refused(&check, "expired on");

    let renewed = ring.file("renewed", ring.keys.renewed(Signer::Expired));
    let added = ring.done(&["keys", "add", &renewed]);
    let fingerprint = ring.keys.fingerprint(Signer::Expired);
    let taken = by_hand.with_file_name(format!("{fingerprint}.pgp"));
    for line in [
        format!("  file      {}\n", text(&taken)),
        format!("            {}\n", text(&by_hand)),
        "  valid     for ever\n".to_owned(),
    ] {
        assert!(added.contains(&line), "no {line:?} in {added}");
    }
    assert_eq!(ring.done(&["keys", "list"]), added);
    ring.done(&check);
    ring.refused(&["doctor"], "1 in the keyring, each valid");

    ring.done(&["keys", "remove", &fingerprint]);
    assert_eq!(ring.files(), Vec::<PathBuf>::new());
}

#[test]
fn a_revocation_that_is_added_holds_for_the_certificate_that_is_there() {
    let ring = Keyring::empty();
    let good = ring.file("good", ring.keys.unspoiled(Signer::Revoked));
    let added = ring.done(&["keys", "add", &good]);
    assert!(added.contains("valid     for ever\n"), "{added}");

    let added = ring.done(&["keys", "add", &ring.certificate(Signer::Revoked)]);
    assert!(added.contains("valid     NO: it was revoked\n"), "{added}");
    assert_eq!(ring.done(&["keys", "list"]), added);
    assert_eq!(added.matches("user id").count(), 1, "{added}");
}

#[test]
fn more_certificates_than_are_shown_are_refused() {
    let ring = Keyring::empty();
    let too_many = "the keyring has more than 64 certificates";
    ring.refused(&["keys", "add", &ring.file("65", ring.many(65))], too_many);
    assert_eq!(ring.files(), Vec::<PathBuf>::new());

    let beside = ring
        .keys
        .add_to_keyring(Signer::Stranger, &ring.gateway.path());
    fs::write(beside.with_file_name("64.pgp"), ring.many(64)).unwrap();
    ring.refused(&["keys", "list"], too_many);
    let vendor = ring.certificate(Signer::VendorRsa);
    ring.refused(&["keys", "add", &vendor], too_many);

    ring.done(&["keys", "remove", &ring.keys.fingerprint(Signer::Stranger)]);
    let listed = ring.done(&["--json", "keys", "list"]);
    assert_eq!(listed.matches("\"fingerprint\"").count(), 64, "{listed}");
}

#[test]
fn a_certificate_is_removed_from_a_file_of_any_name() {
    let ring = Keyring::empty();
    let file = ring
        .keys
        .add_to_keyring(Signer::Vendor, &ring.gateway.path());
    let odd = file.with_file_name(OsStr::from_bytes(b"\xff\n.asc"));
    fs::rename(file, odd).unwrap();
    let removed = ring.done(&[
        "--json",
        "keys",
        "remove",
        &ring.keys.fingerprint(Signer::Vendor),
    ]);
    assert!(removed.contains("\u{fffd}\\\\n.asc"), "{removed}");
    assert_eq!(ring.files(), Vec::<PathBuf>::new());
}

#[test]
fn what_is_no_certificate_or_brings_a_secret_key_is_not_added() {
    let ring = Keyring::empty();
    let file = ring.folder.join("file");
    fs::write(&file, "no certificate").unwrap();
    ring.refused(
        &["keys", "add", &text(&file)],
        &format!(
            "wharfctl: {0} is not added: {0} is not an OpenPGP certificate: unexpected EOF\n",
            file.display()
        ),
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
    let package = ring.build(&Package::new("hello", "1.0.1"));
    let check = ["keys", "check", &text(&package)];
    ring.refused(
        &check,
        "it would be refused: there is no signature beside the package, and none in it",
    );

    ring.keys.sign_beside(Signer::Vendor, &package);
    ring.refused(&check, "whose certificate is not in the keyring");

    let fingerprint = ring.keys.fingerprint(Signer::Vendor);
    ring.keys.trust(Signer::Vendor, &ring.gateway.path());
    let said = format!(
        "hello 1.0.1 is signed by {fingerprint}\nit would be installed\n  hello 1.0.1 (new, from the file)\n"
    );
    assert_eq!(ring.done(&check), said);

    let message = ring.keys.sign_around(Signer::Vendor, &package);
    assert_eq!(ring.done(&["keys", "check", &text(&message)]), said);
    let staged = ring.gateway.path().join("var/lib/wharf-installer/staged");
    assert_eq!(
        fs::read_dir(staged).unwrap().count(),
        0,
        "it is only looked at"
    );
}

#[test]
fn the_keyring_is_for_root_alone() {
    let ring = Keyring::empty();
    let mut command = ring.gateway.command("wharfctl", &[]);
    let output = command.args(["keys", "list"]).uid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
}
