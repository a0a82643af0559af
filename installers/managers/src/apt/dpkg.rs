//! dpkg: answers questions, repairs interrupted work, and purges removed packages. apt does all other installations and
//! removals, since dpkg would erase holds and auto marks.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use wharf_frames::{Cause, Failure, PackageName, PackageVersion, Text};
use wharf_root::{
    Listener, Root,
    process::{self, Growth, Printed},
    session,
};

use super::{
    complaint,
    database::{self, Stanza, stanza},
    programs,
};
use crate::{Brought, InstalledPackage, Supervisor, Times, edition::Edition, not_wanted};

/// The format of a package and its relations, for `dpkg-query` and `dpkg-deb`.
const RELATIONS: &str = "--showformat=${Package}\\t${Version}\\t${db:Status-Status}\\t${Pre-Depends}, ${Depends}\\t\
                                 ${Conflicts}\\t${Breaks}\\t${Provides}\\n";

/// The endings of files that dpkg writes beside a configuration file (dpkg(1), FILES).
pub(super) const BESIDE_CONFIGURATION: &[&str] = &[
    ".dpkg-dist",
    ".dpkg-new",
    ".dpkg-old",
    ".dpkg-tmp",
    ".dpkg-bak",
    ".dpkg-remove",
];

/// The lock that a front end holds while dpkg works for it.
pub(super) const LOCK_OF_FRONT_ENDS: &str = "var/lib/dpkg/lock-frontend";

/// dpkg of one root.
pub(super) struct Dpkg {
    pub(super) root: Root,
    pub(super) times: Times,
    pub(super) known: Known,
}

/// The last answer of the database about a package, with the edition of the database. dpkg replaces the file with each change.
#[derive(Default)]
pub(super) struct Known(Mutex<Option<(Edition, PackageName, Option<Status>)>>);

/// The state of a package in dpkg's database (dpkg-query(1)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) version: Option<PackageVersion>,
    /// `install`, `hold`, `deinstall`, `purge`, `unknown`.
    want: String,
    /// `installed`, `config-files`, `half-installed`, …
    state: String,
    reinstall_required: bool,
    pub(super) essential: bool,
}

const FORMAT: &str = "-f=${Package}\\t${Version}\\t${db:Status-Want}\\t${db:Status-Status}\\t\
                      ${db:Status-Eflag}\\t${Essential}${Protected}\\n";

impl Status {
    /// The status in the database; none if it is not understood.
    fn of(stanza: &Stanza) -> Option<Self> {
        let words: Vec<&str> = stanza.status.split(' ').collect();
        let [want, flag, state] = words.as_slice() else {
            return None;
        };
        let version = match stanza.version.as_str() {
            "" => None,
            version => Some(PackageVersion::new(version).ok()?),
        };
        Some(Self {
            version,
            want: (*want).to_owned(),
            state: (*state).to_owned(),
            reinstall_required: *flag != "ok",
            essential: stanza.essential.contains("yes"),
        })
    }

    /// It is installed completely and configured.
    pub(super) fn is_whole(&self) -> bool {
        self.state == "installed" && !self.reinstall_required
    }

    /// It is not installed. Its configuration may still be on the device.
    pub(super) fn is_absent(&self) -> bool {
        is_absent(&self.state)
    }

    /// It is there in part.
    pub(super) fn is_rest(&self) -> bool {
        !self.is_whole() && !self.is_absent()
    }

    /// It is removed, and its configuration is not.
    pub(super) fn is_configuration(&self) -> bool {
        self.state == "config-files"
    }

    pub(super) fn is_held(&self) -> bool {
        self.want == "hold"
    }

    /// It was interrupted. dpkg needs its archive again, and apt refuses all work until then.
    pub(super) fn needs_reinstallation(&self) -> bool {
        self.reinstall_required
    }

    /// The damage, in dpkg's words.
    fn damage(&self) -> Option<Text> {
        let flag = if self.reinstall_required {
            ", reinstreq"
        } else {
            ""
        };
        (!self.is_whole()).then(|| format!("{}{flag}", self.state).into())
    }

    /// The version, if it is installed completely.
    pub(super) fn installed(&self) -> Option<&PackageVersion> {
        self.version.as_ref().filter(|_| self.is_whole())
    }
}

/// Whether a package in this state (`db:Status-Status`) has at most its configuration there.
pub(super) fn is_absent(state: &str) -> bool {
    matches!(state, "not-installed" | "config-files")
}

/// The paths of a field of the database: ` /etc/acme.conf 2172d1285f9a29b167b857ceafa0aef5 obsolete`.
fn conffiles(field: &str) -> Vec<String> {
    let path = |line: &str| {
        let line = line.strip_prefix(" /")?;
        let line = line.strip_suffix(" remove-on-upgrade").unwrap_or(line);
        let line = line.strip_suffix(" obsolete").unwrap_or(line);
        Some(line.rsplit_once(' ')?.0.to_owned())
    };
    field.lines().filter_map(path).collect()
}

