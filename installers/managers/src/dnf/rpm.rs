//! rpm's database, the truth for both dnf 4 and dnf 5. Names are compared exactly.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Output,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use wharf_frames::{Cause, Failure, PackageName, PackageVersion};
use wharf_root::{Owners, Root, merged};

use super::{macros::Macros, programs, version::is_name};
use crate::edition::Edition;

/// rpm of one root.
pub(super) struct Rpm {
    pub(super) root: Root,
    /// The file that its transactions lock, from outside of the root.
    pub(super) lock: PathBuf,
    pub(super) architectures: Architectures,
    known: Known,
    /// The last answer about a package in a file.
    known_file: Mutex<Option<(Edition, PathBuf, Output)>>,
}

/// The last answer about an installed package.
#[derive(Default)]
struct Known(Mutex<Option<(Editions, PackageName, Output)>>);

/// The editions of rpm's database and of its log.
type Editions = (Edition, Option<Edition>);

/// The architectures that can be installed here. rpm itself accepts more: i686 on x86_64.
#[derive(Debug, Clone)]
pub(super) struct Architectures {
    pub(super) own: String,
    other: String,
}

/// One installed copy of a package. Two copies of one architecture are an upgrade that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) version: PackageVersion,
    pub(super) architecture: String,
    /// SHA-256 of its header, the same as in the file: its identity.
    pub(super) header: String,
    /// Its number in the database, higher than that of every copy before it.
    pub(super) instance: u64,
}

const FORMAT: &str =
    "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{SHA256HEADER}\\t%{DBINSTANCE}\\n";

/// More than the time between a record and the transaction of its run.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Each path of a package with its name.
const PATHS: &str = "[%{=NAME}\\t%{FILENAMES}\\n]";

/// Each path of a package with its name and the letters of its flags.
const FLAGGED_PATHS: &str = "[%{=NAME}\\t%{FILEFLAGS:fflags}\\t%{FILENAMES}\\n]";

impl Architectures {
    pub(super) fn take(&self, architecture: &str) -> bool {
        architecture == "noarch" || architecture == self.own || architecture == self.other
    }
}

impl Rpm {
    /// rpm of this root. rpm itself tells its lock and the architectures.
    pub(super) fn open(root: &Root) -> Result<Self, Failure> {
        let Macros { lock, own, other } = Macros::of(root)?;
        Ok(Self {
            root: root.clone(),
            lock: root.path(lock.trim_start_matches('/')),
            architectures: Architectures { own, other },
            known: Known::default(),
            known_file: Mutex::default(),
        })
    }

    /// The copies of exactly this package for the architectures of this root, the latest first.
    pub(super) fn copies(&self, name: &PackageName) -> Result<Vec<Copy>, Failure> {
        let output = self.about(name)?;
        let lines = String::from_utf8_lossy(&output.stdout);
        let copies = lines.lines().filter_map(|line| copy(line, name.as_str()));
        let mut copies: Vec<Copy> = copies
            .filter(|copy| self.architectures.take(&copy.architecture))
            .collect();
        copies.sort_by_key(|copy| Reverse(copy.instance));
        Ok(copies)
    }

    /// The package in a file; none if it has another name.
    pub(super) fn in_file(&self, name: &PackageName, file: &Path) -> Result<Option<Copy>, Failure> {
        Ok(self.described(name, file)?.0)
    }

    /// As [`Rpm::in_file`], and whether the package in this file is meant to be installed beside its other versions.
    pub(super) fn described(
        &self,
        name: &PackageName,
        file: &Path,
    ) -> Result<(Option<Copy>, bool), Failure> {
        let output = self.about_file(file)?;
        let lines = String::from_utf8_lossy(&output.stdout);
        let is_beside = |line: &str| line.starts_with("installonlypkg(");
        Ok((
            lines.lines().find_map(|line| copy(line, name.as_str())),
            lines.lines().any(is_beside),
        ))
    }

    /// The packages in these files, each with its path.
    pub(super) fn in_files(
        &self,
        files: &[PathBuf],
    ) -> Result<Vec<(PackageName, Copy, PathBuf)>, Failure> {
        let mut found = Vec::new();
        for file in files {
            let asked = ["-qp", "--qf", FORMAT, "--"].map(OsStr::new);
            let output = self.ask(asked.into_iter().chain([file.as_os_str()]))?;
            let line = String::from_utf8_lossy(&output.stdout);
            let name = line.split_once('\t').map_or("", |(name, _)| name);
            let read = PackageName::new(name)
                .ok()
                .filter(|name| is_name(name.as_str()));
            let read = read.and_then(|name| Some((copy(line.trim_end(), name.as_str())?, name)));
            found.extend(read.map(|(copy, name)| (name, copy, file.clone())));
        }
        Ok(found)
    }

