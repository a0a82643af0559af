//! dnf of one root. Each order reads rpm's database before and after.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, PackageName, PackageVersion, inspect::Format};
use wharf_root::{
    Change, Listener, Owners, Root,
    session::{Role, RunningProcess},
};

use super::{
    complaint,
    dnf4::Dnf4,
    dnf5::Dnf5,
    download, lock,
    order::{Coming, Order},
    programs,
    rpm::{Copy, Rpm, two_versions},
    run::{Asks, Ran, Run, Runner, no_percent},
    unfinished::{RunRecord, Unfinished},
    version,
};
use crate::{
    Brought, Dependencies, Install, InstallOptions, InstalledPackage, Lock, OrderError,
    PackageFile, PackageManager, PlannedPackage, Supervisor, Times, read_only,
};

/// The possible files of rpm's database: its formats, in the folders of the distributions.
const DATABASES: [&str; 6] = [
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/Packages.db",
    "usr/lib/sysimage/rpm/Packages",
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages.db",
    "var/lib/rpm/Packages",
];

/// dnf of one root.
pub struct Dnf {
    pub(super) root: Root,
    pub(super) rpm: Rpm,
    pub(super) tool: Tool,
    pub(super) unfinished: Unfinished,
    pub(super) times: Times,
}

pub(super) enum Tool {
    Four(Dnf4),
    Five(Dnf5),
}

/// The version of the command `dnf`, else the installed one.
fn tool(root: &Root) -> Result<Tool, Failure> {
    let command = fs::read_link(root.path("usr/bin/dnf")).unwrap_or_default();
    let is_there = |name: &str| root.path("usr/bin").join(name).exists();
    match command.file_name().and_then(|name| name.to_str()) {
        Some("dnf5") => Ok(Tool::Five(Dnf5::open(root))),
        Some("dnf-3") => Ok(Tool::Four(Dnf4::open(root))),
        _ if is_there("dnf5") => Ok(Tool::Five(Dnf5::open(root))),
        _ if is_there("dnf-3") => Ok(Tool::Four(Dnf4::open(root))),
        _ => {
            let detail = format!(
                "there is neither dnf 4 nor dnf 5 in {}",
                root.path("usr/bin").display()
            );
            Err(Failure::new(Cause::Unavailable, detail))
        }
    }
}

impl Dnf {
    /// dnf of this root.
    pub fn open(root: &Root, times: Times) -> Result<Self, Failure> {
        Ok(Self {
            rpm: Rpm::open(root)?,
            tool: tool(root)?,
            unfinished: Unfinished::of(root),
            root: root.clone(),
            times,
        })
    }

