//! A simulated package manager for tests. It keeps the contract of [`PackageManager`]. Files below the root are its
//! database, its lock and its faults. Its packages have a format of their own. A name has lower-case letters, digits and `-`.
//! A version is a list of decimal numbers with dots between them, compared number by number: `2` < `2.0` < `2.1` < `10`.
//!
//! In `var/lib/wharf-simulated`: `NAME_version` holds the version. `NAME_half` exists while work on the package is unfinished,
//! and `NAME_configuration` from its first installation to its purge. `NAME_files` lists the paths of its files, one a line;
//! they are not unpacked. `NAME_needs` lists the packages that it needs. `NAME_automatic` exists if it came as a dependency.
//! `history` has a line for each effect.
//!
//! [`sources`]: the packages that can come as dependencies.
//!
//! In `etc/wharf-simulated`, a file makes it misbehave: `held`, `locked`, `needs`, `fail-install`, `fail-remove`,
//! `fail-purge`, `unrepairable`. With `fail-postinst` and `fail-postrm` it fails when the work is almost done, and leaves a
//! part of the package. A `fail-postinst` with `NAME VERSION` in it fails for that one alone. With `die` the program aborts in the middle of the next work. At a FIFO `wait` it stops there until
//! somebody opens the FIFO to write, and closes it.

mod sources;

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, PackageName, PackageVersion,
    inspect::Format,
    installer::{Dependency, JobPhase, SealedPackage},
};
use wharf_root::{
    Change, Listener, Owners, Root, durable, merged,
    session::{Role, RunningProcess},
};

use crate::{
    Brought, Dependencies, Install, InstallOptions, InstalledPackage, Lock, OrderError,
    PackageFile, PackageManager, PlannedPackage, Progress, Supervisor,
};

/// The simulated package manager of one root.
#[derive(Debug)]
pub struct SimulatedManager {
    root: Root,
    database: PathBuf,
    faults: PathBuf,
}

impl SimulatedManager {
    /// The one of this root.
    pub fn open(root: &Root) -> Result<Self, Failure> {
        let simulated = Self {
            root: root.clone(),
            database: root.path("var/lib/wharf-simulated"),
            faults: root.path("etc/wharf-simulated"),
        };
        durable::private_folder(&simulated.database).map_err(failed)?;
        Ok(simulated)
    }

    fn file(&self, name: &PackageName, suffix: &str) -> PathBuf {
        // No name that fits the grammar holds a '/', and none a '_'.
        self.database.join(format!("{name}{suffix}"))
    }

    fn is_told(&self, fault: &str) -> bool {
        self.faults.join(fault).exists()
    }

    fn refuse_if(&self, fault: &str, cause: Cause) -> Result<(), Failure> {
        match self.is_told(fault) {
            true => Err(Failure::new(cause, format!("simulated: {fault}"))),
            false => Ok(()),
        }
    }

    /// Fails as a package manager fails that refuses its plan.
    fn accept(&self, version: &PackageVersion) -> Result<(), Failure> {
        if numbers(version).is_none() {
            let detail = format!("'{version}' is no version for simulated");
            return Err(Failure::new(Cause::Malformed, detail));
        }
        self.refuse_if("held", Cause::Held)?;
        self.refuse_if("needs", Cause::Dependency)
    }

    /// The version on the device, complete or not.
    fn version(&self, name: &PackageName) -> Result<Option<PackageVersion>, Failure> {
        if !self.is_name(name) {
            return Ok(None);
        }
        let bytes = durable::read(&self.file(name, "_version")).map_err(failed)?;
        Ok(bytes.and_then(|bytes| PackageVersion::new(&String::from_utf8_lossy(&bytes)).ok()))
    }

