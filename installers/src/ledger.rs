//! What was ever installed, one record a package: its highest version, who signed it and when. It outlives the
//! package, so that removing first is no way to a lower version, whoever installed what was removed. Beside it stands
//! what only began to be installed.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use wharf_frames::{
    Cause, Failure, OperationId, PackageName, PackageVersion, Text, decode, encode,
    installer::Found,
};

use crate::{backend::Installer, durable, policy::Policy, root::Root, verdict::Judged};

/// The records of a root.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
}

/// The highest version of one package that was ever installed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// [`FORMAT`] of whoever wrote it.
    #[n(0)]
    format: u32,
    /// The version.
    #[n(1)]
    pub version: PackageVersion,
    /// The certificate that signed what a job installed last; none where policy allowed that to be unsigned, or no job
    /// ever did.
    #[n(2)]
    pub certificate: Option<Text>,
    /// When it was signed, in Unix seconds; 0 when it was not, or nobody knows: any signature of this version may follow.
    #[n(3)]
    pub signed_at: u64,
    /// SHA-256 of the file that was installed last; zeros when nobody knows.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub digest: [u8; 32],
}

/// A package that no job has installed, and one has begun to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Begun {
    /// [`FORMAT`] of whoever wrote it.
    #[n(0)]
    format: u32,
    /// The job.
    #[n(1)]
    operation: OperationId,
}

const FORMAT: u32 = 1;

impl Ledger {
    /// The ledger of this root.
    pub fn of(root: &Root) -> Self {
        Self {
            folder: root.ledger(),
        }
    }

    /// The record of a package, whose name fits the backend's grammar.
    pub fn entry(&self, name: &PackageName) -> Result<Option<Entry>, Failure> {
        read(&path_in(&self.folder, name)?, |entry: &Entry| entry.format)
    }

    /// Whether the package is ours: some job installed it, or began to.
    pub(crate) fn is_managed(&self, name: &PackageName) -> Result<bool, Failure> {
        Ok(self.entry(name)?.is_some() || self.begun(name)?.is_some())
    }

    /// What the device has of a package, and whether that is ours.
    pub(crate) fn found(
        &self,
        name: &PackageName,
        backend: &dyn Installer,
    ) -> Result<Option<Found>, Failure> {
        let found = backend.found(name)?;
        let managed = found.is_some() && self.is_managed(name)?;
        Ok(found.map(|found| Found { managed, ..found }))
    }

    /// This job is about to install the package. Whatever becomes of it, what it leaves on the device is ours.
    pub(crate) fn begin(&self, name: &PackageName, operation: OperationId) -> Result<(), Failure> {
        if self.is_managed(name)? {
            return Ok(());
        }
        let path = path_in(&self.beginnings(), name)?;
        durable::private_folder(&self.beginnings())
            .map_err(|error| unwritten(&path, &error.to_string()))?;
        let format = FORMAT;
        write(&path, &Begun { format, operation })
    }

    /// An installation failed and left the device as it found it. What only it began is not ours.
    pub(crate) fn take_back(
        &self,
        name: &PackageName,
        operation: OperationId,
    ) -> Result<(), Failure> {
        match self.begun(name)? {
            Some(begun) if begun.operation == operation => self.forget_beginning(name),
            _ => Ok(()),
        }
    }

    /// Nothing of the package is left, or it is in the ledger.
    pub(crate) fn forget_beginning(&self, name: &PackageName) -> Result<(), Failure> {
        let path = path_in(&self.beginnings(), name)?;
        durable::remove(&path).map_err(|error| unwritten(&path, &error.to_string()))
    }

    fn begun(&self, name: &PackageName) -> Result<Option<Begun>, Failure> {
        read(&path_in(&self.beginnings(), name)?, |begun: &Begun| {
            begun.format
        })
    }

    /// No name of a package begins with a dot.
    fn beginnings(&self) -> PathBuf {
        self.folder.join(".begun")
    }

