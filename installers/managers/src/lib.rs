//! Package managers: one trait, [`PackageManager`], and a folder for each implementation. No code outside its folder
//! names a package manager's programs, files or formats. This crate knows no service, socket, policy file or record.

mod addresses;
pub mod apt;
mod conversation;
mod debian_version;
pub mod dnf;
mod edition;
mod error;
mod link;
pub mod opkg;
mod posix_lock;
mod read_only;
#[cfg(feature = "simulated")]
pub mod simulated;

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

pub use error::{OrderError, PutOff};
use wharf_frames::{
    Cause, Failure, PackageName, PackageVersion, Text,
    inspect::Format,
    installer::{Dependency, JobPhase, MAX_DEPENDENCIES, SealedPackage},
};
use wharf_root::{
    Change, Listener, Owners, Root,
    pattern::Pattern,
    session::{Role, RunningProcess},
};

/// A sealed package: only root can change the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Its path from outside of the root.
    pub path: PathBuf,
    /// The findings of wharf-inspect.
    pub package: SealedPackage,
}

/// The package that the device has, whole or damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// Its version.
    pub version: PackageVersion,
    /// The damage, in the words of the package manager; none if the package is whole.
    pub damage: Option<Text>,
}

/// The options of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstallOptions {
    /// Policy allows a lower version.
    pub allow_downgrade: bool,
    /// Install the same version again: the device has it from other bytes.
    pub reinstall: bool,
}

/// One package of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// The sealed file.
    pub file: PackageFile,
    /// Its options.
    pub options: InstallOptions,
}

/// The packages that may come with an installation. Each is new on the device, and the package manager has verified it by
/// the signature of a configured source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependencies {
    /// None: the device must have all that a package needs.
    None,
    /// Any package that an installation needs.
    ConfiguredSources,
    /// Packages of these names.
    Listed(Vec<Pattern>),
}

/// The packages that an installation brings beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Brought {
    /// The packages, in the order of the plan.
    pub dependencies: Vec<Dependency>,
    /// The lists of the sources were stale, and were fetched again.
    pub refreshed: bool,
}

/// A package of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPackage {
    /// Its name.
    pub name: PackageName,
    /// Its new version.
    pub version: PackageVersion,
    /// The version that the device has.
    pub replaces: Option<PackageVersion>,
    /// It comes from a source of the device, not from a file.
    pub is_dependency: bool,
}

/// The bounds of a run of a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The time limit for a lock.
    pub lock_wait: Duration,
    /// The time after which the maintainer scripts of a run are ended.
    pub limit: Duration,
}

/// The progress of a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The current phase.
    pub phase: JobPhase,
    /// The percentage, if the package manager reports one.
    pub percent: Option<u8>,
}

/// The callbacks of a run that changes the device.
#[derive(Clone, Copy)]
pub struct Supervisor<'a> {
    /// Gets each progress.
    pub report: &'a dyn Fn(Progress),
    /// Called once, right before the device is changed: the plan is final then, and no other program can change the
    /// device. Gets the packages that come beside the files. If it fails, the device is not changed.
    pub begin: &'a dyn Fn(&Brought) -> Result<(), Failure>,
    /// Whether the run is still wanted. Asked before each program and about once a second, until `begin`. If not, what waits
    /// or downloads is ended, nothing else is started, and the device is not changed.
    pub is_wanted: &'a dyn Fn() -> bool,
    /// Gets the output of each program, after its end.
    pub printed: Listener<'a>,
}

/// A lock of a package manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The file, from outside of the root.
    pub path: PathBuf,
    /// The process that holds it, in words; none if it is free.
    pub holder: Option<String>,
}

/// A package manager in one root.
///
/// Every answer is looked up on the device at the time of the question; an exit code proves nothing. Names are compared
/// exactly: a pattern, an option or a list of names is never passed on. A failed order leaves a whole device if the package
/// manager can do so; if not, the next start calls [`PackageManager::repair`].
pub trait PackageManager: Send + Sync {
    /// The name that users know.
    fn name(&self) -> &'static str;

    /// The architecture of this root.
    fn architecture(&self) -> &str;

    /// Whether a package for this architecture can be installed here.
    fn takes(&self, architecture: &str) -> bool;

    /// Whether this is a valid name of a package.
    fn is_name(&self, name: &PackageName) -> bool;

    /// Compares two versions in the order of this package manager.
    fn compare_versions(&self, left: &PackageVersion, right: &PackageVersion) -> Ordering;

    /// A file of this root that changes whenever packages change. wharfd watches it, and its time is a lower bound for the
    /// clock.
    fn database(root: &Root) -> PathBuf
    where
        Self: Sized;

