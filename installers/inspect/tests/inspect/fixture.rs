//! Packages by dpkg-deb, keys and signatures by gpg and debsigs, all in folders that are removed with their owner.

use std::{
    fmt::Debug,
    fs::{self, File},
    io::Write,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use wharf_frames::{
    Cause, Failure,
    inspect::{Described, Format, Signed, Verified},
    packed::{PackedFile, WantedFiles},
};
use wharf_installers::{
    inspector::{Held, Inspector, Terms},
    keyring::Keyring,
};

/// 2024-01-01: keys are made.
pub(crate) const MADE: &str = "20240101T000000!";
/// 2024-02-01: packages are signed.
pub(crate) const SIGNED: &str = "20240201T000000!";
/// The same in Unix seconds.
pub(crate) const SIGNED_AT: u64 = 1_706_745_600;
/// 2024-03-01: signatures are judged.
pub(crate) const JUDGED_AT: u64 = 1_709_251_200;

/// The user and the group that wharf-inspect runs as here.
pub(crate) const NOBODY: u32 = 65534;

/// Runs the command, and panics with its output if it fails.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output.stdout
}

/// The output of a compressor, with its options.
pub(crate) fn compressed(command: &str, content: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("content");
    fs::write(&file, content).unwrap();
    run(Command::new("sh").args(["-c", &format!("{command} <{}", file.display())]))
}

/// wharf-inspect where its user can run it, a keyring, and a folder for packages.
pub(crate) struct Bench {
    folder: TempDir,
    /// The format of the packages.
    format: Format,
    held: Held,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::of(Format::Deb)
    }

    pub(crate) fn of(format: Format) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        // A copy made by another process. If this process wrote it, a child of a parallel test could hold it open for
        // writing, and the program could not start (ETXTBSY).
        let program = env!("CARGO_BIN_EXE_wharf-inspect");
        run(Command::new("cp").arg(program).arg(folder.path()));
        Self {
            folder,
            format,
            held: Held::default(),
        }
    }

    /// With a signer that it trusts.
    pub(crate) fn with_signer() -> (Self, Signer) {
        let (bench, signer) = (Self::new(), Signer::new());
        bench.trust("packages.asc", &signer.certificate());
        (bench, signer)
    }

    /// Writes this script to a program, by another process for the same reason.
    pub(crate) fn place_script(&self, name: &str, script: &str) -> PathBuf {
        let (source, program) = (self.path(&format!("{name}.sh")), self.path(name));
        fs::write(&source, script).unwrap();
        run(Command::new("install").arg(source).arg(&program));
        program
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn inspector(&self) -> Inspector {
        Inspector {
            program: self.path("wharf-inspect"),
            uid: NOBODY,
            gid: NOBODY,
            time_limit: Duration::from_secs(120),
            format: self.format,
        }
    }

    pub(crate) fn trust(&self, name: &str, certificate: &[u8]) {
        fs::write(self.path("keys").join(name), certificate).unwrap();
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("package.deb");
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn verify(
        &self,
        package: &Path,
        signature: Option<&[u8]>,
    ) -> Result<Verified, Failure> {
        self.verify_at(package, signature, JUDGED_AT)
    }

    pub(crate) fn verify_at(
        &self,
        package: &Path,
        signature: Option<&[u8]>,
        at: u64,
    ) -> Result<Verified, Failure> {
        let keyring = Keyring::read(&self.path("keys"))?;
        let terms = Terms {
            signature,
            keyring: &keyring,
            at,
            allow_unsigned: false,
        };
        let verified = self
            .inspector()
            .verify(File::open(package).unwrap().as_fd(), &terms)?;
        verified.ok_or_else(|| Failure::new(Cause::WrongKind, "a message"))
    }

    /// Takes a message apart: the package inside, and the signatures around it.
    pub(crate) fn unwrap(&self, message: &Path) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let mut package = Vec::new();
        let each = |bytes: &[u8]| {
            package.extend_from_slice(bytes);
            Ok(())
        };
        let message = File::open(message).unwrap();
        let signatures = self.inspector().unwrap(message.as_fd(), each)?;
        Ok((package, signatures))
    }

    /// Takes a message apart and judges the package inside.
    pub(crate) fn verify_inside(&self, message: &Path) -> Result<Verified, Failure> {
        let (package, signatures) = self.unwrap(message)?;
        self.verify(&self.write(&package), Some(&signatures))
    }

    pub(crate) fn describe(&self, package: &Path) -> Result<Described, Failure> {
        let described = self
            .inspector()
            .describe(File::open(package).unwrap().as_fd());
        Ok(described?)
    }

    pub(crate) fn files(
        &self,
        package: &Path,
        wanted: &[WantedFiles],
    ) -> Result<Vec<PackedFile>, Failure> {
        let package = File::open(package).unwrap();
        Ok(self.inspector().files(package.as_fd(), wanted)?)
    }

    /// Whether a signature that was judged still holds at this time.
    pub(crate) fn still_holds(&self, signed: &Signed, at: u64) -> Result<(), Failure> {
        let keyring = Keyring::read(&self.path("keys"))?;
        let Signed {
            certificate,
            signed,
            ..
        } = signed;
        let inspector = self.inspector();
        Ok(inspector.still_holds(certificate, signed, &keyring, at, &self.held)?)
    }
}

