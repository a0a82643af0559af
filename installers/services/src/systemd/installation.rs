//! Holds units before the package manager works, and settles them afterwards: they are INACTIVE, or as before if the work
//! failed. A power cut may follow any step; the step is then repeated.

use std::{collections::BTreeSet, iter};

use wharf_fault as fault;
use wharf_frames::{Failure, OperationId, PackageName, PackageVersion, Text};
use wharf_journal::message;
use wharf_root::limits;

use super::{
    Systemd,
    gate::{Gate, Ours},
    hold, left_behind,
    manager::UnitState,
    record::{Interruption, UnitRecord, Work},
    unit_name::UnitName,
    units::Shipped,
};

/// A package that the device has whole.
#[derive(Debug, Clone)]
pub(super) struct OldVersion {
    /// Its version.
    pub(super) version: PackageVersion,
    /// Its units.
    pub(super) shipped: Shipped,
}

/// The units of both versions of a package.
pub(super) fn both<'a>(before: Option<&'a OldVersion>, new: &'a Shipped) -> Vec<&'a Shipped> {
    let before = before.map(|before| &before.shipped);
    iter::once(new).chain(before).collect()
}

impl Systemd {
    /// Keeps all units of both versions of a package from starting, then stops the running ones. An Install that `adopts` a
    /// package of the device leaves running units alone.
    pub(super) fn hold_versions(
        &self,
        package: &PackageName,
        operation: OperationId,
        before: Option<&OldVersion>,
        new: &Shipped,
        adopts: bool,
    ) -> Result<(), Failure> {
        let mut record = UnitRecord::read(&self.root, package)?.unwrap_or_default();
        let is_being_adopted = record.is_being_adopted();
        if let Some(before) = before.filter(|_| is_being_adopted && !record.is_of(operation)) {
            self.let_go(package, &mut record, &before.shipped)?;
        }
        if adopts || is_being_adopted {
            return self.adopt(package, operation, before, new, record);
        }
        Self::tell_exempt(package, operation, new);
        if self.protected.package(package).is_some() {
            return Ok(());
        }
        let shipped = both(before, new);
        let gate = self.gate(package, &shipped, &record.units)?;
        if !record.is_of(operation) {
            record.add_units(&gate, &shipped);
            self.interrupt(package, operation, before, &gate, &mut record)?;
        }
        fault::point("hold.recorded");
        let units = gate.ours(&record.units);
        if units.is_empty() {
            return Ok(());
        }
        tell_triggers(package, operation, &gate.triggers_of(&units));
        hold::put(&self.root, package, &gate.with_triggers(&units))?;
        self.manager.reload()?;
        fault::point("hold.reloaded");
        if before.is_some() {
            let gate = self.gate(package, &shipped, &record.units)?;
            self.stop_all(&gate, &gate.instances(&record.units))?;
        }
        fault::point("hold.stopped");
        Ok(())
    }

    /// Whether this install has begun to hold the package, and has not settled it yet.
    pub(super) fn has_begun(
        &self,
        package: &PackageName,
        operation: OperationId,
    ) -> Result<bool, Failure> {
        let record = UnitRecord::read(&self.root, package)?;
        Ok(record.is_some_and(|record| record.is_of(operation)))
    }

    /// Whether processes that maintainer scripts forked belong to this install. They do not if the device had the package
    /// before, nor after a failed upgrade: a script of the old version may have started them again.
    pub(super) fn has_forked(
        &self,
        package: &PackageName,
        operation: OperationId,
        done: bool,
    ) -> Result<bool, Failure> {
        let record = UnitRecord::read(&self.root, package)?;
        let job = record.and_then(|record| record.job);
        let job = job.filter(|job| job.operation == operation && job.work == Work::Install);
        Ok(job.is_some_and(|job| done || job.version.is_none()))
    }

    /// The record that [`Self::hold_versions`] would write for this version. None while another job works on the units.
    pub(super) fn snapshot_of_units(
        &self,
        package: &PackageName,
        operation: OperationId,
        present: &OldVersion,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let mut record = UnitRecord::read(&self.root, package)?.unwrap_or_default();
        if record.job.is_some() || self.protected.package(package).is_some() {
            return Ok(None);
        }
        let shipped = [&present.shipped];
        let gate = self.gate(package, &shipped, &record.units)?;
        record.add_units(&gate, &shipped);
        self.note_state(operation, Some(present), &gate, &mut record)?;
        record.encoded().map(Some)
    }

