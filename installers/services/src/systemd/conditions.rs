//! Units that systemd skips because a condition is not met (systemd.unit(5)), and the condition. A mask counts as one.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use wharf_frames::{Failure, Text};

use super::{
    gate::Ours,
    manager::{Manager, UnitState},
    record::{HeldBack, Skipped, UnitRecord},
    unit_name::UnitName,
};

/// systemd has started a unit, or skipped it (systemd.journal-fields(7), sd-messages.h).
const STARTED: &str = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf";

/// The package's scripts may mask a unit that lacks its configuration, as an administrator does.
const MASKED: &str = "masked";

/// The states of units just before their start, and the time.
pub(super) struct Before {
    states: Vec<UnitState>,
    at: SystemTime,
}

impl Manager {
    /// The states of these units, which are about to be started.
    pub(super) fn before_start(&self, units: &Ours) -> Result<Before, Failure> {
        Ok(Before {
            states: self.states(units.units())?,
            at: SystemTime::now(),
        })
    }

    /// The units that systemd skipped at the start that was just requested.
    pub(super) fn skipped(
        &self,
        units: &Ours,
        before: &Before,
        now: &[UnitState],
    ) -> Result<Vec<Skipped>, Failure> {
        let mut skipped = Vec::new();
        let pairs = before.states.iter().zip(now);
        for (unit, (was, now)) in units.units().iter().zip(pairs) {
            // A start that failed earlier, at a dependency for example, leaves the time of an older one.
            let why = match now.is_skipped() && now.condition_at != was.condition_at {
                _ if now.is_masked() => Some(MASKED.into()),
                true => Some(self.why_skipped(unit, now)?),
                false if now.is_forgotten() => self.unmet_by_journal(unit, before.at),
                false => None,
            };
            skipped.extend(why.map(|why| Skipped {
                unit: unit.clone(),
                why,
            }));
        }
        Ok(skipped)
    }

    /// The units that systemd skipped at the last requested start.
    pub(super) fn skipped_of(&self, units: &[UnitName]) -> Result<Vec<Skipped>, Failure> {
        let states = self.states(units)?;
        let skipped = units
            .iter()
            .zip(&states)
            .filter(|(_, state)| state.is_skipped());
        skipped
            .map(|(unit, state)| {
                let why = self.why_skipped(unit, state)?;
                let unit = unit.clone();
                Ok(Skipped { unit, why })
            })
            .collect()
    }

    /// The units that systemd skipped, after all holds are released.
    pub(super) fn held_back(&self, units: &Ours) -> Result<Vec<HeldBack>, Failure> {
        let states = self.states(units.units())?;
        let skipped = units.units().iter().zip(states);
        let skipped = skipped.filter(|(_, state)| state.is_skipped());
        Ok(skipped
            .map(|(unit, state)| HeldBack {
                unit: unit.clone(),
                at: state.condition_at.into(),
            })
            .collect())
    }

    fn why_skipped(&self, unit: &UnitName, state: &UnitState) -> Result<Text, Failure> {
        let unmet = self.unmet(unit, "Condition")?;
        match unmet.as_str().is_empty() && state.is_skipped_by_command() {
            true => Ok("ExecCondition".into()),
            false => Ok(unmet),
        }
    }

    /// The conditions or asserts of a unit, by this prefix, that were not met at its last start.
    pub(super) fn unmet(&self, unit: &UnitName, begin: &str) -> Result<Text, Failure> {
        let output =
            self.ask(["status", "--lines=0", "--full", "--", unit.as_str()].into_iter())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let unmet: Vec<&str> = text.lines().filter_map(|line| unmet(line, begin)).collect();
        Ok(unmet.join(", ").into())
    }

    /// The same for a unit that systemd has forgotten; none if it was not skipped since then.
    fn unmet_by_journal(&self, unit: &UnitName, since: SystemTime) -> Option<Text> {
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = format!("--since=@{}", since.as_secs());
        // Before systemd 255 these are the first lines since then, and not the last.
        let said = self.said(9, &[&since, "_PID=1", STARTED, &format!("UNIT={unit}")]);
        let held = self.root.seen_inside(&self.root.held());
        skipped_because(&said, &held).map(Text::from)
    }
}

/// The condition in the last of these journal lines, if it says that a unit was skipped. Our own condition is ignored:
/// it is from the time before.
fn skipped_because<'a>(said: &'a str, held: &Path) -> Option<&'a str> {
    let (_, why) = said
        .lines()
        .last()?
        .split_once(" was skipped because of ")?;
    let named = why
        .split_once('(')
        .and_then(|(_, why)| why.rsplit_once(')'));
    let why = named.map_or("", |(why, _)| why);
    let path = why.strip_prefix("ConditionPathExists=!").map(Path::new);
    (!path.is_some_and(|path| path.starts_with(held))).then_some(why)
}

