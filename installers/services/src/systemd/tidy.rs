//! Releases units that are held wrongly: units of a package that somebody removed or repaired by hand, and units of other
//! packages. An older wharfd did not resolve names, and a name may later mean another unit.

use std::collections::{BTreeMap, BTreeSet};

use wharf_frames::{Failure, PackageName, Text};
use wharf_journal::message;

use super::{Systemd, hold, record::UnitRecord, unit_name::UnitName, units::Exemption};
use crate::Presence;

impl Systemd {
    /// Releases them. Leaves a package alone that a job `is_at_work` on, except for units that are not its own.
    pub(super) fn release_wrongly_held(
        &self,
        is_at_work: &dyn Fn(&PackageName) -> bool,
    ) -> Result<(), Failure> {
        for package in hold::held_packages(&self.root) {
            if is_at_work(&package) {
                continue;
            }
            if matches!(self.packages.presence(&package), Ok(Presence::Absent)) {
                self.forget_units(&package)?;
                continue;
            }
            let record = UnitRecord::read(&self.root, &package)?;
            if let Some(mut record) = record.filter(UnitRecord::is_being_adopted)
                && let Some(present) = self.old_version(&package)?
            {
                self.let_go(&package, &mut record, &present.shipped)?;
            }
        }
        let held = hold::units_held(&self.root).map_err(|error| hold::unreadable(&error))?;
        if held.is_empty() {
            return Ok(());
        }
        let mut had = BTreeMap::new();
        for package in held.keys() {
            let record = UnitRecord::read(&self.root, package)?.unwrap_or_default();
            had.insert(package.clone(), record.all());
        }
        let mut released = false;
        for (package, exempt) in self.exempt_of_each(&held, &had)? {
            let units = held.get(&package).into_iter().flatten();
            released |= self.release_others(&package, units, &exempt, is_at_work(&package))?;
        }
        match released {
            true => self.manager.reload(),
            false => Ok(()),
        }
    }

    /// Removes this package's drop-ins from those of these units that are not its own.
    fn release_others<'a>(
        &self,
        package: &PackageName,
        units: impl Iterator<Item = &'a UnitName>,
        exempt: &BTreeMap<UnitName, Exemption>,
        is_at_work: bool,
    ) -> Result<bool, Failure> {
        // A hold does not touch the units of `Also=`.
        let is_other = |unit: &&UnitName| {
            let why = exempt.get(*unit);
            why.is_some_and(|why| *why != Exemption::Also)
        };
        let others: BTreeSet<UnitName> = units.filter(is_other).cloned().collect();
        if others.is_empty() {
            return Ok(false);
        }
        if !is_at_work {
            self.disown(package, &others)?;
        }
        hold::release_some(&self.root, package, &others)?;
        tell_released(package, &others, exempt);
        Ok(true)
    }

    /// Removes these units from the record.
    fn disown(&self, package: &PackageName, others: &BTreeSet<UnitName>) -> Result<(), Failure> {
        let Some(mut record) = UnitRecord::read(&self.root, package)? else {
            return Ok(());
        };
        record.units.retain(|unit| !others.contains(unit));
        record.wanted.retain(|unit| !others.contains(unit));
        record.write(&self.root, package)
    }
}

fn tell_released(
    package: &PackageName,
    others: &BTreeSet<UnitName>,
    exempt: &BTreeMap<UnitName, Exemption>,
) {
    for (why, units) in by_reason(others.iter().filter_map(|it| exempt.get_key_value(it))) {
        tracing::warn!(
            MESSAGE_ID = message::NOT_HELD_BACK,
            WHARF_PACKAGE = package.as_str(),
            "{package}: no longer held back, since {why}: {} (wharfd kept it from starting: start it, or reboot)",
            Text::from(format!("{units:?}"))
        );
    }
}

/// Units by the reason why they are never touched.
pub(super) fn by_reason<'a>(
    exempt: impl IntoIterator<Item = (&'a UnitName, &'a Exemption)>,
) -> BTreeMap<Exemption, Vec<&'a UnitName>> {
    let mut by_reason: BTreeMap<Exemption, Vec<&UnitName>> = BTreeMap::new();
    for (unit, why) in exempt {
        by_reason.entry(*why).or_default().push(unit);
    }
    by_reason
}