impl Dpkg {
    /// The architecture of installed packages: that of dpkg itself.
    pub(super) fn architecture(&self) -> Result<String, Failure> {
        match self.stanza("dpkg") {
            Ok(Some(own)) if own.status.ends_with(" installed") && !own.architecture.is_empty() => {
                Ok(own.architecture)
            }
            _ => self.ask_for_architecture(),
        }
    }

    fn ask_for_architecture(&self) -> Result<String, Failure> {
        let output = self.ask("dpkg", &["--print-architecture"])?;
        let architecture = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.success() && !architecture.is_empty() {
            true => Ok(architecture),
            false => Err(Failure::new(
                Cause::Unavailable,
                format!(
                    "`dpkg --print-architecture` below {} gave no answer: {}",
                    self.root.folder().display(),
                    String::from_utf8_lossy(&output.stderr)
                ),
            )),
        }
    }

    /// The status of exactly this package. The caller has checked the grammar of the name.
    pub(super) fn status(&self, name: &PackageName) -> Result<Option<Status>, Failure> {
        let edition = self.edition();
        let mut known = self.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, about, status)) if edition == Some(*of) && about == name => {
                return Ok(status.clone());
            }
            _ => {}
        }
        let status = match self.read_status(name) {
            Ok(status) => status,
            Err(_) => self.ask_for_status(name)?,
        };
        *known = edition.map(|edition| (edition, name.clone(), status.clone()));
        Ok(status)
    }

    /// The edition of the database; none while dpkg works.
    pub(super) fn edition(&self) -> Option<Edition> {
        let edition = Edition::of(&database(&self.root))?;
        (!self.was_interrupted()).then_some(edition)
    }

    /// The stanza of the package. Fails if only dpkg can tell.
    fn stanza(&self, name: &str) -> io::Result<Option<Stanza>> {
        match self.was_interrupted() {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => stanza(&database(&self.root), name),
        }
    }

    fn read_status(&self, name: &PackageName) -> io::Result<Option<Status>> {
        let stanza = self.stanza(name.as_str())?;
        let status = |stanza: Stanza| Status::of(&stanza).ok_or(io::ErrorKind::InvalidData);
        Ok(stanza.map(status).transpose()?)
    }

    fn ask_for_status(&self, name: &PackageName) -> Result<Option<Status>, Failure> {
        let output = self.ask("dpkg-query", &["-W", FORMAT, "--", name.as_str()])?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && !words.contains("no packages found matching") {
            let what = format!("the state of {name}");
            return Err(complaint::failure(&what, &words));
        }
        let lines = String::from_utf8_lossy(&output.stdout);
        Ok(lines.lines().find_map(|line| parse(line, name.as_str())))
    }

    /// The package, whole or damaged. Every package that is not absent has a version.
    pub(super) fn found(&self, name: &PackageName) -> Result<Option<InstalledPackage>, Failure> {
        let status = self.status(name)?;
        let there = status.filter(|status| !status.is_absent());
        Ok(there.and_then(|status| {
            Some(InstalledPackage {
                damage: status.damage(),
                version: status.version?,
            })
        }))
    }

    /// The relations of all packages in the database, as lines of [`RELATIONS`].
    pub(super) fn declared(&self) -> Result<String, Failure> {
        let output = self.ask("dpkg-query", &["-W", RELATIONS])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The relations of a package file.
    pub(super) fn declared_in(&self, file: &Path) -> Result<String, Failure> {
        let file = self.root.seen_inside(file);
        let output = self.ask("dpkg-deb", &["-W", RELATIONS, &file.to_string_lossy()])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The configuration files of an installed package, below the root.
    pub(super) fn configuration(&self, name: &PackageName) -> Result<Vec<String>, Failure> {
        if let Ok(stanza) = self.stanza(name.as_str()) {
            return Ok(conffiles(&stanza.unwrap_or_default().conffiles));
        }
        let asked = ["-W", "-f=${Conffiles}\\n", "--", name.as_str()];
        let output = self.ask("dpkg-query", &asked)?;
        Ok(conffiles(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Those of a package file. A package without any has no such member.
    pub(super) fn configuration_in(&self, file: &Path) -> Result<Vec<String>, Failure> {
        let file = self.root.seen_inside(file);
        let asked = ["-I", &file.to_string_lossy(), "conffiles"];
        let output = self.ask("dpkg-deb", &asked)?;
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let paths = lines
            .lines()
            .filter_map(|line| Some(line.get(line.find('/')? + 1..)?.to_owned()));
        Ok(paths.collect())
    }

    /// Files of the package that differ from the database, without its configuration. The exit code of `dpkg --verify` is
    /// always 0.
    pub(super) fn damaged_files(&self, name: &PackageName) -> Result<Vec<String>, Failure> {
        let output = self.ask("dpkg", &["--verify", name.as_str()])?;
        let lines = String::from_utf8_lossy(&output.stdout);
        let files = lines
            .lines()
            .filter(|line| !line.get(10..).unwrap_or_default().starts_with("c "));
        Ok(files.map(str::to_owned).collect())
    }

    /// The unfinished work. The exit code of `dpkg --audit` is 0, unless it cannot read its database.
    pub(super) fn audit(&self) -> Result<Vec<String>, Failure> {
        let output = self.ask("dpkg", &["--audit"])?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(complaint::failure("dpkg --audit", &words));
        }
        let mut found = faults(&String::from_utf8_lossy(&output.stdout));
        if self.was_interrupted() {
            found.push("dpkg was interrupted: /var/lib/dpkg/updates is not empty".to_owned());
        }
        Ok(found)
    }

    /// dpkg writes its work into numbered files first. They remain after an interruption.
    pub(super) fn was_interrupted(&self) -> bool {
        let updates = fs::read_dir(self.root.path("var/lib/dpkg/updates"));
        let mut entries = updates.into_iter().flatten().flatten();
        entries.any(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
        })
    }

    /// The packages that dpkg has still to configure, each with what is wanted of it.
    pub(super) fn unconfigured(&self) -> Result<BTreeMap<String, String>, Failure> {
        database::unconfigured(&database(&self.root)).map_err(|error| not_started("dpkg", &error))
    }

    /// Configures unpacked packages, which may need each other.
    pub(super) fn configure(
        &self,
        names: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<String, Failure> {
        let names = names.iter().map(|name| OsStr::new(name.as_str()));
        let arguments: Vec<_> = [OsStr::new("--configure")]
            .into_iter()
            .chain(names)
            .collect();
        self.change(&arguments, printed)
    }

    /// Installs a file over a package in any state.
    pub(super) fn install(&self, file: &Path, printed: Listener<'_>) -> Result<String, Failure> {
        self.change(&[OsStr::new("--install"), file.as_os_str()], printed)
    }

    /// Removes packages in any state, which may need each other.
    pub(super) fn remove(
        &self,
        names: &[&PackageName],
        printed: Listener<'_>,
    ) -> Result<String, Failure> {
        let names = names.iter().map(|name| OsStr::new(name.as_str()));
        let fixed = ["--force-remove-reinstreq", "--remove"].map(OsStr::new);
        let arguments: Vec<_> = fixed.into_iter().chain(names).collect();
        self.change(&arguments, printed)
    }

    /// Purges a removed package. Begins when no other program can change the package.
    pub(super) fn purge(
        &self,
        name: &PackageName,
        supervisor: Supervisor<'_>,
    ) -> Result<String, Failure> {
        let _lock = self.lock_frontend(supervisor.is_wanted)?;
        if !self.status(name)?.is_some_and(|it| it.is_configuration()) {
            let detail = format!("something else changed {name} meanwhile");
            return Err(Failure::new(Cause::PackageManager, detail));
        }
        (supervisor.begin)(&Brought::default())?;
        let mut command = programs::program(&self.root, "dpkg");
        command.args(["--purge", name.as_str()]);
        self.run_locked(command, "dpkg", supervisor.printed)
            .map(|(_, printed)| printed)
    }

    /// `Debian 'dpkg' package management program version 1.21.22 (amd64).`
    pub(super) fn running_version(&self) -> Result<String, Failure> {
        let output = self.ask("dpkg", &["--version"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.split_whitespace();
        words.find(|word| *word == "version");
        Ok(words.next().unwrap_or_default().to_owned())
    }

    /// Returns the output of dpkg.
    fn change(&self, arguments: &[&OsStr], listener: Listener<'_>) -> Result<String, Failure> {
        let mut command = programs::program(&self.root, "dpkg");
        command
            .args(["--force-confdef", "--force-confold"])
            .args(arguments);
        self.run(command, "dpkg", listener)
            .map(|(_, printed)| printed)
    }

    /// Runs a command that changes packages, under the lock of front ends. Returns its exit code and its output.
    pub(super) fn run(
        &self,
        command: Command,
        program: &str,
        listener: Listener<'_>,
    ) -> Result<(Option<i32>, String), Failure> {
        let _lock = self.lock_frontend(&|| true)?;
        self.run_locked(command, program, listener)
    }

    fn run_locked(
        &self,
        mut command: Command,
        program: &str,
        listener: Listener<'_>,
    ) -> Result<(Option<i32>, String), Failure> {
        let mut run = || -> io::Result<(Option<i32>, String)> {
            let printed = Printed::new(self.root.run().join("dpkg.output"))?;
            let files = [&printed];
            let growth = Growth::of(&files)?;
            let mut child = command
                .env("DPKG_FRONTEND_LOCKED", "1")
                .stdout(printed.writer()?)
                .stderr(printed.writer()?)
                .spawn()?;
            let code = process::wait(
                &mut child,
                &growth,
                self.times.limit,
                || (),
                |pid| session::end_scripts(pid, &programs::role),
            )?;
            session::wait_for_the_rest(self.times.limit, &programs::role)?;
            // It has run, so unreadable output is not a failure.
            Ok((code, printed.tail().unwrap_or_default()))
        };
        let (code, printed) = run().map_err(|error| not_started(program, &error))?;
        listener(program, &printed);
        Ok((code, printed))
    }

    /// Holds the lock while dpkg runs below this process, as apt does. POSIX locks have no wait with a timeout, so this polls,
    /// like apt.
    fn lock_frontend(&self, is_wanted: &dyn Fn() -> bool) -> Result<File, Failure> {
        let path = self.root.path(LOCK_OF_FRONT_ENDS);
        let deadline = Instant::now() + self.times.lock_wait;
        loop {
            if !is_wanted() {
                return Err(not_wanted());
            }
            match try_lock(&path) {
                Ok(file) => return Ok(file),
                Err(error) if Instant::now() >= deadline => {
                    return Err(Failure::new(
                        Cause::Locked,
                        format!("cannot lock {}: {error}", path.display()),
                    ));
                }
                Err(_) => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Result<Output, Failure> {
        programs::ask(&self.root, program, arguments).map_err(|error| not_started(program, &error))
    }
}

/// The faults that `dpkg --audit` lists: an explanation with packages below it, and an empty line.
fn faults(printed: &str) -> Vec<String> {
    let faults = printed.split("\n\n").map(|fault| {
        let words: Vec<&str> = fault.split_whitespace().collect();
        words.join(" ")
    });
    faults.filter(|fault| !fault.is_empty()).collect()
}

/// The file that dpkg replaces with each change.
pub(super) fn database(root: &Root) -> PathBuf {
    root.path("var/lib/dpkg/status")
}

fn try_lock(path: &Path) -> io::Result<File> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_SETLK(&whole))?;
    Ok(file)
}

fn parse(line: &str, name: &str) -> Option<Status> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [package, version, want, state, flag, essential] = fields.as_slice() else {
        return None;
    };
    (*package == name).then(|| Status {
        version: PackageVersion::new(version).ok(),
        want: (*want).to_owned(),
        state: (*state).to_owned(),
        reinstall_required: *flag != "ok",
        essential: essential.contains("yes"),
    })
}

pub(super) fn not_started(program: &str, error: &io::Error) -> Failure {
    Failure::new(
        Cause::PackageManager,
        format!("cannot run {program}: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_has_an_entry_for_each_fault() {
        let printed = "The following packages have been unpacked but not yet configured.\nThey must be configured for \
                       them to work:\n acme                 a package\n other                another\n\n\
                       The following packages are missing the list control file:\n third                a third\n\n";
        assert_eq!(
            faults(printed),
            [
                "The following packages have been unpacked but not yet configured. They must be configured for them to \
                 work: acme a package other another",
                "The following packages are missing the list control file: third a third",
            ]
        );
        assert_eq!(faults(""), [""; 0]);
    }

    #[test]
    fn half_installed_is_not_installed() {
        let state = |line: &str| {
            parse(line, "acme").map(|s| (s.is_whole(), s.is_absent(), s.is_held(), s.essential))
        };
        for (line, expected) in [
            (
                "acme\t1\tinstall\tinstalled\tok\t",
                Some((true, false, false, false)),
            ),
            (
                "acme\t1\thold\tinstalled\tok\t",
                Some((true, false, true, false)),
            ),
            (
                "acme\t1\tinstall\tinstalled\treinstreq\t",
                Some((false, false, false, false)),
            ),
            (
                "acme\t1\tinstall\thalf-configured\tok\t",
                Some((false, false, false, false)),
            ),
            (
                "acme\t\tunknown\tnot-installed\tok\t",
                Some((false, true, false, false)),
            ),
            (
                "acme\t1\tdeinstall\tconfig-files\tok\t",
                Some((false, true, false, false)),
            ),
            (
                "acme\t1\tinstall\tinstalled\tok\tyes",
                Some((true, false, false, true)),
            ),
            ("acme2\t1\tinstall\tinstalled\tok\t", None),
            ("acme", None),
        ] {
            assert_eq!(state(line), expected, "{line:?}");
        }
    }
}