/// Finds `ConditionPathExists=/x` in a line `└─ ConditionPathExists=/x was not met`.
fn unmet<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    let said = line.strip_suffix(" was not met")?;
    let named = said.trim_start_matches(|it: char| !it.is_alphanumeric());
    (named.starts_with(begin) && named.contains('=')).then_some(named)
}

impl UnitRecord {
    /// Whether systemd skipped this unit of an active package for a reason other than our hold.
    pub(super) fn is_skipped(&self, unit: &UnitName, state: &UnitState) -> bool {
        let was_skipped = || self.skipped.iter().any(|it| it.unit == *unit);
        let is_skipped = state.is_skipped() && !self.is_skipped_by_us(unit, state);
        let is_skipped = match state.is_masked() {
            true => self.was_masked(unit),
            false => is_skipped || (state.is_forgotten() && was_skipped()),
        };
        self.activated && is_skipped
    }

    /// Whether this unit was masked when the package was activated.
    fn was_masked(&self, unit: &UnitName) -> bool {
        let is_it = |it: &Skipped| it.unit == *unit && it.why.as_str() == MASKED;
        self.skipped.iter().any(is_it)
    }

    /// Whether this unit of an active package ran once, and systemd has forgotten it.
    pub(super) fn has_run_once(&self, unit: &UnitName, state: &UnitState) -> bool {
        self.activated && state.is_forgotten_oneshot() && self.ran_once.contains(unit)
    }

    /// Whether systemd skipped this unit because of our hold.
    pub(super) fn is_skipped_by_us(&self, unit: &UnitName, state: &UnitState) -> bool {
        let by_us = |it: &HeldBack| it.unit == *unit && it.at.as_str() == state.condition_at;
        state.is_skipped() && self.held_back.iter().any(by_us)
    }

    /// The text about these skipped units for a person; none if the list is empty.
    pub(super) fn told_as_skipped<'a>(
        &self,
        units: impl Iterator<Item = (&'a UnitName, &'a UnitState)>,
    ) -> Option<Text> {
        let told = |(unit, state): (&UnitName, &UnitState)| {
            let known = self.skipped.iter().find(|it| it.unit == *unit);
            match known.map(|it| it.why.as_str()) {
                _ if state.is_masked() => format!("{unit} (it is masked)"),
                None | Some("" | MASKED) => unit.to_string(),
                Some(why) => format!("{unit} ({why} is not met)"),
            }
        };
        let told: Vec<String> = units.map(told).collect();
        (!told.is_empty()).then(|| format!("systemd skipped {}", told.join(", ")).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_tells_a_skip_by_its_last_line_and_by_no_condition_of_ours() {
        let skipped = |condition: &str| {
            format!(
                "a.service - A (a) was skipped because of an unmet condition check ({condition})."
            )
        };
        let [board, ours] = [
            "ConditionPathExists=/opt/board",
            "ConditionPathExists=!/var/lib/wharf-installer/held/a",
        ]
        .map(skipped);
        let other = "a.service - A was skipped because of no trigger condition checks were met.";
        for (said, expected) in [
            (board.clone(), Some("ConditionPathExists=/opt/board")),
            (other.to_owned(), Some("")),
            (ours.clone(), None),
            (
                format!("{ours}\n{board}"),
                Some("ConditionPathExists=/opt/board"),
            ),
            (format!("{board}\n{ours}"), None),
            (format!("{board}\nStarted a.service - A."), None),
            (String::new(), None),
        ] {
            let held = Path::new("/var/lib/wharf-installer/held");
            assert_eq!(skipped_because(&said, held), expected, "{said}");
        }
    }

    #[test]
    fn systemctl_names_the_conditions_and_asserts_that_are_not_met() {
        for (line, condition, assert) in [
            ("     Active: inactive (dead)", None, None),
            (
                "  Condition: start condition failed at Mon 2026-11-30 11:14:06 UTC; 15ms ago",
                None,
                None,
            ),
            (
                "             └─ ConditionVirtualization=no was not met",
                Some("ConditionVirtualization=no"),
                None,
            ),
            (
                "             |- ConditionPathExists=|/a b was not met",
                Some("ConditionPathExists=|/a b"),
                None,
            ),
            (
                "             AssertPathExists=!/Condition was not met",
                None,
                Some("AssertPathExists=!/Condition"),
            ),
            ("* acme.service - a=b: Condition was not met", None, None),
        ] {
            let found = ["Condition", "Assert"].map(|begin| unmet(line, begin));
            assert_eq!(found, [condition, assert], "{line}");
        }
    }
}