    /// Whether this package may be installed over all that ever was: a lower version, or an older signature of the
    /// same version, is a replay.
    pub fn judge(
        &self,
        judged: &Judged,
        backend: &dyn Installer,
        policy: &Policy,
    ) -> Result<(), Failure> {
        let name = &judged.package.name;
        let Some(entry) = self.entry(name)? else {
            return Ok(());
        };
        let older = match backend.compare_versions(&judged.package.version, &entry.version) {
            Ordering::Greater => return Ok(()),
            Ordering::Equal if judged.signed_at >= entry.signed_at => return Ok(()),
            Ordering::Equal => format!("{name} {} with a newer signature", entry.version),
            Ordering::Less => format!("{name} {}", entry.version),
        };
        if policy.allows_downgrade(name) {
            return Ok(());
        }
        let detail = format!(
            "{older} was installed before, and policy allows no way back to {} (allow-downgrade in installer.toml)",
            judged.package.version
        );
        Err(Failure::new(Cause::Downgrade, detail))
    }

    /// Records what was just installed. The version never goes down, except where policy allowed that.
    pub(crate) fn record(
        &self,
        judged: &Judged,
        backend: &dyn Installer,
        policy: &Policy,
    ) -> Result<(), Failure> {
        let name = &judged.package.name;
        let new = Entry {
            format: FORMAT,
            version: judged.package.version.clone(),
            certificate: judged.package.signer.clone(),
            signed_at: judged.signed_at,
            digest: judged.digest,
        };
        let entry = match self.entry(name)? {
            Some(old) if !policy.allows_downgrade(name) => higher(old, new, backend),
            _ => new,
        };
        write(&path_in(&self.folder, name)?, &entry)?;
        self.forget_beginning(name)
    }

    /// Records a version that a job saw whole on the device, where that is higher: somebody else installed it.
    pub(crate) fn raise(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        backend: &dyn Installer,
    ) -> Result<(), Failure> {
        let before = self.entry(name)?;
        let is_higher = |entry: &Entry| backend.compare_versions(version, &entry.version).is_gt();
        if !before.as_ref().is_none_or(is_higher) {
            return Ok(());
        }
        let entry = Entry {
            format: FORMAT,
            version: version.clone(),
            certificate: before.and_then(|entry| entry.certificate),
            signed_at: 0,
            digest: [0; 32],
        };
        write(&path_in(&self.folder, name)?, &entry)?;
        self.forget_beginning(name)
    }
}

/// The grammars of package managers have no `/` and no leading dot; nothing else becomes a path.
fn path_in(folder: &Path, name: &PackageName) -> Result<PathBuf, Failure> {
    match name.as_str().contains('/') || name.as_str().starts_with('.') {
        false => Ok(folder.join(name.as_str())),
        true => Err(Failure::new(
            Cause::NotManaged,
            format!("'{name}' is no name of a package"),
        )),
    }
}

fn read<T: for<'b> Decode<'b, ()>>(
    path: &Path,
    format: impl FnOnce(&T) -> u32,
) -> Result<Option<T>, Failure> {
    let unreadable = |why: String| {
        let detail = format!("cannot read {}: {why}", path.display());
        Failure::new(Cause::Unavailable, detail)
    };
    let Some(bytes) = durable::read(path).map_err(|error| unreadable(error.to_string()))? else {
        return Ok(None);
    };
    let record = decode::<T>(&bytes).map_err(|error| unreadable(error.to_string()))?;
    match format(&record) {
        ..=FORMAT => Ok(Some(record)),
        newer => Err(unreadable(format!(
            "it has format {newer}, a newer wharfd wrote it"
        ))),
    }
}

fn write<T: Encode<()>>(path: &Path, record: &T) -> Result<(), Failure> {
    let bytes = encode(record).map_err(|error| unwritten(path, &error.to_string()))?;
    durable::write(path, &bytes).map_err(|error| unwritten(path, &error.to_string()))
}

fn unwritten(path: &Path, why: &str) -> Failure {
    let detail = format!("cannot write {}: {why}", path.display());
    Failure::new(Cause::Unavailable, detail)
}

fn higher(old: Entry, new: Entry, backend: &dyn Installer) -> Entry {
    match backend.compare_versions(&new.version, &old.version) {
        Ordering::Less => Entry {
            digest: new.digest,
            ..old
        },
        _ => new,
    }
}