    /// The middle of any work. A fault here can kill the program or make it wait.
    fn work(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<(), Failure> {
        durable::write(&self.file(name, "_half"), b"").map_err(failed)?;
        (supervisor.report)(Progress {
            phase: JobPhase::Applying,
            percent: Some(50),
        });
        fault::point("simulated.half");
        let die = self.faults.join("die");
        if die.exists() {
            let _ = fs::remove_file(die);
            std::process::abort();
        }
        let wait = self.faults.join("wait");
        if wait.exists() {
            // Reading a FIFO waits for somebody to open it for writing, and to close it.
            io::copy(&mut File::open(wait).map_err(failed)?, &mut io::sink()).map_err(failed)?;
        }
        Ok(())
    }

    /// The paths of an installed package, below the root.
    fn files(&self, name: &PackageName) -> Result<Vec<String>, Failure> {
        if self.version(name)?.is_none() {
            return Ok(Vec::new());
        }
        let bytes = durable::read(&self.file(name, "_files")).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The names of packages that are or were installed.
    fn names(&self) -> Result<Vec<PackageName>, Failure> {
        let entries = fs::read_dir(&self.database).map_err(failed)?;
        let named = |entry: fs::DirEntry| {
            let file = entry.file_name();
            PackageName::new(file.to_str()?.strip_suffix("_files")?).ok()
        };
        Ok(entries.flatten().filter_map(named).collect())
    }

    /// On failure, an upgrade leaves a part of the new version; a first installation leaves nothing.
    fn configure(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        first: bool,
    ) -> Result<(), Failure> {
        let only = fs::read_to_string(self.faults.join("fail-postinst")).unwrap_or_default();
        let configured = match only.is_empty() || only == format!("{name} {version}") {
            true => self.refuse_if("fail-postinst", Cause::Script),
            false => Ok(()),
        };
        if configured.is_err() && first {
            durable::remove(&self.file(name, "_version")).map_err(failed)?;
            durable::remove(&self.file(name, "_half")).map_err(failed)?;
        }
        configured
    }

    /// Installs one package.
    fn put(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        package: &[u8],
        supervisor: Supervisor<'_>,
    ) -> Result<(), Failure> {
        let before = self.found(name)?;
        self.work(name, supervisor)?;
        let lines = Lines::of(package);
        durable::write(
            &self.file(name, "_files"),
            lines.paths.join("\n").as_bytes(),
        )
        .map_err(failed)?;
        durable::write(
            &self.file(name, "_needs"),
            lines.needs.join("\n").as_bytes(),
        )
        .map_err(failed)?;
        durable::write(&self.file(name, "_version"), version.as_str().as_bytes())
            .map_err(failed)?;
        self.configure(name, version, before.is_none())?;
        durable::write(&self.file(name, "_configuration"), b"").map_err(failed)?;
        self.whole(name, &format!("install {name} {version}"))?;
        Ok(())
    }

    fn whole(&self, name: &PackageName, effect: &str) -> Result<Change, Failure> {
        let mut history = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.database.join("history"))
            .map_err(failed)?;
        writeln!(history, "{effect}").map_err(failed)?;
        durable::remove(&self.file(name, "_half")).map_err(failed)?;
        fault::point("simulated.whole");
        Ok(Change::Changed)
    }
}

impl PackageManager for SimulatedManager {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn architecture(&self) -> &str {
        "amd64"
    }

    fn takes(&self, architecture: &str) -> bool {
        matches!(architecture, "all" | "amd64")
    }

    fn is_name(&self, name: &PackageName) -> bool {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let name = name.as_str().as_bytes();
        let begins = name.first().is_some_and(|&byte| plain(byte));
        begins && name.iter().all(|&byte| plain(byte) || byte == b'-')
    }

    fn compare_versions(&self, left: &PackageVersion, right: &PackageVersion) -> Ordering {
        let text = || left.as_str().cmp(right.as_str());
        numbers(left).cmp(&numbers(right)).then_with(text)
    }

    fn database(root: &Root) -> PathBuf {
        root.path("var/lib/wharf-simulated/history")
    }

    fn format() -> Format {
        Format::Simulated
    }

    fn version(&self) -> Result<String, Failure> {
        Ok("simulated 1".to_owned())
    }

    /// Only tests take it.
    fn locks(&self) -> Result<Vec<Lock>, Failure> {
        Lock::posix(self.database.join("lock")).map(|lock| vec![lock])
    }

    fn remedy(&self) -> &'static str {
        "run `wharf-simulated finish`"
    }

    /// It starts no processes.
    fn role(&self, _: &RunningProcess) -> Option<Role> {
        None
    }

    fn found(&self, name: &PackageName) -> Result<Option<InstalledPackage>, Failure> {
        let half = self.file(name, "_half").exists();
        Ok(self.version(name)?.map(|version| InstalledPackage {
            version,
            damage: half.then(|| "half-installed".into()),
        }))
    }