    /// Disables and stops the units of the version in place. The record stays as it is.
    pub(super) fn quiet_units(
        &self,
        package: &PackageName,
        shipped: &Shipped,
    ) -> Result<(), Failure> {
        if self.protected.package(package).is_some() {
            return Ok(());
        }
        let gate = self.gate(package, &[shipped], [])?;
        let known = Self::with_state(&gate, shipped);
        let enabled = self.manager.those(&known, UnitState::is_enabled)?;
        self.manager.disable(&enabled)?;
        let units: Vec<UnitName> = shipped.units.iter().cloned().collect();
        let units = gate.instances(&units);
        self.stop_all(&gate, &units)?;
        self.manager.forget_failures(&units)
    }

    /// Makes the record of a snapshot the one of the package. Units that it has gained since stay known, so that they are
    /// stopped.
    pub(super) fn recall_units(
        &self,
        package: &PackageName,
        snapshot: &[u8],
    ) -> Result<(), Failure> {
        let mut record = UnitRecord::decoded(snapshot)?;
        if let Some(now) = UnitRecord::read(&self.root, package)? {
            let known: Vec<UnitName> = now.all().into_iter().collect();
            record.units = union([&record.units, &known]);
        }
        record.write(&self.root, package)
    }

    /// Records the running and the enabled units, before any is touched.
    fn interrupt(
        &self,
        package: &PackageName,
        operation: OperationId,
        before: Option<&OldVersion>,
        gate: &Gate,
        record: &mut UnitRecord,
    ) -> Result<(), Failure> {
        self.note_state(operation, before, gate, record)?;
        record.write(&self.root, package)
    }

    fn note_state(
        &self,
        operation: OperationId,
        before: Option<&OldVersion>,
        gate: &Gate,
        record: &mut UnitRecord,
    ) -> Result<(), Failure> {
        let known = before.map_or_else(Ours::default, |before| {
            Self::with_state(gate, &before.shipped)
        });
        let enabled = self.manager.those(&known, UnitState::is_enabled)?;
        // systemd will check the skipped units again.
        let activated = record.activated;
        let triggers = gate.triggers_of(&known);
        let triggers = self.manager.those(&triggers, UnitState::runs)?;
        let ran = self.manager.those(&known, |state| {
            state.runs() || (activated && state.is_skipped())
        })?;
        record.job = Some(Interruption {
            operation,
            version: before.map(|before| before.version.clone()),
            ran: ran.units().to_vec(),
            enabled: enabled.units().to_vec(),
            activated,
            work: Work::Install,
            held: Vec::new(),
            triggers: triggers.units().to_vec(),
        });
        record.activated = false;
        record.wanted = union([&record.wanted, enabled.units()]);
        Ok(())
    }

