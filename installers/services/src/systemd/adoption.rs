//! The first Install of a package that the device had before wharfd. Its running software is not held: maintainer scripts
//! restart it, as without wharfd. Stopped units stay stopped.

use std::collections::BTreeSet;

use wharf_fault as fault;
use wharf_frames::{Failure, OperationId, PackageName, Text};
use wharf_journal::message;
use wharf_root::limits;

use super::{
    Systemd,
    gate::{Gate, Ours},
    hold,
    installation::{OldVersion, both},
    is_pulled_by_others,
    manager::UnitState,
    record::{Interruption, UnitRecord, Work},
    unit_name::UnitName,
    units::Shipped,
};

impl Systemd {
    /// Before the package manager works: records the running units, and holds the stopped ones. If the package is not whole,
    /// the record of an earlier, unsettled adoption is used instead.
    pub(super) fn adopt(
        &self,
        package: &PackageName,
        operation: OperationId,
        before: Option<&OldVersion>,
        new: &Shipped,
        mut record: UnitRecord,
    ) -> Result<(), Failure> {
        let shipped = both(before, new);
        let gate = self.gate(package, &shipped, &record.units)?;
        if !record.is_of(operation) {
            record.add_units(&gate, &shipped);
            let earlier = record.job.take().filter(|job| job.work == Work::Adoption);
            let job = match earlier.filter(|_| before.is_none()) {
                Some(job) => Interruption { operation, ..job },
                None => self.as_it_was(operation, before, &gate, &shipped, &record)?,
            };
            let old = before.map_or(new, |before| &before.shipped);
            self.record_software(&gate, old, &mut record)?;
            tell(package, operation, &job.held);
            record.job = Some(job);
            record.write(&self.root, package)?;
        }
        fault::point("adopt.recorded");
        let job = record.job.as_ref();
        let held = gate.ours(job.into_iter().flat_map(|job| &job.held));
        if !held.is_empty() {
            hold::put(&self.root, package, &with_idle_triggers(&gate, &held, job))?;
            self.manager.reload()?;
        }
        fault::point("adopt.held");
        Ok(())
    }

