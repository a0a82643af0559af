//! What every package manager is to us: one contract, kept by apt and by the simulated one, and tested once for
//! all of them (`tests/contract.rs`). It knows no socket, no journal and no policy.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

use serde::Serialize;
use wharf_frames::{
    Failure, OperationId, PackageName, PackageVersion,
    installer::{Found, Installed, Package, Phase},
};

/// A sealed package: nobody but root can change the file any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Where it lies, seen from outside of the root.
    pub path: PathBuf,
    /// What wharf-inspect found in it.
    pub package: Package,
}

/// What an order did to the device. Asking twice is normal: the second time nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The device was made to have what was asked.
    Changed,
    /// It had it before.
    Unchanged,
}

/// How to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Policy allows this name to go to a lower version.
    pub allow_downgrade: bool,
    /// The same version is there, made from other bytes: install it again.
    pub reinstall: bool,
    /// wharfd never managed the package that the device has: its services are left as they are.
    pub adopts: bool,
}

/// Where a package manager is in its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// How far, where it says so.
    pub percent: Option<u8>,
}

/// Who has a package manager work.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    /// Told whenever the work gets on.
    pub report: &'a dyn Fn(Progress),
    /// Asked once, when it is settled what will be done, and nobody else can change the device before that: right
    /// before the device is changed. Where it refuses, nothing is.
    pub begin: &'a dyn Fn() -> Result<(), Failure>,
    /// Told what a run printed, once it is over.
    pub printed: Listener<'a>,
}

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

/// Told which program has run, and the end of what it and the maintainer scripts printed.
pub type Listener<'a> = &'a dyn Fn(&str, &str);

/// A package manager with its database and its services, in one root.
///
/// Every answer is looked up on the device at the time of asking; exit codes are never believed. Names are compared
/// exactly: nothing that a package manager takes for a pattern, an option or a list of names gets through.
/// An order that fails leaves a whole device wherever the package manager can do so; where not,
/// [`Installer::repair`] is for the next start.
pub trait Installer: Send + Sync {
    /// What users call it.
    fn name(&self) -> &'static str;

    /// The architecture of this root.
    fn architecture(&self) -> &str;

    /// Whether a package for this architecture can be installed here.
    fn takes(&self, architecture: &str) -> bool;

    /// Whether this can be a name, by the grammar of this package manager.
    fn is_name(&self, name: &PackageName) -> bool;

    /// Which version is higher, by the order of this package manager.
    fn compare_versions(&self, left: &PackageVersion, right: &PackageVersion) -> Ordering;

    /// What the device has of exactly this package, whole or damaged; none when nothing of it is there but perhaps its
    /// configuration. That it is managed is the ledger's to say.
    fn found(&self, name: &PackageName) -> Result<Option<Found>, Failure>;

    /// Visits each path that the database lists for exactly this package, folders as well, seen from outside of the root;
    /// none where it lists nothing.
    fn each_path(&self, name: &PackageName, visit: &mut dyn FnMut(&Path)) -> Result<(), Failure>;

    /// What an install would install: the package itself, first. Changes nothing.
    ///
    /// Fails when it would change anything else (`Plan`), needs what is not there (`Dependency`), is held (`Held`),
    /// or when the package manager reads another name, version or architecture in the file (`Malformed`).
    fn plan(&self, file: &PackageFile, manner: Manner) -> Result<Vec<Installed>, Failure>;

    /// Installs exactly this file, or fails as [`Installer::plan`] does. Afterwards [`Installer::found`] says its
    /// version, whole, or this fails.
    ///
    /// What is there already in this version is compared with the files of the database; only if they differ, or
    /// if asked to, it is installed again. Files of configuration that were changed are kept. A first installation
    /// that fails leaves nothing behind that stops the package manager's next work.
    fn install(
        &self,
        file: &PackageFile,
        manner: Manner,
        client: Client<'_>,
    ) -> Result<Change, Failure>;

    /// Removes exactly this package and nothing else, whole or damaged, or fails with `Plan` (others need it, or the device does).
    fn remove(&self, name: &PackageName, client: Client<'_>) -> Result<Change, Failure>;

    /// Runs the last script of a removed package again: a power cut may have taken the files that it wrote.
    fn finish_removal(&self, name: &PackageName, printed: Listener<'_>) -> Result<Change, Failure>;

    /// Deletes the configuration of exactly this package, which is removed, and nothing else.
    fn purge(&self, name: &PackageName, client: Client<'_>) -> Result<Change, Failure>;

    /// As [`Installer::finish_removal`], of a package that was purged.
    fn finish_purge(&self, name: &PackageName, printed: Listener<'_>) -> Result<Change, Failure>;

    /// Whether the package is removed, and its configuration is not.
    fn leaves_configuration(&self, name: &PackageName) -> Result<bool, Failure>;

    /// What the package manager itself calls unfinished; empty on a sound device. Changes nothing.
    fn audit(&self) -> Result<Vec<String>, Failure>;

    /// Makes a package whole again that a run of ours left in the middle; with the file where that was an install.
    /// Looks first, and does nothing when nothing is unfinished. Fails with `Interrupted` when it cannot.
    fn repair(
        &self,
        name: &PackageName,
        file: Option<&Path>,
        printed: Listener<'_>,
    ) -> Result<Change, Failure>;

    /// As [`Installer::repair`] after a power cut, which may have taken files that maintainer scripts wrote: an unfinished
    /// package is installed whole from the file, scripts included.
    fn redo(
        &self,
        name: &PackageName,
        file: &Path,
        printed: Listener<'_>,
    ) -> Result<Change, Failure>;

    /// Keeps the units of both versions of a package from running and from starting at boot, before its file is
    /// installed by this operation. Nothing is held if nothing has to be done. If the manner adopts the package, only
    /// units that did not run are held.
    fn hold(
        &self,
        file: &PackageFile,
        manner: Manner,
        operation: OperationId,
    ) -> Result<(), Failure>;

    /// Ends an install that held units, or an activation. After an install that is `done`, the package is INACTIVE (TS
    /// 5.2), unless it was adopted. If an install failed and the old version is whole, its units run again. After a
    /// failed activation, units are enabled and run as before. A second call changes nothing.
    fn settle(&self, name: &PackageName, operation: OperationId, done: bool)
    -> Result<(), Failure>;

    /// Releases units that are held back for packages that are gone, and units that are not the package's own. Packages
    /// that a job `is_at_work` on are left to that job.
    fn tidy(&self, is_at_work: &dyn Fn(&PackageName) -> bool) -> Result<(), Failure>;

    /// Enables and starts the units of a package. If it fails, [`Installer::settle`] follows.
    fn activate(&self, name: &PackageName, operation: OperationId) -> Result<Change, Failure>;

    /// Stops and disables the units of a package.
    fn deactivate(&self, name: &PackageName) -> Result<Change, Failure>;

    /// The units of an installed package with their states. Changes nothing.
    fn units(&self, name: &PackageName) -> Result<Vec<Unit>, Failure>;
}