    pub(super) fn runner(&self) -> Runner<'_> {
        Runner {
            root: &self.root,
            lock: &self.rpm.lock,
            times: self.times,
        }
    }

    /// The copies of a package. Refuses an invalid name.
    pub(super) fn copies(&self, name: &PackageName) -> Result<Vec<Copy>, Failure> {
        match self.is_name(name) {
            true => self.rpm.copies(name),
            false => {
                let detail = format!("'{name}' is no name of an rpm package");
                Err(Failure::new(Cause::NotManaged, detail))
            }
        }
    }

    /// The damage of the copies of a package.
    fn damage(&self, name: &PackageName, copies: &[Copy]) -> Result<Option<String>, Failure> {
        match copies {
            [] => Ok(None),
            [copy] => self.unfinished.damage(name, copy),
            copies => Ok(Some(two(name, copies))),
        }
    }

    /// Whether the copies are this version, whole and made from this file.
    pub(super) fn has_it(
        &self,
        file: &PackageFile,
        options: InstallOptions,
        copies: &[Copy],
    ) -> Result<bool, Failure> {
        let name = &file.package.name;
        let [copy] = copies else {
            return Ok(false);
        };
        if options.reinstall
            || copy.version != file.package.version
            || self.damage(name, copies)?.is_some()
        {
            return Ok(false);
        }
        let new = self.rpm.in_file(name, &file.path)?;
        Ok(new.is_some_and(|new| copy.is_from(&new)) && self.rpm.has_its_files(name)?)
    }

    /// Runs dnf for exactly this order. Fails if the device was not changed. If the copies change before dnf has the lock, the
    /// plan is another one, and is refused.
    pub(super) fn order(
        &self,
        order: Order<'_>,
        brought: &Brought,
        supervisor: Supervisor<'_>,
    ) -> Result<Ran, Failure> {
        let begin = || {
            (supervisor.begin)(brought)?;
            let mut names = order.names().into_iter();
            names.try_for_each(|name| self.unfinished.write(name, &RunRecord::Begun))
        };
        let ran = match &self.tool {
            Tool::Four(dnf4) => {
                let agree = |lines: &str| Dnf4::agree(order, lines).and_then(|()| begin());
                let run = dnf4.run(order, self.times, &agree)?;
                self.runner().run(&run, supervisor)?
            }
            Tool::Five(dnf5) => {
                let stored = dnf5.stored(order)?;
                let agree = |_: &str| dnf5.agree(order, self.times.limit).and_then(|()| begin());
                self.runner().run(&dnf5.run(&stored, &agree), supervisor)?
            }
        };
        self.rpm.forget();
        (supervisor.printed)("dnf", &ran.printed);
        match ran.decided {
            Some(Ok(())) => Ok(ran),
            Some(Err(failure)) => Err(failure),
            None => Err(complaint::failure(&order.told(), &ran.printed)),
        }
    }

    /// The result of an installation, by the database and the messages of the scripts.
    pub(super) fn installed(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        before: &[Copy],
        ran: &Ran,
    ) -> Result<(), Failure> {
        let copies = self.rpm.copies(name)?;
        let script = complaint::failed_script(&ran.printed, name.as_str());
        let is_new = |copy: &Copy| {
            let mut before = before.iter();
            copy.version == *version && before.all(|old| old.instance != copy.instance)
        };
        match (copies.as_slice(), script) {
            ([copy], None) if is_new(copy) => self.unfinished.clear(name),
            ([copy], Some(script)) if is_new(copy) => {
                let record = RunRecord::Failed {
                    instance: copy.instance,
                    words: format!("installed in part: {}", script.failed),
                };
                self.unfinished.write(name, &record)?;
                let detail = format!(
                    "{name} {version} is installed in part: {}",
                    script.of(name.as_str())
                );
                Err(Failure::new(Cause::Script, detail))
            }
            ([_, _, ..], script) => {
                self.unfinished.clear(name)?;
                let two = two(name, &copies);
                Err(match script {
                    Some(script) => {
                        let detail = format!("{two}: {}", script.of(name.as_str()));
                        Failure::new(Cause::Script, detail)
                    }
                    None => complaint::failure(&two, &ran.printed),
                })
            }
            _ => {
                let what = format!("dnf install of {name} {version}");
                Err(complaint::failure(&what, &ran.printed))
            }
        }
    }

    /// Replaces all copies by this file with rpm itself. Runs the scripts again.
    fn replace(
        &self,
        name: &PackageName,
        new: &Copy,
        file: &Path,
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        let before = self.rpm.copies(name)?;
        self.unfinished.write(name, &RunRecord::Begun)?;
        let words = ["rpm", "-U", "--replacepkgs", "--oldpackage", "--"];
        let file = self.root.seen_inside(file);
        let ran = self.rpm_run(&words, file.as_os_str(), printed)?;
        fault::point("repair.installed");
        self.installed(name, &new.version, &before, &ran)
            .map(|()| Change::Changed)
            .map_err(|failure| half_way(name, &failure.to_string()))
    }

    /// Removes the older copies that an interrupted upgrade left.
    fn erase_old(
        &self,
        name: &PackageName,
        copies: &[Copy],
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        for copy in copies.iter().skip(1) {
            let nevra = format!("{name}-{}.{}", copy.version, copy.architecture);
            self.rpm_run(&["rpm", "-e", "--"], nevra.as_ref(), printed)?;
        }
        let left = self.rpm.copies(name)?;
        let [copy] = left.as_slice() else {
            return Err(half_way(name, &two(name, &left)));
        };
        self.unfinished
            .write(name, &cut_off(copy))
            .map(|()| Change::Changed)
    }

    fn rpm_run(
        &self,
        words: &[&str],
        what: &std::ffi::OsStr,
        printed: Listener<'_>,
    ) -> Result<Ran, Failure> {
        let words = words.iter().map(std::ffi::OsString::from);
        let run = Run {
            name: "rpm",
            words: words.chain([what.to_owned()]).collect(),
            asks: Asks::Never,
            percent: no_percent,
            works: |_| true,
        };
        let ran = self.runner().run(&run, Supervisor::quiet(printed))?;
        self.rpm.forget();
        printed("rpm", &ran.printed);
        Ok(ran)
    }

    /// Deletes the files that a killed run left beside those of the installed copies, and of the file that it unpacked. The
    /// record tells when it ran.
    fn delete_leftovers(&self, name: &PackageName, file: Option<&Path>) -> Result<(), Failure> {
        let Some(begun) = self.unfinished.begun_at(name) else {
            return Ok(());
        };
        let mut paths = self.paths(name)?;
        if let Some(file) = file {
            paths.extend(self.paths_in(name, file)?);
        }
        self.rpm.delete_leftovers(&paths, begun);
        Ok(())
    }

    /// The paths of the installed copies.
    fn paths(&self, name: &PackageName) -> Result<Vec<PathBuf>, Failure> {
        let mut paths = Vec::new();
        let mut visit = |path: &Path| paths.push(path.to_owned());
        self.rpm.each_path(name, &mut visit)?;
        Ok(paths)
    }

    /// The paths of the package in a file.
    fn paths_in(&self, name: &PackageName, file: &Path) -> Result<Vec<PathBuf>, Failure> {
        let mut paths = Vec::new();
        let mut visit = |path: &Path| paths.push(path.to_owned());
        self.rpm.each_path_in(name, file, &mut visit)?;
        Ok(paths)
    }

    /// The failure of an installation on a file system that rpm calls full. dnf 5 names a read-only /usr itself, without a file.
    pub(super) fn full_or_read_only(&self, failure: Failure, coming: &[Coming]) -> Failure {
        let is_named = failure.detail.as_str().contains("read-only");
        if failure.cause != Cause::DiskFull && !is_named {
            return failure;
        }
        let refused = coming.iter().find_map(|it| {
            let file = it.path.strip_prefix("/").unwrap_or(&it.path);
            let paths = self.paths_in(&it.name, &self.root.folder().join(file));
            read_only::refuse(&self.root, &it.name, &paths.unwrap_or_default()).err()
        });
        refused.unwrap_or(failure)
    }
}

