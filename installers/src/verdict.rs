//! The verdict on a staged file, recorded beside it: a repeated `seal` gets the same answer.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use nix::libc;
use sha2::{Digest, Sha256};
use wharf_bundle::BundleNeeds;
use wharf_frames::{
    Cause, Failure, PackageName, StageId, Step, decode_record, encode_record,
    inspect::SignedDigest, installer::SealedPackage,
};
use wharf_root::{Root, durable, limits};

use crate::{bundle::members, lease, not_done::NotDone};

/// The record of one judgement.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct VerdictRecord {
    #[n(0)]
    format: u32,
    #[n(1)]
    verdict: Verdict,
}

const FORMAT: u32 = 1;

/// The verdict on a staged file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Verdict {
    /// It is valid, and only root can change the file now.
    #[n(0)]
    Sealed(#[n(0)] Judged),
    /// It is invalid; the file is deleted.
    #[n(1)]
    Refused(#[n(0)] Failure),
    /// Undecided: the number of failed inspections, whose cause may be the device.
    #[n(2)]
    Undecided(#[n(0)] u32),
    /// Like [`Verdict::Sealed`], for a bundle. Its packages are files beside it.
    #[n(3)]
    Bundle(#[n(0)] JudgedBundle),
}

/// The content of a file with a good verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// A package.
    Package(Judged),
    /// A bundle.
    Bundle(JudgedBundle),
}

/// A package with a valid signature, and the data about it for the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Judged {
    /// Its name and version.
    #[n(0)]
    pub package: SealedPackage,
    /// SHA-256 of the whole file.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// When it was signed, in Unix seconds; 0 if it is unsigned.
    #[n(2)]
    pub signed_at: u64,
    /// Its signature, for a later check. None if it is unsigned, or an older wharfd judged it.
    #[n(3)]
    pub signed: Option<SignedDigest>,
}

/// A bundle whose signature holds, with the verdict on each of its packages.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JudgedBundle {
    /// The bundle as a whole. Its digest is that of the file that was signed.
    #[n(0)]
    pub judged: Judged,
    /// Whether a failure leads back to the packages of before.
    #[n(1)]
    pub undo: bool,
    /// The conditions on the device.
    #[n(2)]
    pub needs: BundleNeeds,
    /// The steps in their order. The n-th installation has the n-th member.
    #[n(3)]
    pub steps: Vec<Step<Judged>>,
}

/// A package with a good verdict: a staged file, or a member of a staged bundle.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sealed {
    /// The staged file.
    #[n(0)]
    pub stage: StageId,
    /// The verdict.
    #[n(1)]
    pub judged: Judged,
    /// The number of the member, if the staged file is a bundle.
    #[n(2)]
    pub member: Option<u32>,
}

impl JudgedBundle {
    /// Its name.
    pub(crate) const fn name(&self) -> &PackageName {
        &self.judged.package.name
    }

    /// The packages that it installs, in their order.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Judged> {
        self.steps.iter().filter_map(Step::file)
    }
}

impl Sealed {
    /// The file of the package.
    pub(crate) fn path(&self, root: &Root) -> PathBuf {
        match self.member {
            None => root.stage(self.stage),
            Some(number) => members::path(&root.stage(self.stage), number),
        }
    }
}

impl From<Result<Accepted, Failure>> for Verdict {
    fn from(decided: Result<Accepted, Failure>) -> Self {
        match decided {
            Ok(Accepted::Package(judged)) => Self::Sealed(judged),
            Ok(Accepted::Bundle(bundle)) => Self::Bundle(bundle),
            Err(failure) => Self::Refused(failure),
        }
    }
}

impl Accepted {
    /// The package, or the bundle as one.
    pub(crate) fn package(&self) -> &SealedPackage {
        match self {
            Self::Package(judged) => &judged.package,
            Self::Bundle(bundle) => &bundle.judged.package,
        }
    }
}

impl Verdict {
    /// Whether the file is valid.
    pub(crate) const fn is_good(&self) -> bool {
        matches!(self, Self::Sealed(_) | Self::Bundle(_))
    }

    /// Whether it accepts this package, alone or in a bundle.
    fn accepts(&self, judged: &Judged) -> bool {
        match self {
            Self::Sealed(accepted) => accepted == judged,
            Self::Bundle(bundle) => bundle.members().any(|member| member == judged),
            Self::Refused(_) | Self::Undecided(_) => false,
        }
    }
}

/// The path of the record for a staged file.
pub(crate) fn path(stage: &Path) -> PathBuf {
    stage.with_extension("verdict")
}

/// The recorded verdict on a staged file.
pub(crate) fn read(stage: &Path) -> Result<Option<Verdict>, Failure> {
    let path = path(stage);
    let bytes = durable::read(&path).map_err(|error| unreadable(&path, &error.to_string()))?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    match decode_record::<VerdictRecord>(&bytes) {
        Ok(record) if record.format <= FORMAT => Ok(Some(record.verdict)),
        Ok(_) => Err(unreadable(&path, "a newer wharfd wrote it")),
        Err(error) => Err(unreadable(&path, &error.to_string())),
    }
}

/// Whether a file is still the one that was judged: its recorded verdict, no writer but root, and every byte. wharf-job
/// checks this before a package manager reads it as root, since the folder may have changed after the job was accepted.
pub(crate) fn still_holds(stage: &Path, judged: &Judged) -> Result<(), NotDone> {
    let differs = |what: &str| {
        let detail = format!("{}: {what}: download it again", stage.display());
        Err(NotDone::refused(Cause::WrongDigest, detail))
    };
    let verdict = read(stage).map_err(NotDone::NotNow)?;
    if !verdict.is_some_and(|verdict| verdict.accepts(judged)) {
        return differs("its verdict is not the one that was accepted");
    }
    match is_unchanged(stage, judged)? {
        None => Ok(()),
        Some(what) => differs(what),
    }
}

