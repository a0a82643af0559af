//! Installations. The installed packages decide first. If something is missing, and policy lets it come, it is downloaded, and
//! the same order runs again with it.

use std::{collections::BTreeMap, fs, io, path::Path};

use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, PackageName, PackageVersion,
    installer::{Dependency, SealedPackage},
};
use wharf_root::{Change, Listener, durable, merged};

use super::{
    complaint,
    configuration::Feeds,
    downloads::{Downloaded, Downloads},
    feeds::Needy,
    manager::{Opkg, held, judged, unreadable},
    plan,
    records::Unfinished,
    run::{Held, Ran},
    status::{Entry, without_absent},
};
use crate::{
    Brought, Dependencies, Install, InstallOptions, OrderError, PackageFile, PackageManager,
    PlannedPackage, Supervisor,
};

/// A run that opkg agrees to, under its lock.
struct Ready {
    held: Held,
    before: Option<Entry>,
}

impl Opkg {
    /// See [`PackageManager::install`].
    pub(super) fn install_one(
        &self,
        install: &Install,
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        let Install { file, options } = install;
        let SealedPackage { name, version, .. } = &file.package;
        let entry = self.entry(name)?;
        self.refuse(&file.package, entry.as_ref(), *options)?;
        if self.has_it(file, entry.as_ref(), *options)? {
            return Ok(Change::Unchanged);
        }
        let (ready, downloads, refreshed) = match self.ready(install, None, supervisor) {
            Err(OrderError::Failed(missing))
                if missing.cause == Cause::Dependency && dependencies.may_come() =>
            {
                let options = install_options(&file.package, entry.as_ref(), *options);
                let needy = Needy {
                    package: &file.package,
                    inside: &self.root.seen_inside(&file.path),
                    options: &options,
                    missing: &missing,
                };
                let (downloads, refreshed) = self.downloaded(needy, dependencies, supervisor)?;
                let ready = self.ready(install, Some(&downloads), supervisor)?;
                (ready, Some(downloads), refreshed)
            }
            ready => (ready?, None, false),
        };
        let downloads = downloads.as_ref();
        (supervisor.begin)(&Brought {
            dependencies: downloads.map(Downloads::dependencies).unwrap_or_default(),
            refreshed,
        })?;
        let Ready { held, before } = ready;
        let words = install_options(&file.package, before.as_ref(), *options);
        let ran = self.work(&names(name, downloads), held, &words, supervisor)?;
        let installed = match ran.code {
            // A signal ended opkg.
            None => self.replace(name, version, &file.path, downloads, supervisor.printed),
            Some(_) => self.settled(name, version, before.as_ref(), downloads, &ran),
        };
        if let Err(failure) = installed {
            if before.is_none() {
                let dependencies: Vec<&PackageName> = names(name, downloads).split_off(1);
                let printed = supervisor.printed;
                if let Err(why) = self.take_back(&[name], &dependencies, printed) {
                    // The installation's own failure is the reason.
                    printed("opkg", &format!("{name} was not cleaned up: {why}\n"));
                }
            }
            return Err(failure.into());
        }
        Ok(Change::Changed)
    }

    /// See [`PackageManager::plan`]. The files of other packages and the links of the system are looked at by an installation
    /// alone.
    pub(super) fn planned(
        &self,
        install: &Install,
        dependencies: &Dependencies,
    ) -> Result<Vec<PlannedPackage>, Failure> {
        let Install { file, options } = install;
        let SealedPackage { name, version, .. } = &file.package;
        let entry = self.entry(name)?;
        let coming = match self.agree(install, entry.as_ref(), None) {
            Ok(()) => Vec::new(),
            Err(missing) if missing.cause == Cause::Dependency && dependencies.may_come() => {
                let options = install_options(&file.package, entry.as_ref(), *options);
                let coming = self.offered(Needy {
                    package: &file.package,
                    inside: &self.root.seen_inside(&file.path),
                    options: &options,
                    missing: &missing,
                })?;
                dependencies.permit(&coming)?;
                coming
            }
            Err(failure) => return Err(failure),
        };
        let coming = coming.into_iter().map(|it| PlannedPackage {
            name: it.name,
            version: it.version,
            replaces: None,
            is_dependency: true,
        });
        let own = PlannedPackage {
            name: name.clone(),
            version: version.clone(),
            replaces: entry.map(|entry| entry.version),
            is_dependency: false,
        };
        Ok(coming.chain([own]).collect())
    }