    /// Settles the units after the package manager has worked. If the work is `done`, the package is INACTIVE. If the old
    /// version is still whole, its units run again. A half-installed package stays held. Adopted software is as before, and so
    /// are all units after a failed activation.
    pub(super) fn settle_units(
        &self,
        package: &PackageName,
        operation: OperationId,
        present: Option<&OldVersion>,
        done: bool,
    ) -> Result<(), Failure> {
        let Some(mut record) = UnitRecord::read(&self.root, package)? else {
            return Ok(());
        };
        let Some(present) = present else {
            return Ok(());
        };
        let Some(job) = record.job.clone().filter(|_| record.is_of(operation)) else {
            return self.look_again(package, record, &present.shipped);
        };
        match job.work {
            Work::Install => {}
            Work::Adoption => return self.settle_adoption(package, record, &job, present),
            Work::Activation => return self.put_back(package, record, &job, &present.shipped),
        }
        let (gate, tied) = self.quiet(package, &mut record, &present.shipped)?;
        fault::point("settle.quiet");
        let goes_on = !done && job.version.as_ref() == Some(&present.version);
        let kept = match goes_on && (job.activated || !job.ran.is_empty()) {
            true => BTreeSet::new(),
            false => {
                let kept = gate.with_triggers(&tied);
                kept.units().iter().cloned().collect()
            }
        };
        hold::release(&self.root, package, &kept)?;
        self.manager.reload()?;
        fault::point("settle.released");
        if goes_on {
            let known = Self::with_state(&gate, &present.shipped);
            record.held_back = self.manager.held_back(&known)?;
            self.manager.enable(&gate.ours(&job.enabled))?;
            let ran = gate.and_stopped(&job.ran, &job.triggers);
            self.manager.start(&ran, limits::UNIT_START)?;
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

    /// Ends daemons that the installation started: Activate could not start them again.
    pub(super) fn end_daemons(&self, package: &PackageName) {
        match left_behind::end(&|process| self.packages.is_package_manager(process)) {
            Ok(None) => {}
            Ok(Some(daemons)) => tracing::warn!(
                MESSAGE_ID = message::DAEMONS_ENDED,
                WHARF_PACKAGE = package.as_str(),
                "{package}: ended processes that its maintainer scripts left, which Activate could not start again: {daemons}"
            ),
            Err(error) => tracing::warn!(
                WHARF_PACKAGE = package.as_str(),
                "{package}: cannot look for processes that its maintainer scripts left: {error}"
            ),
        }
    }

    /// Records the units that the installation enabled, which Activate starts. Then disables and stops all units. Returns those
    /// that must stay held.
    fn quiet(
        &self,
        package: &PackageName,
        record: &mut UnitRecord,
        shipped: &Shipped,
    ) -> Result<(Gate, Ours), Failure> {
        self.manager.reload()?;
        let gate = self.gate(package, &[shipped], &record.all())?;
        let known = Self::with_state(&gate, shipped);
        let enabled = self.manager.those(&known, UnitState::is_enabled)?;
        record.wanted = union([&record.wanted, enabled.units()]);
        record.wanted.retain(|unit| shipped.has(unit));
        record.write(&self.root, package)?;
        fault::point("settle.recorded");
        self.manager.disable(&enabled)?;
        fault::point("settle.disabled");
        let tied = self.tied(&gate, shipped)?;
        let by_others = tied.only(|unit| !shipped.bus.contains(unit));
        record.wanted = union([&record.wanted, by_others.units()]);
        // A unit may have become the package's own since the hold.
        let units: Vec<UnitName> = shipped.units.iter().cloned().collect();
        let running = gate.instances(&union([&record.units, &units]));
        self.stop_all(&gate, &running)?;
        Ok((gate, tied))
    }

    /// Stops these units, and those of others that start nothing else. Also resets the failed state of these sockets.
    pub(super) fn stop_all(&self, gate: &Gate, units: &Ours) -> Result<(), Failure> {
        let all = gate.with_triggers(units);
        self.manager.stop(&all, limits::UNIT_STOP)?;
        // The end of a unit may have started another (systemd.unit(5), `OnFailure=`, `OnSuccess=`).
        self.manager.stop_running(&all, limits::UNIT_STOP)?;
        self.manager.forget_failures(&gate.triggers_of(units))
    }

    /// Stops and releases the remaining units of a removed package. The record keeps which units its installation enabled:
    /// the tools of distributions do the same, and enable nothing again that was disabled before a removal.
    pub(super) fn forget_units(&self, package: &PackageName) -> Result<(), Failure> {
        let Some(record) = UnitRecord::read(&self.root, package)? else {
            return hold::release(&self.root, package, &BTreeSet::new());
        };
        if !record.units.is_empty() {
            let gate = self.gate(package, &[], &record.units)?;
            let running = gate.instances(&record.units);
            self.manager.stop(&running, limits::UNIT_STOP)?;
            hold::release(&self.root, package, &BTreeSet::new())?;
            self.manager.reload()?;
        }
        fault::point("forget.released");
        let mut kept = UnitRecord {
            wanted: record.wanted,
            ..UnitRecord::default()
        };
        kept.write(&self.root, package)
    }

    /// Deletes the record of a purged package: its next installation alone tells which units to start.
    pub(super) fn delete_record(&self, package: &PackageName) -> Result<(), Failure> {
        UnitRecord::delete(&self.root, package)
    }
}

fn tell_triggers(package: &PackageName, operation: OperationId, triggers: &Ours) {
    if !triggers.is_empty() {
        tracing::info!(
            WHARF_PACKAGE = package.as_str(),
            WHARF_OPERATION = %operation,
            "{package}: held back with it, since they start nothing else: {}",
            Text::from(format!("{:?}", triggers.units()))
        );
    }
}

/// The units of both, each once.
fn union(lists: [&[UnitName]; 2]) -> Vec<UnitName> {
    let all: BTreeSet<UnitName> = lists.into_iter().flatten().cloned().collect();
    all.into_iter().collect()
}
