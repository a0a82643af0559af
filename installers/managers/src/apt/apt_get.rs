//! apt-get. It runs with a configuration that reads the status file alone: apt spends most of its time on package lists, and
//! a local file needs none. apt keeps its history, holds, auto marks and the administrator's hooks.

use std::{
    cell::RefCell,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::Command,
    slice,
    sync::OnceLock,
    time::Duration,
};

use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, PackageName, PackageVersion, inspect::Format, installer::JobPhase,
};
use wharf_root::{
    Change, Listener, Owners, Root, durable,
    process::{self, Growth, Printed},
    session::{self, Role, RunningProcess},
};

use super::{
    complaint::{self, FINISH},
    configuration::{self, Universe},
    consent::Consent,
    dpkg::{self, Dpkg, Known, Status, not_started},
    files,
    plan::{AptStep, announced, only_removes, removed, simulated, without_old_work},
    postrm::{self, Postrm},
    programs, relations, version,
};
use crate::{
    Brought, Dependencies, Install, InstallOptions, InstalledPackage, Lock, OrderError,
    PackageFile, PackageManager, PlannedPackage, Progress, Supervisor, Times, addresses,
    conversation::give,
};

/// apt of one root.
pub struct Apt {
    pub(super) root: Root,
    pub(super) dpkg: Dpkg,
    architecture: String,
    pub(super) times: Times,
    /// The path of our configuration for each kind of run, once it is written.
    configurations: [OnceLock<PathBuf>; 2],
}

/// An order for one run of apt.
pub(super) struct Order<'a> {
    pub(super) universe: Universe,
    pub(super) words: Vec<OsString>,
    /// The packages of the order.
    pub(super) names: Vec<&'a PackageName>,
    /// The time in which apt has to ask for consent, and then the time of its maintainer scripts.
    pub(super) limit: Duration,
}

/// A run of apt that has ended.
pub(super) struct Ran {
    /// The decision about consent; none if apt did not ask.
    pub(super) decided: Option<Result<(), Failure>>,
    /// apt started dpkg without asking.
    unasked: bool,
    pub(super) printed: String,
}

impl Apt {
    /// apt of this root.
    pub fn open(root: &Root, times: Times) -> Result<Self, Failure> {
        let dpkg = Dpkg {
            root: root.clone(),
            times,
            known: Known::default(),
        };
        Ok(Self {
            architecture: dpkg.architecture()?,
            root: root.clone(),
            dpkg,
            times,
            configurations: Default::default(),
        })
    }

    pub(super) fn status(&self, name: &PackageName) -> Result<Option<Status>, Failure> {
        match self.is_name(name) {
            true => self.dpkg.status(name),
            false => Err(Failure::new(
                Cause::NotManaged,
                format!("'{name}' is not the name of a Debian package"),
            )),
        }
    }

    /// The path of our configuration, for apt. Each program writes it once: the administrator may have changed apt's
    /// configuration.
    fn configuration(&self, universe: Universe) -> Result<&Path, Failure> {
        let [installed, sources] = &self.configurations;
        let written = match universe {
            Universe::Installed => installed,
            Universe::Sources => sources,
        };
        if let Some(path) = written.get() {
            return Ok(path);
        }
        let path = configuration::written(&self.root, universe, self.times.lock_wait)
            .map_err(|error| not_started("apt-get", &error))?;
        Ok(written.get_or_init(|| path))
    }

