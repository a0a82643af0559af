//! Activate and Deactivate (TS 5.2), and whether a package is active.

use std::{collections::BTreeSet, thread, time::Instant};

use wharf_frames::{Cause, Failure, PackageName};

use super::{
    Systemd,
    gate::{Gate, Ours},
    hold,
    manager::UnitState,
    record::Record,
    units::{Shipped, UnitName},
};
use crate::{backend::Change, fault, limits};

impl Systemd {
    /// Whether the software runs, and will after the next boot. At boot, and right after somebody started it, what is
    /// about to start counts as started.
    pub(crate) fn is_active(&self, package: &PackageName) -> Result<bool, Failure> {
        let Some(record) = Record::read(&self.root, package)? else {
            return Ok(false);
        };
        if hold::is_held(&self.root, package) {
            return Ok(false);
        }
        match record.wanted.is_empty() {
            true => Ok(record.activated && self.all_run(&record.exempt)?),
            false => self.all_run(&record.wanted),
        }
    }

    fn all_run(&self, units: &[UnitName]) -> Result<bool, Failure> {
        let states = self.manager.states(units)?;
        Ok(states
            .iter()
            .all(|state| state.is_up_or_coming() && state.may_start_at_boot()))
    }

    /// Enables and starts what the package's installation would have, and looks whether it stays up. What does not is
    /// deactivated again.
    pub(crate) fn activate(
        &self,
        package: &PackageName,
        shipped: &Shipped,
    ) -> Result<Change, Failure> {
        if shipped.is_exempt() {
            return self.activate_exempt(package, shipped);
        }
        let mut record = Record::read(&self.root, package)?.unwrap_or_default();
        let gate = self.gate(package, &[shipped], &record.wanted)?;
        let mut wanted = gate.ours(&record.wanted);
        if self.is_active(package)? && self.coming(&wanted)?.is_empty() {
            return Ok(Change::Unchanged);
        }
        wanted = wanted.only(|unit| shipped.has(unit));
        if wanted.is_empty() {
            wanted = self.startable(&gate, shipped)?;
        }
        record.units = shipped.units.iter().cloned().collect();
        record.wanted = wanted.units().to_vec();
        record.write(&self.root, package)?;
        fault::point("activate.recorded");
        if let Err(failure) = self.start(package, &wanted) {
            self.deactivate(package, shipped)?;
            return Err(failure);
        }
        record.activated = true;
        record.write(&self.root, package)?;
        Ok(Change::Changed)
    }

    /// Of a package whose installation enables nothing: all that can be enabled, and what others start.
    fn startable(&self, gate: &Gate, shipped: &Shipped) -> Result<Ours, Failure> {
        let known = Self::with_state(gate, shipped);
        let startable = self.manager.those(&known, |state| {
            state.is_enabled() || state.file == "disabled"
        })?;
        Ok(gate.ours(startable.units().iter().chain(&shipped.linked)))
    }

    fn start(&self, package: &PackageName, wanted: &Ours) -> Result<(), Failure> {
        self.release(package)?;
        fault::point("activate.released");
        let disabled = self.manager.those(wanted, UnitState::is_disabled)?;
        self.manager.enable(&disabled)?;
        fault::point("activate.enabled");
        self.manager.forget_failures(wanted)?;
        let deadline = Instant::now() + limits::UNIT_START;
        self.manager.start(wanted, limits::UNIT_START)?;
        fault::point("activate.started");
        self.stay_up(wanted, deadline)
    }

    /// Nothing of the package is kept from starting any more.
    pub(super) fn release(&self, package: &PackageName) -> Result<(), Failure> {
        if !hold::is_held(&self.root, package) {
            return Ok(());
        }
        hold::release(&self.root, package, &BTreeSet::new())?;
        self.manager.reload()
    }

    /// Those that start, or are about to.
    fn coming(&self, wanted: &Ours) -> Result<Ours, Failure> {
        self.manager.those(wanted, UnitState::is_coming)
    }

    /// How they stand once nothing of them starts any more: a timer may have started a oneshot anew.
    fn started(&self, wanted: &Ours, deadline: Instant) -> Result<Vec<UnitState>, Failure> {
        let coming = self.coming(wanted)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            self.manager.start(&coming, left)?;
        }
        self.manager.states(wanted.units())
    }

    /// systemd calls a simple service started before its program has done anything.
    fn stay_up(&self, wanted: &Ours, deadline: Instant) -> Result<(), Failure> {
        let first = self.started(wanted, deadline)?;
        self.all_up(wanted, &first)?;
        if !first.iter().any(UnitState::is_started_unseen) {
            return Ok(());
        }
        thread::sleep(limits::UNIT_STEADY);
        let then = self.started(wanted, deadline)?;
        self.all_up(wanted, &then)?;
        let pairs = wanted.units().iter().zip(first.iter().zip(&then));
        for (unit, (before, after)) in pairs {
            if before.restarts != after.restarts {
                return Err(self.not_up(unit, after));
            }
        }
        Ok(())
    }

    fn all_up(&self, wanted: &Ours, states: &[UnitState]) -> Result<(), Failure> {
        let mut down = wanted
            .units()
            .iter()
            .zip(states)
            .filter(|(_, state)| !state.is_up());
        match down.next() {
            None => Ok(()),
            Some((unit, state)) => Err(self.not_up(unit, state)),
        }
    }

    fn not_up(&self, unit: &UnitName, state: &UnitState) -> Failure {
        let detail = format!(
            "{unit} {}; it said: {} (`journalctl -u {unit}`)",
            state.why_not_up(),
            self.manager.last_words(unit)
        );
        Failure::new(Cause::Unit, detail)
    }

    /// Stops and disables all units; those for which that is not enough are held.
    pub(crate) fn deactivate(
        &self,
        package: &PackageName,
        shipped: &Shipped,
    ) -> Result<Change, Failure> {
        if shipped.is_exempt() {
            return self.deactivate_exempt(package, shipped);
        }
        let mut record = Record::read(&self.root, package)?.unwrap_or_default();
        let gate = self.gate(package, &[shipped], [])?;
        let known = Self::with_state(&gate, shipped);
        let enabled = self.manager.those(&known, UnitState::is_enabled)?;
        let ran = self.manager.those(&known, UnitState::runs)?;
        let was_active = record.activated || !enabled.is_empty() || !ran.is_empty();
        record.units = shipped.units.iter().cloned().collect();
        if record.wanted.is_empty() {
            record.wanted = enabled.units().to_vec();
        }
        record.activated = false;
        record.write(&self.root, package)?;
        fault::point("deactivate.recorded");
        self.manager.disable(&enabled)?;
        fault::point("deactivate.disabled");
        let tied = self.tied(&gate, shipped)?;
        if !tied.is_empty() {
            hold::put(&self.root, package, &tied)?;
            self.manager.reload()?;
        }
        let running = gate.instances(&record.units);
        self.manager.stop(&running, limits::UNIT_STOP)?;
        fault::point("deactivate.stopped");
        match self.manager.those(&known, UnitState::runs)?.units().first() {
            None if was_active => Ok(Change::Changed),
            None => Ok(Change::Unchanged),
            Some(unit) => {
                let detail = format!("{unit} still runs (`systemctl status {unit}`)");
                Err(Failure::new(Cause::Unit, detail))
            }
        }
    }
}