    fn as_it_was(
        &self,
        operation: OperationId,
        before: Option<&OldVersion>,
        gate: &Gate,
        shipped: &[&Shipped],
        record: &UnitRecord,
    ) -> Result<Interruption, Failure> {
        let known = shipped.iter().map(|it| Self::with_state(gate, it));
        let known: BTreeSet<UnitName> = known.flat_map(|it| it.units().to_vec()).collect();
        let known: Vec<UnitName> = known.into_iter().collect();
        let (mut ran, mut enabled, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for (unit, state) in known.iter().zip(&self.manager.states(&known)?) {
            // Their triggers start such units again when needed.
            let by_itself = state.is_enabled() || state.is_disabled();
            let is_to_run = by_itself || !state.pulled_by.is_empty();
            ran.extend((state.runs() && is_to_run).then(|| unit.clone()));
            enabled.extend(state.is_enabled().then(|| unit.clone()));
            let is_down = state.is_stopped() || record.is_skipped_by_us(unit, state);
            held.extend(is_down.then(|| unit.clone()));
        }
        let triggers = gate.triggers_of(&gate.ours(&known));
        let triggers = self.manager.those(&triggers, UnitState::runs)?;
        Ok(Interruption {
            operation,
            version: before.map(|before| before.version.clone()),
            ran,
            enabled,
            activated: false,
            work: Work::Adoption,
            held,
            triggers: triggers.units().to_vec(),
        })
    }

    /// After the package manager has worked or failed: starts the units that ran, and stops those that were down.
    pub(super) fn settle_adoption(
        &self,
        package: &PackageName,
        mut record: UnitRecord,
        job: &Interruption,
        present: &OldVersion,
    ) -> Result<(), Failure> {
        self.manager.reload()?;
        let shipped = &present.shipped;
        let gate = self.gate(package, &[shipped], &record.all())?;
        let held = gate.ours(&job.held);
        self.disable_again(&held, job)?;
        let down = with_idle_triggers(&gate, &held, Some(job));
        self.manager.stop_running(&down, limits::UNIT_STOP)?;
        fault::point("adopt.stopped");
        if !job.held.is_empty() {
            hold::release(&self.root, package, &BTreeSet::new())?;
            self.manager.reload()?;
        }
        record.held_back = self.manager.held_back(&held)?;
        fault::point("adopt.released");
        self.run_on(&gate, shipped, job, |state| {
            state.is_up_or_coming() || state.is_skipped()
        })?;
        fault::point("adopt.started");
        self.record_software(&gate, shipped, &mut record)?;
        record.units = shipped.units.iter().cloned().collect();
        record.job = None;
        record.write(&self.root, package)
    }

    /// Ends a failed adoption of a package that somebody made whole by hand. Stopped units stay down, and can be started again.
    /// The next Install is still an adoption.
    pub(super) fn let_go(
        &self,
        package: &PackageName,
        record: &mut UnitRecord,
        shipped: &Shipped,
    ) -> Result<(), Failure> {
        let gate = self.gate(package, &[shipped], &record.all())?;
        let Some(job) = record.job.as_mut() else {
            return Ok(());
        };
        let runs = UnitState::runs;
        let down = self
            .manager
            .those(&gate.ours(&job.held), |state| !runs(state))?;
        self.disable_again(&down, job)?;
        self.release(package)?;
        (job.ran, job.enabled, job.held, job.triggers) = Default::default();
        record.held_back = self.manager.held_back(&down)?;
        record.write(&self.root, package)
    }

    /// Disables units that an administrator had disabled and a maintainer script enabled.
    fn disable_again(&self, held: &Ours, job: &Interruption) -> Result<(), Failure> {
        let enabled = self.manager.those(held, UnitState::is_enabled)?;
        let newly = enabled.only(|unit| !job.enabled.contains(unit));
        self.manager.disable(&newly)
    }

    /// The software is all units that start at boot. A package without such units counts as active, unless somebody
    /// disabled its units.
    fn record_software(
        &self,
        gate: &Gate,
        shipped: &Shipped,
        record: &mut UnitRecord,
    ) -> Result<(), Failure> {
        let known = Self::with_state(gate, shipped);
        let starts = |state: &UnitState| {
            (state.is_enabled() && !state.is_forgotten())
                || (is_pulled_by_others(shipped, state) && state.may_start_at_boot())
        };
        let could_start = |state: &UnitState| !state.file.is_empty() && !state.may_start_at_boot();
        record.wanted = self.manager.those(&known, starts)?.units().to_vec();
        record.exempt = self.exempt_that_count(shipped)?;
        record.activated = match shipped.is_exempt() {
            true => !record.exempt.is_empty(),
            false => {
                !record.wanted.is_empty() || self.manager.those(&known, could_start)?.is_empty()
            }
        };
        Ok(())
    }
}

/// These units, and those of others that start nothing else, unless they ran before.
fn with_idle_triggers(gate: &Gate, held: &Ours, job: Option<&Interruption>) -> Ours {
    let ran = |unit: &UnitName| job.is_some_and(|job| job.triggers.contains(unit));
    gate.with_triggers(held).only(|unit| !ran(unit))
}

fn tell(package: &PackageName, operation: OperationId, held: &[UnitName]) {
    let but = match held {
        [] => String::new(),
        held => format!(", and stopped units stay stopped: {held:?}"),
    };
    tracing::info!(
        MESSAGE_ID = message::ADOPTED,
        WHARF_PACKAGE = package.as_str(),
        WHARF_OPERATION = %operation,
        "{package}: the device had it before wharfd managed it, so its running units are not held back{}",
        Text::from(but)
    );
}