    /// Runs apt. It asks for consent when no other program can change the device, and dpkg works only if `agree` accepts the
    /// plan. Returns the output. The exit code is not used: the database tells the result.
    pub(super) fn run(
        &self,
        order: &Order<'_>,
        supervisor: Supervisor<'_>,
        agree: &dyn Fn(&[AptStep<'_>]) -> Result<Brought, Failure>,
    ) -> Result<String, Failure> {
        supervisor.go_on()?;
        let before = (self.statuses(&order.names)?, self.dpkg.edition());
        let ran = self
            .watched(self.command(order.universe)?, order, supervisor, agree)
            .map_err(|error| not_started("apt-get", &error))?;
        (supervisor.printed)("apt", &ran.printed);
        if let Some(decided) = ran.decided {
            return decided.map(|()| ran.printed);
        }
        let after = (self.statuses(&order.names)?, self.dpkg.edition());
        let has_worked = ran.unasked && before.1 != after.1;
        // Without the lock, another front end may have changed the package.
        let is_locked = complaint::failure("apt-get", &ran.printed).cause == Cause::Locked;
        match ran.unasked {
            _ if has_worked || (before.0 != after.0 && !is_locked) => {
                Err(without_consent(&order.names, "changed"))
            }
            true => Err(without_consent(&order.names, "wanted to change")),
            false => Ok(ran.printed),
        }
    }

    fn statuses(&self, names: &[&PackageName]) -> Result<Vec<Option<Status>>, Failure> {
        names.iter().map(|name| self.dpkg.status(name)).collect()
    }

    /// apt with our configuration. Options count only after it. The administrator's apt.conf may turn removals into purges.
    pub(super) fn command(&self, universe: Universe) -> Result<Command, Failure> {
        let mut command = programs::program(&self.root, "apt-get");
        command.arg("-c").arg(self.configuration(universe)?).args([
            "-o",
            "APT::Status-Fd=8",
            "-o",
            "APT::Get::Purge=false",
        ]);
        Ok(command)
    }

    /// The output of apt for an order that it only simulates.
    pub(super) fn simulate(
        &self,
        universe: Universe,
        words: &[OsString],
    ) -> Result<String, Failure> {
        let configuration = self.configuration(universe)?.as_os_str();
        let options = ["-s", "-o", "APT::Get::Purge=false"].map(OsStr::new);
        let arguments = [OsStr::new("-c"), configuration].into_iter().chain(options);
        let words = words.iter().map(OsString::as_os_str);
        let output = programs::ask(&self.root, "apt-get", arguments.chain(words))
            .map_err(|error| not_started("apt-get", &error))?;
        let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        Ok(addresses::without_paths(&texts.concat()))
    }

    pub(super) fn watched(
        &self,
        mut command: Command,
        order: &Order<'_>,
        supervisor: Supervisor<'_>,
        agree: &dyn Fn(&[AptStep<'_>]) -> Result<Brought, Failure>,
    ) -> io::Result<Ran> {
        let folder = self.folder()?;
        durable::sweep(&folder, "");
        let (consent, hook) = Consent::new(&folder)?;
        let (options, consent) = (consent.options(&self.root), RefCell::new(consent));
        let printed = Printed::new(folder.join("output"))?;
        let status = Printed::new(folder.join("status"))?;
        let files = [&printed, &status];
        let growth = Growth::of(&files)?.and(&*consent.borrow())?;
        give(&mut command, status.writer()?, hook)?;
        let mut child = command
            .args(options)
            .args(&order.words)
            .stdout(printed.writer()?)
            .stderr(printed.writer()?)
            .spawn()?;
        drop(command); // the hook's end is apt's alone
        fault::point("apt.started");
        let mut unasked = false;
        let changed = || {
            let progress = progress(&status.tail().unwrap_or_default());
            (supervisor.report)(progress);
            let mut consent = consent.borrow_mut();
            consent.listen(|lines| {
                let brought = agree(&announced(lines)?)?;
                (supervisor.begin)(&brought)
            });
            if progress.phase == JobPhase::Applying && !consent.is_settled() && !unasked {
                unasked = true;
                let _ = (supervisor.begin)(&Brought::default()); // it is too late to refuse
            }
        };
        let look = |apt| {
            let mut consent = consent.borrow_mut();
            consent.end_if_unwanted(apt, supervisor.is_wanted)
        };
        let limit = order.limit;
        let overdue = |apt| end_late(apt, &mut consent.borrow_mut(), limit);
        process::wait_and_look(&mut child, &growth, limit, look, changed, overdue)?;
        session::wait_for_the_rest(self.times.limit, &programs::role)?;
        Ok(Ran {
            decided: consent.into_inner().decided(),
            unasked,
            // apt has run, so unreadable output is not a failure.
            printed: addresses::without_paths(&printed.tail().unwrap_or_default()),
        })
    }

    /// Our folder for the files of runs. Only root may read it.
    pub(super) fn folder(&self) -> io::Result<PathBuf> {
        let folder = self.root.run().join("apt");
        durable::private_folder(&folder)?;
        Ok(folder)
    }

    /// Whether no work on the package is unfinished.
    fn is_sound(&self, name: &PackageName) -> Result<bool, Failure> {
        let status = self.status(name)?;
        let decided = status.is_none_or(|status| status.is_whole() || status.is_absent());
        Ok(decided && !self.dpkg.was_interrupted())
    }

    /// Whether the device has this version whole.
    pub(super) fn has_it(
        &self,
        file: &PackageFile,
        status: Option<&Status>,
        options: InstallOptions,
    ) -> Result<bool, Failure> {
        let package = &file.package;
        let same = status.and_then(Status::installed) == Some(&package.version);
        Ok(same && !options.reinstall && self.dpkg.damaged_files(&package.name)?.is_empty())
    }

    /// Names the packages that cause apt's refusal, if their fields tell. `files` is empty if a removal was refused.
    pub(super) fn explained<'a>(
        &self,
        failure: Failure,
        files: impl IntoIterator<Item = &'a Path>,
        name: &PackageName,
    ) -> Failure {
        if !matches!(failure.cause, Cause::Plan | Cause::Dependency) {
            return failure;
        }
        let why = || -> Result<Option<String>, Failure> {
            let known = self.dpkg.declared()?;
            let known = relations::declared(&known);
            let mut files = files.into_iter().peekable();
            if files.peek().is_none() {
                return Ok(relations::why_not_removed(name.as_str(), &known));
            }
            for file in files {
                let new = self.dpkg.declared_in(file)?;
                let new = relations::declared(&new).into_iter().next();
                let why = new.and_then(|new| relations::why_not_installed(&new, &known));
                if why.is_some() {
                    return Ok(why);
                }
            }
            Ok(None)
        };
        match why() {
            Ok(Some(why)) if failure.detail.as_str().ends_with(FINISH) => {
                Failure::new(failure.cause, why + FINISH)
            }
            Ok(Some(why)) => Failure::new(failure.cause, why),
            _ => failure,
        }
    }

    /// Removes those that are half-way, of packages whose removal was ordered before and could not be done.
    pub(super) fn remove_unwanted(
        &self,
        unconfigured: &BTreeMap<String, String>,
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        let unwanted = unconfigured.iter().filter(|(_, want)| *want == "deinstall");
        let names: Vec<PackageName> = unwanted
            .flat_map(|(name, _)| PackageName::new(name))
            .collect();
        self.remove_rests(names.iter(), printed)
    }

    /// Removes those that are half-way, in one run: they may need each other.
    pub(super) fn remove_rests<'a>(
        &self,
        names: impl Iterator<Item = &'a PackageName>,
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        let rests = self.those(names, Status::is_rest)?;
        match rests.is_empty() {
            true => Ok(()),
            false => self.dpkg.remove(&rests, printed).map(drop),
        }
    }

    /// Removes those that are half-way. dpkg keeps one that a whole one of them needs: then all of them go.
    pub(super) fn remove_together(
        &self,
        names: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        let names = || names.iter().copied();
        self.remove_rests(names(), printed)?;
        if self.those(names(), Status::is_rest)?.is_empty() {
            return Ok(());
        }
        let all = self.those(names(), |status| !status.is_absent())?;
        self.dpkg.remove(&all, printed).map(drop)
    }

    /// The packages whose status `is` so.
    pub(super) fn those<'a>(
        &self,
        names: impl Iterator<Item = &'a PackageName>,
        is: fn(&Status) -> bool,
    ) -> Result<Vec<&'a PackageName>, Failure> {
        let mut those = Vec::new();
        for name in names {
            if self.dpkg.status(name)?.as_ref().is_some_and(is) {
                those.push(name);
            }
        }
        Ok(those)
    }