    /// Refuses files that have no signature by a key of rpm's own.
    pub(super) fn refuse_unsigned(&self, files: &[PathBuf], told: &str) -> Result<(), Failure> {
        const VERIFY: [&str; 7] = [
            "--define",
            "_pkgverify_level signature",
            "--define",
            "_pkgverify_flags 0x0",
            "-K",
            "-v",
            "--",
        ];
        if files.is_empty() {
            return Ok(());
        }
        let words = VERIFY.map(OsStr::new).into_iter();
        let words = words.chain(files.iter().map(|file| file.as_os_str()));
        let output = programs::ask(&self.root, "rpmkeys", words)?;
        if output.status.success() {
            return Ok(());
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        let line = |end: &str| printed.lines().find(|line| line.ends_with(end));
        let why = match line(": BAD").or_else(|| line(": NOKEY")) {
            Some(line) => line.trim(),
            None => "no signature",
        };
        let detail = format!(
            "rpm does not accept the signatures of {told}: {why}; `rpmkeys --import FILE` as root adds the key of a \
             repository"
        );
        Err(Failure::new(Cause::Plan, detail))
    }

    /// Whether each file has the content that the database says. Configuration does not count.
    pub(super) fn has_its_files(&self, name: &PackageName) -> Result<bool, Failure> {
        const CONTENT: [&str; 12] = [
            "-V",
            "--noconfig",
            "--noghost",
            "--nodeps",
            "--noscripts",
            "--nomtime",
            "--nomode",
            "--nouser",
            "--nogroup",
            "--nordev",
            "--nocaps",
            "--",
        ];
        let output = self.ask(CONTENT.into_iter().chain([name.as_str()]))?;
        Ok(output.status.success())
    }

    /// Visits each path of exactly this package, from outside of the root.
    pub(super) fn each_path(
        &self,
        name: &PackageName,
        visit: &mut dyn FnMut(&Path),
    ) -> Result<(), Failure> {
        self.visit_paths(&self.about(name)?, name, visit);
        Ok(())
    }

    /// As [`Rpm::each_path`], of a package in a file.
    pub(super) fn each_path_in(
        &self,
        name: &PackageName,
        file: &Path,
        visit: &mut dyn FnMut(&Path),
    ) -> Result<(), Failure> {
        let file = self.root.seen_inside(file);
        let asked = ["-qp", "--qf", PATHS, "--"].map(OsStr::new);
        let asked = [&asked[..], &[file.as_os_str()]].concat();
        self.visit_paths(&self.ask(asked)?, name, visit);
        Ok(())
    }

    /// The configuration files of an installed package, or of one in a file, below the root.
    pub(super) fn configuration(
        &self,
        name: &PackageName,
        file: Option<&Path>,
    ) -> Result<Vec<String>, Failure> {
        let output = match file {
            Some(file) => self.about_file(file)?,
            None => self.about(name)?,
        };
        if !is_answer(&output) {
            return Err(programs::unavailable(&format!("rpm -q {name}"), &output));
        }
        Ok(configuration(&output.stdout, name.as_str()))
    }

    fn visit_paths(&self, output: &Output, name: &PackageName, visit: &mut dyn FnMut(&Path)) {
        for path in paths(&output.stdout, name.as_str()) {
            visit(&self.root.path(path.trim_start_matches('/')));
        }
    }

    /// The packages that own these paths below the root. rpm resolves links in a path.
    pub(super) fn owners(&self, wanted: &BTreeSet<String>) -> Result<Owners, Failure> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let spelled = wanted.iter().map(|path| format!("/{path}"));
        let asked = ["-qf", "--qf", PATHS, "--"].map(str::to_owned);
        let arguments: Vec<String> = asked.into_iter().chain(spelled).collect();
        let output = self.ask(&arguments)?;
        let mut owners = Owners::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some((name, path)) = line.split_once('\t') else {
                continue; // a path that no package owns
            };
            let path = merged(path.trim_start_matches('/'));
            if wanted.contains(&path) {
                owners.entry(path).or_default().insert(name.to_owned());
            }
        }
        Ok(owners)
    }

    /// The packages with two installed versions. Kernels may have several.
    pub(super) fn doubled(&self) -> Result<Vec<String>, Failure> {
        let format = "%{NAME}\\t%{ARCH}\\t%{VERSION}-%{RELEASE}\\t[%{PROVIDENAME} ]\\n";
        let output = self.ask(["-qa", "--qf", format])?;
        if !output.status.success() {
            return Err(programs::unavailable("rpm -qa", &output));
        }
        Ok(doubled(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Deletes the files `NAME;HEX8` that a run of this time left beside these paths when it was killed. rpm never deletes them,
    /// and they block a run that begins in the same second.
    pub(super) fn delete_leftovers(&self, paths: &[PathBuf], begun: SystemTime) {
        let mut files: BTreeMap<&Path, BTreeSet<&OsStr>> = BTreeMap::new();
        for path in paths {
            if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
                files.entry(folder).or_default().insert(name);
            }
        }
        for (folder, names) in files {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if left_of(&name.to_string_lossy(), begun)
                    .is_some_and(|of| names.contains(OsStr::new(of)))
                {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }

    /// The copies of an installed package and its paths, in one answer. A job asks for them before and after its work, several
    /// times each.
    fn about(&self, name: &PackageName) -> Result<Output, Failure> {
        let editions = self.editions();
        let mut known = self.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, about, output)) if editions == Some(*of) && about == name => {
                return Ok(output.clone());
            }
            _ => {}
        }
        let output = self.ask([
            "-q",
            "--qf",
            &[FORMAT, PATHS, FLAGGED_PATHS].concat(),
            "--",
            name.as_str(),
        ])?;
        if !is_answer(&output) {
            return Err(programs::unavailable(&format!("rpm -q {name}"), &output));
        }
        *known = editions.map(|editions| (editions, name.clone(), output.clone()));
        Ok(output)
    }

    /// The package in a file, its configuration files and what it provides, in one answer. A job asks for it several times, and
    /// nobody changes its file.
    fn about_file(&self, file: &Path) -> Result<Output, Failure> {
        let edition = Edition::of(file).filter(Edition::is_settled);
        let mut known = self
            .known_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, path, output)) if edition == Some(*of) && path == file => {
                return Ok(output.clone());
            }
            _ => {}
        }
        let format = [FORMAT, FLAGGED_PATHS, "[%{PROVIDENAME}\\n]"].concat();
        let inside = self.root.seen_inside(file);
        let asked = ["-qp", "--qf", &format, "--"].map(OsStr::new);
        let output = self.ask(asked.into_iter().chain([inside.as_os_str()]))?;
        *known = edition.map(|edition| (edition, file.to_owned(), output.clone()));
        Ok(output)
    }

    /// Forgets the last answer: a run may have changed the database.
    pub(super) fn forget(&self) {
        *self.known.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Those of SQLite, which writes with calls that change the time of a file. None while that time may not tell a change.
    fn editions(&self) -> Option<Editions> {
        let edition = |name: &str| Edition::of(&self.lock.with_file_name(name));
        let (database, log) = (edition("rpmdb.sqlite")?, edition("rpmdb.sqlite-wal"));
        let are_settled = database.is_settled() && log.is_none_or(|log| log.is_settled());
        are_settled.then_some((database, log))
    }

    fn ask<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Output, Failure> {
        programs::ask(&self.root, "rpm", arguments)
    }
}

