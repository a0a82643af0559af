//! Whether the units of a package stay up: each start of a unit has another invocation (systemd.exec(5), `$INVOCATION_ID`).

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use wharf_frames::{Failure, PackageName};

use super::{Systemd, manager::UnitState, record::UnitRecord, unit_name::UnitName};
use crate::{Beat, Pulse};

impl Systemd {
    /// The units that Activate started, and that are active. A oneshot that has run is not.
    pub(super) fn pulse_of_units(&self, package: &PackageName) -> Result<Pulse, Failure> {
        let record = UnitRecord::read(&self.root, package)?.unwrap_or_default();
        let states = self.manager.states(&record.wanted)?;
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
        let now = now.unwrap_or_default();
        let units = record.wanted.iter().zip(&states);
        let up = units.filter(|(_, state)| state.is_active());
        let beats = up.map(|(unit, state)| beat(unit, state, now)).collect();
        Ok(Pulse { beats })
    }

    /// The reason if a unit of this pulse is not active, or in another invocation.
    pub(super) fn ended_units(&self, pulse: &Pulse) -> Result<Option<Failure>, Failure> {
        let units = pulse.beats.iter().map(|beat| UnitName::new(&beat.unit));
        let units: Vec<UnitName> = units.flatten().collect();
        let states = self.manager.states(&units)?;
        let mut pairs = units.iter().zip(pulse.beats.iter().zip(&states));
        let has_ended = |beat: &Beat, state: &UnitState| {
            !state.is_active() || state.invocation != beat.invocation
        };
        let ended = pairs.find(|(_, (beat, state))| has_ended(beat, state));
        Ok(ended.map(|(unit, (_, state))| self.not_up(unit, state)))
    }
}

fn beat(unit: &UnitName, state: &UnitState, now: Duration) -> Beat {
    let since = state.active_at.parse().map(Duration::from_micros);
    Beat {
        unit: unit.to_string(),
        invocation: state.invocation.clone(),
        was_restarted: !matches!(state.restarts.as_str(), "" | "0"),
        up_for: now.saturating_sub(since.unwrap_or_default()),
    }
}
