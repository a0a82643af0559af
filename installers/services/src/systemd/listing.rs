//! The units of a package, for an administrator. Changes nothing.

use std::collections::BTreeSet;

use wharf_frames::{Failure, PackageName};

use super::{
    Systemd, hold, manager::UnitState, record::UnitRecord, unit_name::UnitName, units::Shipped,
};
use crate::Unit;

/// The known facts about the units of a package, beside their states.
struct Known<'a> {
    shipped: &'a Shipped,
    record: &'a UnitRecord,
    held: BTreeSet<UnitName>,
}

impl Systemd {
    /// All units of an installed package, each with its state and its treatment by wharfd.
    pub(super) fn listed(
        &self,
        package: &PackageName,
        shipped: &Shipped,
    ) -> Result<Vec<Unit>, Failure> {
        let record = UnitRecord::read(&self.root, package)?.unwrap_or_default();
        let mut held = hold::units_held(&self.root).map_err(|error| hold::unreadable(&error))?;
        let held = match hold::is_held(&self.root, package) {
            true => held.remove(package).unwrap_or_default(),
            false => BTreeSet::new(),
        };
        let instances = record.wanted.iter().filter(|unit| shipped.has(unit));
        let all = shipped.all().chain(instances.cloned());
        let all: BTreeSet<UnitName> = all.chain(held.iter().cloned()).collect();
        let (templates, units): (Vec<UnitName>, Vec<UnitName>) =
            all.into_iter().partition(UnitName::is_template);
        let states = self.manager.states(&units)?.into_iter().map(Some);
        let known = Known {
            shipped,
            record: &record,
            held,
        };
        let units = units.into_iter().zip(states);
        let templates = templates.into_iter().map(|unit| (unit, None));
        let mut listed: Vec<Unit> = units
            .chain(templates)
            .map(|(unit, state)| known.unit(&unit, state.as_ref()))
            .collect();
        listed.sort_by(|one, other| one.unit.cmp(&other.unit));
        listed.extend(shipped.loose.iter().map(|file| loose(file)));
        Ok(listed)
    }
}

impl Known<'_> {
    fn unit(&self, unit: &UnitName, state: Option<&UnitState>) -> Unit {
        Unit {
            unit: unit.to_string(),
            enabled: state
                .map(|state| state.file.clone())
                .filter(|it| !it.is_empty()),
            active: state.map(|state| state.active.clone()),
            sub: state.map(|state| state.sub.clone()),
            wharfd: self.notes(unit, state),
        }
    }

    fn notes(&self, unit: &UnitName, state: Option<&UnitState>) -> Vec<String> {
        if let Some(why) = self.shipped.exempt.get(unit) {
            return vec![format!("never touched, since {why}")];
        }
        let template = unit.template();
        let is_held =
            self.held.contains(unit) || template.is_some_and(|it| self.held.contains(&it));
        let notes = [
            (unit.is_template(), "a template"),
            (is_held, "held back until Activate"),
            (
                is_held && !self.shipped.has(unit),
                "not the package's, but it starts nothing else",
            ),
            (
                self.record.wanted.contains(unit) && !is_held,
                "Activate starts it",
            ),
            (self.shipped.linked.contains(unit), "another unit starts it"),
            (
                self.shipped.bus.contains(unit),
                "a message on D-Bus starts it",
            ),
            (
                state.is_some_and(UnitState::is_skipped) && !is_held,
                "skipped by systemd, since a condition is not met (systemctl status says which)",
            ),
        ];
        let notes = notes.iter().filter(|(holds, _)| *holds);
        notes.map(|(_, note)| (*note).to_owned()).collect()
    }
}

/// A file that starts a program, and is no unit of the system.
fn loose(file: &str) -> Unit {
    Unit {
        unit: file.to_owned(),
        enabled: None,
        active: None,
        sub: None,
        wharfd: vec!["never held back, since it is not a unit of the system".to_owned()],
    }
}