    /// Whether the device has this version whole, so that nothing needs to be done. Looks at each file.
    pub(super) fn has_it(
        &self,
        file: &PackageFile,
        entry: Option<&Entry>,
        options: InstallOptions,
    ) -> Result<bool, OrderError> {
        let SealedPackage { name, version, .. } = &file.package;
        let Some(entry) = entry.filter(|it| it.is_installed() && it.version == *version) else {
            return Ok(false);
        };
        if options.reinstall || self.damage(name, entry)?.is_some() {
            return Ok(false);
        }
        if self.records.has_digests(name, version) {
            return Ok(self.records.differs_from_kept(name, entry)?.is_none());
        }
        // Somebody else installed it.
        self.write_digests(name, version, &file.path)?;
        match self.records.differs_from_new(name, entry)? {
            None => {
                self.records.keep_new(name)?;
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }

    /// Refuses what opkg would not: a way down, and a package on hold.
    fn refuse(
        &self,
        package: &SealedPackage,
        entry: Option<&Entry>,
        options: InstallOptions,
    ) -> Result<(), Failure> {
        let Some(entry) = entry else {
            return Ok(());
        };
        if entry.is_held() {
            return Err(held(&package.name));
        }
        let order = self.compare_versions(&package.version, &entry.version);
        if order.is_lt() && entry.is_installed() && !options.allow_downgrade {
            let detail = format!(
                "{} {} is installed, and policy allows no way down to {}",
                package.name, entry.version, package.version
            );
            return Err(Failure::new(Cause::Downgrade, detail));
        }
        Ok(())
    }

    /// Refuses if opkg would do anything but install this package and what was downloaded for it.
    fn agree(
        &self,
        Install { file, options }: &Install,
        entry: Option<&Entry>,
        downloads: Option<&Downloads>,
    ) -> Result<(), Failure> {
        let package = &file.package;
        self.refuse(package, entry, *options)?;
        let inside = self.root.seen_inside(&file.path);
        let words = install_options(package, entry, *options);
        let planned = self.run_with(feeds(downloads), |it| {
            it.plan(&words, "install", inside.as_os_str())
        })?;
        let dependencies = downloads.map(Downloads::dependencies).unwrap_or_default();
        let what = format!("opkg install of {}", package.name);
        judged(&what, &planned.printed, |printed| {
            plan::only_installs(package, &dependencies, printed)
        })?;
        match planned.code {
            Some(0) => Ok(()),
            // Before 0.5 it announces an upgrade also if a dependency is missing.
            _ => Err(complaint::failure(&what, &planned.printed)),
        }
    }

    /// Takes the lock, and refuses what opkg must not do. From then on nobody else changes packages. The digests of each
    /// package are written.
    fn ready(
        &self,
        install: &Install,
        downloads: Option<&Downloads>,
        supervisor: Supervisor<'_>,
    ) -> Result<Ready, OrderError> {
        let file = &install.file;
        let SealedPackage { name, version, .. } = &file.package;
        let inside = self.root.seen_inside(&file.path);
        let held = self.run_with(feeds(downloads), |it| {
            it.hold("install", inside.as_os_str(), supervisor)
        })?;
        let before = self.entry(name)?;
        self.agree(install, before.as_ref(), downloads)?;
        let folders = self.write_digests(name, version, &file.path)?;
        self.refuse_others_files(name)?;
        self.refuse_links_of_system(name, &folders)?;
        if let Some(before) = &before {
            // An upgrade deletes what the old version has and the new one has not.
            self.refuse_to_delete_links_of_system(name, before)?;
        }
        for it in packages(downloads) {
            let Dependency { name, version } = &it.dependency;
            if self.entry(name)?.is_some() {
                let detail = format!("{name} is installed by now, and would be replaced");
                return Err(Failure::new(Cause::Plan, detail).into());
            }
            let folders = self.write_digests(name, version, &it.file)?;
            self.refuse_others_files(name)?;
            self.refuse_links_of_system(name, &folders)?;
        }
        self.refuse_shared_files(&names(name, downloads))?;
        Ok(Ready { held, before })
    }

    /// Refuses packages of one run with the same file: opkg would notice it only in the middle of the run.
    fn refuse_shared_files(&self, names: &[&PackageName]) -> Result<(), Failure> {
        let mut owners: BTreeMap<String, &PackageName> = BTreeMap::new();
        for name in names.iter().filter(|_| names.len() > 1) {
            for path in self.records.paths(name)? {
                let path = merged(&path);
                match owners.insert(path.clone(), name) {
                    Some(other) if other != *name => {
                        let detail = format!("{name} and {other} bring /{path} both");
                        return Err(Failure::new(Cause::Plan, detail));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The result of a run that ended: what the database and the files say of each package.
    fn settled(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        before: Option<&Entry>,
        downloads: Option<&Downloads>,
        ran: &Ran,
    ) -> Result<(), Failure> {
        let mut in_part = None;
        for it in packages(downloads) {
            if let Err(failure) = self.came(&it.dependency, ran) {
                in_part.get_or_insert(failure);
            }
        }
        // The last record that is closed, since it is the one that a repair looks at.
        self.installed(name, version, before, ran)?;
        in_part.map_or(Ok(()), Err)
    }

    /// Looks at a dependency after the run. One that opkg did not begin leaves nothing.
    fn came(&self, Dependency { name, version }: &Dependency, ran: &Ran) -> Result<(), Failure> {
        let Some(entry) = self.entry(name)? else {
            self.delete_leftovers(name, &self.records.paths(name)?, &[])?;
            self.records.forget(name)?;
            let detail = format!("{name} {version}, which it needs, was not installed");
            return Err(Failure::new(Cause::PackageManager, detail));
        };
        let differs = match entry.is_installed() && entry.version == *version {
            // A repair has looked at it already.
            true if self.records.has_digests(name, version) => {
                self.records.differs_from_kept(name, &entry)?
            }
            true => match self.records.differs_from_new(name, &entry)? {
                None => return self.records.keep_new(name),
                differs => differs,
            },
            false => Some(entry.state.clone()),
        };
        let Some(words) = differs else {
            return Ok(());
        };
        let why = complaint::failure("opkg", &ran.printed);
        let damaged = Unfinished::Damaged {
            installed_at: entry.installed_at,
            words: words.clone(),
        };
        self.records.write_unfinished(name, &damaged)?;
        let detail = format!(
            "{name} {version}, which came with it, is installed in part: {words} ({})",
            why.detail.as_str()
        );
        Err(Failure::new(why.cause, detail))
    }

    /// The result of an installation that ended: what the database and the files say.
    fn installed(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        before: Option<&Entry>,
        ran: &Ran,
    ) -> Result<(), Failure> {
        let what = format!("opkg install of {name} {version}");
        let after = self.entry(name)?;
        let (words, failure) = match &after {
            Some(entry)
                if entry.is_installed() && entry.version == *version && ran.has_worked() =>
            {
                match self.records.differs_from_new(name, entry)? {
                    None => return self.records.succeed(name),
                    Some(differs) => {
                        let why = complaint::failure("opkg", &ran.printed);
                        let detail = format!(
                            "{name} {version} is installed in part: {differs} ({})",
                            why.detail.as_str()
                        );
                        (differs, Failure::new(full_or_broken(&why), detail))
                    }
                }
            }
            _ if after.as_ref() == before && ran.has_worked() => {
                self.records.end(name)?;
                return Err(complaint::failure(&what, &ran.printed));
            }
            _ => {
                let failure = complaint::failure(&what, &ran.printed);
                (failure.detail.as_str().to_owned(), failure)
            }
        };
        if before.is_some() && self.went_back(name)? {
            return Err(failure);
        }
        if let Some(Entry { installed_at, .. }) = after {
            let damaged = Unfinished::Damaged {
                installed_at,
                words,
            };
            self.records.write_unfinished(name, &damaged)?;
        }
        self.records.forget_copy()?;
        Err(failure)
    }

    /// Whether the old version is still there with each of its files, although opkg's database says otherwise: a script had
    /// failed before opkg changed a file. Then the database is put back.
    fn went_back(&self, name: &PackageName) -> Result<bool, Failure> {
        let before = self.records.copied_status()?;
        let Some(old) = before.as_ref().and_then(|status| status.of(name.as_str())) else {
            return Ok(false);
        };
        let is_old = old.is_installed()
            && self.records.has_digests(name, &old.version)
            && self.lists.knows(name.as_str())
            && self.records.differs_from_kept(name, old)?.is_none();
        if is_old {
            let _lock = self.run(|it| it.lock().take())?;
            self.records.restore_status(&self.status)?;
            self.records.end(name)?;
        }
        Ok(is_old)
    }

    /// Removes what a failed run left of first installations: a package that is not whole, and all of them with their
    /// dependencies if a dependency is half-way.
    pub(super) fn take_back(
        &self,
        packages: &[&PackageName],
        dependencies: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        if let Err(why) = self.forget_plans(&[packages, dependencies].concat()) {
            printed("opkg", &format!("its notes were not deleted: {why}\n"));
        }
        let are_whole = self.are_whole(dependencies)?;
        for name in packages {
            if self.entry(name)?.is_none() || !are_whole || !self.are_whole(&[name])? {
                self.clean_up(name, printed);
            }
        }
        fault::point("opkg.package-taken-back");
        for name in dependencies.iter().rev().filter(|_| !are_whole) {
            self.clean_up(name, printed);
        }
        Ok(())
    }

    /// Whether what the device has of these packages is whole.
    fn are_whole(&self, names: &[&PackageName]) -> Result<bool, Failure> {
        let mut are_whole = true;
        for name in names {
            are_whole &= self.found(name)?.is_none_or(|found| found.is_whole());
        }
        Ok(are_whole)
    }

    /// Deletes what opkg noted of packages that it did not get to: it would install them with the next order.
    fn forget_plans(&self, names: &[&PackageName]) -> Result<(), Failure> {
        let _lock = self.run(|it| it.lock().take())?;
        let failed = |error: io::Error| unreadable(&self.status, &error.to_string());
        let text = match fs::read(&self.status) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(failed)?,
        };
        match without_absent(&text, names) {
            None => Ok(()),
            Some(left) => durable::write_readable(&self.status, &left, 0o644).map_err(failed),
        }
    }

    /// Removes a package. If it cannot, the package is told as damaged.
    fn clean_up(&self, name: &PackageName, printed: Listener<'_>) {
        if let Err(failure) = self.remove(name, Supervisor::quiet(printed)) {
            printed(
                "opkg",
                &format!("{name} was not removed again: {failure}\n"),
            );
        }
    }

    /// Installs the file over whatever there is of the package, scripts included, with the dependencies of its run. The digests
    /// are there since before the run that was cut off: nobody has to be asked again, who may not answer.
    pub(super) fn replace(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        file: &Path,
        downloads: Option<&Downloads>,
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        for it in packages(downloads) {
            let Dependency { name, version } = &it.dependency;
            // opkg itself installs those that its database does not have.
            if self.entry(name)?.is_some() && self.records.unfinished(name)?.is_some() {
                self.replace(name, version, &it.file, None, printed)?;
            }
        }
        let inside = self.root.seen_inside(file);
        let held = self.run_with(feeds(downloads), |it| {
            it.hold("install", inside.as_os_str(), Supervisor::quiet(printed))
        })?;
        let options = "--force-reinstall --force-downgrade";
        let ran = self.work(&[name], held, options, Supervisor::quiet(printed))?;
        fault::point("repair.installed");
        self.settled(name, version, None, downloads, &ran)
    }
}

fn feeds(downloads: Option<&Downloads>) -> Feeds<'_> {
    downloads.map_or(Feeds::None, |it| Feeds::Downloaded(&it.inside))
}

fn packages(downloads: Option<&Downloads>) -> &[Downloaded] {
    downloads
        .map(|it| it.packages.as_slice())
        .unwrap_or_default()
}

/// The package of a run first, then its dependencies.
fn names<'a>(name: &'a PackageName, downloads: Option<&'a Downloads>) -> Vec<&'a PackageName> {
    let dependencies = packages(downloads).iter().map(|it| &it.dependency.name);
    [name].into_iter().chain(dependencies).collect()
}

/// The options that opkg needs for what is already agreed to.
fn install_options(
    package: &SealedPackage,
    entry: Option<&Entry>,
    options: InstallOptions,
) -> String {
    // opkg takes no version again that its database has, in whatever state.
    let again = entry.is_some_and(|it| !it.is_installed() || it.version == package.version);
    let words = [
        again.then_some("--force-reinstall"),
        options.allow_downgrade.then_some("--force-downgrade"),
    ];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    words.join(" ")
}

/// The cause of files that opkg did not write whole.
fn full_or_broken(said: &Failure) -> Cause {
    match said.cause {
        Cause::DiskFull => Cause::DiskFull,
        _ => Cause::PackageManager,
    }
}
