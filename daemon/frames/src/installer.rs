//! The job socket: the questions of wharfd to the installer, and its answers. Each is one frame; only
//! [`InstallerRequest::Watch`] has several answers.

use std::fmt;

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::{
    Failure, FrameError, OperationId, PackageName, PackageVersion, StageId, Text, Transaction,
    codec::decode,
};

mod components;
mod older;

pub use components::{Component, FoundComponent, MAX_COMPONENTS};

/// The version of these frames. It rises when a field gets a meaning that an older program must not ignore.
pub const PROTOCOL: u32 = 1;

/// The largest number of packages that may come with an installation.
pub const MAX_DEPENDENCIES: usize = 128;

/// A question to the installer. Older releases used the numbers 5 to 9, 12 and 14.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum InstallerRequest {
    /// Asks for the version of the frames and the package manager. Answer: [`InstallerReply::Hello`].
    #[n(0)]
    Hello {
        /// The [`PROTOCOL`] of wharfd.
        #[n(0)]
        protocol: u32,
    },
    /// Creates the staged file, or opens it again. Answer: [`InstallerReply::Staged`] with a write-only descriptor. A file with
    /// a verdict must be discarded first, else this is refused. Not now while an earlier writer has it open.
    #[n(1)]
    Stage {
        /// The file's name.
        #[n(0)]
        stage: StageId,
        /// The file is cut to at most this length.
        #[n(1)]
        keep: u64,
        /// The length of the package, if known. The room for it is checked at once.
        #[n(2)]
        size: Option<u64>,
    },
    /// Asks for the verdict on a complete file. Answer: [`InstallerReply::Sealed`]. A second question gives the same verdict.
    #[n(2)]
    Seal {
        /// The file's name.
        #[n(0)]
        stage: StageId,
        /// The detached signature of the package (`URI.asc`).
        #[n(1)]
        signature: Option<ByteVec>,
    },
    /// Removes the file and its verdict. Answer: [`InstallerReply::Done`], also if there is no such file. Not now while a job
    /// needs it.
    #[n(3)]
    Discard {
        /// The file's name.
        #[n(0)]
        stage: StageId,
    },
    /// Lists the staged files and the open jobs. Answer: [`InstallerReply::List`].
    #[n(4)]
    List,
    /// Asks for the state of a package on the device. Answer: [`InstallerReply::State`].
    #[n(10)]
    State {
        /// Any package.
        #[n(0)]
        package: PackageName,
    },
    /// Watches a job. Answer: [`InstallerReply::Job`], again at each change, until it has ended or is unknown.
    #[n(11)]
    Watch {
        /// The job's operation.
        #[n(0)]
        operation: OperationId,
    },
    /// Cancels a job that has changed nothing yet. Answer: [`InstallerReply::Done`], or [`InstallerReply::Refused`] if it is too late.
    #[n(13)]
    Cancel {
        /// The job's operation.
        #[n(0)]
        operation: OperationId,
    },
    /// Performs a transaction. Answer: [`InstallerReply::Accepted`] after the job is recorded. A second request for the same
    /// operation starts nothing.
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

