//! opkg as a package manager.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, PackageName, PackageVersion, inspect::Format, installer::SealedPackage,
};
use wharf_root::{
    Change, Listener, Owners, Root,
    session::{Role, RunningProcess},
};

use super::{
    Contents, complaint,
    configuration::Configuration,
    files::Lists,
    plan, programs,
    records::{CUT_OFF, Records, Unfinished},
    run::{Held, Ran, Runner},
    status::{Entry, Status},
    version,
};
use crate::{
    Brought, Dependencies, Install, InstallOptions, InstalledPackage, Lock, OrderError,
    PackageFile, PackageManager, PlannedPackage, Supervisor, Times, debian_version,
};

/// opkg of one root.
pub struct Opkg {
    pub(super) root: Root,
    times: Times,
    pub(super) configuration: Configuration,
    /// opkg's database, from outside of the root.
    pub(super) status: PathBuf,
    pub(super) lists: Lists,
    pub(super) records: Records,
    pub(super) contents: Arc<dyn Contents>,
    /// Each architecture that it installs, the best one last.
    architectures: Vec<String>,
}

impl Opkg {
    /// opkg of this root.
    pub fn open(root: &Root, times: Times, contents: Arc<dyn Contents>) -> Result<Self, Failure> {
        Self::with(root, times, contents, programs::architectures(root)?)
    }

    /// With these architectures, without a look at them.
    pub(super) fn with(
        root: &Root,
        times: Times,
        contents: Arc<dyn Contents>,
        architectures: Vec<String>,
    ) -> Result<Self, Failure> {
        let configuration = configuration(root)?;
        Ok(Self {
            status: Configuration::outside(root, &configuration.status),
            lists: Lists {
                root: root.clone(),
                folder: Configuration::outside(root, &configuration.info),
            },
            records: Records::of(root),
            architectures,
            root: root.clone(),
            times,
            configuration,
            contents,
        })
    }

