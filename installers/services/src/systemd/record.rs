//! Stored facts about the units of a package that systemd does not know: the units that Activate starts, and those that a
//! running job has stopped. Each package has a file, which is replaced as a whole.

use std::{collections::BTreeSet, path::PathBuf};

use minicbor::{Decode, Encode};
use wharf_frames::{
    Cause, Failure, OperationId, PackageName, PackageVersion, Text, decode, encode,
};
use wharf_root::{Root, durable};

use super::{gate::Gate, unit_name::UnitName, units::Shipped};

/// The units of one package.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub(super) struct UnitRecord {
    /// [`FORMAT`] of the writer.
    #[n(0)]
    pub(super) format: u32,
    /// All units. During a job, those of the version before as well.
    #[n(1)]
    pub(super) units: Vec<UnitName>,
    /// The software: units that the installation of the package enabled, or that another unit starts.
    #[n(2)]
    pub(super) wanted: Vec<UnitName>,
    /// Activate was the last order. This decides for a package without such units.
    #[n(3)]
    pub(super) activated: bool,
    /// The job that works on the units.
    #[n(4)]
    pub(super) job: Option<Interruption>,
    /// The exempt units that ran or were skipped when the package was activated, if all of its units are exempt.
    #[cbor(n(5), default)]
    pub(super) exempt: Vec<UnitName>,
    /// The units that systemd skipped when the package was activated.
    #[cbor(n(6), default)]
    pub(super) skipped: Vec<Skipped>,
    /// The units that systemd skipped because of our hold.
    #[cbor(n(7), default)]
    pub(super) held_back: Vec<HeldBack>,
    /// The oneshots that ran when the package was activated, and that systemd has forgotten since.
    #[cbor(n(8), default)]
    pub(super) ran_once: Vec<UnitName>,
}

/// A unit whose conditions systemd last checked while it was held back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct HeldBack {
    /// The unit.
    #[n(0)]
    pub(super) unit: UnitName,
    /// The time of that check, in systemd's words.
    #[n(1)]
    pub(super) at: Text,
}

/// A unit that systemd did not start, because a condition was not met.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Skipped {
    /// The unit.
    #[n(0)]
    pub(super) unit: UnitName,
    /// The condition, as systemd names it; empty if systemd does not.
    #[n(1)]
    pub(super) why: Text,
}

/// The state at the start of a job on the units.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Interruption {
    /// Its operation.
    #[n(0)]
    pub(super) operation: OperationId,
    /// The version that the device had.
    #[n(1)]
    pub(super) version: Option<PackageVersion>,
    /// The package's units that ran.
    #[n(2)]
    pub(super) ran: Vec<UnitName>,
    /// The package's units that were enabled.
    #[n(3)]
    pub(super) enabled: Vec<UnitName>,
    /// [`UnitRecord::activated`] before it.
    #[n(4)]
    pub(super) activated: bool,
    /// The kind of the job.
    #[cbor(n(5), default)]
    pub(super) work: Work,
    /// The units that are kept down: during an adoption, and after a failed activation.
    #[cbor(n(6), default)]
    pub(super) held: Vec<UnitName>,
    /// Running units of others that start nothing else. They are in no other list.
    #[cbor(n(7), default)]
    pub(super) triggers: Vec<UnitName>,
}

/// A kind of job on the units of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Work {
    /// An Install: the package is INACTIVE afterwards.
    #[default]
    #[n(0)]
    Install,
    /// The first Install of a package that the device had: its software stays as it was.
    #[n(1)]
    Adoption,
    /// An Activate.
    #[n(2)]
    Activation,
}

const FORMAT: u32 = 1;

impl UnitRecord {
    /// Adds the package's own units among those of these versions.
    pub(super) fn add_units(&mut self, gate: &Gate, shipped: &[&Shipped]) {
        let units = shipped.iter().flat_map(|shipped| &shipped.units);
        let units = gate.ours(self.units.iter().chain(units));
        self.units = units.units().to_vec();
    }

    /// The record of a package, or none.
    pub(super) fn read(root: &Root, package: &PackageName) -> Result<Option<Self>, Failure> {
        let path = path(root, package);
        let unreadable = |why: &str| {
            let detail = format!("cannot read {}: {why}", path.display());
            Failure::new(Cause::Unavailable, detail)
        };
        let bytes = durable::read(&path).map_err(|error| unreadable(&error.to_string()))?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        match decode::<Self>(&bytes) {
            Ok(record) if record.format <= FORMAT => Ok(Some(record)),
            Ok(_) => Err(unreadable("a newer wharfd wrote it")),
            Err(error) => Err(unreadable(&error.to_string())),
        }
    }

    /// The record, for [`Self::decoded`].
    pub(super) fn encoded(&self) -> Result<Vec<u8>, Failure> {
        encode(self).map_err(|error| Failure::new(Cause::Unavailable, error.to_string()))
    }

    /// A record that [`Self::encoded`] returned.
    pub(super) fn decoded(bytes: &[u8]) -> Result<Self, Failure> {
        decode(bytes).map_err(|error| Failure::new(Cause::Unavailable, error.to_string()))
    }

    /// Stores the record durably.
    pub(super) fn write(&mut self, root: &Root, package: &PackageName) -> Result<(), Failure> {
        self.format = FORMAT;
        let path = path(root, package);
        let written = encode(self)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                path.parent()
                    .map_or(Ok(()), durable::private_folder)
                    .and_then(|()| durable::write(&path, &bytes))
                    .map_err(|error| error.to_string())
            });
        written.map_err(|why| {
            let detail = format!("cannot write {}: {why}", path.display());
            Failure::new(Cause::Unavailable, detail)
        })
    }

    /// Deletes the record of a purged package.
    pub(super) fn delete(root: &Root, package: &PackageName) -> Result<(), Failure> {
        let path = path(root, package);
        durable::remove(&path).map_err(|error| {
            let detail = format!("cannot remove {}: {error}", path.display());
            Failure::new(Cause::Unavailable, detail)
        })
    }

    /// Whether this operation holds the package.
    pub(super) fn is_of(&self, operation: OperationId) -> bool {
        self.job
            .as_ref()
            .is_some_and(|job| job.operation == operation)
    }

    /// Whether an Install has begun to adopt the package, and is not settled.
    pub(super) fn is_being_adopted(&self) -> bool {
        let job = self.job.as_ref();
        job.is_some_and(|job| job.work == Work::Adoption)
    }

    /// Every unit of the package that it names, but for those that are never touched.
    pub(super) fn all(&self) -> BTreeSet<UnitName> {
        let of_job = self
            .job
            .iter()
            .flat_map(|job| [&job.ran, &job.enabled, &job.held]);
        let own = self.units.iter().chain(&self.wanted);
        own.chain(of_job.flatten()).cloned().collect()
    }
}

/// A valid name of a package has no `/`.
fn path(root: &Root, package: &PackageName) -> PathBuf {
    root.units().join(package.as_str())
}
