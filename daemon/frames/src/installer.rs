//! The job socket: what wharfd asks of the installer, one frame a question, one or (for `watch`) more an answer.

use std::fmt;

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::{
    Failure, FrameError, OperationId, PackageName, PackageVersion, StageId, Text, Transaction,
    codec::decode,
};

mod older;

/// The version of these frames. It rises when a field gets a meaning that an older program must not ignore.
pub const PROTOCOL: u32 = 1;

/// A question to the installer. Older releases used the numbers 5 to 9, 12 and 14.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Request {
    /// Which versions of the frames are spoken. Answer: [`Reply::Hello`].
    #[n(0)]
    Hello {
        /// The asking program's [`PROTOCOL`].
        #[n(0)]
        protocol: u32,
    },
    /// Makes the staged file, or opens it again. Answer: [`Reply::Staged`] with a write-only descriptor. Refused once
    /// the file is judged, whatever the verdict: it is discarded first. Not now while an earlier writer has it open.
    #[n(1)]
    Stage {
        /// The file's name.
        #[n(0)]
        stage: StageId,
        /// The file is cut to at most so many bytes.
        #[n(1)]
        keep: u64,
        /// The length that is to come, where it is known: room for it is checked now.
        #[n(2)]
        size: Option<u64>,
    },
    /// Nothing more is written: judge it. Answer: [`Reply::Sealed`]. Asking again gives the same verdict.
    #[n(2)]
    Seal {
        /// The file's name.
        #[n(0)]
        stage: StageId,
        /// What stood beside the package (`URI.asc`).
        #[n(1)]
        signature: Option<ByteVec>,
    },
    /// The file and its verdict are not wanted any more. Answer: [`Reply::Done`], also when there is none. Not now while
    /// a job needs it.
    #[n(3)]
    Discard {
        /// The file's name.
        #[n(0)]
        stage: StageId,
    },
    /// What there is. Answer: [`Reply::List`].
    #[n(4)]
    List,
    /// What the device has. Answer: [`Reply::State`].
    #[n(10)]
    State {
        /// Any package.
        #[n(0)]
        package: PackageName,
    },
    /// Reports until the job has ended. Answer: [`Reply::Job`], again at each change, the last one ended or unknown.
    #[n(11)]
    Watch {
        /// The job's operation.
        #[n(0)]
        operation: OperationId,
    },
    /// Stops a job that has not begun to unpack. Answer: [`Reply::Done`], or [`Reply::Refused`] when it is too late.
    #[n(13)]
    Cancel {
        /// The job's operation.
        #[n(0)]
        operation: OperationId,
    },
    /// Performs a transaction. Answer: [`Reply::Accepted`] once the job is recorded. Asking again for the same operation
    /// starts nothing.
    #[n(15)]
    Perform {
        /// The job's operation.
        #[n(0)]
        operation: OperationId,
        /// The steps.
        #[n(1)]
        transaction: Transaction,
    },
}

impl Request {
    /// Reads a request of this release or an older one.
    pub fn read(bytes: &[u8]) -> Result<Self, FrameError> {
        decode(bytes).or_else(|error| match decode::<older::Older>(bytes) {
            Ok(older) => Ok(older.into()),
            Err(_) => Err(error),
        })
    }
}

