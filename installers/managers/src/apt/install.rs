//! Installations: all files in one run of apt. First apt knows only the installed packages, which is fast. It gets the
//! configured sources in a second run, if a dependency is missing and policy lets it come. The plan is judged at the same
//! place in both: under apt's locks, before dpkg works.

use std::{
    cell::{Cell, RefCell},
    ffi::OsString,
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, PackageName, installer::Dependency};
use wharf_root::{Change, Listener, limits};

use super::{
    apt_get::{Apt, Order, held},
    archives::{self, Archives},
    complaint,
    configuration::Universe,
    dpkg::{Status, not_started},
    plan::{AptStep, Sealed, only_installs, simulated, unpacked, without_old_work},
};
use crate::{Brought, Dependencies, Install, PackageManager, PlannedPackage, Supervisor};

/// A package that apt has to install.
struct Work<'a> {
    install: &'a Install,
    /// The device does not have it.
    is_first: bool,
    /// The path of its file for apt.
    path: PathBuf,
}

/// The packages that apt has to install in one run, with the folder of their files.
struct Works<'a> {
    all: Vec<Work<'a>>,
    archives: Archives<'a>,
}

impl<'a> Deref for Works<'a> {
    type Target = [Work<'a>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

/// A run that did not install the packages.
struct Refused {
    failure: Failure,
    /// The sources may have what is missing, in lists that are newer than those of the device.
    may_be_stale: bool,
    /// Another program has the lock of the downloads or of the lists. apt does not wait for those.
    is_locked: bool,
}

/// The dependencies that may come in one installation.
struct Permission<'a> {
    dependencies: &'a Dependencies,
    /// The lists of the sources were fetched again.
    refreshed: bool,
    /// The plan that got consent.
    consented: RefCell<Option<Brought>>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            may_be_stale: false,
            is_locked: false,
        }
    }
}

impl Work<'_> {
    fn name(&self) -> &PackageName {
        &self.install.file.package.name
    }
}

impl<'a> Permission<'a> {
    fn new(dependencies: &'a Dependencies) -> Self {
        Self {
            dependencies,
            refreshed: false,
            consented: RefCell::default(),
        }
    }

    /// Accepts a plan, or refuses it.
    fn judge(&self, sealed: &[Sealed<'_>], steps: &[AptStep<'_>]) -> Result<Brought, Failure> {
        let permit = |brought: &[Dependency]| self.dependencies.permit(brought);
        let brought = Brought {
            dependencies: only_installs(sealed, steps, permit)?,
            refreshed: self.refreshed,
        };
        self.consented.replace(Some(brought.clone()));
        Ok(brought)
    }

    fn is_given(&self) -> bool {
        self.consented.borrow().is_some()
    }
}

impl Apt {
    /// See [`PackageManager::install`].
    pub(super) fn install_all(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, Failure> {
        let work = self.work(installs)?;
        if work.is_empty() {
            return Ok(Change::Unchanged);
        }
        let nothing = Permission::new(&Dependencies::None);
        let Err(refused) = self.install_in(Universe::Installed, &work, &nothing, supervisor) else {
            return Ok(Change::Changed);
        };
        let failure = self.explain(refused.failure, &work);
        if failure.cause != Cause::Dependency || nothing.is_given() || !dependencies.may_come() {
            return Err(failure);
        }
        self.install_from_sources(&work, dependencies, &failure, supervisor)
            .map(|()| Change::Changed)
    }

    /// The lists of the sources are fetched again once, if they seem stale.
    fn install_from_sources(
        &self,
        work: &Works<'_>,
        dependencies: &Dependencies,
        missing: &Failure,
        supervisor: Supervisor<'_>,
    ) -> Result<(), Failure> {
        let mut permission = Permission::new(dependencies);
        // A plan that policy refuses costs no download.
        let run = |permission: &Permission<'_>| {
            supervisor.go_on()?;
            self.planned_in(Universe::Sources, work, dependencies)?;
            let run = || self.install_in(Universe::Sources, work, permission, supervisor);
            self.while_locked(run, |refused| refused.is_locked && !permission.is_given())
        };
        let refused = match run(&permission) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        if !refused.may_be_stale || permission.is_given() {
            return Err(refused.failure);
        }
        let (fetched, refreshed) = self.refresh(supervisor);
        permission.refreshed = fetched;
        let said = match refreshed {
            Ok(()) => "its lists are up to date".to_owned(),
            Err(failure) => failure.detail.as_str().to_owned(),
        };
        run(&permission).map_err(|refused| match refused.may_be_stale {
            true => {
                let sources = refused.failure.detail.followed_by(&said.into());
                Failure::new(Cause::Dependency, missing.detail.followed_by(&sources))
            }
            false => refused.failure,
        })
    }