    /// Calls this with what starts opkg.
    pub(super) fn run<T>(&self, run: impl FnOnce(Runner<'_>) -> T) -> T {
        run(Runner {
            root: &self.root,
            configuration: &self.configuration,
            times: self.times,
            recognise: &|process| self.role(process),
        })
    }

    pub(super) fn database(&self) -> Result<Status, Failure> {
        let text = match fs::read(&self.status) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unreadable(&self.status, &error.to_string())),
        };
        Status::parse(&String::from_utf8_lossy(&text)).map_err(|why| unreadable(&self.status, &why))
    }

    /// The package in the database. Refuses what is no name.
    pub(super) fn entry(&self, name: &PackageName) -> Result<Option<Entry>, Failure> {
        match self.is_name(name) {
            true => Ok(self.database()?.of(name.as_str()).cloned()),
            false => Err(Failure::new(
                Cause::NotManaged,
                format!("'{name}' is no name of a package of opkg"),
            )),
        }
    }

    /// The damage of a package, by the database and by our records.
    fn damage(&self, name: &PackageName, entry: &Entry) -> Result<Option<String>, Failure> {
        let unfinished = self.records.unfinished(name)?;
        let known = unfinished.as_ref().and_then(|it| it.damage(entry));
        Ok(match (entry.is_installed(), known) {
            (true, known) => known.map(str::to_owned),
            (false, Some(known)) if known != entry.state => {
                Some(format!("{}: {known}", entry.state))
            }
            (false, _) => Some(entry.state.clone()),
        })
    }

    /// Whether the device has this version whole, so that nothing needs to be done. Looks at each file.
    fn has_it(
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

    /// Refuses if opkg would do anything but install this package.
    fn agree(
        &self,
        file: &PackageFile,
        entry: Option<&Entry>,
        options: InstallOptions,
    ) -> Result<(), Failure> {
        let package = &file.package;
        self.refuse(package, entry, options)?;
        let inside = self.root.seen_inside(&file.path);
        let words = install_options(package, entry, options);
        let printed = self.run(|it| it.plan(&words, "install", inside.as_os_str()))?;
        judged(
            &format!("opkg install of {}", package.name),
            &printed,
            |printed| plan::only_installs(package, printed),
        )
    }

    /// Lets opkg work. The database is copied before, and put back if opkg cut it.
    fn work(
        &self,
        name: &PackageName,
        held: Held,
        options: &str,
        supervisor: Supervisor<'_>,
    ) -> Result<Ran, Failure> {
        self.records.copy_status(&self.status)?;
        self.records.write_unfinished(name, &Unfinished::Begun)?;
        fault::point("opkg.begun");
        let ran = self.run(|runner| held.go(options, runner, supervisor))?;
        fault::point("opkg.ended");
        self.put_status_back(supervisor.printed)?;
        Ok(ran)
    }

    fn put_status_back(&self, printed: Listener<'_>) -> Result<(), Failure> {
        if self.records.copied_status()?.is_none() {
            return Ok(());
        }
        let _lock = self.run(|it| it.lock().take())?;
        if self.records.put_status_back(&self.status, &self.lists)? {
            let path = self.status.display();
            printed(
                "opkg",
                &format!("{path} was cut, and is put back as it was before\n"),
            );
        }
        Ok(())
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
                    None => {
                        self.records.keep_new(name)?;
                        return self.records.forget_copy();
                    }
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
                self.records.finish(name)?;
                self.records.forget_copy()?;
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
            self.records.finish(name)?;
            self.records.forget_copy()?;
        }
        Ok(is_old)
    }

    /// Removes what is left of a first installation that failed. If it cannot, the package is told as damaged.
    fn clean_up(&self, name: &PackageName, printed: Listener<'_>) {
        if let Err(failure) = self.remove(name, quiet(printed)) {
            printed(
                "opkg",
                &format!("{name} was not removed again: {failure}\n"),
            );
        }
    }

    /// Installs the file over whatever there is of the package, scripts included. Its digests are there since before the run
    /// that was cut off: nobody has to be asked again, who may not answer.
    fn replace(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        file: &Path,
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        let inside = self.root.seen_inside(file);
        let held = self.run(|it| it.hold("install", inside.as_os_str(), quiet(printed)))?;
        let options = "--force-reinstall --force-downgrade";
        let ran = self.work(name, held, options, quiet(printed))?;
        fault::point("repair.installed");
        self.installed(name, version, None, &ran)
    }

    /// Finishes a package without its file.
    fn finish_without_file(
        &self,
        name: &PackageName,
        entry: Option<Entry>,
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        let Some(entry) = entry else {
            // A first installation was cut off before opkg wrote its database.
            self.delete_leftovers(name, &self.records.paths(name)?, &[])?;
            self.records.forget(name)?;
            return self.records.forget_copy();
        };
        if entry.state == "unpacked" {
            let held =
                self.run(|it| it.hold("configure", name.as_str().as_ref(), quiet(printed)))?;
            self.work(name, held, "", quiet(printed))?;
            fault::point("repair.configured");
        }
        let entry = self.entry(name)?.filter(Entry::is_installed);
        let Some(entry) = entry else {
            return Err(half_way(name, "opkg has it in part"));
        };
        let (has_kept, kept) = (
            self.records.has_digests(name, &entry.version),
            self.records.differs_from_kept(name, &entry)?,
        );
        if has_kept && kept.is_none() {
            self.records.finish(name)?;
            return self.records.forget_copy();
        }
        match self.records.differs_from_new(name, &entry)? {
            None if !has_kept => {
                self.records.keep_new(name)?;
                self.records.forget_copy()
            }
            new => Err(half_way(name, &kept.or(new).unwrap_or_default())),
        }
    }
}

impl Ran {
    /// Whether opkg ended by itself.
    fn has_worked(&self) -> bool {
        self.code.is_some()
    }
}

