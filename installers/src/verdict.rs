//! What was found about a staged file, recorded beside it: asked again, `seal` answers the same.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use nix::libc;
use sha2::{Digest, Sha256};
use wharf_frames::{Cause, Failure, decode, encode, inspect::SignedDigest, installer::Package};

use crate::{durable, lease, limits};

/// The record of one judgement.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Record {
    #[n(0)]
    format: u32,
    #[n(1)]
    verdict: Verdict,
}

const FORMAT: u32 = 1;

/// How a staged file was judged.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Verdict {
    /// It holds, and nobody but root can change the file any more.
    #[n(0)]
    Sealed(#[n(0)] Judged),
    /// It does not hold; the file is gone.
    #[n(1)]
    Refused(#[n(0)] Failure),
    /// Not yet: looking into it broke so often, perhaps by no fault of the file.
    #[n(2)]
    Undecided(#[n(0)] u32),
}

/// A package whose signature holds, with what the ledger needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Judged {
    /// What it is.
    #[n(0)]
    pub package: Package,
    /// SHA-256 of the whole file.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// When it was signed, in Unix seconds; 0 when it was not.
    #[n(2)]
    pub signed_at: u64,
    /// Its signature, to be judged again. None when it was not signed, or an older wharfd judged it.
    #[n(3)]
    pub signed: Option<SignedDigest>,
}

impl From<Result<Judged, Failure>> for Verdict {
    fn from(decided: Result<Judged, Failure>) -> Self {
        match decided {
            Ok(judged) => Self::Sealed(judged),
            Err(failure) => Self::Refused(failure),
        }
    }
}

/// Where the verdict on a staged file is recorded.
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
    match decode::<Record>(&bytes) {
        Ok(record) if record.format <= FORMAT => Ok(Some(record.verdict)),
        Ok(_) => Err(unreadable(&path, "a newer wharfd wrote it")),
        Err(error) => Err(unreadable(&path, &error.to_string())),
    }
}

/// Whether a file is still what was judged: its recorded verdict, nobody who could write to it, and every byte. Asked
/// by wharf-job before a package manager reads it as root, whatever became of the folder since the job was accepted.
pub(crate) fn still_holds(stage: &Path, judged: &Judged) -> Result<(), Failure> {
    let differs = |what: &str| {
        let detail = format!("{}: {what}: download it again", stage.display());
        Err(Failure::new(Cause::WrongDigest, detail))
    };
    if read(stage)? != Some(Verdict::Sealed(judged.clone())) {
        return differs("its verdict is not the one that was accepted");
    }
    let io_failed = |error: io::Error| unreadable(stage, &error.to_string());
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(stage)
        .map_err(io_failed)?;
    if !lease::has_no_writer(&file, limits::WRITERS).map_err(io_failed)? {
        return differs("somebody could still write to it");
    }
    match sha256(&file, judged.package.length).map_err(io_failed)? == judged.digest {
        true => Ok(()),
        false => differs("its bytes are not those that were judged"),
    }
}

/// Of the whole file, which is not read further than one byte beyond its length.
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
    let record = Record {
        format: FORMAT,
        verdict: verdict.clone(),
    };
    let written = encode(&record)
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
