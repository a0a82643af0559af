//! Activate and Deactivate (TS 5.2), and whether a package is active.

use std::{collections::BTreeSet, thread, time::Instant};

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, OperationId, PackageName, Text};
use wharf_root::{Change, limits};

use super::{
    Systemd,
    conditions::Before,
    gate::{Gate, Ours},
    hold,
    manager::UnitState,
    record::{Interruption, Skipped, UnitRecord, Work},
    unit_name::UnitName,
    units::Shipped,
};
use crate::Activity;

/// The units that are not active after a successful start.
struct Started {
    /// systemd skipped them.
    skipped: Vec<Skipped>,
    /// They ran once, and systemd has forgotten them.
    ran_once: Vec<UnitName>,
}

impl Systemd {
    /// Whether the software runs, and will after the next boot. A unit that is about to start counts as started, and so does a
    /// unit that systemd skipped.
    pub(super) fn activity_of_units(&self, package: &PackageName) -> Result<Activity, Failure> {
        let Some(record) = UnitRecord::read(&self.root, package)? else {
            return Ok(Activity::default());
        };
        let units = match record.wanted.is_empty() {
            true if !record.activated => return Ok(Activity::default()),
            true => &record.exempt,
            false => &record.wanted,
        };
        if hold::is_held(&self.root, package) {
            return Ok(Activity::default());
        }
        let states = self.manager.states(units)?;
        let mut skipped = Vec::new();
        for (unit, state) in units.iter().zip(&states) {
            let is_down = !state.is_up_or_coming() && !record.has_run_once(unit, state);
            let is_skipped = is_down && record.is_skipped(unit, state);
            let may_start = state.may_start_at_boot() || state.is_masked();
            if !may_start || (is_down && !is_skipped) {
                return Ok(Activity::default());
            }
            skipped.extend(is_skipped.then_some((unit, state)));
        }
        Ok(Activity {
            active: true,
            skipped: record.told_as_skipped(skipped.into_iter()),
            no_services: false,
        })
    }

    /// See [`Self::activity_of_units`].
    pub(super) fn is_active(&self, package: &PackageName) -> Result<bool, Failure> {
        Ok(self.activity_of_units(package)?.active)
    }

    /// Enables and starts the units that the installation of the package enabled, and checks that they stay up. After a failure,
    /// the caller calls [`Self::settle_units`].
    pub(super) fn activate_units(
        &self,
        package: &PackageName,
        operation: OperationId,
        shipped: &Shipped,
    ) -> Result<Change, Failure> {
        if shipped.is_exempt() {
            return self.activate_exempt(package, shipped);
        }
        let mut record = UnitRecord::read(&self.root, package)?.unwrap_or_default();
        let gate = self.gate(package, &[shipped], &record.wanted)?;
        let mut wanted = gate.ours(&record.wanted);
        let is_begun = record.is_of(operation);
        if !is_begun && self.is_active(package)? && self.coming(&wanted)?.is_empty() {
            record.activated = true;
            record.job = None;
            record.write(&self.root, package)?;
            return Ok(Change::Unchanged);
        }
        wanted = wanted.only(|unit| shipped.has(unit));
        if wanted.is_empty() {
            wanted = self.startable(&gate, shipped)?;
        }
        record.units = shipped.units.iter().cloned().collect();
        if !is_begun {
            record.job = Some(self.as_it_stands(package, operation, &gate, shipped, &record)?);
        }
        record.wanted = wanted.units().to_vec();
        record.write(&self.root, package)?;
        fault::point("activate.recorded");
        Started {
            skipped: record.skipped,
            ran_once: record.ran_once,
        } = self.start(package, &gate, &wanted)?;
        record.activated = true;
        record.job = None;
        record.write(&self.root, package)?;
        Ok(Change::Changed)
    }

