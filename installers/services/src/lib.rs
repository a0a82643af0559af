//! Service managers: one trait, [`Services`], and an implementation for each: [`systemd`], [`none`] where no service manager
//! runs, and simulated services for tests. This crate knows no package manager: it asks [`Packages`] for facts.

pub mod none;
#[cfg(feature = "simulated")]
pub mod simulated;
pub mod systemd;

use std::{collections::BTreeSet, path::Path, time::Duration};

use serde::Serialize;
use wharf_frames::{
    Failure, OperationId, PackageName, PackageVersion, Text,
    packed::{PackedFile, WantedFiles},
};
use wharf_root::{Change, Owners, session::RunningProcess};

/// A unit of a package, or another file that starts something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its name, or the path of the file.
    pub unit: String,
    /// Whether it starts at boot, in systemd's words: `enabled`, `disabled`, `static`, …
    pub enabled: Option<String>,
    /// `active`, `inactive`, `failed`, …
    pub active: Option<String>,
    /// `running`, `dead`, `waiting`, …
    pub sub: Option<String>,
    /// The treatment of the unit by wharfd, with the reason.
    pub wharfd: Vec<String>,
}

/// The activity of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Activity {
    /// It is ACTIVE (TS 5.2).
    pub active: bool,
    /// The units that the service manager skipped, with the reasons.
    pub skipped: Option<Text>,
    /// It has nothing to start.
    pub no_services: bool,
}

/// The units of a package that are up at one moment, of those that Activate starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pulse {
    pub(crate) beats: Vec<Beat>,
}

/// One unit that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) unit: String,
    /// The service manager gives each start of a unit another one.
    pub(crate) invocation: String,
    /// The service manager has restarted it by itself.
    pub(crate) was_restarted: bool,
    /// The time since it came up.
    pub(crate) up_for: Duration,
}

impl Pulse {
    /// Whether no unit was restarted by the service manager within this time.
    pub fn is_steady(&self, time: Duration) -> bool {
        let mut beats = self.beats.iter();
        beats.all(|beat| !beat.was_restarted || beat.up_for >= time)
    }
}

/// The version of a package that the device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is not installed. Its configuration may still be on the device.
    Absent,
    /// It is damaged.
    Damaged,
    /// It is whole, in this version.
    Whole(PackageVersion),
}

/// The facts about packages that a service manager needs.
pub trait Packages: Send + Sync {
    /// Whether the package is installed.
    fn presence(&self, name: &PackageName) -> Result<Presence, Failure>;

    /// Visits each path of an installed package, from outside of the root.
    fn each_path(&self, name: &PackageName, visit: &mut dyn FnMut(&Path)) -> Result<(), Failure>;

    /// The packages that own these paths below the root. A path without an owner is left out. Paths are spelled as
    /// [`wharf_root::merged`] spells them.
    fn owners(&self, paths: &BTreeSet<String>) -> Result<Owners, Failure>;

    /// Whether a process is a program of the package manager.
    fn is_package_manager(&self, process: &RunningProcess) -> bool;
}

/// The services of the packages of one root.
pub trait Services: Send + Sync {
    /// The files of a package that say something about its services.
    fn wanted(&self) -> Vec<WantedFiles>;

    /// Whether [`Services::hold`] has held the package for this installation, and [`Services::settle`] has not ended that.
    fn is_held_by(&self, package: &PackageName, operation: OperationId) -> Result<bool, Failure>;

    /// Keeps the units of both versions of a package from running and from starting at boot. This operation then installs
    /// the new version, which has these wanted files. If it `adopts` the package, only units that did not run are held.
    fn hold(
        &self,
        package: &PackageName,
        operation: OperationId,
        files: &[PackedFile],
        adopts: bool,
    ) -> Result<(), Failure>;

    /// Ends an installation that held units, or an activation. After an installation that is `done`, the package is
    /// INACTIVE (TS 5.2), unless it was adopted. If an installation failed and the old version is whole, its units run
    /// again. After a failed activation, units are enabled and run as before. A second call changes nothing.
    fn settle(
        &self,
        package: &PackageName,
        operation: OperationId,
        done: bool,
    ) -> Result<(), Failure>;

    /// The units of a whole package as they run and are enabled, for [`Services::recall`] by the same operation. None if there
    /// is nothing that it could bring back.
    fn snapshot(
        &self,
        package: &PackageName,
        operation: OperationId,
    ) -> Result<Option<Vec<u8>>, Failure>;

    /// Disables and stops the units of the version in place, whole or damaged. The old version follows, which may not have
    /// them: nobody could disable them then.
    fn quiet(&self, package: &PackageName) -> Result<(), Failure>;

    /// Makes the next [`Services::settle`] of the operation, if that is not `done`, enable and run the units as in the
    /// snapshot.
    fn recall(&self, package: &PackageName, snapshot: &[u8]) -> Result<(), Failure>;

    /// Releases units that are held for absent packages, and units that are not the package's own. Leaves packages alone
    /// that a job `is_at_work` on.
    fn tidy(&self, is_at_work: &dyn Fn(&PackageName) -> bool) -> Result<(), Failure>;

    /// Stops and releases the remaining units of a removed package.
    fn forget(&self, package: &PackageName) -> Result<(), Failure>;

    /// Forgets the units of a purged package.
    fn forget_purged(&self, package: &PackageName) -> Result<(), Failure>;

    /// Enables and starts the units of a package. After a failure, the caller calls [`Services::settle`].
    fn activate(&self, package: &PackageName, operation: OperationId) -> Result<Change, Failure>;

    /// Stops and disables the units of a package.
    fn deactivate(&self, package: &PackageName) -> Result<Change, Failure>;

    /// The activity of an installed package.
    fn activity(&self, package: &PackageName) -> Result<Activity, Failure>;

    /// The units of an installed package that are up now, of those that Activate starts. Changes nothing.
    fn pulse(&self, package: &PackageName) -> Result<Pulse, Failure>;

    /// The reason if a unit of this pulse has ended since, or was started again. Changes nothing.
    fn ended(&self, pulse: &Pulse) -> Result<Option<Failure>, Failure>;

    /// The units of an installed package with their states. Changes nothing.
    fn units(&self, package: &PackageName) -> Result<Vec<Unit>, Failure>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_was_just_restarted_by_itself_is_not_steady() {
        let steady = |was_restarted, seconds| {
            let beat = Beat {
                unit: "a.service".to_owned(),
                invocation: String::new(),
                was_restarted,
                up_for: Duration::from_secs(seconds),
            };
            let pulse = Pulse { beats: vec![beat] };
            pulse.is_steady(Duration::from_secs(30))
        };
        assert!(Pulse::default().is_steady(Duration::from_secs(30)));
        assert!(steady(false, 1), "an administrator started it");
        assert!(steady(true, 30));
        assert!(!steady(true, 29));
    }
}
