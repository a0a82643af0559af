//! OpenPGP keys of a few signers, made by gpg once for a machine. Signs with them.

use std::{
    ffi::OsString,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{
    command::{output_of, text_of},
    folder::Folder,
    made_once::made_once,
};

/// A signer, named by its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// Ed25519, valid.
    Vendor,
    /// RSA of 3,072 bits, valid.
    VendorRsa,
    /// Ed25519, valid; for a key without trust, or of another product.
    Stranger,
    /// Its certificate is expired; it signs nevertheless.
    Expired,
    /// Its certificate is revoked; it signs nevertheless.
    Revoked,
}

impl Signer {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Vendor,
        Self::VendorRsa,
        Self::Stranger,
        Self::Expired,
        Self::Revoked,
    ];

    /// The local part of its user id, and the name of its certificate's file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vendor => "vendor",
            Self::VendorRsa => "vendor-rsa",
            Self::Stranger => "stranger",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    fn algorithm(self) -> &'static str {
        match self {
            Self::VendorRsa => "rsa3072",
            _ => "ed25519",
        }
    }

    fn user_id(self) -> String {
        format!("{}@example.org", self.name())
    }
}

const MADE_AT: &str = "20250101T000000";

/// The keys, in a GnuPG home of this test. Its agent ends with it.
#[derive(Debug)]
pub struct GnupgKeys {
    home: Home,
}

impl GnupgKeys {
    /// Every test on a machine has the same keys.
    pub fn new() -> Self {
        let home = Home::new();
        output_of(
            Command::new("cp")
                .arg("-rT")
                .arg(made().join("home"))
                .arg(home.path()),
        );
        Self { home }
    }

    /// The GnuPG home.
    pub fn home(&self) -> PathBuf {
        self.home.path()
    }

    /// The armored certificate, as an administrator gets it.
    pub fn certificate(&self, signer: Signer) -> Vec<u8> {
        let path = certificate_file(signer);
        fs::read(&path).unwrap_or_else(|error| panic!("no certificate {path:?}: {error}"))
    }

    /// The certificate before it expired or was revoked, in OpenPGP packets.
    pub fn unspoiled(&self, signer: Signer) -> Vec<u8> {
        self.home.certificate(signer)
    }

    /// The certificate with its secret key, in OpenPGP packets.
    pub fn secret(&self, signer: Signer) -> Vec<u8> {
        let mut gpg = self.home.gpg();
        output_of(gpg.args(["--export-secret-keys", &signer.user_id()]))
    }

    /// The certificate after its signer set it to never expire.
    pub fn renewed(&self, signer: Signer) -> Vec<u8> {
        self.valid_for(signer, "0")
    }

    /// The certificate after its signer set its validity to this long from now (`5y`).
    pub fn valid_for(&self, signer: Signer, time: &str) -> Vec<u8> {
        let fingerprint = self.fingerprint(signer);
        let certificate = certificate_file(signer);
        output_of(self.home.gpg().arg("--import").arg(certificate));
        output_of(
            self.home
                .gpg()
                .args(["--quick-set-expire", &fingerprint, time]),
        );
        self.home.certificate(signer)
    }