    /// The state before an activation.
    fn as_it_stands(
        &self,
        package: &PackageName,
        operation: OperationId,
        gate: &Gate,
        shipped: &Shipped,
        record: &UnitRecord,
    ) -> Result<Interruption, Failure> {
        let held = hold::units_held(&self.root).map_err(|error| hold::unreadable(&error))?;
        let held = held.get(package).into_iter().flatten();
        let held = gate.ours(held.filter(|_| hold::is_held(&self.root, package)));
        let known = Self::with_state(gate, shipped);
        let enabled = self.manager.those(&known, UnitState::is_enabled)?;
        let all = gate.instances(&record.units);
        let ran = self.manager.those(&all, UnitState::runs)?;
        let triggers = self
            .manager
            .those(&gate.triggers_of(&all), UnitState::runs)?;
        Ok(Interruption {
            operation,
            version: None,
            ran: ran.units().to_vec(),
            enabled: enabled.units().to_vec(),
            activated: record.activated,
            work: Work::Activation,
            held: held.units().to_vec(),
            triggers: triggers.units().to_vec(),
        })
    }

    /// Undoes a failed activation: units are enabled and run as before.
    pub(super) fn put_back(
        &self,
        package: &PackageName,
        mut record: UnitRecord,
        job: &Interruption,
        shipped: &Shipped,
    ) -> Result<(), Failure> {
        let gate = self.gate(package, &[shipped], &record.all())?;
        let known = Self::with_state(&gate, shipped);
        let enabled = self.manager.those(&known, UnitState::is_enabled)?;
        let newly = enabled.only(|unit| !job.enabled.contains(unit));
        self.manager.disable(&newly)?;
        fault::point("activate.disabled");
        let held = gate.ours(&job.held);
        if !held.is_empty() {
            hold::put(&self.root, package, &gate.with_triggers(&held))?;
            self.manager.reload()?;
        }
        let all = gate.instances(&record.units);
        let is_new = |unit: &UnitName| !job.ran.contains(unit) && !job.triggers.contains(unit);
        let newly = gate.with_triggers(&all).only(is_new);
        self.manager.stop_running(&newly, limits::UNIT_STOP)?;
        let triggers = gate.triggers_of(&all).only(is_new);
        self.manager.forget_failures(&triggers)?;
        fault::point("activate.stopped");
        self.run_on(&gate, shipped, job, UnitState::runs)?;
        record.activated = job.activated;
        record.job = None;
        record.write(&self.root, package)
    }

    /// Enables and starts again the units that were enabled and ran, if the package still has them, and the units of
    /// others that ran with them.
    pub(super) fn run_on(
        &self,
        gate: &Gate,
        shipped: &Shipped,
        job: &Interruption,
        still_runs: impl Fn(&UnitState) -> bool,
    ) -> Result<(), Failure> {
        let disabled = self
            .manager
            .those(&gate.ours(&job.enabled), UnitState::is_disabled)?;
        self.manager.enable(&disabled)?;
        let ran = gate.and_stopped(&job.ran, &job.triggers);
        let ran = ran.only(|unit| shipped.has(unit) || job.triggers.contains(unit));
        let down = self.manager.those(&ran, |state| !still_runs(state))?;
        self.manager.forget_failures(&down)?;
        self.manager.start(&down, limits::UNIT_START).map(drop)
    }

    /// The units of a package whose installation enables none: every unit with an [Install] section, and those that
    /// other units start.
    fn startable(&self, gate: &Gate, shipped: &Shipped) -> Result<Ours, Failure> {
        let known = Self::with_state(gate, shipped);
        let startable = self.manager.those(&known, |state| {
            state.is_enabled() || state.file == "disabled"
        })?;
        Ok(gate.ours(startable.units().iter().chain(&shipped.linked)))
    }

    fn start(&self, package: &PackageName, gate: &Gate, wanted: &Ours) -> Result<Started, Failure> {
        self.release(package)?;
        fault::point("activate.released");
        let disabled = self.manager.those(wanted, UnitState::is_disabled)?;
        self.manager.enable(&disabled)?;
        fault::point("activate.enabled");
        self.manager.forget_failures(&gate.with_triggers(wanted))?;
        let before = self.manager.before_start(wanted)?;
        let deadline = Instant::now() + limits::UNIT_START;
        let masked = self.manager.those(wanted, UnitState::is_masked)?;
        let startable = wanted.only(|unit| !masked.units().contains(unit));
        let all_done = self.manager.start(&startable, limits::UNIT_START)?;
        fault::point("activate.started");
        self.stay_up(wanted, &before, all_done, deadline)
    }

