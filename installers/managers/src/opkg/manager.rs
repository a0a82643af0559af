//! opkg as a package manager.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, PackageName, PackageVersion, inspect::Format};
use wharf_root::{
    Change, Listener, Owners, Root,
    session::{Role, RunningProcess},
};

use super::{
    Contents, complaint,
    configuration::{Configuration, Feeds},
    downloads::{self, Downloads},
    files::Lists,
    programs,
    records::{CUT_OFF, Records, Unfinished},
    run::{Held, Ran, Runner},
    status::{Entry, Status},
    version,
};
use crate::{
    Dependencies, Install, InstallOptions, InstalledPackage, Lock, OrderError, PackageFile,
    PackageManager, PlannedPackage, Supervisor, Times, debian_version, repair_each,
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
        let configuration = configuration(root)?;
        let architectures = match configuration.architectures() {
            none if none.is_empty() => programs::architectures(root)?,
            known => known,
        };
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
        self.run_with(Feeds::None, run)
    }

    /// As [`Opkg::run`], with these feeds.
    pub(super) fn run_with<T>(&self, feeds: Feeds<'_>, run: impl FnOnce(Runner<'_>) -> T) -> T {
        self.run_by(&self.configuration, feeds, run)
    }

    /// As [`Opkg::run_with`], by this configuration.
    pub(super) fn run_by<T>(
        &self,
        configuration: &Configuration,
        feeds: Feeds<'_>,
        run: impl FnOnce(Runner<'_>) -> T,
    ) -> T {
        run(Runner {
            root: &self.root,
            configuration,
            feeds,
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
    pub(super) fn damage(
        &self,
        name: &PackageName,
        entry: &Entry,
    ) -> Result<Option<String>, Failure> {
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

    /// Lets opkg work. The database is copied before, and put back if opkg cut it.
    pub(super) fn work(
        &self,
        names: &[&PackageName],
        held: Held,
        options: &str,
        supervisor: Supervisor<'_>,
    ) -> Result<Ran, Failure> {
        self.records.begin(names, &self.status)?;
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
            let held = self.run(|it| {
                it.hold(
                    "configure",
                    name.as_str().as_ref(),
                    Supervisor::quiet(printed),
                )
            })?;
            self.work(&[name], held, "", Supervisor::quiet(printed))?;
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
            return self.records.end(name);
        }
        match self.records.differs_from_new(name, &entry)? {
            None if !has_kept => self.records.succeed(name),
            new => Err(half_way(name, &kept.or(new).unwrap_or_default())),
        }
    }
}

impl Ran {
    /// Whether opkg ended by itself.
    pub(super) fn has_worked(&self) -> bool {
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
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        self.install_one(the_only(installs)?, dependencies, supervisor)
    }

    fn plan(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
    ) -> Result<Vec<PlannedPackage>, Failure> {
        self.planned(the_only(installs)?, dependencies)
    }

    fn unused(&self) -> Result<BTreeSet<PackageName>, Failure> {
        let database = self.database()?;
        let names = database.unneeded().into_iter();
        Ok(names
            .filter_map(|name| PackageName::new(name).ok())
            .collect())
    }

    fn remove(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<Change, Failure> {
        self.remove_one(name, supervisor)
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
            Some((file, version)) => {
                let downloads = Downloads::left(&self.root);
                self.replace(name, &version, file, downloads.as_ref(), printed)
            }
            None => self.finish_without_file(name, entry, printed),
        };
        match finished {
            Ok(()) => Ok(Change::Changed),
            Err(failure) if failure.cause == Cause::Interrupted => Err(failure),
            Err(failure) => Err(half_way(name, &failure.to_string())),
        }
    }

    /// The repair of a package that is half-way brings them with it, if what was downloaded is still there.
    fn repair_dependencies(
        &self,
        dependencies: &[&PackageName],
        packages: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        if Downloads::are_left(&self.root) {
            for name in packages {
                if self.records.unfinished(name)?.is_some() {
                    return Ok(Change::Unchanged);
                }
            }
        }
        repair_each(self, dependencies, printed)
    }

    fn discard(
        &self,
        dependencies: &[&PackageName],
        packages: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        self.take_back(packages, dependencies, printed)
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
            downloads::forget(&self.root);
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

pub(super) fn configuration(root: &Root) -> Result<Configuration, Failure> {
    Configuration::read(root)
        .map_err(|error| unreadable(&root.path("etc/opkg"), &error.to_string()))
}

/// The one package of a run: opkg gets no second file.
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

/// Judges a plan. If opkg announces nothing, it refuses, and its words are the reason.
pub(super) fn judged(
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

pub(super) fn held(name: &PackageName) -> Failure {
    let detail = format!("{name} is on hold (run `opkg flag ok {name}` as root to allow it)");
    Failure::new(Cause::Held, detail)
}

fn half_way(name: &PackageName, why: &str) -> Failure {
    let detail = format!(
        "{name} was left half-way and needs an operator (`opkg --force-reinstall install FILE`): {why}"
    );
    Failure::new(Cause::Interrupted, detail)
}

pub(super) fn unreadable(path: &Path, why: &str) -> Failure {
    let detail = format!("cannot read {}: {why}", path.display());
    Failure::new(Cause::Unavailable, detail)
}
