//! Services of packages on systemd. An installed package is INACTIVE until Activate (TS 5.2): its units neither run nor start
//! at boot.
//!
//! - [`unit_name`]: the name of a unit. [`unit_file`]: a file about units. [`names`]: the units that a name refers to, by
//!   all such files.
//! - [`units`]: the units of a package. [`record`]: the stored facts about them.
//! - [`gate`]: decides which of them are its own; every order to systemd passes it. [`triggers`]: sockets of other packages
//!   that are held with them.
//! - [`hold`]: the files that keep a unit from starting. [`manager`]: systemd itself.
//! - [`left_behind`]: daemons that maintainer scripts started.
//! - `services`: the trait, and the facts about packages.
//! - `exempt`: units that wharfd never touches. `listing`: all units, for an administrator.
//! - `installation`: before and after the work of the package manager. `adoption`: the same for packages that the device had
//!   before wharfd.
//! - `activation`: Activate, Deactivate, and the meaning of active. `conditions`: units that systemd skips. `pulse`: whether
//!   units stay up.

mod activation;
mod adoption;
mod conditions;
mod exempt;
mod gate;
mod hold;
mod installation;
mod left_behind;
mod listing;
mod manager;
mod names;
mod pulse;
mod record;
mod services;
mod tidy;
mod triggers;
mod unit_file;
mod unit_name;
mod units;

use std::{collections::BTreeSet, sync::Arc};

use wharf_frames::{Failure, PackageName};
use wharf_root::{Root, pattern::Pattern};

use self::{
    gate::{Gate, Ours},
    manager::{Manager, UnitState},
    unit_file::UnitFile,
    unit_name::UnitName,
    units::{BusServices, Protected, Shipped},
};
use crate::Packages;

/// The services of a root that systemd runs.
#[derive(Clone)]
pub struct Systemd {
    root: Root,
    manager: Manager,
    protected: Protected,
    packages: Arc<dyn Packages>,
}

impl Systemd {
    /// The services of this root, if systemd runs it. Policy protects these units, beside the built-in ones.
    pub fn of(root: &Root, protected: &[Pattern], packages: Arc<dyn Packages>) -> Option<Self> {
        Manager::of(root).map(|manager| Self {
            root: root.clone(),
            manager,
            protected: Protected::with(protected),
            packages,
        })
    }

    /// The units of these files of a package, parted into its own and others.
    fn shipped(
        &self,
        package: &PackageName,
        files: Vec<UnitFile>,
        is_installed: bool,
    ) -> Result<Shipped, Failure> {
        let bus = BusServices::of(&files, &self.root);
        let mut shipped = Shipped::of(files, is_installed);
        shipped.loose.extend(bus.programs);
        if shipped.all().next().is_none() {
            return Ok(shipped);
        }
        let gate = self.gate(package, &[&shipped], [])?;
        shipped.part(&gate.exempt, |unit| {
            gate.is_alias(unit) || gate.is_masked(unit)
        });
        let bus = gate.named(&bus.units).into_iter();
        shipped.bus = bus.filter(|unit| shipped.has(unit)).collect();
        Ok(shipped)
    }

    /// The units of a package that have a state: for a template, its enabled instances.
    fn with_state(gate: &Gate, shipped: &Shipped) -> Ours {
        let units = shipped.units.union(&shipped.linked);
        let units: Vec<UnitName> = units.cloned().collect();
        gate.lasting(&units)
    }

    /// The units that must be held while the package is INACTIVE, since other units start them although they are disabled. Asks
    /// systemd after all units are disabled.
    fn tied(&self, gate: &Gate, shipped: &Shipped) -> Result<Ours, Failure> {
        let by_others = |state: &UnitState| is_pulled_by_others(shipped, state);
        let with_state = Self::with_state(gate, shipped);
        let mut tied: BTreeSet<UnitName> = shipped.tied();
        tied.extend(
            self.manager
                .those(&with_state, by_others)?
                .units()
                .iter()
                .cloned(),
        );
        Ok(gate.ours(&tied))
    }
}

/// Whether a unit of another package starts this one.
fn is_pulled_by_others(shipped: &Shipped, state: &UnitState) -> bool {
    let ours = |name: &String| shipped.units.iter().any(|unit| unit.as_str() == name);
    !state.pulled_by.iter().all(ours)
}