    /// Runs apt once for all of them.
    fn install_in(
        &self,
        universe: Universe,
        work: &Works<'_>,
        permission: &Permission<'_>,
        supervisor: Supervisor<'_>,
    ) -> Result<(), Refused> {
        // Downloads need the room of the disk.
        let downloads = match universe {
            Universe::Installed => None,
            Universe::Sources => Some(
                Archives::of_downloads(&self.root)
                    .map_err(|error| not_started("apt-get", &error))?,
            ),
        };
        let order = Order {
            universe,
            words: words(work, downloads.as_ref().unwrap_or(&work.archives)),
            names: work.iter().map(Work::name).collect(),
            limit: self.times.limit,
        };
        let is_archive = |sealed: &Sealed<'_>, archive: &str| self.is_archive(sealed, archive);
        let sealed = sealed(work, &is_archive);
        let unconfigured = self.dpkg.unconfigured()?;
        let printed = self.run(&order, supervisor, &|steps| {
            permission.judge(&sealed, &without_old_work(steps, &unconfigured))
        })?;
        fault::point("apt.installed");
        self.remove_unwanted(&unconfigured, supervisor.printed)?;
        if self.has_all(work, permission)? {
            return Ok(());
        }
        if complaint::dpkg_died(&printed) {
            let repaired = self.repair_all(work, permission, supervisor.printed);
            if self.has_all(work, permission)? {
                return Ok(());
            }
            if let Err(failure) = repaired {
                if failure.cause != Cause::Locked {
                    self.clean_up(work, permission, supervisor.printed)?;
                }
                return Err(failure.into());
            }
        }
        let failure = complaint::failure(&told(work), &printed);
        // If another front end has the lock, the rest is not ours.
        if failure.cause != Cause::Locked {
            self.clean_up(work, permission, supervisor.printed)?;
        }
        Err(Refused {
            may_be_stale: complaint::may_be_stale(&printed),
            is_locked: complaint::is_of_downloads(&printed),
            failure,
        })
    }

    /// apt may follow the links in the path of a file. Those of [`Archives`] lead to a path of the root. If a source has the
    /// same file, apt downloads it.
    fn is_archive(&self, sealed: &Sealed<'_>, archive: &str) -> bool {
        let outside = |inside: &Path| self.root.path(inside.strip_prefix("/").unwrap_or(inside));
        let archive = outside(Path::new(archive));
        let archive = fs::read_link(&archive).map_or(archive, |target| outside(&target));
        archives::is_same(&sealed.install.file.path, &archive).unwrap_or(false)
    }

    /// Repairs what dpkg left when it was killed. All of it is configured in one run, since the packages may need each other.
    fn repair_all(
        &self,
        work: &Works<'_>,
        permission: &Permission<'_>,
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        let consented = permission.consented.borrow();
        let dependencies = consented.iter().flat_map(|it| &it.dependencies);
        let dependencies: Vec<_> = dependencies.map(|it| &it.name).collect();
        let packages: Vec<_> = work.iter().map(Work::name).collect();
        self.repair_dependencies(&dependencies, &packages, printed)?;
        for it in work.iter() {
            self.repair(it.name(), Some(&it.install.file.path), printed)?;
        }
        Ok(())
    }

