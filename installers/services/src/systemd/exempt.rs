//! Exempt units: they are never held, started or stopped, since the device needs them or policy protects them. For a package
//! of exempt units alone, Activate and Deactivate change nothing: they check the units.

use wharf_frames::{Cause, Failure, OperationId, PackageName, Text};
use wharf_journal::message;
use wharf_root::Change;

use super::{
    Systemd, manager::UnitState, record::UnitRecord, tidy::by_reason, unit_name::UnitName,
    units::Shipped,
};

impl Systemd {
    /// Logs which units of a new package are not held.
    pub(super) fn tell_exempt(package: &PackageName, operation: OperationId, new: &Shipped) {
        for (why, exempt) in by_reason(&new.exempt) {
            tracing::info!(
                MESSAGE_ID = message::NOT_HELD_BACK,
                WHARF_PACKAGE = package.as_str(),
                WHARF_OPERATION = %operation,
                "{package}: not held back while it is INACTIVE, since {why}: {}",
                Text::from(format!("{exempt:?}"))
            );
        }
    }

    /// Succeeds if the units run without wharfd.
    pub(super) fn activate_exempt(
        &self,
        package: &PackageName,
        shipped: &Shipped,
    ) -> Result<Change, Failure> {
        self.release(package)?;
        if self.is_active(package)? {
            return Ok(Change::Unchanged);
        }
        let exempt = self.exempt_that_count(shipped)?;
        if exempt.is_empty() {
            let units: Vec<&UnitName> = shipped.exempt.keys().collect();
            let why = "none of them is enabled and runs, or is skipped by a condition (run `systemctl enable --now` yourself)";
            return Err(not_ours(shipped, "started", &units, why));
        }
        let mut record = UnitRecord {
            activated: true,
            skipped: self.manager.skipped_of(&exempt)?,
            exempt,
            ..UnitRecord::default()
        };
        record.write(&self.root, package)?;
        Ok(Change::Changed)
    }

    /// Succeeds if somebody else has stopped the units. A unit that systemd skipped is not stopped.
    pub(super) fn deactivate_exempt(
        &self,
        package: &PackageName,
        shipped: &Shipped,
    ) -> Result<Change, Failure> {
        let exempt = self.exempt_that_count(shipped)?;
        if !exempt.is_empty() {
            let units: Vec<&UnitName> = exempt.iter().collect();
            let why =
                "it runs, or is skipped by a condition (run `systemctl disable --now` yourself)";
            return Err(not_ours(shipped, "stopped", &units, why));
        }
        let was = UnitRecord::read(&self.root, package)?.is_some_and(|record| record.activated);
        UnitRecord::default().write(&self.root, package)?;
        Ok(match was {
            true => Change::Changed,
            false => Change::Unchanged,
        })
    }

    /// After an Install that did not touch the units: another version may have other units.
    pub(super) fn look_again(
        &self,
        package: &PackageName,
        mut record: UnitRecord,
        shipped: &Shipped,
    ) -> Result<(), Failure> {
        if !record.activated || !shipped.is_exempt() {
            return Ok(());
        }
        let exempt = self.exempt_that_count(shipped)?;
        if exempt.is_empty() {
            return Ok(()); // the old units tell that the package is down
        }
        record.exempt = exempt;
        record.write(&self.root, package)
    }

    /// The units that make the package active: another unit starts them, and systemd started or skipped them.
    pub(super) fn exempt_that_count(&self, shipped: &Shipped) -> Result<Vec<UnitName>, Failure> {
        let counts = |state: &UnitState| {
            let is_skipped = state.is_skipped() && state.may_start_at_boot();
            // A unit that only a request starts tells nothing.
            (state.is_up_or_coming() || is_skipped) && !state.pulled_by.is_empty()
        };
        let plain = shipped.exempt.keys().filter(|unit| !unit.is_template());
        let plain: Vec<UnitName> = plain.cloned().collect();
        let states = self.manager.states(&plain)?;
        let those = plain
            .into_iter()
            .zip(&states)
            .filter(|(_, state)| counts(state));
        Ok(those.map(|(unit, _)| unit).collect())
    }
}

fn not_ours(shipped: &Shipped, done: &str, units: &[&UnitName], why: &str) -> Failure {
    let exemption = units.first().and_then(|unit| shipped.exempt.get(*unit));
    let since = exemption.map_or_else(String::new, |exemption| format!(", since {exemption}"));
    let detail = format!("{units:?} is never {done} by wharfd{since}, and {why}");
    Failure::new(Cause::Unit, detail)
}