impl PackageManager for Dnf {
    fn name(&self) -> &'static str {
        "dnf"
    }

    fn architecture(&self) -> &str {
        &self.rpm.architectures.own
    }

    fn takes(&self, architecture: &str) -> bool {
        self.rpm.architectures.take(architecture)
    }

    fn is_name(&self, name: &PackageName) -> bool {
        version::is_name(name.as_str())
    }

    fn compare_versions(&self, left: &PackageVersion, right: &PackageVersion) -> Ordering {
        version::compare(left.as_str(), right.as_str())
    }

    fn database(root: &Root) -> PathBuf {
        let mut files = DATABASES.iter().map(|path| root.path(path));
        let known = root.path("var/lib/rpm/rpmdb.sqlite");
        files.find(|path| path.exists()).unwrap_or(known)
    }

    fn format() -> Format {
        Format::Rpm
    }

    fn version(&self) -> Result<String, Failure> {
        let program = match &self.tool {
            Tool::Four(_) => "dnf-3",
            Tool::Five(_) => "dnf5",
        };
        let dnf = programs::version(&self.root, program)?;
        let rpm = programs::version(&self.root, "rpm")?;
        Ok(format!("dnf {dnf} with rpm {rpm}"))
    }

    fn locks(&self) -> Result<Vec<Lock>, Failure> {
        let rpm = Lock::posix(self.rpm.lock.clone())?;
        let dnf = match &self.tool {
            Tool::Four(_) => lock::of_dnf4(&self.root),
            Tool::Five(_) => Lock::posix(self.root.path("var/lib/dnf/system-repo.lock"))?,
        };
        Ok(vec![rpm, dnf])
    }

    /// dnf cannot reinstall a package by its name if no repository has it.
    fn remedy(&self) -> &'static str {
        "run `rpm -U --replacepkgs FILE` with the package file of the newest version that is installed"
    }

    fn role(&self, process: &RunningProcess) -> Option<Role> {
        programs::role(process)
    }

    fn found(&self, name: &PackageName) -> Result<Option<InstalledPackage>, Failure> {
        if !self.is_name(name) {
            return Ok(None);
        }
        let copies = self.rpm.copies(name)?;
        let damage = self.damage(name, &copies)?;
        Ok(copies.into_iter().next().map(|copy| InstalledPackage {
            version: copy.version,
            damage: damage.map(Into::into),
        }))
    }

    fn configuration(&self, name: &PackageName) -> Result<Vec<String>, Failure> {
        self.rpm.configuration(name, None)
    }

    fn configuration_in(&self, name: &PackageName, file: &Path) -> Result<Vec<String>, Failure> {
        self.rpm.configuration(name, Some(file))
    }

    fn beside_configuration(&self) -> &'static [&'static str] {
        &[".rpmnew", ".rpmsave", ".rpmorig"]
    }

    fn each_path(&self, name: &PackageName, visit: &mut dyn FnMut(&Path)) -> Result<(), Failure> {
        match self.is_name(name) {
            true => self.rpm.each_path(name, visit),
            false => Ok(()),
        }
    }

    fn owners(&self, paths: &BTreeSet<String>) -> Result<Owners, Failure> {
        self.rpm.owners(paths)
    }

    fn has(&self, file: &PackageFile, options: InstallOptions) -> Result<bool, OrderError> {
        let copies = self.copies(&file.package.name)?;
        Ok(self.has_it(file, options, &copies)?)
    }

    fn install(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        Ok(self.install_all(installs, dependencies, supervisor)?)
    }

    fn plan(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
    ) -> Result<Vec<PlannedPackage>, Failure> {
        self.planned(installs, dependencies)
    }

    fn unused(&self) -> Result<BTreeSet<PackageName>, Failure> {
        self.unneeded()
    }

    fn remove(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<Change, Failure> {
        let before = self.copies(name)?;
        if before.is_empty() {
            return self.unfinished.clear(name).map(|()| Change::Unchanged);
        }
        let record = self.unfinished.record(name)?;
        read_only::refuse(&self.root, name, &self.paths(name)?)?;
        let order = Order::Remove(name, &before);
        let ran = self.order(order, &Brought::default(), supervisor);
        let ran = ran.map_err(|failure| {
            // Other packages depend on it.
            let cause = match failure.cause {
                Cause::Dependency => Cause::Plan,
                cause => cause,
            };
            Failure::new(cause, failure.detail.as_str())
        })?;
        fault::point("dnf.removed");
        let left = self.rpm.copies(name)?;
        if left.is_empty() {
            return self.unfinished.clear(name).map(|()| Change::Changed);
        }
        if ran.code.is_some() {
            self.unfinished.put_back(name, record)?;
        }
        Err(complaint::failure(&order.told(), &ran.printed))
    }

    fn audit(&self) -> Result<Vec<String>, Failure> {
        let mut found = self.rpm.doubled()?;
        for name in self.unfinished.names() {
            let damage = match self.rpm.copies(&name)?.as_slice() {
                [] => (self.unfinished.record(&name)? == Some(RunRecord::Begun))
                    .then(|| CUT_OFF.to_owned()),
                [copy] => self.unfinished.damage(&name, copy)?,
                _ => None, // told already
            };
            found.extend(damage.map(|damage| format!("{name}: {damage}")));
        }
        Ok(found)
    }

    /// A run that was cut off before the new version was in the database left the old version whole.
    fn repair(
        &self,
        name: &PackageName,
        file: Option<&Path>,
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        if let Tool::Five(dnf5) = &self.tool {
            dnf5.delete_empty_state();
        }
        let copies = self.copies(name)?;
        let is_cut_off = self.unfinished.record(name)? == Some(RunRecord::Begun);
        if !is_cut_off && copies.len() < 2 {
            return Ok(Change::Unchanged);
        }
        let left = download::left(&self.root, &self.rpm, name);
        let file = file.or(left.as_deref());
        self.delete_leftovers(name, file)?;
        let new = match file {
            Some(file) => self.rpm.in_file(name, file)?.map(|new| (file, new)),
            None => None,
        };
        match (copies.as_slice(), new) {
            ([], _) => self.unfinished.clear(name).map(|()| Change::Unchanged),
            (copies, Some((file, new)))
                if copies.len() > 1 || copies.iter().any(|copy| copy.version == new.version) =>
            {
                self.replace(name, &new, file, printed)
            }
            (_, Some(_)) => self.unfinished.clear(name).map(|()| Change::Unchanged),
            ([_], None) => Err(half_way(name, "its scripts may not have run to their end")),
            (copies, None) => self.erase_old(name, copies, printed),
        }
    }

    /// An install after a power cut compares every file with the database.
    fn redo(
        &self,
        name: &PackageName,
        file: &Path,
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        self.repair(name, Some(file), printed)
    }

    /// No attempt continues the run of an ended job. From then on, any new installation repairs its package.
    fn tidy(&self, is_at_work: &dyn Fn(&PackageName) -> bool) {
        let begun = self.unfinished.begun();
        if !begun.iter().any(is_at_work) {
            download::forget(&self.root);
        }
        let begun = begun.into_iter();
        for name in begun.filter(|name| !is_at_work(name)) {
            // After a failure, the next one tries again.
            let _ = self
                .rpm
                .copies(&name)
                .and_then(|copies| match copies.first() {
                    Some(copy) => self.unfinished.write(&name, &cut_off(copy)),
                    None => self.unfinished.clear(&name),
                });
        }
    }
}

const CUT_OFF: &str = "cut off in the middle";

fn cut_off(copy: &Copy) -> RunRecord {
    RunRecord::Failed {
        instance: copy.instance,
        words: CUT_OFF.to_owned(),
    }
}

fn two(name: &PackageName, copies: &[Copy]) -> String {
    let versions: Vec<&str> = copies.iter().map(|copy| copy.version.as_str()).collect();
    two_versions(name.as_str(), &versions)
}

fn half_way(name: &PackageName, why: &str) -> Failure {
    let detail = format!(
        "{name} was left half-way and needs an operator (`rpm -q {name}`, `rpm -U --replacepkgs FILE`): {why}"
    );
    Failure::new(Cause::Interrupted, detail)
}