    /// Configures those that are half-way, in one run: they may need each other.
    pub(super) fn configure_rests(
        &self,
        names: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<String, Failure> {
        let mut rests = Vec::new();
        for name in names {
            if !self.is_sound(name)? {
                rests.push(*name);
            }
        }
        match rests.is_empty() {
            true => Ok(String::new()),
            false => self.dpkg.configure(&rests, printed),
        }
    }

    fn postrm<'a>(&'a self, name: &'a PackageName) -> Postrm<'a> {
        Postrm {
            dpkg: &self.dpkg,
            name,
            architecture: &self.architecture,
        }
    }
}

impl PackageManager for Apt {
    fn name(&self) -> &'static str {
        "apt"
    }

    fn architecture(&self) -> &str {
        &self.architecture
    }

    fn takes(&self, architecture: &str) -> bool {
        architecture == "all" || architecture == self.architecture
    }

    fn is_name(&self, name: &PackageName) -> bool {
        version::is_name(name.as_str())
    }

    fn compare_versions(&self, left: &PackageVersion, right: &PackageVersion) -> Ordering {
        version::compare(left.as_str(), right.as_str())
    }

    fn database(root: &Root) -> PathBuf {
        dpkg::database(root)
    }

    fn format() -> Format {
        Format::Deb
    }