/// Someone who signs, with a keyring of gpg.
pub(crate) struct Signer {
    home: TempDir,
    pub(crate) fingerprint: String,
}

impl Signer {
    pub(crate) fn new() -> Self {
        Self::with("ed25519", "2034-01-01")
    }

    pub(crate) fn with(algorithm: &str, expires: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut signer = Self {
            home,
            fingerprint: String::new(),
        };
        let name = "Packages <packages@example.org>";
        run(signer.gpg(MADE).args([
            "--passphrase",
            "",
            "--quick-gen-key",
            name,
            algorithm,
            "sign",
            expires,
        ]));
        let listed = run(signer.gpg(MADE).args(["--with-colons", "--list-keys"]));
        let listed = String::from_utf8(listed).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr")).unwrap();
        signer.fingerprint = line.split(':').nth(9).unwrap().to_owned();
        signer
    }

    /// The home of gpg, configured to sign at [`SIGNED`] whoever starts it.
    pub(crate) fn home(&self) -> &Path {
        let configuration = format!("batch\nquiet\nfaked-system-time {SIGNED}\n");
        fs::write(self.home.path().join("gpg.conf"), configuration).unwrap();
        self.home.path()
    }

    /// gpg in this home, at this time.
    pub(crate) fn gpg(&self, time: &str) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--faked-system-time", time]);
        gpg.arg("--homedir").arg(self.home.path());
        gpg
    }

    /// A key for signing with an expiry of its own, which gpg prefers from now on.
    pub(crate) fn add_subkey(&self, expires: &str) {
        let mut gpg = self.gpg(MADE);
        gpg.args(["--passphrase", "", "--quick-add-key", &self.fingerprint]);
        run(gpg.args(["ed25519", "sign", expires]));
    }

    pub(crate) fn certificate(&self) -> Vec<u8> {
        run(self
            .gpg(SIGNED)
            .args(["--armor", "--export", &self.fingerprint]))
    }

    /// Makes the certificate expire two weeks after [`SIGNED`].
    pub(crate) fn renew(&self) {
        let mut gpg = self.gpg("20240215T000000!");
        gpg.args(["--passphrase", "", "--quick-set-expire", &self.fingerprint]);
        run(gpg.arg("2035-01-01"));
    }

    /// Revokes the key that [`Self::add_subkey`] made.
    pub(crate) fn revoke_subkey(&self) {
        let mut gpg = self.gpg(SIGNED);
        gpg.args(["--no-batch", "--no-tty", "--command-fd", "0", "--edit-key"]);
        let mut gpg = gpg
            .arg(&self.fingerprint)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = "key 1\nrevkey\ny\n1\n\ny\nsave\n";
        let mut input = gpg.stdin.take().unwrap();
        input.write_all(answers.as_bytes()).unwrap();
        drop(input);
        assert!(gpg.wait().unwrap().success());
    }

    /// Imports the revocation that gpg made along with the key.
    pub(crate) fn revoke(&self) {
        let revocation = format!("openpgp-revocs.d/{}.rev", self.fingerprint);
        let armored = fs::read_to_string(self.home.path().join(revocation)).unwrap();
        let revocation = self.home.path().join("revocation.asc");
        fs::write(&revocation, armored.replace(":-----BEGIN", "-----BEGIN")).unwrap();
        run(self.gpg(SIGNED).arg("--import").arg(&revocation));
    }

    pub(crate) fn sign(&self, file: &Path) -> Vec<u8> {
        self.sign_with(file, &[])
    }

    pub(crate) fn sign_with(&self, file: &Path, options: &[&str]) -> Vec<u8> {
        let mut gpg = self.gpg(SIGNED);
        run(gpg
            .args(options)
            .args(["--armor", "--output", "-", "--detach-sign"])
            .arg(file))
    }

    /// A message around the file: `gpg --sign`.
    pub(crate) fn sign_around(&self, bench: &Bench, file: &Path, options: &[&str]) -> PathBuf {
        let message = bench.path("message.gpg");
        let mut gpg = self.gpg(SIGNED);
        let gpg = gpg.args(options).args(["--yes", "--output"]).arg(&message);
        run(gpg.arg("--sign").arg(file));
        message
    }

    /// Signs within the package like debsigs, for members with names that debsigs may not support.
    pub(crate) fn sign_inside_by_hand(&self, bench: &Bench, file: &Path) {
        let mut members = Members::of(file);
        let signed = bench.path("signed");
        let content: Vec<_> = members
            .0
            .iter()
            .flat_map(|(_, bytes)| bytes.clone())
            .collect();
        fs::write(&signed, content).unwrap();
        let mut gpg = self.gpg(SIGNED);
        let signature = run(gpg.args(["--output", "-", "--detach-sign"]).arg(&signed));
        members.0.push(("_gpgorigin".into(), signature));
        fs::write(file, members.bytes()).unwrap();
    }

    /// Signs within the package by debsigs.
    pub(crate) fn sign_inside(&self, file: &Path) {
        let mut debsigs = Command::new("debsigs");
        debsigs.env("GNUPGHOME", self.home());
        run(debsigs
            .args(["--sign=origin", "-k", &self.fingerprint])
            .arg(file));
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let mut gpgconf = Command::new("gpgconf");
        gpgconf.arg("--homedir").arg(self.home.path());
        let _ = gpgconf.args(["--kill", "all"]).output();
    }
}