    /// Removes all holds of the package.
    pub(super) fn release(&self, package: &PackageName) -> Result<(), Failure> {
        if !hold::is_held(&self.root, package) {
            return Ok(());
        }
        hold::release(&self.root, package, &BTreeSet::new())?;
        self.manager.reload()
    }

    /// The units that start, or are about to.
    fn coming(&self, wanted: &Ours) -> Result<Ours, Failure> {
        self.manager.those(wanted, UnitState::is_coming)
    }

    /// Their states once none of them is starting. A timer may have started a oneshot again.
    fn started(&self, wanted: &Ours, deadline: Instant) -> Result<Vec<UnitState>, Failure> {
        let coming = self.coming(wanted)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            self.manager.start(&coming, left)?;
        }
        self.manager.states(wanted.units())
    }

    /// systemd takes a simple service for started before its program has done anything.
    fn stay_up(
        &self,
        wanted: &Ours,
        before: &Before,
        all_done: bool,
        deadline: Instant,
    ) -> Result<Started, Failure> {
        let first = self.started(wanted, deadline)?;
        let started = self.all_up(wanted, before, all_done, &first)?;
        let is_unseen = |state: &UnitState| state.is_up() && state.is_started_unseen();
        if !first.iter().any(is_unseen) {
            return Ok(started);
        }
        thread::sleep(limits::UNIT_STEADY);
        let then = self.started(wanted, deadline)?;
        let started = self.all_up(wanted, before, all_done, &then)?;
        let pairs = wanted.units().iter().zip(first.iter().zip(&then));
        for (unit, (before, after)) in pairs {
            if before.restarts != after.restarts {
                return Err(self.not_up(unit, after));
            }
        }
        Ok(started)
    }

    /// Fails unless each unit is up, was skipped by systemd, or ran once in a start that was `all_done`.
    fn all_up(
        &self,
        wanted: &Ours,
        before: &Before,
        all_done: bool,
        states: &[UnitState],
    ) -> Result<Started, Failure> {
        let skipped = self.manager.skipped(wanted, before, states)?;
        let is_skipped = |unit: &UnitName| skipped.iter().any(|it| it.unit == *unit);
        let pairs = wanted.units().iter().zip(states);
        let down = pairs.filter(|(unit, state)| !state.is_up() && !is_skipped(unit));
        let (forgotten, down): (Vec<_>, Vec<_>) =
            down.partition(|(_, state)| state.is_forgotten_oneshot());
        // A forgotten unit may have run well, so another one explains more.
        let failed = down.first().or(forgotten.first().filter(|_| !all_done));
        if let Some((unit, state)) = failed {
            return Err(self.not_up(unit, state));
        }
        let ran_once = forgotten.into_iter().map(|(unit, _)| unit.clone());
        let ran_once = ran_once.collect();
        Ok(Started { skipped, ran_once })
    }

    pub(super) fn not_up(&self, unit: &UnitName, state: &UnitState) -> Failure {
        let assert = match state.active.as_str() {
            "inactive" => self.manager.unmet(unit, "Assert").unwrap_or_default(),
            _ => Text::default(),
        };
        if !assert.as_str().is_empty() {
            let detail = format!("{unit} did not start: {assert} is not met");
            return Failure::new(Cause::Unit, detail);
        }
        let detail = format!(
            "{unit} {}; it said: {} (`journalctl -u {unit}`)",
            state.why_not_up(),
            self.manager.last_words(unit)
        );
        Failure::new(Cause::Unit, detail)
    }

    /// Stops and disables all units, and holds those for which that is not enough.
    pub(super) fn deactivate_units(
        &self,
        package: &PackageName,
        shipped: &Shipped,
    ) -> Result<Change, Failure> {
        if shipped.is_exempt() {
            return self.deactivate_exempt(package, shipped);
        }
        let mut record = UnitRecord::read(&self.root, package)?.unwrap_or_default();
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
        if record.is_being_adopted() {
            self.release(package)?;
            record.job = None;
        }
        record.write(&self.root, package)?;
        fault::point("deactivate.recorded");
        self.manager.disable(&enabled)?;
        fault::point("deactivate.disabled");
        let tied = self.tied(&gate, shipped)?;
        if !tied.is_empty() {
            hold::put(&self.root, package, &gate.with_triggers(&tied))?;
            self.manager.reload()?;
        }
        self.stop_all(&gate, &gate.instances(&record.units))?;
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
