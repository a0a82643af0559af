//! Services of packages on systemd: an installed package is INACTIVE, its units neither run nor start at boot, until
//! Activate (TS 5.2). Knows no package manager: it is told the paths of a package's files.
//!
//! - [`units`]: the units of a package, and those that are never touched. [`record`]: what is remembered of them.
//! - [`hold`]: the files that keep a unit from starting. [`manager`]: systemd itself.
//! - [`left_behind`]: what maintainer scripts started that is no unit.
//! - `exempt`: units that are never touched.
//! - `installation`: around the package manager's work. `activation`: Activate, Deactivate, and what active means.

mod activation;
mod exempt;
mod hold;
mod installation;
mod left_behind;
mod manager;
mod record;
mod units;

use std::collections::BTreeSet;

use wharf_frames::{Failure, PackageName};

pub(crate) use self::{
    installation::Present,
    units::{BusServices, Protected, Shipped, is_of_a_unit},
};
use self::{manager::Manager, units::UnitName};
use crate::root::Root;

/// The services of one root.
#[derive(Debug, Clone)]
pub(crate) struct Systemd {
    root: Root,
    manager: Manager,
    protected: Protected,
}

impl Systemd {
    /// The services of this root, where systemd runs it.
    pub(crate) fn of(root: &Root, protected: Protected) -> Option<Self> {
        Manager::of(root).map(|manager| Self {
            root: root.clone(),
            manager,
            protected,
        })
    }

    /// What is never touched here.
    pub(crate) fn protected(&self) -> &Protected {
        &self.protected
    }

    /// What of a package can be asked for its state: its units, and for templates their instances that are enabled.
    fn with_state(&self, shipped: &Shipped) -> Vec<UnitName> {
        let plain = shipped.units.iter().filter(|unit| !unit.is_template());
        let mut units: BTreeSet<UnitName> = plain.cloned().collect();
        units.extend(units::enabled_instances(&self.root, &shipped.units));
        let linked = shipped.linked.iter().filter(|unit| !unit.is_template());
        units.extend(linked.cloned());
        units.into_iter().collect()
    }

    /// Those of these units for which this holds.
    fn those(
        &self,
        units: &[UnitName],
        holds: impl Fn(&manager::UnitState) -> bool,
    ) -> Result<Vec<UnitName>, Failure> {
        let states = self.manager.states(units)?;
        let those = units.iter().zip(&states).filter(|(_, state)| holds(state));
        Ok(those.map(|(unit, _)| unit.clone()).collect())
    }

    /// What has to be held while the package is INACTIVE, since to disable it does not help: asked once everything is
    /// disabled, also of units of other packages that start one of these.
    fn tied(&self, shipped: &Shipped) -> Result<BTreeSet<UnitName>, Failure> {
        let by_others = |state: &manager::UnitState| {
            let ours = |name: &String| shipped.units.iter().any(|unit| unit.as_str() == name);
            !state.pulled_by.iter().all(ours)
        };
        let mut tied = shipped.tied();
        tied.extend(self.those(&self.with_state(shipped), by_others)?);
        Ok(tied)
    }

    /// Takes away what holds packages that are gone: somebody removed them by hand.
    pub(crate) fn tidy(&self, is_there: impl Fn(&PackageName) -> bool) -> Result<(), Failure> {
        let held = hold::held_packages(&self.root);
        let mut gone = held.iter().filter(|package| !is_there(package));
        gone.try_for_each(|package| self.forget(package))
    }
}
