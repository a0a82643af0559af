//! Installations: all files in one run of dnf, with the dependencies that they need. The installed database alone comes first.
//! If something is missing, and policy lets it come, the dependencies are downloaded, and the same order runs again with them.

use std::{cell::RefCell, collections::BTreeSet, path::Path};

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, PackageName, installer::SealedPackage};
use wharf_root::Change;

use super::{
    complaint,
    dnf5::{Dnf5, offers},
    download::{Downloads, announced_bytes},
    manager::{Dnf, Tool},
    order::{Coming, Order},
    programs::not_started,
    rpm::Copy,
    run::{Ran, folder},
    unfinished::RunRecord,
};
use crate::{
    Brought, Dependencies, Install, PackageFile, PackageManager, PlannedPackage, Supervisor,
    addresses, link::Link,
};

/// A file that dnf has to install.
struct Work<'a> {
    file: &'a PackageFile,
    coming: Coming,
    _link: Link,
}

/// A run with consent, and the records of its packages from before.
struct Recorded {
    ran: Ran,
    records: Vec<Option<RunRecord>>,
}

/// A download that failed.
struct NotDownloaded {
    failure: Failure,
    /// A repository has the packages, by the lists that the device has.
    is_offered: bool,
}

impl From<Failure> for NotDownloaded {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            is_offered: false,
        }
    }
}

/// When the lists of the repositories may be fetched again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refresh {
    Never,
    IfNeeded,
}