impl PackageManager for Opkg {
    fn name(&self) -> &'static str {
        "opkg"
    }

    fn architecture(&self) -> &str {
        self.architectures.last().map_or("all", String::as_str)
    }

    fn takes(&self, architecture: &str) -> bool {
        self.architectures.iter().any(|it| it == architecture)
    }

    fn is_name(&self, name: &PackageName) -> bool {
        version::is_name(name.as_str())
    }

    fn compare_versions(&self, left: &PackageVersion, right: &PackageVersion) -> Ordering {
        debian_version::compare(left.as_str(), right.as_str())
    }

    fn database(root: &Root) -> PathBuf {
        let status = configuration(root).map(|it| it.status);
        let status = status.unwrap_or_else(|_| "/var/lib/opkg/status".into());
        Configuration::outside(root, &status)
    }

    fn format() -> Format {
        Format::Ipk
    }

    fn version(&self) -> Result<String, Failure> {
        programs::version(&self.root)
    }

    fn locks(&self) -> Result<Vec<Lock>, Failure> {
        self.run(|it| it.lock().look()).map(|lock| vec![lock])
    }

    fn remedy(&self) -> &'static str {
        "run `opkg --force-reinstall install FILE` with the package file of the wanted version"
    }

    /// opkg starts a script by its path, through `sh -c`.
    fn role(&self, process: &RunningProcess) -> Option<Role> {
        programs::role_of(
            &process.name(),
            &process.command_line(),
            &self.configuration.info,
        )
    }

    fn found(&self, name: &PackageName) -> Result<Option<InstalledPackage>, Failure> {
        if !self.is_name(name) {
            return Ok(None);
        }
        let Some(entry) = self.entry(name)? else {
            return Ok(None);
        };
        let damage = self.damage(name, &entry)?;
        Ok(Some(InstalledPackage {
            version: entry.version,
            damage: damage.map(Into::into),
        }))
    }

    fn each_path(&self, name: &PackageName, visit: &mut dyn FnMut(&Path)) -> Result<(), Failure> {
        if !self.is_name(name) || self.entry(name)?.is_none() {
            return Ok(());
        }
        let each = self
            .lists
            .each(name.as_str(), &mut |path| visit(&self.root.path(path)));
        each.map_err(|error| unreadable(&self.lists.folder, &error.to_string()))
    }

    fn owners(&self, paths: &BTreeSet<String>) -> Result<Owners, Failure> {
        let status = self.database()?;
        let names = status.present().map(|entry| entry.name.as_str());
        let owners = self.lists.owners(names, paths);
        owners.map_err(|error| unreadable(&self.lists.folder, &error.to_string()))
    }

    fn has(&self, file: &PackageFile, options: InstallOptions) -> Result<bool, OrderError> {
        let entry = self.entry(&file.package.name)?;
        self.has_it(file, entry.as_ref(), options)
    }

    fn configuration(&self, name: &PackageName) -> Result<Vec<String>, Failure> {
        let conffiles = self.entry(name)?.map(|entry| entry.conffiles);
        let paths = conffiles.unwrap_or_default().into_iter();
        Ok(paths
            .map(|path| path.trim_start_matches('/').to_owned())
            .collect())
    }

    fn beside_configuration(&self) -> &'static [&'static str] {
        &["-opkg", "-opkg.backup"]
    }

    fn takes_several(&self) -> bool {
        false
    }

    fn install(
        &self,
        installs: &[Install],
        _: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        let Install { file, options } = the_only(installs)?;
        let options = *options;
        let SealedPackage { name, version, .. } = &file.package;
        let entry = self.entry(name)?;
        self.refuse(&file.package, entry.as_ref(), options)?;
        if self.has_it(file, entry.as_ref(), options)? {
            return Ok(Change::Unchanged);
        }
        let inside = self.root.seen_inside(&file.path);
        let held = self.run(|it| it.hold("install", inside.as_os_str(), supervisor))?;
        // From here on nobody else changes packages.
        let before = self.entry(name)?;
        self.agree(file, before.as_ref(), options)?;
        let folders = self.write_digests(name, version, &file.path)?;
        self.refuse_others_files(name)?;
        self.refuse_links_of_system(name, &folders)?;
        if let Some(before) = &before {
            // An upgrade deletes what the old version has and the new one has not.
            self.refuse_to_delete_links_of_system(name, before)?;
        }
        (supervisor.begin)(&Brought::default())?;
        let words = install_options(&file.package, before.as_ref(), options);
        let ran = self.work(name, held, &words, supervisor)?;
        let installed = match ran.code {
            // A signal ended opkg.
            None => self.replace(name, version, &file.path, supervisor.printed),
            Some(_) => self.installed(name, version, before.as_ref(), &ran),
        };
        if installed.is_err() && before.is_none() {
            self.clean_up(name, supervisor.printed);
        }
        installed?;
        Ok(Change::Changed)
    }

    /// By `--noaction`. The files of other packages and the links of the system are looked at by an installation alone.
    fn plan(&self, installs: &[Install], _: &Dependencies) -> Result<Vec<PlannedPackage>, Failure> {
        let Install { file, options } = the_only(installs)?;
        let SealedPackage { name, version, .. } = &file.package;
        let entry = self.entry(name)?;
        self.agree(file, entry.as_ref(), *options)?;
        Ok(vec![PlannedPackage {
            name: name.clone(),
            version: version.clone(),
            replaces: entry.map(|entry| entry.version),
            is_dependency: false,
        }])
    }

    fn unused(&self) -> Result<BTreeSet<PackageName>, Failure> {
        Ok(BTreeSet::new())
    }

    fn remove(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<Change, Failure> {
        let Some(entry) = self.entry(name)? else {
            if self.records.unfinished(name)?.is_some() {
                // A first installation that was cut off.
                self.delete_leftovers(name, &self.records.paths(name)?, &[])?;
            }
            return self.records.forget(name).map(|()| Change::Unchanged);
        };
        removable(name, &entry)?;
        let held = self.run(|it| it.hold("remove", name.as_str().as_ref(), supervisor))?;
        let Some(entry) = self.entry(name)? else {
            return self.records.forget(name).map(|()| Change::Unchanged);
        };
        removable(name, &entry)?;
        let what = format!("opkg remove of {name}");
        let printed = self.run(|it| it.plan("", "remove", name.as_str().as_ref()))?;
        judged(&what, &printed, |printed| plan::only_removes(name, printed))?;
        self.refuse_to_delete_links_of_system(name, &entry)?;
        let unfinished = self.records.unfinished(name)?;
        let is_damaged = unfinished.is_some() || !entry.is_installed();
        let mut paths = self.records.paths(name)?;
        self.lists
            .each(name.as_str(), &mut |path| paths.push(path.to_owned()))
            .map_err(|error| unreadable(&self.lists.folder, &error.to_string()))?;
        let removed = self.to_remove(name)?;
        (supervisor.begin)(&Brought::default())?;
        let ran = self.work(name, held, "", supervisor)?;
        if self.entry(name)?.is_none() {
            if is_damaged {
                self.delete_leftovers(name, &paths, &entry.conffiles)?;
            }
            self.check_removed(name, &entry, removed)?;
            self.records.forget(name)?;
            return self.records.forget_copy().map(|()| Change::Changed);
        }
        if ran.has_worked() {
            match unfinished {
                Some(unfinished) => self.records.write_unfinished(name, &unfinished)?,
                None => self.records.finish(name)?,
            }
            self.records.forget_copy()?;
        }
        Err(complaint::failure(&what, &ran.printed))
    }

    fn audit(&self) -> Result<Vec<String>, Failure> {
        let status = self.database()?;
        let damaged = status.present().filter(|entry| !entry.is_installed());
        let mut found: Vec<String> = damaged
            .map(|entry| format!("{} {}: {}", entry.name, entry.version, entry.state))
            .collect();
        for (name, unfinished) in self.records.all_unfinished() {
            let words = match status.of(name.as_str()) {
                Some(entry) if entry.is_installed() => unfinished.damage(entry),
                None if unfinished == Unfinished::Begun => Some(CUT_OFF),
                _ => None,
            };
            found.extend(words.map(|words| format!("{name}: {words}")));
        }
        Ok(found)
    }

    fn repair(
        &self,
        name: &PackageName,
        file: Option<&Path>,
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        self.put_status_back(printed)?;
        let entry = self.entry(name)?;
        let is_unfinished = self.records.unfinished(name)?.is_some();
        if !is_unfinished && entry.as_ref().is_none_or(Entry::is_installed) {
            self.records.forget_copy()?;
            return Ok(Change::Unchanged);
        }
        // The run that was cut off wrote the digests of its file.
        let finished = match file.zip(self.records.new_version(name)) {
            Some((file, version)) => self.replace(name, &version, file, printed),
            None => self.finish_without_file(name, entry, printed),
        };
        match finished {
            Ok(()) => Ok(Change::Changed),
            Err(failure) if failure.cause == Cause::Interrupted => Err(failure),
            Err(failure) => Err(half_way(name, &failure.to_string())),
        }
    }

    /// An installation after a power cut compares every file with the package.
    fn redo(
        &self,
        name: &PackageName,
        file: &Path,
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        self.repair(name, Some(file), printed)
    }

    fn tidy(&self, is_at_work: &dyn Fn(&PackageName) -> bool) {
        let mut unfinished = self.records.all_unfinished().into_iter();
        if !unfinished.any(|(name, _)| is_at_work(&name)) {
            let _ = self.put_status_back(&|_, _| ()); // by the next job
        }
        for (name, _) in self.records.all_unfinished() {
            let is_gone = || matches!(self.entry(&name), Ok(None));
            if !is_at_work(&name) && is_gone() {
                let _ = self.records.forget(&name);
            }
        }
    }
}