impl Copy {
    /// Whether both come from the same bytes. Very old files have no digest to compare.
    pub(super) fn is_from(&self, file: &Self) -> bool {
        const NO_TAG: &str = "(none)";
        self.version == file.version
            && (self.header == file.header
                || [&self.header, &file.header].contains(&&NO_TAG.to_owned()))
    }
}

fn copy(line: &str, name: &str) -> Option<Copy> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [package, epoch, version, architecture, header, instance] = fields.as_slice() else {
        return None;
    };
    if *package != name {
        return None;
    }
    let version = match *epoch {
        "0" => (*version).to_owned(),
        epoch => format!("{epoch}:{version}"),
    };
    Some(Copy {
        version: PackageVersion::new(&version).ok()?,
        architecture: (*architecture).to_owned(),
        header: (*header).to_owned(),
        instance: instance.parse().unwrap_or_default(),
    })
}

/// The paths in lines of `NAME\tPATH` for exactly this package.
fn paths(lines: &[u8], name: &str) -> Vec<String> {
    let lines = String::from_utf8_lossy(lines);
    let lines = lines.lines().filter_map(|line| line.split_once('\t'));
    let own = lines.filter(|(package, path)| *package == name && path.starts_with('/'));
    own.map(|(_, path)| path.to_owned()).collect()
}