impl InstallerRequest {
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
pub enum InstallerReply {
    /// To [`InstallerRequest::Hello`].
    #[n(0)]
    Hello {
        /// The [`PROTOCOL`] of the installer.
        #[n(0)]
        protocol: u32,
        /// The name of the package manager that it drives.
        #[n(1)]
        package_manager: Text,
        /// The architecture of the packages that it installs.
        #[n(2)]
        architecture: Text,
        /// The file that changes whenever packages change, as programs of the root see it. An older installer names none.
        #[n(3)]
        #[cbor(default)]
        database: Option<Text>,
    },
    /// To [`InstallerRequest::Stage`], with the descriptor.
    #[n(1)]
    Staged {
        /// The number of bytes in the file.
        #[n(0)]
        kept: u64,
        /// The largest allowed length of the file.
        #[n(1)]
        limit: u64,
    },
    /// To [`InstallerRequest::Seal`]: the package is accepted.
    #[n(2)]
    Sealed(#[n(0)] SealedPackage),
    /// The request is done.
    #[n(3)]
    Done,
    /// To [`InstallerRequest::List`].
    #[n(4)]
    List {
        /// The staged files.
        #[n(0)]
        stages: Vec<StageEntry>,
        /// The jobs that have not ended.
        #[n(1)]
        open: Vec<OperationId>,
    },
    /// The job is recorded, and survives a crash. Older releases used the number 5.
    #[n(6)]
    Accepted,
    /// To [`InstallerRequest::State`].
    #[n(7)]
    State(#[n(0)] Option<Found>),
    /// To [`InstallerRequest::Watch`].
    #[n(8)]
    Job(#[n(0)] JobStatus),
    /// The request is refused. A retry gives the same answer.
    #[n(9)]
    Refused(#[n(0)] Failure),
    /// Not now: a limit is reached, or a descriptor is still open. A later retry may succeed.
    #[n(10)]
    NotNow(#[n(0)] Failure),
    /// This installer does not know the frame.
    #[n(11)]
    NotUnderstood(#[n(0)] Text),
}

/// A package whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SealedPackage {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its full version.
    #[n(1)]
    pub version: PackageVersion,
    /// Its architecture.
    #[n(2)]
    pub architecture: Text,
    /// The length of the file.
    #[n(3)]
    pub length: u64,
    /// The fingerprint of the certificate that signed it. None only if policy allows unsigned packages.
    #[n(4)]
    pub signer: Option<Text>,
    /// The packages of a bundle, in the order of its manifest. None for a plain package.
    #[n(5)]
    #[cbor(skip_if = "Vec::is_empty", decode_with = "components::bounded")]
    pub components: Vec<Component>,
}

/// A package on the device, complete or damaged. The first release of wharfd reads only the first three fields.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Found {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its full version.
    #[n(1)]
    pub version: PackageVersion,
    /// Whether its units run, and start at boot.
    #[n(2)]
    pub active: bool,
    /// The word of the package manager for its damage, such as `half-configured`. None if it is complete.
    #[n(3)]
    pub damage: Option<Text>,
    /// Whether wharfd installed it, or began to. Only then may wharfd remove it.
    #[n(4)]
    #[cbor(default)]
    pub managed: bool,
    /// Whether it has nothing for the service manager to start. `active` then only shows which command ran last.
    #[n(5)]
    #[cbor(default)]
    pub no_services: bool,
    /// The units of active software that the service manager skipped, each with the condition that is not met.
    #[n(6)]
    #[cbor(default)]
    pub skipped: Option<Text>,
    /// The packages of a bundle that the device has, in the order of its manifest. None for a plain package. A bundle is
    /// active if all of them are.
    #[n(7)]
    #[cbor(skip_if = "Vec::is_empty", decode_with = "components::bounded")]
    pub components: Vec<FoundComponent>,
}

impl Found {
    /// Whether it is not damaged.
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

/// A staged file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StageEntry {
    /// Its name.
    #[n(0)]
    pub stage: StageId,
    /// Its present length.
    #[n(1)]
    pub length: u64,
    /// Whether its package is accepted.
    #[n(2)]
    pub sealed: bool,
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum JobStatus {
    /// The installer never accepted the operation, or has forgotten it.
    #[n(0)]
    Unknown,
    /// It is accepted, and has not ended.
    #[n(1)]
    Open {
        /// Its phase.
        #[n(0)]
        phase: JobPhase,
        /// The progress that the package manager reports.
        #[n(1)]
        percent: Option<u8>,
    },
    /// It has ended.
    #[n(2)]
    Ended(#[n(0)] Box<Outcome>),
}

/// The phase of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum JobPhase {
    /// It waits for its turn, or for a lock.
    #[n(0)]
    Queued,
    /// It asks the package manager for its plan. Later phases cannot be cancelled.
    #[n(1)]
    Planning,
    /// The package manager changes the device.
    #[n(2)]
    Applying,
    /// The job checks the outcome on the device, and that it is on disk.
    #[n(3)]
    Verifying,
    /// The job watches whether the services that it started stay up.
    #[n(4)]
    Watching,
    /// The job failed, and puts the device back as it was.
    #[n(5)]
    Returning,
}

/// A package that came with an installation, from a source of the device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Dependency {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its full version.
    #[n(1)]
    pub version: PackageVersion,
}

/// As in `libfoo 2.0-1`.
impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// The end of a job. `failure` and `device` come from the state of the device, never from an exit code. Older releases
/// read only the first four fields.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Outcome {
    /// The reason for its failure. None after a success.
    #[n(0)]
    pub failure: Option<Failure>,
    /// The package on the device now.
    #[n(1)]
    pub device: Option<Found>,
    /// The number of attempts.
    #[n(2)]
    pub attempts: u32,
    /// A fact for the operator about how the job was done.
    #[n(3)]
    pub note: Option<Text>,
    /// The packages that came with the package, from sources of the device. At most [`MAX_DEPENDENCIES`].
    #[n(4)]
    #[cbor(default)]
    pub dependencies: Vec<Dependency>,
    /// Whether the lists of the sources were stale, and were fetched again.
    #[n(5)]
    #[cbor(default)]
    pub refreshed: bool,
    /// The packages that came as dependencies, and that nothing needs since this job. At most [`MAX_DEPENDENCIES`].
    #[n(6)]
    #[cbor(default)]
    pub unused: Vec<PackageName>,
}