/// The contents of a package for dpkg-deb.
pub(crate) struct Recipe<'a> {
    pub(crate) control: &'a str,
    /// The compressor, and options of dpkg-deb behind it.
    pub(crate) compression: &'a str,
    /// Names of the files in it.
    pub(crate) files: &'a [&'a str],
}

pub(crate) const CONTROL: &str = "Package: hello\nVersion: 1:2.10-3\nArchitecture: all\n\
    Maintainer: Packages <packages@example.org>\nDescription: greets\n a longer text\n";

impl Default for Recipe<'_> {
    fn default() -> Self {
        Self {
            control: CONTROL,
            compression: "xz",
            files: &["greeting"],
        }
    }
}

impl<'a> Recipe<'a> {
    pub(crate) fn compressed(compression: &'a str) -> Self {
        Self {
            compression,
            ..Self::default()
        }
    }

    pub(crate) fn build(&self, bench: &Bench) -> PathBuf {
        let tree = tempfile::tempdir().unwrap();
        for file in self.files {
            fs::write(tree.path().join(file), "hello, world\n".repeat(1000)).unwrap();
        }
        self.build_from(bench, tree.path())
    }

    /// A package of the files in this folder.
    pub(crate) fn build_from(&self, bench: &Bench, tree: &Path) -> PathBuf {
        fs::set_permissions(tree, fs::Permissions::from_mode(0o755)).unwrap();
        let debian = tree.join("DEBIAN");
        fs::create_dir_all(&debian).unwrap();
        fs::set_permissions(&debian, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(debian.join("control"), self.control).unwrap();
        let path = bench.path("hello.deb");
        let mut dpkg_deb = Command::new("dpkg-deb");
        dpkg_deb.args(["--root-owner-group", "--uniform-compression"]);
        let compression = format!("-Z{}", self.compression);
        dpkg_deb.args(compression.split(' ')).arg("--build");
        run(dpkg_deb.arg(tree).arg(&path));
        path
    }
}

/// The package with its data.tar packed again by this command, which is `xz` or `zstd` with options.
pub(crate) fn repacked(bench: &Bench, tree: &Path, command: &str) -> PathBuf {
    let (compressor, _) = command.split_once(' ').unwrap();
    let package = Recipe::compressed(&format!("{compressor} -z1")).build_from(bench, tree);
    let script = format!("dpkg-deb --fsys-tarfile \"$0\" | {command} --stdout");
    let mut members = Members::of(&package);
    *members.member("data.tar") = run(Command::new("sh").args(["-c", &script]).arg(&package));
    bench.write(&members.bytes())
}

/// The members of an ar archive, to be reordered and changed.
#[derive(Clone)]
pub(crate) struct Members(pub(crate) Vec<(String, Vec<u8>)>);

impl Members {
    pub(crate) fn of(package: &Path) -> Self {
        let bytes = fs::read(package).unwrap();
        let mut members = Vec::new();
        let mut rest = &bytes[8..];
        while !rest.is_empty() {
            let name = str::from_utf8(&rest[..16]).unwrap().trim_end().to_owned();
            let size: usize = str::from_utf8(&rest[48..58])
                .unwrap()
                .trim_end()
                .parse()
                .unwrap();
            members.push((name, rest[60..60 + size].to_vec()));
            rest = &rest[60 + size + size % 2..];
        }
        Self(members)
    }

    pub(crate) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        let member = self.0.iter_mut().find(|(other, _)| other.starts_with(name));
        &mut member.unwrap().1
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, content) in &self.0 {
            let header = format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                0,
                100644,
                content.len()
            );
            bytes.extend(header.as_bytes());
            bytes.extend(content);
            bytes.extend(b"\n".iter().take(content.len() % 2));
        }
        bytes
    }
}

/// Expects a refusal for this cause from a child that did not fail.
#[track_caller]
pub(crate) fn refused<T: Debug>(got: Result<T, Failure>, cause: Cause) -> Failure {
    refused_as("", got, cause)
}

/// The same, for a row of a table.
#[track_caller]
pub(crate) fn refused_as<T: Debug>(what: &str, got: Result<T, Failure>, cause: Cause) -> Failure {
    match got {
        Err(failure) if failure.cause == cause && !broke(&failure) => failure,
        other => panic!("{what}: expected {cause:?}, got {other:?}"),
    }
}

/// Whether the child ended without an answer.
pub(crate) fn broke(failure: &Failure) -> bool {
    failure
        .detail
        .as_str()
        .starts_with("wharf-inspect could not read")
}