    /// Lets `signer` sign every package for this root: adds its certificate to the keyring, and a scope to the policy.
    pub fn trust(&self, signer: Signer, root: &Path) -> PathBuf {
        let policy = root.join("etc/wharfd/installer.toml");
        let scope = format!(
            "\n[[key]]\nfingerprint = \"{}\"\npackages = [\"*\"]\n",
            self.fingerprint(signer)
        );
        let file = self.add_to_keyring(signer, root);
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&policy)
            .and_then(|mut file| file.write_all(scope.as_bytes()))
            .unwrap_or_else(|error| panic!("{policy:?} cannot be written: {error}"));
        file
    }

    /// Adds the certificate to `etc/wharfd/keys` of this root.
    pub fn add_to_keyring(&self, signer: Signer, root: &Path) -> PathBuf {
        let folder = root.join("etc/wharfd/keys");
        let file = folder.join(format!("{}.asc", signer.name()));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&file, self.certificate(signer)))
            .unwrap_or_else(|error| panic!("{file:?} cannot be written: {error}"));
        file
    }

    /// Gives the signer a subkey, by which it signs from now on, and returns the subkey's fingerprint.
    pub fn add_subkey(&self, signer: Signer) -> String {
        let fingerprint = self.fingerprint(signer);
        let add = ["--quick-add-key", &fingerprint, "ed25519", "sign", "never"];
        output_of(self.home.gpg().args(add));
        let listed = text_of(
            self.home
                .gpg()
                .args(["--with-colons", "--list-keys", &fingerprint]),
        );
        let mut fingerprints = listed.lines().filter_map(|line| line.strip_prefix("fpr:"));
        let subkey = fingerprints
            .next_back()
            .and_then(|line| line.split(':').nth(8));
        subkey.expect("gpg lists the subkey").to_owned()
    }

    /// Revokes the signer's subkey in the certificate of this home ([`Self::unspoiled`]).
    pub fn revoke_subkey(&self, signer: Signer) {
        let mut gpg = self.home.gpg();
        gpg.args(["--no-batch", "--command-fd", "0", "--edit-key"]);
        gpg.arg(self.fingerprint(signer)).stdin(Stdio::piped());
        let mut gpg = gpg.spawn().expect("gpg starts");
        let answers = "key 1\nrevkey\ny\n1\n\ny\nsave\n";
        let mut input = gpg.stdin.take().expect("a pipe");
        input.write_all(answers.as_bytes()).expect("gpg reads");
        drop(input);
        assert!(
            gpg.wait().expect("gpg ends").success(),
            "gpg did not revoke the subkey"
        );
    }

    /// The fingerprint of the signer's key, in capital hexadecimal digits.
    pub fn fingerprint(&self, signer: Signer) -> String {
        self.home.fingerprint(signer)
    }

    /// Signs the whole file; the armored signature is `FILE.asc` beside it.
    pub fn sign_beside(&self, signer: Signer, file: &Path) -> PathBuf {
        self.sign_detached(signer, file, &[])
    }

    /// Like [`Self::sign_beside`], by a clock that shows `time` (`20250601T000000`).
    pub fn sign_beside_at(&self, signer: Signer, file: &Path, time: &str) -> PathBuf {
        self.sign_detached(signer, file, &["--faked-system-time", time])
    }

    fn sign_detached(&self, signer: Signer, file: &Path, options: &[&str]) -> PathBuf {
        let mut name = OsString::from(file);
        name.push(".asc");
        let signature = PathBuf::from(name);
        output_of(
            self.home
                .gpg()
                .args(options)
                .args(["--armor", "--yes", "--local-user", &signer.user_id()])
                .arg("--output")
                .arg(&signature)
                .arg("--detach-sign")
                .arg(file),
        );
        signature
    }

    /// Signs a message around the file, as `FILE.gpg` beside it.
    pub fn sign_around(&self, signer: Signer, file: &Path) -> PathBuf {
        let mut name = OsString::from(file);
        name.push(".gpg");
        let message = PathBuf::from(name);
        output_of(
            self.home
                .gpg()
                .args(["--yes", "--local-user", &signer.user_id(), "--output"])
                .arg(&message)
                .arg("--sign")
                .arg(file),
        );
        message
    }

    /// Signs inside the package: a .deb by debsigs, one of the simulated package manager with a signature at its end.
    pub fn sign_inside(&self, signer: Signer, package: &Path) {
        if package.extension().is_some_and(|it| it == "simulated") {
            let mut gpg = self.home.gpg();
            gpg.args(["--local-user", &signer.user_id(), "--output", "-"]);
            let signature = output_of(gpg.arg("--detach-sign").arg(package));
            let line = format!("signature: {}\n", signature.len());
            let end = [line.as_bytes(), &signature].concat();
            return fs::OpenOptions::new()
                .append(true)
                .open(package)
                .and_then(|mut file| file.write_all(&end))
                .unwrap_or_else(|error| panic!("{package:?} cannot be signed: {error}"));
        }
        output_of(
            Command::new("debsigs")
                .args(["--sign=origin", "--default-key"])
                .arg(self.fingerprint(signer))
                .arg(package)
                .env("GNUPGHOME", self.home.path()),
        );
    }
}