/// An answer of the installer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Reply {
    /// To [`Request::Hello`].
    #[n(0)]
    Hello {
        /// The installer's [`PROTOCOL`].
        #[n(0)]
        protocol: u32,
        /// The name of the package manager that it drives.
        #[n(1)]
        backend: Text,
        /// The architecture of packages that can be installed here.
        #[n(2)]
        architecture: Text,
        /// The file that changes whenever packages change, as programs of the root see it. An older installer names none.
        #[n(3)]
        #[cbor(default)]
        database: Option<Text>,
    },
    /// To [`Request::Stage`]; the descriptor travels with it.
    #[n(1)]
    Staged {
        /// So many bytes are in the file.
        #[n(0)]
        kept: u64,
        /// The file may become so long.
        #[n(1)]
        limit: u64,
    },
    /// To [`Request::Seal`]: it holds.
    #[n(2)]
    Sealed(#[n(0)] Package),
    /// It is as was asked.
    #[n(3)]
    Done,
    /// To [`Request::List`].
    #[n(4)]
    List {
        /// The files in root's folder.
        #[n(0)]
        stages: Vec<StageEntry>,
        /// The jobs that have not ended.
        #[n(1)]
        open: Vec<OperationId>,
    },
    /// The job is recorded: it will be done, even after a crash. Older releases used the number 5.
    #[n(6)]
    Accepted,
    /// To [`Request::State`].
    #[n(7)]
    State(#[n(0)] Option<Found>),
    /// To [`Request::Watch`].
    #[n(8)]
    Job(#[n(0)] JobStatus),
    /// No, for good: asking again gives the same answer.
    #[n(9)]
    Refused(#[n(0)] Failure),
    /// Not now: a bound is reached or a descriptor is still open. Asking again later may succeed.
    #[n(10)]
    NotNow(#[n(0)] Failure),
    /// The frame was none that this installer knows.
    #[n(11)]
    NotUnderstood(#[n(0)] Text),
}

/// A package whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Package {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its full version.
    #[n(1)]
    pub version: PackageVersion,
    /// The architecture it is for.
    #[n(2)]
    pub architecture: Text,
    /// Length of the file.
    #[n(3)]
    pub length: u64,
    /// Fingerprint of the certificate that signed it; none where policy allows unsigned packages.
    #[n(4)]
    pub signer: Option<Text>,
}

/// A package that the device has.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Installed {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its full version.
    #[n(1)]
    pub version: PackageVersion,
    /// Its units run, and start at boot.
    #[n(2)]
    pub active: bool,
}

/// What the device has of a package, whole or not. Of a package that is not there, nothing is found. The first release
/// reads the first three fields alone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Found {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its full version.
    #[n(1)]
    pub version: PackageVersion,
    /// Its units run, and start at boot.
    #[n(2)]
    pub active: bool,
    /// The package manager's word for what is wrong with it (`half-configured`); none when it is whole.
    #[n(3)]
    pub damage: Option<Text>,
    /// wharfd ever installed it, or began to: it may remove it.
    #[n(4)]
    #[cbor(default)]
    pub managed: bool,
    /// The package has nothing for the service manager to start: `active` only tells which command ran last.
    #[n(5)]
    #[cbor(default)]
    pub no_services: bool,
    /// Units of active software that the service manager skipped, each with the condition that is not met.
    #[n(6)]
    #[cbor(default)]
    pub skipped: Option<Text>,
}

impl Found {
    /// Whether all of it is there and works.
    pub const fn is_whole(&self) -> bool {
        self.damage.is_none()
    }
}

/// As in `nginx 1.0` or `nginx 1.0 (half-installed)`.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        match &self.damage {
            Some(word) => write!(f, " ({word})"),
            None => Ok(()),
        }
    }
}

/// A file in root's folder.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StageEntry {
    /// Its name.
    #[n(0)]
    pub stage: StageId,
    /// Its length so far.
    #[n(1)]
    pub length: u64,
    /// The verdict holds.
    #[n(2)]
    pub sealed: bool,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum JobStatus {
    /// The installer never accepted such an operation, or has forgotten it: ask for the state instead.
    #[n(0)]
    Unknown,
    /// Accepted and not ended.
    #[n(1)]
    Open {
        /// What it is at.
        #[n(0)]
        phase: Phase,
        /// How far the package manager says it is.
        #[n(1)]
        percent: Option<u8>,
    },
    /// Over.
    #[n(2)]
    Ended(#[n(0)] Outcome),
}

/// What a job is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Phase {
    /// Waiting for its turn, or for a lock.
    #[n(0)]
    Queued,
    /// Asking the package manager what would happen. Until here it can be cancelled.
    #[n(1)]
    Planning,
    /// The package manager is at work.
    #[n(2)]
    Applying,
    /// It has done its part: looking whether the device has what was asked, and that the disk has it.
    #[n(3)]
    Verifying,
}

/// How a job ended. `result` and `device` are looked at on the device, never taken from an exit code.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Outcome {
    /// Why it failed; none means that it succeeded.
    #[n(0)]
    pub failure: Option<Failure>,
    /// What the device has of the package now.
    #[n(1)]
    pub device: Option<Found>,
    /// The attempts that were made.
    #[n(2)]
    pub attempts: u32,
    /// A fact for the operator about how the job was done.
    #[n(3)]
    pub note: Option<Text>,
}