    fn each_path(&self, name: &PackageName, visit: &mut dyn FnMut(&Path)) -> Result<(), Failure> {
        for path in self.files(name)? {
            visit(&self.root.path(&path));
        }
        Ok(())
    }

    fn owners(&self, paths: &BTreeSet<String>) -> Result<Owners, Failure> {
        let mut owners = Owners::new();
        for name in self.names()? {
            for path in self.files(&name)? {
                if paths.contains(&path) {
                    let of_it = owners.entry(path).or_default();
                    of_it.insert(name.as_str().to_owned());
                }
            }
        }
        Ok(owners)
    }

    /// All its files in /etc. It has no record of them for a file, and leaves nothing beside them.
    fn configuration(&self, name: &PackageName) -> Result<Vec<String>, Failure> {
        let mut files = self.files(name)?;
        files.retain(|path| path.starts_with("etc/"));
        Ok(files)
    }

    fn has(&self, file: &PackageFile, options: InstallOptions) -> Result<bool, OrderError> {
        let found = self.found(&file.package.name)?;
        let is_it =
            |found: InstalledPackage| found.is_whole() && found.version == file.package.version;
        Ok(found.is_some_and(is_it) && !options.reinstall)
    }

    fn install(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        let work = self.missing(installs)?;
        if work.is_empty() {
            return Ok(Change::Unchanged);
        }
        for install in &work {
            self.accept(&install.file.package.version)?;
        }
        self.refuse_if("locked", Cause::Locked)?;
        self.refuse_if("fail-install", Cause::Script)?;
        let resolved = self.resolved(&work, dependencies, true)?;
        supervisor.go_on()?;
        (supervisor.begin)(&resolved.brought)?;
        for (dependency, package) in resolved.brought.dependencies.iter().zip(&resolved.packages) {
            let Dependency { name, version } = dependency;
            durable::write(&self.file(name, "_automatic"), b"").map_err(failed)?;
            self.put(name, version, package, supervisor)?;
        }
        for install in work {
            let SealedPackage { name, version, .. } = &install.file.package;
            let package = fs::read(&install.file.path).map_err(failed)?;
            durable::remove(&self.file(name, "_automatic")).map_err(failed)?;
            self.put(name, version, &package, supervisor)?;
        }
        Ok(Change::Changed)
    }

    fn plan(
        &self,
        installs: &[Install],
        dependencies: &Dependencies,
    ) -> Result<Vec<PlannedPackage>, Failure> {
        let resolved = self.resolved(&self.missing(installs)?, dependencies, false)?;
        let come = resolved.brought.dependencies.into_iter();
        let mut planned: Vec<PlannedPackage> = come
            .map(|it| PlannedPackage {
                name: it.name,
                version: it.version,
                replaces: None,
                is_dependency: true,
            })
            .collect();
        for Install { file, .. } in installs {
            planned.push(PlannedPackage {
                name: file.package.name.clone(),
                version: file.package.version.clone(),
                replaces: self.version(&file.package.name)?,
                is_dependency: false,
            });
        }
        Ok(planned)
    }

    fn unused(&self) -> Result<BTreeSet<PackageName>, Failure> {
        self.unneeded()
    }

    fn remove(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<Change, Failure> {
        if self.version(name)?.is_none() {
            return Ok(Change::Unchanged);
        }
        self.refuse_if("locked", Cause::Locked)?;
        self.refuse_if("fail-remove", Cause::Script)?;
        supervisor.go_on()?;
        (supervisor.begin)(&Brought::default())?;
        self.work(name, supervisor)?;
        self.refuse_if("fail-postrm", Cause::Script)?;
        durable::remove(&self.file(name, "_version")).map_err(failed)?;
        durable::remove(&self.file(name, "_automatic")).map_err(failed)?;
        self.whole(name, &format!("remove {name}"))
    }

    /// The simulated package manager has no last scripts.
    fn purge(&self, name: &PackageName, supervisor: Supervisor<'_>) -> Result<Change, Failure> {
        if !self.leaves_configuration(name)? {
            return Ok(Change::Unchanged);
        }
        self.refuse_if("fail-purge", Cause::Script)?;
        supervisor.go_on()?;
        (supervisor.begin)(&Brought::default())?;
        self.work(name, supervisor)?;
        durable::remove(&self.file(name, "_configuration")).map_err(failed)?;
        self.whole(name, &format!("purge {name}"))
    }

    /// The simulated package manager has no last scripts.
    fn leaves_configuration(&self, name: &PackageName) -> Result<bool, Failure> {
        let is_there = self.file(name, "_configuration").exists();
        Ok(is_there && self.version(name)?.is_none())
    }

    fn audit(&self) -> Result<Vec<String>, Failure> {
        let entries = fs::read_dir(&self.database).map_err(failed)?;
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter(|name| name.ends_with("_half")).collect())
    }

