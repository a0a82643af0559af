//! Around the package manager's work: units are held before it, and afterwards left INACTIVE, or as they were where the
//! work failed. Every step may be the last one before a power cut, and is done again after it.

use std::collections::BTreeSet;

use wharf_frames::{Failure, OperationId, PackageName, PackageVersion, Text};
use wharf_journal::message;

use super::{
    Systemd, hold, left_behind,
    record::{Interruption, Record},
    units::{Shipped, UnitName},
};
use crate::{fault, limits};

/// What the device has of a package.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    /// Its version.
    pub(crate) version: PackageVersion,
    /// Its units.
    pub(crate) shipped: Shipped,
}

impl Systemd {
    /// Keeps all units of both versions of a package from starting, then stops those that run.
    pub(crate) fn hold(
        &self,
        package: &PackageName,
        operation: OperationId,
        before: Option<&Present>,
        new: &Shipped,
    ) -> Result<(), Failure> {
        self.tell_exempt(package, operation, new);
        if self.protected.package(package).is_some() {
            return Ok(());
        }
        let record = self.interrupt(package, operation, before, new)?;
        fault::point("hold.recorded");
        let units = record.all();
        if units.is_empty() {
            return Ok(());
        }
        hold::put(&self.root, package, &units)?;
        self.manager.reload()?;
        fault::point("hold.reloaded");
        if before.is_some() {
            self.manager.stop(&record.units, limits::UNIT_STOP)?;
        }
        fault::point("hold.stopped");
        Ok(())
    }

    /// Whether this install has begun to hold the package, and has not settled it yet.
    pub(crate) fn is_held_by(
        &self,
        package: &PackageName,
        operation: OperationId,
    ) -> Result<bool, Failure> {
        let record = Record::read(&self.root, package)?;
        Ok(record.is_some_and(|record| record.is_of(operation)))
    }

    /// Whether what its scripts forked is this install's: not where an upgrade failed, as then the old version's own
    /// script may have started it again.
    pub(crate) fn has_forked(
        &self,
        package: &PackageName,
        operation: OperationId,
        done: bool,
    ) -> Result<bool, Failure> {
        let record = Record::read(&self.root, package)?;
        let job = record.and_then(|record| record.job);
        let job = job.filter(|job| job.operation == operation);
        Ok(job.is_some_and(|job| done || job.version.is_none()))
    }

    /// What runs and what is enabled, recorded before any of it is touched.
    fn interrupt(
        &self,
        package: &PackageName,
        operation: OperationId,
        before: Option<&Present>,
        new: &Shipped,
    ) -> Result<Record, Failure> {
        let mut record = Record::read(&self.root, package)?.unwrap_or_default();
        if record.is_of(operation) {
            return Ok(record);
        }
        let known = before.map_or_else(Vec::new, |before| self.with_state(&before.shipped));
        let enabled = self.those(&known, |state| state.is_enabled())?;
        record.job = Some(Interruption {
            operation,
            version: before.map(|before| before.version.clone()),
            ran: self.those(&known, |state| state.runs())?,
            enabled: enabled.clone(),
            activated: record.activated,
        });
        record.activated = false;
        record.wanted = merged([&record.wanted, &enabled]);
        let shipped = [before.map(|before| &before.shipped), Some(new)];
        let shipped = shipped.into_iter().flatten();
        let mut units = record.all();
        units.extend(shipped.flat_map(|shipped| shipped.units.iter().cloned()));
        units.retain(|unit| self.protected.unit(unit).is_none());
        record.units = units.into_iter().collect();
        record.write(&self.root, package)?;
        Ok(record)
    }