    /// Removes the rest of first installations that failed: it would block every later run of apt. A dependency of a package
    /// that was there before stays until that one is whole or gone. See [`Apt::remove_unwanted`].
    fn clean_up(
        &self,
        work: &Works<'_>,
        permission: &Permission<'_>,
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        let consented = permission.consented.borrow();
        let first = work.iter().filter(|it| it.is_first).map(Work::name);
        let dependencies = consented.iter().flat_map(|it| &it.dependencies);
        let names: Vec<_> = first.chain(dependencies.map(|it| &it.name)).collect();
        match work.iter().all(|it| it.is_first) {
            true => self.remove_together(&names, printed),
            false => self.remove_rests(names.into_iter(), printed),
        }
    }

    /// The packages that apt has to install: those that are not there already.
    fn work<'a>(&'a self, installs: &'a [Install]) -> Result<Works<'a>, Failure> {
        let not_started = |error| not_started("apt-get", &error);
        let folder = self.folder().map_err(not_started)?;
        let archives = Archives::new(&self.root, &folder).map_err(not_started)?;
        let mut all = Vec::new();
        for install in installs {
            let name = &install.file.package.name;
            let status = self.status(name)?;
            if status.as_ref().is_some_and(Status::is_held) {
                return Err(held(name));
            }
            if !self.has_it(&install.file, status.as_ref(), install.options)? {
                all.push(Work {
                    install,
                    is_first: status.is_none_or(|status| status.is_absent()),
                    path: archives.add(&install.file).map_err(not_started)?,
                });
            }
        }
        Ok(Works { all, archives })
    }

    /// Whether the device has the version of each, and no dependency is half-way.
    fn has_all(&self, work: &Works<'_>, permission: &Permission<'_>) -> Result<bool, Failure> {
        let consented = permission.consented.borrow();
        let dependencies = consented.iter().flat_map(|it| &it.dependencies);
        let names = dependencies.map(|it| &it.name);
        if !self.those(names, Status::is_rest)?.is_empty() {
            return Ok(false);
        }
        for it in work.iter() {
            let status = self.status(it.name())?;
            let version = &it.install.file.package.version;
            if status.as_ref().and_then(Status::installed) != Some(version) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// See [`PackageManager::plan`].
    pub(super) fn planned(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
    ) -> Result<Vec<PlannedPackage>, Failure> {
        let work = self.work(installs)?;
        let mut planned = Vec::new();
        for install in installs {
            let package = &install.file.package;
            if !work.iter().any(|it| it.install == install) {
                planned.push(PlannedPackage {
                    name: package.name.clone(),
                    version: package.version.clone(),
                    replaces: Some(package.version.clone()),
                    is_dependency: false,
                });
            }
        }
        if work.is_empty() {
            return Ok(planned);
        }
        let planned_in = |universe, dependencies: &Dependencies| {
            let new = self.planned_in(universe, &work, dependencies);
            new.map_err(|refused| refused.failure)
        };
        let new = match planned_in(Universe::Installed, &Dependencies::None) {
            Err(failure) if failure.cause == Cause::Dependency && dependencies.may_come() => {
                planned_in(Universe::Sources, dependencies)
            }
            other => other.map_err(|failure| self.explain(failure, &work)),
        };
        planned.extend(new?);
        Ok(planned)
    }

    fn planned_in(
        &self,
        universe: Universe,
        work: &Works<'_>,
        dependencies: &Dependencies,
    ) -> Result<Vec<PlannedPackage>, Refused> {
        let printed = self.simulate(universe, &words(work, &work.archives))?;
        let steps = simulated(&printed)?;
        if steps.is_empty() {
            return Err(Refused {
                failure: complaint::failure(&told(work), &printed),
                may_be_stale: complaint::may_be_stale(&printed),
                is_locked: false,
            });
        }
        let is_archive = |sealed: &Sealed<'_>, archive: &str| self.is_archive(sealed, archive);
        let sealed = sealed(work, &is_archive);
        let judged = without_old_work(&steps, &self.dpkg.unconfigured()?);
        Permission::new(dependencies).judge(&sealed, &judged)?;
        Ok(unpacked(&steps, &sealed))
    }

    /// Fetches the lists of the sources. Returns whether those of any source were fetched, and an error if one was not.
    fn refresh(&self, supervisor: Supervisor<'_>) -> (bool, Result<(), Failure>) {
        let order = Order {
            universe: Universe::Sources,
            words: vec!["update".into()],
            names: Vec::new(),
            limit: limits::REFRESH.min(self.times.limit),
        };
        let supervisor = Supervisor {
            report: &|_| (),
            begin: &|_| Ok(()),
            ..supervisor
        };
        let refuse = |_: &[AptStep<'_>]| {
            let detail = "apt-get update announced changes of packages";
            Err(Failure::new(Cause::PackageManager, detail))
        };
        let fetched = Cell::new(false);
        let run = || {
            supervisor.go_on()?;
            let ran = self
                .watched(self.command(order.universe)?, &order, supervisor, &refuse)
                .map_err(|error| not_started("apt-get", &error))?;
            (supervisor.printed)("apt", &ran.printed);
            supervisor.go_on()?;
            let late = ran.decided.map(|_| ended(order.limit));
            let failure = late.or_else(|| complaint::not_refreshed(&ran.printed));
            fetched.set(failure.is_none() || complaint::is_fetched(&ran.printed));
            match failure {
                None => Ok(()),
                Some(failure) => Err(Refused {
                    failure,
                    may_be_stale: true,
                    is_locked: complaint::is_of_downloads(&ran.printed),
                }),
            }
        };
        let refreshed = self.while_locked(run, |refused| refused.is_locked);
        (fetched.get(), refreshed.map_err(|refused| refused.failure))
    }

    /// Runs apt again until it is not `locked` out, or the time for locks is over.
    fn while_locked(
        &self,
        run: impl Fn() -> Result<(), Refused>,
        locked: impl Fn(&Refused) -> bool,
    ) -> Result<(), Refused> {
        let deadline = Instant::now() + self.times.lock_wait;
        loop {
            match run() {
                Err(refused) if locked(&refused) && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(500));
                }
                done => return done,
            }
        }
    }