    /// It prints nothing.
    fn repair(
        &self,
        name: &PackageName,
        file: Option<&Path>,
        _: Listener<'_>,
    ) -> Result<Change, Failure> {
        let half = self.file(name, "_half");
        if !half.exists() {
            return Ok(Change::Unchanged);
        }
        self.refuse_if("unrepairable", Cause::Interrupted)?;
        self.refuse_if("fail-postinst", Cause::Interrupted)?;
        debug_assert!(
            file.is_none_or(Path::exists),
            "the file is kept until the job is over"
        );
        durable::remove(&half).map_err(failed)?;
        Ok(Change::Changed)
    }

    /// Its packages have no scripts.
    fn redo(
        &self,
        name: &PackageName,
        file: &Path,
        printed: Listener<'_>,
    ) -> Result<Change, Failure> {
        self.repair(name, Some(file), printed)
    }

    fn tidy(&self, _: &dyn Fn(&PackageName) -> bool) {}
}

/// The lines of a package file after its header.
#[derive(Default)]
struct Lines {
    /// Of `file: PATH LENGTH` and `link: PATH TARGET`.
    paths: Vec<String>,
    /// Of `needs: NAME` and `needs: NAME VERSION`.
    needs: Vec<String>,
}

impl Lines {
    fn of(package: &[u8]) -> Self {
        let mut lines = Self::default();
        let end_of_header = package.windows(2).position(|it| it == b"\n\n");
        let mut rest = end_of_header.and_then(|at| package.get(at + 2..));
        while let Some((line, after)) = rest.and_then(|rest| split(rest)) {
            let length = match line.split_once(": ") {
                Some(("file", file)) => {
                    let (path, length) = file.rsplit_once(' ').unwrap_or_default();
                    lines.paths.push(merged(path));
                    length
                }
                Some(("link", link)) => {
                    let path = link.split(' ').next().unwrap_or_default();
                    lines.paths.push(merged(path));
                    "0"
                }
                Some(("needs", need)) => {
                    lines.needs.push(need.to_owned());
                    "0"
                }
                _ => break,
            };
            let content = length.parse::<usize>().ok();
            rest = content.and_then(|length| after.get(length..));
        }
        lines
    }
}

/// The first line, and the bytes after it.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let line = str::from_utf8(bytes.get(..end)?).ok()?;
    Some((line, bytes.get(end + 1..)?))
}

/// The numbers of a version, with dots between them, of at most nine digits each. Anything else is lower than any version.
fn numbers(version: &PackageVersion) -> Option<Vec<u32>> {
    let number = |digits: &str| {
        let is_one = (1..=9).contains(&digits.len())
            && digits.bytes().all(|it| it.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        is_one.then(|| digits.parse().ok()).flatten()
    };
    version.as_str().split('.').map(number).collect()
}

fn failed(error: io::Error) -> Failure {
    Failure::new(Cause::PackageManager, format!("simulated: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> PackageVersion {
        PackageVersion::new(text).unwrap()
    }

    #[test]
    fn versions_are_compared_number_by_number() {
        let ascending = [
            "0",
            "0.9",
            "0.10",
            "1",
            "2",
            "2.0",
            "2.0.1",
            "2.1",
            "10",
            "999999999",
        ];
        for pair in ascending.windows(2) {
            let [lower, higher] = [0, 1].map(|at| numbers(&version(pair[at])));
            assert!(lower.is_some() && lower < higher, "{pair:?}");
        }
        for text in [
            "1-1",
            "1:1",
            "1~1",
            "1a",
            "1.",
            ".1",
            "1..1",
            "01",
            "1000000000",
        ] {
            assert_eq!(numbers(&version(text)), None, "{text}");
        }
    }
}