/// The paths in lines of `NAME\tFLAGS\tPATH` that have the flag of a configuration file, below the root.
fn configuration(lines: &[u8], name: &str) -> Vec<String> {
    let lines = String::from_utf8_lossy(lines);
    let path = |line: &str| {
        let (package, rest) = line.split_once('\t')?;
        let (flags, path) = rest.split_once('\t')?;
        let is_it = package == name && flags.contains('c');
        is_it.then(|| path.trim_start_matches('/').to_owned())
    };
    lines.lines().filter_map(path).collect()
}

fn doubled(lines: &str) -> Vec<String> {
    let mut versions: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for line in lines.lines() {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap_or_default();
        let (name, architecture, version, provides) = (field(), field(), field(), field());
        if name != "gpg-pubkey" && !provides.contains("installonlypkg(") {
            versions
                .entry((name, architecture))
                .or_default()
                .push(version);
        }
    }
    let doubled = versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1);
    doubled
        .map(|((name, _), versions)| two_versions(name, &versions))
        .collect()
}

/// The words for an interrupted upgrade.
pub(super) fn two_versions(name: &str, versions: &[&str]) -> String {
    format!("{name} is installed as {}", versions.join(" and as "))
}

/// `app` of `app;6752a1b0`, if the suffix is about the time of a run. rpm writes the seconds of its start.
fn left_of(name: &str, begun: SystemTime) -> Option<&str> {
    let (of, suffix) = name.rsplit_once(';')?;
    let is_time = suffix.len() == 8 && suffix.bytes().all(|byte| byte.is_ascii_hexdigit());
    let seconds = is_time.then(|| u32::from_str_radix(suffix, 16).ok())??;
    let begun = begun.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (u64::from(seconds).abs_diff(begun) <= DAY.as_secs()).then_some(of)
}

/// Whether rpm could read its database. Without one it says "is not installed" as well, after its errors.
fn is_answer(output: &Output) -> bool {
    let says = |text: &[u8], words| String::from_utf8_lossy(text).contains(words);
    let is_missing = says(&output.stdout, "is not installed") && !says(&output.stderr, "error: ");
    output.status.success() || is_missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_its_epoch_only_where_there_is_one() {
        for (line, version) in [
            ("acme\t0\t1.0-1\tnoarch\tab\t7", "1.0-1"),
            ("acme\t2\t1.0-1\tnoarch\tab\t7", "2:1.0-1"),
        ] {
            assert_eq!(copy(line, "acme").unwrap().version.as_str(), version);
        }
        // rpm takes NAME-VERSION for a name as well.
        assert_eq!(copy("acme\t0\t1.0-1\tnoarch\tab\t7", "acme-1.0"), None);
        assert_eq!(copy("package acme is not installed", "acme"), None);
    }

    #[test]
    fn two_versions_are_doubled_but_for_kernels_keys_and_architectures() {
        let lines = "acme\tnoarch\t1-1\tacme \nacme\tnoarch\t2-1\tacme \n\
                     kernel\tx86_64\t1-1\tkernel installonlypkg(kernel) \n\
                     kernel\tx86_64\t2-1\tkernel installonlypkg(kernel) \n\
                     gpg-pubkey\t(none)\t1-1\tgpg(x) \ngpg-pubkey\t(none)\t2-1\tgpg(y) \n\
                     libx\tx86_64\t1-1\tlibx \nlibx\ti686\t1-1\tlibx \n";
        assert_eq!(doubled(lines), ["acme is installed as 1-1 and as 2-1"]);
        assert_eq!(doubled(""), [""; 0]);
    }

    #[test]
    fn leftovers_are_known_by_the_time_of_their_run() {
        let begun = UNIX_EPOCH + Duration::from_secs(0x6752_a1b0);
        let left_of = |name| left_of(name, begun);
        assert_eq!(left_of("app;6752a1b0"), Some("app"));
        assert_eq!(left_of("app;6752a1a0"), Some("app"));
        assert_eq!(left_of("a;b;6752A1BF"), Some("a;b"));
        for name in [
            "app",
            "app;",
            "app;6752a1b",
            "app;6752a1b0x",
            "app;6752a1bg",
            "app;+752a1b0",
            "app;20241130",
            "app;675001b0",
            "app;675501b0",
        ] {
            assert_eq!(left_of(name), None, "{name}");
        }
    }
}