    /// Its programs with their versions, for an administrator: `apt 2.6.1 with dpkg 1.21.22`.
    fn version(&self) -> Result<String, Failure>;

    /// Its locks, with their holders at this time. A program that changes packages holds one of them. For root.
    fn locks(&self) -> Result<Vec<Lock>, Failure>;

    /// The words that tell an administrator how to finish interrupted work as root. `FILE` stands for a package file.
    fn remedy(&self) -> &'static str;

    /// The format of its package files.
    fn format() -> Format
    where
        Self: Sized;

    /// The role of a process in the work of this package manager.
    fn role(&self, process: &RunningProcess) -> Option<Role>;

    /// The package of exactly this name, whole or damaged; none if the device has at most its configuration. Asks the
    /// package database alone.
    fn found(&self, name: &PackageName) -> Result<Option<InstalledPackage>, Failure>;

    /// Visits each path that the database lists for exactly this package, with folders, from outside of the root. Visits
    /// none if the package is not installed.
    fn each_path(&self, name: &PackageName, visit: &mut dyn FnMut(&Path)) -> Result<(), Failure>;

    /// The packages that own these paths below the root. A path without an owner is left out. A removed package owns
    /// nothing. Paths are spelled as [`wharf_root::merged`] spells them.
    fn owners(&self, paths: &BTreeSet<String>) -> Result<Owners, Failure>;

    /// Whether [`PackageManager::install`] has nothing to do: the device has this version whole, its files are as the
    /// database says, and the options ask for no new installation.
    fn has(&self, file: &PackageFile, options: InstallOptions) -> Result<bool, OrderError>;

    /// The configuration files of an installed package, below the root: those that this package manager does not simply
    /// replace.
    fn configuration(&self, name: &PackageName) -> Result<Vec<String>, Failure>;