/// A run that nobody agrees to or looks at.
fn quiet(printed: Listener<'_>) -> Supervisor<'_> {
    Supervisor {
        report: &|_| (),
        begin: &|_| Ok(()),
        is_wanted: &|| true,
        printed,
    }
}

fn configuration(root: &Root) -> Result<Configuration, Failure> {
    Configuration::read(root)
        .map_err(|error| unreadable(&root.path("etc/opkg"), &error.to_string()))
}

/// The one package of a run: opkg gets no second one.
fn the_only(installs: &[Install]) -> Result<&Install, Failure> {
    match installs {
        [install] => Ok(install),
        _ => {
            let detail = format!(
                "{} packages: one run installs exactly one here",
                installs.len()
            );
            Err(Failure::new(Cause::PackageManager, detail))
        }
    }
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

/// Judges a plan. If opkg announces nothing, it refuses, and its words are the reason.
fn judged(
    what: &str,
    printed: &str,
    judge: impl Fn(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    judge(printed).map_err(|failure| {
        let said = complaint::failure(what, printed);
        match said.cause {
            Cause::PackageManager => failure,
            _ => said,
        }
    })
}

fn removable(name: &PackageName, entry: &Entry) -> Result<(), Failure> {
    if entry.essential {
        let detail = format!("{name} is essential: it is never removed");
        return Err(Failure::new(Cause::Plan, detail));
    }
    match entry.is_held() {
        true => Err(held(name)),
        false => Ok(()),
    }
}

fn held(name: &PackageName) -> Failure {
    let detail = format!("{name} is on hold (run `opkg flag ok {name}` as root to allow it)");
    Failure::new(Cause::Held, detail)
}

fn half_way(name: &PackageName, why: &str) -> Failure {
    let detail = format!(
        "{name} was left half-way and needs an operator (`opkg --force-reinstall install FILE`): {why}"
    );
    Failure::new(Cause::Interrupted, detail)
}

/// The cause of files that opkg did not write whole.
fn full_or_broken(said: &Failure) -> Cause {
    match said.cause {
        Cause::DiskFull => Cause::DiskFull,
        _ => Cause::PackageManager,
    }
}

pub(super) fn unreadable(path: &Path, why: &str) -> Failure {
    let detail = format!("cannot read {}: {why}", path.display());
    Failure::new(Cause::Unavailable, detail)
}