/// The difference between a file of root's and the one that was judged: a writer, or any byte.
pub(crate) fn is_unchanged(file: &Path, judged: &Judged) -> Result<Option<&'static str>, NotDone> {
    let stage = file;
    let io_failed = |error: io::Error| NotDone::NotNow(unreadable(stage, &error.to_string()));
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(stage)
        .map_err(io_failed)?;
    if !lease::has_no_writer(&file, limits::WRITERS).map_err(io_failed)? {
        return Ok(Some("somebody could still write to it"));
    }
    match sha256(&file, judged.package.length).map_err(io_failed)? == judged.digest {
        true => Ok(None),
        false => Ok(Some("its bytes are not those that were judged")),
    }
}

/// The digest of the whole file. At most one byte beyond this length is read.
fn sha256(file: &File, length: u64) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut bytes = BufReader::with_capacity(128 * 1024, file.take(length.saturating_add(1)));
    loop {
        let buffer = bytes.fill_buf()?;
        let length = buffer.len();
        if length == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(buffer);
        bytes.consume(length);
    }
}

/// Records the verdict; it is on disk when this returns.
pub(crate) fn write(stage: &Path, verdict: &Verdict) -> Result<(), Failure> {
    let path = path(stage);
    let record = VerdictRecord {
        format: FORMAT,
        verdict: verdict.clone(),
    };
    let written = encode_record(&record)
        .map_err(|error| error.to_string())
        .and_then(|bytes| durable::write(&path, &bytes).map_err(|error| error.to_string()));
    written.map_err(|why| {
        Failure::new(
            Cause::Unavailable,
            format!("cannot write {}: {why}", path.display()),
        )
    })
}

fn unreadable(path: &Path, why: &str) -> Failure {
    Failure::new(
        Cause::Unavailable,
        format!("cannot read {}: {why}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use tempfile::TempDir;
    use wharf_frames::{PackageName, PackageVersion};

    use super::*;

    const BYTES: &[u8] = b"a package";

    fn judged() -> Judged {
        Judged {
            package: SealedPackage {
                name: PackageName::new("acme").unwrap(),
                version: PackageVersion::new("1.0").unwrap(),
                architecture: "all".into(),
                length: BYTES.len() as u64,
                signer: None,
                components: Vec::new(),
            },
            digest: Sha256::digest(BYTES).into(),
            signed_at: 1,
            signed: None,
        }
    }

    /// A staged file that was judged.
    fn sealed() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let stage = folder.path().join("stage");
        fs::write(&stage, BYTES).unwrap();
        write(&stage, &Verdict::Sealed(judged())).unwrap();
        (folder, stage)
    }

    #[test]
    fn a_verdict_is_read_as_it_was_written() {
        let (_folder, stage) = sealed();
        assert_eq!(read(&stage), Ok(Some(Verdict::Sealed(judged()))));
        assert_eq!(read(&stage.with_file_name("other")), Ok(None));
        let failure = Failure::new(Cause::Malformed, "no");
        for verdict in [Verdict::Refused(failure), Verdict::Undecided(3)] {
            write(&stage, &verdict).unwrap();
            assert_eq!(read(&stage), Ok(Some(verdict)));
        }
        let newer = VerdictRecord {
            format: FORMAT + 1,
            verdict: Verdict::Sealed(judged()),
        };
        for bytes in [encode_record(&newer).unwrap(), b"garbage".to_vec()] {
            fs::write(path(&stage), bytes).unwrap();
            let cause = read(&stage).map_err(|failure| failure.cause);
            assert_eq!(cause, Err(Cause::Unavailable));
        }
    }

    fn cause(not_done: NotDone) -> Cause {
        Failure::from(not_done).cause
    }

    #[test]
    fn only_what_is_as_it_was_judged_to_its_last_byte_still_holds() {
        type Change = fn(&Path);
        let rows: [(&str, Change, Option<Cause>); 8] = [
            ("nothing", |_| {}, None),
            (
                "a byte",
                |stage| fs::write(stage, b"a packagf").unwrap(),
                Some(Cause::WrongDigest),
            ),
            (
                "cut short",
                |stage| fs::write(stage, b"a packag").unwrap(),
                Some(Cause::WrongDigest),
            ),
            (
                "longer",
                |stage| fs::write(stage, b"a package ").unwrap(),
                Some(Cause::WrongDigest),
            ),
            (
                "no verdict",
                |stage| fs::remove_file(path(stage)).unwrap(),
                Some(Cause::WrongDigest),
            ),
            (
                "another verdict",
                |stage| write(stage, &Verdict::Undecided(1)).unwrap(),
                Some(Cause::WrongDigest),
            ),
            (
                "a link to the same bytes",
                |stage| {
                    let away = stage.with_extension("away");
                    fs::rename(stage, &away).unwrap();
                    symlink(away, stage).unwrap();
                },
                Some(Cause::Unavailable),
            ),
            (
                "gone",
                |stage| fs::remove_file(stage).unwrap(),
                Some(Cause::Unavailable),
            ),
        ];
        for (what, change, expected) in rows {
            let (_folder, stage) = sealed();
            change(&stage);
            let held = still_holds(&stage, &judged()).map_err(cause);
            assert_eq!(held.err(), expected, "{what}");
        }
        let (_folder, stage) = sealed();
        let _writer = File::options().write(true).open(&stage).unwrap();
        let held = still_holds(&stage, &judged()).map_err(cause);
        assert_eq!(held, Err(Cause::WrongDigest), "somebody may write");
    }
}