    /// After the package manager's work. Where it is `done`, the package is left INACTIVE; where the version before is
    /// still whole, what ran then runs again; a package that is half there stays held.
    pub(crate) fn settle(
        &self,
        package: &PackageName,
        operation: OperationId,
        present: Option<&Present>,
        done: bool,
    ) -> Result<(), Failure> {
        let Some(mut record) = Record::read(&self.root, package)? else {
            return Ok(());
        };
        let Some(job) = record.job.clone().filter(|_| record.is_of(operation)) else {
            return Ok(());
        };
        let Some(present) = present else {
            return Ok(());
        };
        let tied = self.quiet(package, &mut record, &present.shipped)?;
        fault::point("settle.quiet");
        let goes_on = !done && job.version.as_ref() == Some(&present.version);
        let kept = match goes_on && !job.ran.is_empty() {
            true => BTreeSet::new(),
            false => tied,
        };
        hold::release(&self.root, package, &kept)?;
        self.manager.reload()?;
        fault::point("settle.released");
        if goes_on {
            self.manager.enable(&job.enabled)?;
            self.manager.start(&job.ran, limits::UNIT_START)?;
            record.activated = job.activated;
        }
        if done && !present.shipped.loose.is_empty() {
            tracing::warn!(
                MESSAGE_ID = message::NOT_HELD_BACK,
                WHARF_PACKAGE = package.as_str(),
                "{package}: not held back while it is INACTIVE: {}",
                Text::from(format!("{:?}", present.shipped.loose))
            );
        }
        record.job = None;
        record.units = present.shipped.units.iter().cloned().collect();
        record.write(&self.root, package)
    }

    /// What the installation started that is no unit: nothing could activate it.
    pub(crate) fn end_daemons(&self, package: &PackageName) {
        match left_behind::end() {
            Ok(None) => {}
            Ok(Some(daemons)) => tracing::warn!(
                MESSAGE_ID = message::DAEMONS_ENDED,
                WHARF_PACKAGE = package.as_str(),
                "{package}: ended what its maintainer scripts left running, which no Activate could start: {daemons}"
            ),
            Err(error) => tracing::warn!(
                WHARF_PACKAGE = package.as_str(),
                "{package}: what its maintainer scripts left running is not known: {error}"
            ),
        }
    }

    /// Disables and stops everything, once what the installation enabled is recorded: that is the software which
    /// Activate starts. Gives what has to stay held.
    fn quiet(
        &self,
        package: &PackageName,
        record: &mut Record,
        shipped: &Shipped,
    ) -> Result<BTreeSet<UnitName>, Failure> {
        self.manager.reload()?;
        let known = self.with_state(shipped);
        let enabled = self.those(&known, |state| state.is_enabled())?;
        record.wanted = merged([&record.wanted, &enabled]);
        record.wanted.retain(|unit| shipped.has(unit));
        record.write(&self.root, package)?;
        fault::point("settle.recorded");
        self.manager.disable(&enabled)?;
        fault::point("settle.disabled");
        let tied = self.tied(shipped)?;
        let started_by_others: Vec<UnitName> = tied.difference(&shipped.bus).cloned().collect();
        record.wanted = merged([&record.wanted, &started_by_others]);
        self.manager.stop(&record.units, limits::UNIT_STOP)?;
        Ok(tied)
    }

    /// The package is removed: what is left of its units goes. What its installation enabled stays known, as Debian's
    /// own tools know it: they enable nothing again that was disabled before a removal.
    pub(crate) fn forget(&self, package: &PackageName) -> Result<(), Failure> {
        let Some(record) = Record::read(&self.root, package)? else {
            return hold::release(&self.root, package, &BTreeSet::new());
        };
        if !record.units.is_empty() {
            self.manager.stop(&record.units, limits::UNIT_STOP)?;
            hold::release(&self.root, package, &BTreeSet::new())?;
            self.manager.reload()?;
        }
        fault::point("forget.released");
        let mut kept = Record {
            wanted: record.wanted,
            ..Record::default()
        };
        kept.write(&self.root, package)
    }
}

/// The units of both, each once.
fn merged(lists: [&Vec<UnitName>; 2]) -> Vec<UnitName> {
    let all: BTreeSet<UnitName> = lists.into_iter().flatten().cloned().collect();
    all.into_iter().collect()
}