    /// Those of a package file, as far as its package manager tells before it installs them.
    fn configuration_in(&self, _: &PackageName, _: &Path) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    /// The endings of the names of files that an installation leaves beside a configuration file.
    fn beside_configuration(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether [`PackageManager::install`] takes more than one file in a run.
    fn takes_several(&self) -> bool {
        true
    }

    /// Installs exactly these files in one run, with the dependencies that they need. After a success,
    /// [`PackageManager::found`] returns the version of each, whole.
    ///
    /// The database of installed packages alone decides first. Only if something is missing, and dependencies may come, the
    /// sources are asked. Lists of the sources that are stale are fetched again once. No installed package is removed,
    /// upgraded or downgraded, and no package comes that is only recommended.
    ///
    /// Fails before [`Supervisor::begin`] if it would change anything else (`Plan`), if a dependency is missing
    /// (`Dependency`), if a package is held (`Held`), or if the package manager reads another name, version or
    /// architecture in a file (`Malformed`).
    ///
    /// Does nothing if [`PackageManager::has`] all of them. Keeps changed configuration files. First installations that
    /// fail leave nothing that blocks the package manager.
    fn install(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError>;

    /// The packages that [`PackageManager::install`] would install, or its failure. Changes nothing: stale lists stay.
    fn plan(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
    ) -> Result<Vec<PlannedPackage>, Failure>;

    /// The packages that came as dependencies, and that nothing needs any more.
    fn unused(&self) -> Result<BTreeSet<PackageName>, Failure>;

    /// Removes exactly this package, whole or damaged, and nothing else. Fails with `Plan` if other packages or the device
    /// need it.
    fn remove(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<Change, Failure>;

    /// Runs the last script of a removed package again: a power cut may have lost the files that it wrote. Most package
    /// managers keep no script of a removed package.
    fn finish_removal(&self, _: &PackageName, _: Listener<'_>) -> Result<Change, Failure> {
        Ok(Change::Unchanged)
    }

    /// Deletes the configuration of exactly this removed package, and nothing else. Most package managers delete it with the
    /// package: then a purge changes nothing.
    fn purge(&self, _: &PackageName, _: Supervisor<'_>) -> Result<Change, Failure> {
        Ok(Change::Unchanged)
    }

    /// Like [`PackageManager::finish_removal`], after a purge.
    fn finish_purge(&self, _: &PackageName, _: Listener<'_>) -> Result<Change, Failure> {
        Ok(Change::Unchanged)
    }

    /// Whether the package is removed, and its configuration is not.
    fn leaves_configuration(&self, _: &PackageName) -> Result<bool, Failure> {
        Ok(false)
    }

    /// The unfinished work, in the words of the package manager, one fault an entry; empty on a sound device. Changes
    /// nothing.
    fn audit(&self) -> Result<Vec<String>, Failure>;

    /// Makes a package whole that an interrupted run of ours left unfinished. Gets the file if that run was an
    /// installation. Does nothing if nothing is unfinished. Fails with `Interrupted` if it cannot.
    fn repair(
        &self,
        name: &PackageName,
        file: Option<&Path>,
        printed: Listener<'_>,
    ) -> Result<Change, Failure>;

    /// Makes dependencies whole that an interrupted run of ours brought for these packages. They may need each other, so they
    /// may be made whole together, with the packages. Fails like [`PackageManager::repair`].
    fn repair_dependencies(
        &self,
        dependencies: &[&PackageName],
        _packages: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        repair_each(self, dependencies, printed)
    }

    /// Removes what an interrupted run of ours left half-way of these dependencies, and of packages that need them: the device
    /// had none of them before. Removes a whole one only if it needs one of those.
    fn discard(
        &self,
        dependencies: &[&PackageName],
        _packages: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        for name in dependencies {
            if self.found(name)?.is_some_and(|found| !found.is_whole()) {
                self.remove(name, Supervisor::quiet(printed))?;
            }
        }
        Ok(())
    }

    /// Like [`PackageManager::repair`], after a power cut: it may have lost files of maintainer scripts, so an unfinished
    /// package is installed from the file again, with its scripts.
    fn redo(
        &self,
        name: &PackageName,
        file: &Path,
        printed: Listener<'_>,
    ) -> Result<Change, Failure>;

    /// Deletes what earlier jobs left. Does not touch packages that a job `is_at_work` on.
    fn tidy(&self, is_at_work: &dyn Fn(&PackageName) -> bool);
}

/// Repairs packages one by one. The failure is the last one, after all of them were tried.
fn repair_each<M: PackageManager + ?Sized>(
    manager: &M,
    names: &[&PackageName],
    printed: Listener<'_>,
) -> Result<Change, Failure> {
    let mut repaired = Ok(Change::Unchanged);
    for name in names {
        match manager.repair(name, None, printed) {
            Ok(Change::Unchanged) => {}
            Ok(Change::Changed) => repaired = repaired.map(|_| Change::Changed),
            Err(failure) => repaired = Err(failure),
        }
    }
    repaired
}

impl<'a> Supervisor<'a> {
    /// The callbacks of a run that needs no consent, and that nobody watches.
    pub fn quiet(printed: Listener<'a>) -> Self {
        Self {
            report: &|_| (),
            begin: &|_| Ok(()),
            is_wanted: &|| true,
            printed,
        }
    }

    /// Fails if the run is not wanted any more.
    fn go_on(&self) -> Result<(), Failure> {
        match (self.is_wanted)() {
            true => Ok(()),
            false => Err(not_wanted()),
        }
    }
}

/// The failure of a run that is not wanted any more.
fn not_wanted() -> Failure {
    Failure::new(
        Cause::GaveUp,
        "it was cancelled before anything was changed",
    )
}

impl InstalledPackage {
    /// Whether all of it is there and configured.
    pub const fn is_whole(&self) -> bool {
        self.damage.is_none()
    }
}

impl Lock {
    /// The POSIX lock on this file.
    fn posix(path: PathBuf) -> Result<Self, Failure> {
        match posix_lock::holder_of(&path) {
            Ok(holder) => Ok(Self { path, holder }),
            Err(error) => {
                let detail = format!("cannot look at {}: {error}", path.display());
                Err(Failure::new(Cause::Unavailable, detail))
            }
        }
    }
}

impl Dependencies {
    /// Whether any package may come from a source.
    pub fn may_come(&self) -> bool {
        match self {
            Self::None => false,
            Self::ConfiguredSources => true,
            Self::Listed(patterns) => !patterns.is_empty(),
        }
    }

    /// Refuses packages that may not come, and more of them than an outcome can tell.
    pub fn permit(&self, brought: &[Dependency]) -> Result<(), Failure> {
        let refused = |it: &&Dependency| match self {
            Self::None => true,
            Self::ConfiguredSources => false,
            Self::Listed(patterns) => !patterns.iter().any(|listed| listed.fits(it.name.as_str())),
        };
        let refused: Vec<String> = brought
            .iter()
            .filter(refused)
            .map(|it| it.to_string())
            .collect();
        let why = match (refused.as_slice(), brought.len()) {
            ([], 0..=MAX_DEPENDENCIES) => return Ok(()),
            ([], number) => {
                format!("{number} other packages would come, and at most {MAX_DEPENDENCIES} may")
            }
            (names, _) => format!(
                "{} would come with it, and policy does not allow that (`dependencies` and `listed-dependencies` in \
                 installer.toml)",
                names.join(", ")
            ),
        };
        Err(Failure::new(Cause::Plan, why))
    }
}