impl Default for GnupgKeys {
    fn default() -> Self {
        Self::new()
    }
}

/// A GnuPG home in a folder of its own.
#[derive(Debug)]
struct Home {
    folder: Folder,
}

impl Home {
    fn new() -> Self {
        let folder = Folder::new();
        let home = folder.make("gpg");
        output_of(Command::new("chmod").arg("700").arg(&home));
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("gpg")
    }

    fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.path());
        gpg.args(["--batch", "--quiet", "--no-tty", "--no-options"]);
        gpg.args(["--pinentry-mode", "loopback", "--passphrase", ""]);
        gpg
    }

    fn fingerprint(&self, signer: Signer) -> String {
        let listed = text_of(
            self.gpg()
                .args(["--with-colons", "--list-keys", &signer.user_id()]),
        );
        listed
            .lines()
            .find_map(|line| line.strip_prefix("fpr:")?.split(':').nth(8))
            .unwrap_or_else(|| panic!("gpg lists no key of {signer:?}: {listed}"))
            .to_owned()
    }

    fn certificate(&self, signer: Signer) -> Vec<u8> {
        output_of(self.gpg().args(["--export", &signer.user_id()]))
    }

    fn make_key(&self, signer: Signer) {
        output_of(
            self.gpg()
                .args(["--faked-system-time", MADE_AT, "--quick-gen-key"])
                .args([&signer.user_id(), signer.algorithm(), "sign", "never"]),
        );
    }

    /// Makes the certificate invalid in the signer's way.
    fn spoil(&self, signer: Signer) {
        let fingerprint = self.fingerprint(signer);
        match signer {
            Signer::Expired => {
                output_of(self.gpg().args(["--faked-system-time", MADE_AT]).args([
                    "--quick-set-expire",
                    &fingerprint,
                    "1d",
                ]));
            }
            Signer::Revoked => self.revoke(&fingerprint),
            Signer::Vendor | Signer::VendorRsa | Signer::Stranger => {}
        }
    }

    /// Imports the revocation that gpg made with the key, after it removes the colon by which gpg disarms it.
    fn revoke(&self, fingerprint: &str) {
        let file = self
            .path()
            .join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        let guarded = fs::read_to_string(&file).expect("a revocation beside the key");
        fs::write(&file, guarded.replace(":-----BEGIN", "-----BEGIN")).expect("a revocation");
        output_of(self.gpg().arg("--import").arg(&file));
    }

    fn export(&self, signer: Signer, into: &Path) {
        output_of(
            self.gpg()
                .args(["--armor", "--output"])
                .arg(into)
                .args(["--export", &signer.user_id()]),
        );
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for act in [["--kill", "all"].as_slice(), &["--remove-socketdir"]] {
            let _ = Command::new("gpgconf")
                .arg("--homedir")
                .arg(self.path())
                .args(act)
                .output();
        }
    }
}

/// `home` has the original keys, `certificates` the final certificates.
fn made() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let recipe = format!("{:?} {MADE_AT} expired after a day", Signer::ALL);
        made_once("keys", &recipe, |folder| {
            let home = Home::new();
            for signer in Signer::ALL {
                home.make_key(signer);
            }
            keep(&home, &folder.join("home"));
            let certificates = folder.join("certificates");
            fs::create_dir(&certificates).expect("a folder for certificates");
            for signer in Signer::ALL {
                home.spoil(signer);
                home.export(signer, &certificates.join(signer.name()));
            }
        })
    })
}

fn certificate_file(signer: Signer) -> PathBuf {
    made().join("certificates").join(signer.name())
}

/// Copies the keys without the sockets and locks of the agent.
fn keep(home: &Home, to: &Path) {
    fs::create_dir(to).expect("a folder for keys");
    for kept in ["pubring.kbx", "trustdb.gpg", "private-keys-v1.d"] {
        output_of(
            Command::new("cp")
                .arg("-r")
                .arg(home.path().join(kept))
                .arg(to),
        );
    }
}