impl Dnf {
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
        self.install_work(&work, dependencies, Refresh::IfNeeded, supervisor)
            .map(|()| Change::Changed)
    }

    /// See [`PackageManager::plan`]. It is the same order, up to the question for consent.
    pub(super) fn planned(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
    ) -> Result<Vec<PlannedPackage>, Failure> {
        let work = self.work(installs)?;
        let consented = RefCell::new(None);
        let supervisor = Supervisor {
            report: &|_| (),
            begin: &|brought| {
                consented.replace(Some(brought.clone()));
                Err(Failure::new(Cause::Policy, "this is only a plan"))
            },
            is_wanted: &|| true,
            printed: &|_, _| (),
        };
        if !work.is_empty() {
            let done = self.install_work(&work, dependencies, Refresh::Never, supervisor);
            if let (Err(failure), None) = (done, &*consented.borrow()) {
                return Err(failure);
            }
        }
        let brought = consented.into_inner().unwrap_or_default().dependencies;
        let mut planned: Vec<PlannedPackage> = brought
            .into_iter()
            .map(|it| PlannedPackage {
                name: it.name,
                version: it.version,
                replaces: None,
                is_dependency: true,
            })
            .collect();
        for Install { file, .. } in installs {
            let package = &file.package;
            let before = self.copies(&package.name)?.into_iter().next();
            planned.push(PlannedPackage {
                name: package.name.clone(),
                version: package.version.clone(),
                replaces: before.map(|copy| copy.version),
                is_dependency: false,
            });
        }
        Ok(planned)
    }

    /// See [`PackageManager::unused`].
    pub(super) fn unneeded(&self) -> Result<BTreeSet<PackageName>, Failure> {
        let words = match &self.tool {
            Tool::Four(dnf4) => dnf4.unneeded()?,
            Tool::Five(_) => Dnf5::unneeded(),
        };
        let asked = self.runner().download(&words, &|| true, &|_| Ok(()))?;
        if !asked.is_whole {
            let what = "the question for unneeded packages";
            let told = addresses::without_paths(&asked.printed);
            return Err(complaint::failure(what, &told));
        }
        let names = asked
            .printed
            .lines()
            .filter_map(|line| PackageName::new(line).ok());
        Ok(names.filter(|name| self.is_name(name)).collect())
    }

    /// The files that dnf has to install: those of packages that are not there already.
    fn work<'a>(&self, installs: &'a [Install]) -> Result<Vec<Work<'a>>, Failure> {
        let mut work = Vec::new();
        for Install { file, options } in installs {
            let package = &file.package;
            let copies = self.copies(&package.name)?;
            self.takes_it(package)?;
            if self.has_it(file, *options, &copies)? {
                continue;
            }
            if matches!(self.tool, Tool::Five(_)) {
                self.refuse_beside(file, &copies)?;
            }
            let link = self.as_rpm(file)?;
            work.push(Work {
                file,
                coming: Coming {
                    path: link.inside.clone(),
                    name: package.name.clone(),
                    version: package.version.clone(),
                    architecture: package.architecture.as_str().to_owned(),
                    allow_downgrade: options.allow_downgrade,
                    copies,
                    is_dependency: false,
                },
                _link: link,
            });
        }
        Ok(work)
    }

    fn install_work(
        &self,
        work: &[Work<'_>],
        dependencies: &Dependencies,
        refresh: Refresh,
        supervisor: Supervisor<'_>,
    ) -> Result<(), Failure> {
        let mut coming: Vec<Coming> = work.iter().map(|it| it.coming.clone()).collect();
        let alone = self.order_recorded(&coming, &Brought::default(), supervisor);
        let missing = match alone {
            Ok(ran) => return self.settle(work, &coming, ran, supervisor),
            Err(failure) => self.of_sealed_ones(work, failure)?,
        };
        if missing.cause != Cause::Dependency || !dependencies.may_come() {
            return Err(missing);
        }
        // The files stay until the end of the run.
        let downloads = Downloads::new(&self.root)?;
        let (found, refreshed) =
            self.downloaded(&coming, &downloads, refresh, &missing, supervisor)?;
        let brought = Brought {
            dependencies: found.iter().map(Coming::dependency).collect(),
            refreshed,
        };
        dependencies.permit(&brought.dependencies)?;
        coming.extend(found);
        let ran = self.order_recorded(&coming, &brought, supervisor)?;
        self.settle(work, &coming, ran, supervisor)
    }

    fn order_recorded(
        &self,
        coming: &[Coming],
        brought: &Brought,
        supervisor: Supervisor<'_>,
    ) -> Result<Recorded, Failure> {
        let records = coming.iter().map(|it| self.unfinished.record(&it.name));
        let records = records.collect::<Result<_, _>>()?;
        let ran = self
            .order(Order::Install(coming), brought, supervisor)
            .map_err(|failure| self.full_or_read_only(failure, coming))?;
        fault::point("dnf.installed");
        Ok(Recorded { ran, records })
    }

    /// The dependencies of these files, and whether the lists of the repositories were fetched again.
    fn downloaded(
        &self,
        coming: &[Coming],
        downloads: &Downloads,
        refresh: Refresh,
        missing: &Failure,
        supervisor: Supervisor<'_>,
    ) -> Result<(Vec<Coming>, bool), Failure> {
        let mut refreshed = false;
        let mut done = self.download(coming, downloads, false, supervisor);
        if let Err(first) = &done
            && first.failure.cause == Cause::Dependency
            && refresh == Refresh::IfNeeded
        {
            refreshed = true;
            match self.download(coming, downloads, true, supervisor) {
                // The lists of before name the repository that has the packages.
                Err(again) if first.is_offered && again.failure.cause == Cause::Dependency => {}
                again => done = again,
            }
        }
        match done {
            Ok(found) if found.is_empty() => Err(missing.clone()),
            Ok(found) => Ok((found, refreshed)),
            Err(NotDownloaded { failure, .. }) if failure.cause == Cause::Dependency => Err(
                Failure::new(failure.cause, missing.detail.followed_by(&failure.detail)),
            ),
            Err(NotDownloaded { failure, .. }) => Err(failure),
        }
    }

    fn download(
        &self,
        coming: &[Coming],
        downloads: &Downloads,
        refresh: bool,
        supervisor: Supervisor<'_>,
    ) -> Result<Vec<Coming>, NotDownloaded> {
        supervisor.go_on()?;
        let room = downloads.emptied()?;
        let words = match &self.tool {
            Tool::Four(dnf4) => {
                downloads.made()?;
                dnf4.download(&downloads.inside, coming, room, refresh, self.times)?
            }
            Tool::Five(_) => Dnf5::download(&downloads.inside, coming, refresh),
        };
        // A server may send more than the lists of its repository say.
        let watch = |printed: &str| {
            let (announced, sent) = (announced_bytes(printed), downloads.bytes());
            let what = match announced {
                Some(bytes) if bytes > room => format!("the dependencies have {bytes} bytes"),
                _ if sent > room => format!("the repositories have sent {sent} bytes"),
                _ => return Ok(()),
            };
            let detail = format!("{what}, and there is room for {room}");
            Err(Failure::new(Cause::DiskFull, detail))
        };
        let done = self
            .runner()
            .download(&words, supervisor.is_wanted, &watch)?;
        let told = addresses::without_paths(&done.printed);
        (supervisor.printed)("dnf", &told);
        if done.is_whole {
            return Ok(downloads.dependencies(&self.rpm, coming)?);
        }
        let failure = complaint::failure("the repositories", &told);
        let why = match &self.tool {
            Tool::Five(_) if complaint::is_offered(&done.printed) => offers(&done.printed),
            _ => complaint::unreachable(&done.printed).map(addresses::without_paths),
        };
        let detail = match why {
            Some(why) => failure.detail.followed_by(&why.into()),
            None => failure.detail,
        };
        Err(NotDownloaded {
            failure: Failure { detail, ..failure },
            is_offered: complaint::is_offered(&done.printed),
        })
    }

    /// The result of a run, by the database and the messages of the scripts. Each package gets its record.
    fn settle(
        &self,
        work: &[Work<'_>],
        coming: &[Coming],
        Recorded { ran, records }: Recorded,
        supervisor: Supervisor<'_>,
    ) -> Result<(), Failure> {
        let mut failed = None;
        // Dependencies come after the files, and a file needs them.
        for (at, (it, record)) in coming.iter().zip(records).enumerate().rev() {
            let file = work.get(at).map(|work| work.file.path.as_path());
            if let Err(failure) = self.settle_one(it, file, record, &ran, supervisor) {
                failed = Some(failure);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn settle_one(
        &self,
        coming: &Coming,
        file: Option<&Path>,
        record: Option<RunRecord>,
        ran: &Ran,
        supervisor: Supervisor<'_>,
    ) -> Result<(), Failure> {
        let Coming {
            name,
            version,
            copies,
            ..
        } = coming;
        if ran.code.is_none() && self.repair(name, file, supervisor.printed)? == Change::Changed {
            return Ok(()); // a signal ended the tool
        }
        let installed = self.installed(name, version, copies, ran);
        if installed.is_err() && self.rpm.copies(name)? == *copies {
            self.unfinished.put_back(name, record)?;
        }
        installed
    }

    fn takes_it(&self, package: &SealedPackage) -> Result<(), Failure> {
        match self.takes(package.architecture.as_str()) {
            true => Ok(()),
            false => {
                let detail = format!(
                    "{} is for {}, and wharfd manages packages for {own} and noarch on this system, one of a name: get it \
                     for one of these",
                    package.name,
                    package.architecture,
                    own = self.architecture()
                );
                Err(Failure::new(Cause::WrongArchitecture, detail))
            }
        }
    }

    /// The failure of dnf 4, unless rpm reads another package in a file: then `dnf4.py` refuses its plan.
    fn of_sealed_ones(&self, work: &[Work<'_>], failure: Failure) -> Result<Failure, Failure> {
        if matches!(self.tool, Tool::Four(_)) {
            for Work { file, .. } in work {
                is_the_sealed_one(file, self.rpm.in_file(&file.package.name, &file.path)?)?;
            }
        }
        Ok(failure)
    }

    /// Refuses a file in which rpm reads another package. Refuses kernels: they are installed beside their other versions, and
    /// dnf 5 would replace those. `dnf4.py` looks at both.
    fn refuse_beside(&self, file: &PackageFile, copies: &[Copy]) -> Result<(), Failure> {
        let package = &file.package;
        let (in_file, is_beside) = self.rpm.described(&package.name, &file.path)?;
        is_the_sealed_one(file, in_file)?;
        match is_beside && !copies.is_empty() {
            true => Err(Failure::new(
                Cause::Plan,
                format!(
                    "{} {} would be installed beside the installed version, which wharfd does not manage: the package says \
                     so (`installonlypkg`); install it with dnf5 as root",
                    package.name, package.version
                ),
            )),
            false => Ok(()),
        }
    }

    /// A link that dnf takes for a package file: its path is absolute and ends in `.rpm`.
    fn as_rpm(&self, file: &PackageFile) -> Result<Link, Failure> {
        let made = folder(&self.root)
            .and_then(|folder| Link::new(&self.root, &folder, &file.path, ".rpm"));
        made.map_err(|error| not_started("dnf", &error))
    }
}

/// Refuses a file in which rpm reads another package than wharf-inspect.
fn is_the_sealed_one(file: &PackageFile, in_file: Option<Copy>) -> Result<(), Failure> {
    let package = &file.package;
    let is_it = |copy: &Copy| {
        copy.version == package.version && copy.architecture == package.architecture.as_str()
    };
    match in_file {
        Some(copy) if is_it(&copy) => Ok(()),
        in_file => {
            let read = in_file.map_or("another package".to_owned(), |copy| {
                format!("{} {} ({})", package.name, copy.version, copy.architecture)
            });
            let detail = format!(
                "rpm reads {read} in the file, and wharf-inspect {} {} ({})",
                package.name, package.version, package.architecture
            );
            Err(Failure::new(Cause::Malformed, detail))
        }
    }
}