    fn explain(&self, failure: Failure, work: &Works<'_>) -> Failure {
        let files = work.iter().map(|it| it.install.file.path.as_path());
        match work.first() {
            Some(first) => self.explained(failure, files, first.name()),
            None => failure,
        }
    }
}

fn ended(limit: Duration) -> Failure {
    let detail = format!(
        "the lists of the sources cannot be fetched: apt-get update was ended after {} s",
        limit.as_secs()
    );
    Failure::new(Cause::Dependency, detail)
}

fn sealed<'a>(
    work: &'a Works<'_>,
    is_archive: &'a dyn Fn(&Sealed<'_>, &str) -> bool,
) -> Vec<Sealed<'a>> {
    let sealed = |it: &'a Work<'_>| Sealed {
        install: it.install,
        is_archive,
    };
    work.iter().map(sealed).collect()
}

/// The words of a run with this folder of archives.
fn words(work: &Works<'_>, archives: &Archives<'_>) -> Vec<OsString> {
    let own = ["-o".to_owned(), archives.option()];
    let fixed = [
        "-y",
        "--no-remove",
        "--no-install-recommends",
        "--reinstall",
    ];
    let may_go_down = work.iter().any(|it| it.install.options.allow_downgrade);
    let down = may_go_down.then_some("--allow-downgrades");
    let words = fixed.into_iter().chain(down).chain(["install"]);
    let files = work.iter().map(|it| it.path.clone().into_os_string());
    let own = own.into_iter().map(OsString::from);
    own.chain(words.map(OsString::from)).chain(files).collect()
}

/// The order in words, for an error.
fn told(work: &Works<'_>) -> String {
    let package = |it: &Work<'_>| {
        let package = &it.install.file.package;
        format!("{} {}", package.name, package.version)
    };
    let packages: Vec<String> = work.iter().map(package).collect();
    format!("apt-get install of {}", packages.join(", "))
}