    fn version(&self) -> Result<String, Failure> {
        let output = programs::ask(&self.root, "apt-get", ["--version"])
            .map_err(|error| not_started("apt-get", &error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let apt = text.split_whitespace().nth(1).unwrap_or_default();
        Ok(format!(
            "apt {apt} with dpkg {}",
            self.dpkg.running_version()?
        ))
    }

    /// apt and other front ends take the first one, and dpkg the second.
    fn locks(&self) -> Result<Vec<Lock>, Failure> {
        let files = [dpkg::LOCK_OF_FRONT_ENDS, "var/lib/dpkg/lock"];
        let files = files.iter().map(|file| self.root.path(file));
        files.map(Lock::posix).collect()
    }

    fn remedy(&self) -> &'static str {
        "run `dpkg --configure -a`, and `dpkg --install FILE` for a package that must be reinstalled"
    }

    fn role(&self, process: &RunningProcess) -> Option<Role> {
        programs::role(process)
    }

    fn found(&self, name: &PackageName) -> Result<Option<InstalledPackage>, Failure> {
        match self.is_name(name) {
            true => self.dpkg.found(name),
            false => Ok(None),
        }
    }

    fn each_path(&self, name: &PackageName, visit: &mut dyn FnMut(&Path)) -> Result<(), Failure> {
        match self.is_name(name) {
            true => files::listed(&self.root, name, &self.architecture, visit),
            false => Ok(()),
        }
    }

    fn owners(&self, paths: &BTreeSet<String>) -> Result<Owners, Failure> {
        files::owners(&self.root, paths)
    }

    fn has(&self, file: &PackageFile, options: InstallOptions) -> Result<bool, OrderError> {
        let status = self.status(&file.package.name)?;
        Ok(self.has_it(file, status.as_ref(), options)?)
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
        let printed = self.simulate(Universe::Installed, &["autoremove".into()])?;
        // With unmet dependencies, apt plans nothing.
        match printed.lines().any(|line| line.starts_with("E: ")) {
            true => Err(complaint::failure("apt-get autoremove", &printed)),
            false => Ok(removed(&simulated(&printed)?)),
        }
    }

    fn remove(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<Change, Failure> {
        let status = match self.status(name)? {
            Some(status) if !status.is_absent() => status,
            _ => return Ok(Change::Unchanged),
        };
        removable(name, &status)?;
        postrm::forget(&self.root, name)?;
        let explained = |failure| self.explained(failure, [], name);
        let order = Order {
            universe: Universe::Installed,
            words: ["-y", "remove", name.as_str()].map(OsString::from).into(),
            names: vec![name],
            limit: self.times.limit,
        };
        let unconfigured = self.dpkg.unconfigured()?;
        let agree = |steps: &[AptStep<'_>]| {
            let steps = without_old_work(steps, &unconfigured);
            only_removes(slice::from_ref(name), &steps).map(|()| Brought::default())
        };
        let ran = match status.needs_reinstallation() {
            // apt needs the archive of such a package. dpkg removes only this package.
            true => (supervisor.begin)(&Brought::default())
                .and_then(|()| self.dpkg.remove(&[name], supervisor.printed)),
            false => self.run(&order, supervisor, &agree),
        };
        let printed = ran.map_err(explained)?;
        fault::point("apt.removed");
        self.remove_unwanted(&unconfigured, supervisor.printed)?;
        match self.status(name)? {
            Some(status) if !status.is_absent() => {
                let what = format!("apt-get remove of {name}");
                Err(explained(complaint::failure(&what, &printed)))
            }
            _ => Ok(Change::Changed),
        }
    }

    fn finish_removal(&self, name: &PackageName, printed: Listener<'_>) -> Result<Change, Failure> {
        match self.status(name)? {
            Some(status) if status.is_absent() => self.postrm(name).run_again(printed),
            _ => Ok(Change::Unchanged),
        }
    }

    /// dpkg purges, since apt's `dpkg --purge --pending` also purges packages that others have marked. A removed package has no
    /// hold and no auto mark that dpkg could erase.
    fn purge(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<Change, Failure> {
        if !self.leaves_configuration(name)? {
            return Ok(Change::Unchanged);
        }
        let postrm = self.postrm(name);
        let dpkg_runs_it = postrm.of_dpkg().is_some();
        let purged = || -> Result<(), Failure> {
            postrm.keep()?;
            let said = self.dpkg.purge(name, supervisor)?;
            fault::point("dpkg.purged");
            match self.leaves_configuration(name)? {
                false => Ok(()),
                true => Err(complaint::failure("dpkg --purge", &said)),
            }
        };
        purged().map_err(|failure| {
            let detail = format!(
                "{name} is removed, and its configuration is not purged: {failure} (`dpkg --purge {name}` as root \
                 purges it)"
            );
            Failure::new(failure.cause, detail)
        })?;
        if !dpkg_runs_it {
            postrm.run_kept(supervisor.printed)?;
        }
        Ok(Change::Changed)
    }

    fn finish_purge(&self, name: &PackageName, printed: Listener<'_>) -> Result<Change, Failure> {
        self.postrm(name).run_kept(printed)
    }

    fn configuration(&self, name: &PackageName) -> Result<Vec<String>, Failure> {
        self.dpkg.configuration(name)
    }

    fn configuration_in(&self, _: &PackageName, file: &Path) -> Result<Vec<String>, Failure> {
        self.dpkg.configuration_in(file)
    }

    fn beside_configuration(&self) -> &'static [&'static str] {
        dpkg::BESIDE_CONFIGURATION
    }

    fn leaves_configuration(&self, name: &PackageName) -> Result<bool, Failure> {
        let status = self.status(name)?;
        Ok(status.is_some_and(|status| status.is_configuration()))
    }

    fn audit(&self) -> Result<Vec<String>, Failure> {
        self.dpkg.audit()
    }

    fn repair(
        &self,
        name: &PackageName,
        file: Option<&Path>,
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        if self.is_sound(name)? {
            return Ok(Change::Unchanged);
        }
        let said = self.dpkg.configure(&[name], printed)?;
        fault::point("repair.configured");
        if self.is_sound(name)? {
            return Ok(Change::Changed);
        }
        match file {
            Some(file) => self.redo(name, file, printed),
            None => Err(half_way(name, &said)),
        }
    }

    fn repair_dependencies(
        &self,
        dependencies: &[&PackageName],
        packages: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        let unsound = || -> Result<Option<&PackageName>, Failure> {
            for name in dependencies {
                if !self.is_sound(name)? {
                    return Ok(Some(*name));
                }
            }
            Ok(None)
        };
        if unsound()?.is_none() {
            return Ok(Change::Unchanged);
        }
        let said = self.configure_rests(&[dependencies, packages].concat(), printed)?;
        match unsound()? {
            None => Ok(Change::Changed),
            Some(name) => Err(half_way(name, &said)),
        }
    }

    fn discard(
        &self,
        dependencies: &[&PackageName],
        packages: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<(), Failure> {
        let names = [dependencies, packages].concat();
        self.remove_together(&names, printed)?;
        match self.those(names.into_iter(), Status::is_rest)?.first() {
            Some(name) => Err(half_way(name, "")),
            None => Ok(()),
        }
    }

    fn redo(
        &self,
        name: &PackageName,
        file: &Path,
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        if self.is_sound(name)? {
            return Ok(Change::Unchanged);
        }
        let said = self.dpkg.install(&self.root.seen_inside(file), printed)?;
        fault::point("repair.installed");
        match self.is_sound(name)? {
            true => Ok(Change::Changed),
            false => Err(half_way(name, &said)),
        }
    }

    fn tidy(&self, is_at_work: &dyn Fn(&PackageName) -> bool) {
        postrm::tidy(&self.root, is_at_work);
    }
}

fn removable(name: &PackageName, status: &Status) -> Result<(), Failure> {
    if status.essential {
        let detail = format!("{name} is essential: it is never removed");
        return Err(Failure::new(Cause::Plan, detail));
    }
    match status.is_held() {
        true => Err(held(name)),
        false => Ok(()),
    }
}

pub(super) fn held(name: &PackageName) -> Failure {
    Failure::new(
        Cause::Held,
        format!("{name} is on hold (run `apt-mark unhold {name}` as root to allow it)"),
    )
}

fn half_way(name: &PackageName, said: &str) -> Failure {
    let why = complaint::failure("dpkg", said);
    let detail = format!(
        "{name} was left half-way and needs an operator (`dpkg --audit`, `dpkg --configure -a`): {why}"
    );
    Failure::new(Cause::Interrupted, detail)
}

/// `did` is `changed`, or `wanted to change` if dpkg refused.
fn without_consent(names: &[&PackageName], did: &str) -> Failure {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let name = names.join(", ");
    let detail = format!(
        "apt {did} {name} without asking wharfd for consent: this apt-get passes over -o \
         DPkg::Pre-Install-Pkgs, or something else changed {name} meanwhile: look for a replaced apt-get (`dpkg --verify apt`, \
         `dpkg-divert --list`) and at /var/log/dpkg.log, then install the package again"
    );
    Failure::new(Cause::PackageManager, detail)
}

/// Ends an apt that has not asked in time, or the scripts of one that has.
fn end_late(apt: u32, consent: &mut Consent, limit: Duration) {
    match consent.given_for() {
        // The locks and the download do not count: only the scripts do.
        Some(worked) if worked < limit => {}
        None if session::end_waiting(apt, &programs::role) => {
            consent.refuse(not_asked_in_time(limit));
        }
        _ => session::end_scripts(apt, &programs::role),
    }
}

fn not_asked_in_time(limit: Duration) -> Failure {
    let detail = format!(
        "apt was not ready to change the device within {} s and was ended; nothing was changed: look at its hooks \
         (`apt-config dump DPkg`)",
        limit.as_secs()
    );
    Failure::new(Cause::PackageManager, detail)
}

/// `pmstatus:acme:40.0000:Installing acme (amd64)`. Before the first such line, nothing is changed.
fn progress(status: &str) -> Progress {
    let mut reports = status.lines().rev().filter_map(|line| {
        let percent = line.strip_prefix("pmstatus:")?.split(':').nth(1)?;
        percent.split('.').next()?.parse::<u8>().ok()
    });
    match reports.next() {
        Some(percent) => Progress {
            phase: JobPhase::Applying,
            percent: Some(percent.min(100)),
        },
        None => Progress {
            phase: JobPhase::Queued,
            percent: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_dpkg_works_apt_waits() {
        let waiting = Progress {
            phase: JobPhase::Queued,
            percent: None,
        };
        let working = Progress {
            phase: JobPhase::Applying,
            percent: Some(40),
        };
        assert_eq!(progress("dlstatus:1:0.0000:Retrieving"), waiting);
        assert_eq!(
            progress("pmstatus:a:20.0:x\npmstatus:a:40.0000:Installing a (amd64)\npmerr"),
            working
        );
    }
}
