//! Resolves names of units. A unit has its own name, those of links that lead to it, and those that it claims
//! (`Alias=`). systemd applies a drop-in of any of them to the unit. Every folder counts: a file that hides another one may be
//! removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

use wharf_root::Root;

use super::{
    unit_file::{FOLDERS, SCRIPTS, UnitFile, unit_of_script},
    unit_name::{TYPES, UnitName},
};

/// Folders whose links have one unit start another (systemd.unit(5)).
pub(super) const PULLS: [&str; 3] = [".wants", ".requires", ".upholds"];

/// The other types that have files.
const PASSIVE_TYPES: [&str; 4] = [".mount", ".automount", ".swap", ".slice"];

type Sets = BTreeMap<String, BTreeSet<String>>;

/// The names of units, and the units that they refer to.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// By name: the names to which links of it lead.
    links: Sets,
    /// By name: the files of the unit, and the script of which systemd makes it.
    files: Sets,
    /// By name: the names of the unit once it is enabled.
    claims: Sets,
    /// By name: the units that are enabled and disabled with it.
    also: Sets,
    /// Masked names, without those that the administrator masked: such a mask may be removed.
    masked: BTreeSet<String>,
    /// Names of units that have no file of their own.
    others: BTreeSet<String>,
}

impl Names {
    /// All names that the device has files of.
    pub(super) fn on(root: &Root) -> io::Result<Self> {
        let mut names = Self::default();
        let unmerged = (!root.path("lib").is_symlink()).then_some("lib/systemd/system/");
        for folder in FOLDERS.into_iter().chain([SCRIPTS]).chain(unmerged) {
            for below in entries(root, folder)? {
                let path = format!("{folder}{below}");
                let says_names =
                    below.ends_with(".d") || PULLS.iter().any(|it| below.ends_with(it));
                match says_names && root.path(&path).is_dir() {
                    false => names.read(root, &path),
                    true => entries(root, &path)?
                        .iter()
                        .for_each(|name| names.read(root, &format!("{path}/{name}"))),
                }
            }
        }
        Ok(names)
    }

    /// The names that these files give.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a UnitFile>) -> Self {
        let mut names = Self::default();
        files.into_iter().for_each(|file| names.add(file));
        names
    }

    fn read(&mut self, root: &Root, path: &str) {
        // An unreadable file still counts as a file; systemd cannot read it either.
        let file = UnitFile::read(root, path).unwrap_or_else(|_| Some(UnitFile::new(path, &[])));
        file.iter().for_each(|file| self.add(file));
    }

    /// Adds the names that a file gives.
    pub(super) fn add(&mut self, file: &UnitFile) {
        let path = file.path();
        if let Some(script) = path.strip_prefix(SCRIPTS) {
            if let Some(unit) = unit_of_script(script) {
                self.add_unit(unit.as_str(), [path], file);
            }
            return;
        }
        let Some(below) = below_folder(path) else {
            return;
        };
        match (below.split_once('/'), file.target()) {
            (Some((folder, name)), _) => self.add_below(folder, name, file),
            (None, None) => self.add_unit(below, [path], file),
            (None, Some("dev/null")) if is_passing(path) => {}
            (None, Some("dev/null")) => drop(self.masked.insert(below.to_owned())),
            (None, Some(target)) => match below_folder(target) {
                Some(target) => {
                    let name = target.rsplit('/').next().unwrap_or(target);
                    self.add_link(below, name);
                }
                None => self.add_unit(below, [path, target], file),
            },
        }
    }

    fn add_below(&mut self, folder: &str, name: &str, file: &UnitFile) {
        if let Some(unit) = folder.strip_suffix(".d") {
            self.add_says(unit, file);
        } else if PULLS.iter().any(|end| folder.ends_with(end)) && is_unit(name) {
            self.others.insert(name.to_owned());
        }
    }

    fn add_unit<const N: usize>(&mut self, name: &str, paths: [&str; N], file: &UnitFile) {
        if is_unit(name) {
            let files = self.files.entry(name.to_owned()).or_default();
            files.extend(paths.map(str::to_owned));
            self.add_says(name, file);
        }
    }

    fn add_says(&mut self, unit: &str, file: &UnitFile) {
        for (sets, names) in [
            (&mut self.claims, file.claims()),
            (&mut self.also, file.also()),
        ] {
            let set = sets.entry(unit.to_owned()).or_default();
            set.extend(names.iter().cloned());
        }
    }

    fn add_link(&mut self, name: &str, target: &str) {
        if is_unit(name) && name != target {
            let targets = self.links.entry(name.to_owned()).or_default();
            targets.insert(target.to_owned());
        }
    }

    /// Adds the names and the file of a unit that systemd has loaded.
    pub(super) fn add_loaded<'a>(
        &mut self,
        id: &str,
        names: impl IntoIterator<Item = &'a str>,
        fragment: &str,
    ) {
        for name in names {
            self.add_link(name, id);
        }
        self.others.insert(id.to_owned());
        if !matches!(fragment, "" | "/dev/null") {
            let path = UnitFile::new(fragment, &[]).path().to_owned();
            self.files.entry(id.to_owned()).or_default().insert(path);
        }
    }

    /// Whether it has files of its own.
    fn has_file(&self, name: &str) -> bool {
        self.files.contains_key(name)
            || template_of(name).is_some_and(|it| self.files.contains_key(&it))
    }

    /// Whether it has files, or is another name of something.
    pub(super) fn is_there(&self, name: &str) -> bool {
        self.has_file(name) || !self.targets(name).is_empty()
    }

    /// Whether it only keeps a script from being a unit.
    pub(super) fn is_masked(&self, name: &str) -> bool {
        let scripts_alone = self
            .files
            .get(name)
            .is_none_or(|files| files.iter().all(|path| path.starts_with(SCRIPTS)));
        self.masked.contains(name) && scripts_alone
    }

    /// The units that this name refers to: one, unless folders contradict each other.
    pub(super) fn leads_to(&self, name: &str) -> BTreeSet<String> {
        let (mut ends, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            let mut next = self.targets(&name);
            next.remove(&name);
            if next.is_empty() || self.has_file(&name) {
                ends.insert(name.clone());
            }
            seen.insert(name);
            open.extend(next.into_iter().filter(|name| !seen.contains(name)));
        }
        if ends.is_empty() {
            ends = seen; // links in a circle
        }
        ends
    }

    /// One step along the links: those of an instance, then those of its template.
    fn targets(&self, name: &str) -> BTreeSet<String> {
        let template = template_of(name);
        let own = [Some(name), template.as_deref()].into_iter().flatten();
        let targets = own.filter_map(|name| self.links.get(name)).flatten();
        targets.map(|target| instance_like(target, name)).collect()
    }

    /// Every name of the units that this name refers to.
    pub(super) fn all(&self, name: &str) -> BTreeSet<String> {
        let ends = self.leads_to(name);
        let leads_there = |alias: &String| !self.leads_to(alias).is_disjoint(&ends);
        let aliases = self.links.keys().flat_map(|alias| {
            let instances = ends.iter().map(|end| instance_like(alias, end));
            instances.chain([alias.clone()])
        });
        let mut all: BTreeSet<String> = aliases.filter(leads_there).collect();
        all.extend(ends);
        all.insert(name.to_owned());
        let claimed = all.iter().flat_map(|name| said_of(&self.claims, name));
        let claimed: Vec<String> = claimed.collect();
        for name in claimed {
            all.extend(self.leads_to(&name));
            all.insert(name);
        }
        all
    }

    /// The units that are enabled and disabled with it.
    pub(super) fn also(&self, name: &str) -> BTreeSet<String> {
        let mut also = BTreeSet::new();
        let mut open: Vec<String> = self.all(name).into_iter().collect();
        while let Some(name) = open.pop() {
            for with_it in said_of(&self.also, &name) {
                if also.insert(with_it.clone()) {
                    open.extend(self.all(&with_it));
                }
            }
        }
        also
    }

    /// These units, and those that are enabled and disabled with them.
    pub(super) fn with_also<'a>(
        &self,
        units: impl IntoIterator<Item = &'a UnitName>,
    ) -> BTreeSet<String> {
        let with_also = units.into_iter().flat_map(|unit| {
            let mut names = self.also(unit.as_str());
            names.insert(unit.as_str().to_owned());
            names
        });
        with_also.collect()
    }

    /// The files of the units that this name refers to.
    pub(super) fn files(&self, name: &str) -> BTreeSet<String> {
        let mut units = self.leads_to(name);
        units.insert(name.to_owned());
        let files = units.iter().filter_map(|unit| {
            let of_template = || self.files.get(&template_of(unit)?);
            self.files.get(unit).or_else(of_template)
        });
        files.flatten().cloned().collect()
    }

    /// The names that have files of their own.
    pub(super) fn with_files(&self) -> impl Iterator<Item = &String> {
        self.files.keys()
    }

    /// The known names of instances of a template.
    pub(super) fn instances(&self, template: &str) -> BTreeSet<String> {
        let is_one =
            |name: &str| template_of(name).is_some_and(|it| it == template) && !is_template(name);
        let names = self
            .files
            .keys()
            .chain(self.links.keys())
            .chain(&self.others);
        let instances = names
            .filter(|name| !is_template(name))
            .filter(|name| is_one(name) || self.leads_to(name).iter().any(|end| is_one(end)));
        instances.cloned().collect()
    }
}

/// Entries of a unit and of its template.
fn said_of(sets: &Sets, name: &str) -> Vec<String> {
    let template = template_of(name);
    let own = [Some(name), template.as_deref()].into_iter().flatten();
    let said = own.filter_map(|name| sets.get(name)).flatten();
    said.map(|said| instance_like(&expanded(said, name), name))
        .collect()
}

/// The entries of a folder; none if it does not exist.
fn entries(root: &Root, folder: &str) -> io::Result<Vec<String>> {
    match fs::read_dir(root.path(folder)) {
        Ok(entries) => Ok(entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn below_folder(path: &str) -> Option<&str> {
    FOLDERS.iter().find_map(|folder| path.strip_prefix(folder))
}

/// Whether the administrator or a script made it, and may remove it at any time.
fn is_passing(path: &str) -> bool {
    path.starts_with("etc/") || path.starts_with("run/")
}

fn is_unit(name: &str) -> bool {
    let types = TYPES.iter().chain(&PASSIVE_TYPES);
    types.into_iter().any(|end| name.ends_with(end))
}

fn is_template(name: &str) -> bool {
    name.contains("@.")
}

/// The template of an instance.
pub(super) fn template_of(name: &str) -> Option<String> {
    let (stem, rest) = name.split_once('@')?;
    let (_, end) = rest.rsplit_once('.')?;
    Some(format!("{stem}@.{end}"))
}

/// A template becomes the instance that the other name is.
fn instance_like(name: &str, of: &str) -> String {
    let instance = of
        .split_once('@')
        .and_then(|(_, rest)| Some(rest.rsplit_once('.')?.0));
    match (is_template(name), instance) {
        (true, Some(instance)) => name.replacen("@.", &format!("@{instance}."), 1),
        _ => name.to_owned(),
    }
}

/// The specifiers of systemd.unit(5) that a name may hold. Others lead to no name that is known here.
fn expanded(claim: &str, unit: &str) -> String {
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let last = prefix.rsplit('-').next().unwrap_or(prefix);
    [
        ("%n", unit),
        ("%N", stem),
        ("%p", prefix),
        ("%P", prefix),
        ("%j", last),
        ("%J", last),
        ("%i", instance),
        ("%I", instance),
    ]
    .iter()
    .fold(claim.to_owned(), |claim, (specifier, text)| {
        claim.replace(specifier, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "/usr/lib/systemd/system";
    const ETC: &str = "/etc/systemd/system";

    /// `name`, `name -> target`, `name: text`, below a folder.
    fn names(files: &[(&str, &str)]) -> Names {
        let files: Vec<UnitFile> = files
            .iter()
            .map(|(folder, file)| match file.split_once(" -> ") {
                Some((name, target)) => UnitFile::link(&format!("{folder}/{name}"), target),
                None => {
                    let (name, text) = file.split_once(": ").unwrap_or((file, ""));
                    UnitFile::new(&format!("{folder}/{name}"), text.as_bytes())
                }
            })
            .collect();
        Names::of(&files)
    }

    fn sorted(names: BTreeSet<String>) -> Vec<String> {
        names.into_iter().collect()
    }

    #[test]
    fn a_name_stands_for_the_units_to_which_links_lead_in_any_folder() {
        let names = names(&[
            (LIB, "sysctl.service"),
            (LIB, "procps.service -> sysctl.service"),
            (ETC, "older.service -> /lib/systemd/system/procps.service"),
            (
                "/run/systemd/system",
                "a.service -> /etc/systemd/system/older.service",
            ),
            (
                "/usr/local/lib/systemd/system",
                "b.service -> ../../../../lib/systemd/system/procps.service",
            ),
            ("/etc/init.d", "procps"),
            (ETC, "dangling.service -> gone.service"),
            (ETC, "masked.service -> /dev/null"),
            (ETC, "linked.service -> /opt/other.service"),
            (ETC, "own.service"),
            (LIB, "own.service -> sysctl.service"),
            (ETC, "x.service -> y.service"),
            (ETC, "y.service -> x.service"),
            (LIB, "getty@.service"),
            (LIB, "autovt@.service -> getty@.service"),
            (ETC, "console.service -> autovt@tty1.service"),
            (ETC, "port@a.service -> port@.service"),
            (LIB, "port@.service"),
        ]);
        for (name, units) in [
            ("sysctl.service", vec!["sysctl.service"]),
            ("older.service", vec!["procps.service", "sysctl.service"]),
            ("a.service", vec!["procps.service", "sysctl.service"]),
            ("b.service", vec!["procps.service", "sysctl.service"]),
            ("dangling.service", vec!["gone.service"]),
            ("masked.service", vec!["masked.service"]),
            ("linked.service", vec!["linked.service"]),
            ("own.service", vec!["own.service", "sysctl.service"]),
            ("unknown.service", vec!["unknown.service"]),
            ("x.service", vec!["x.service", "y.service"]),
            ("autovt@tty2.service", vec!["getty@tty2.service"]),
            ("console.service", vec!["getty@tty1.service"]),
            ("port@a.service", vec!["port@a.service"]),
            ("port@b.service", vec!["port@b.service"]),
        ] {
            assert_eq!(sorted(names.leads_to(name)), units, "{name}");
        }
    }

    #[test]
    fn a_unit_has_each_name_of_its_links_and_each_that_it_claims() {
        let mut names = names(&[
            (
                LIB,
                "net.service: [Install]\nAlias=network.service ssh.service\n",
            ),
            (LIB, "ifup.service -> net.service"),
            (LIB, "board.service"),
            (LIB, "ssh.service -> board.service"),
            (
                LIB,
                "a@.service: [Install]\nAlias=%p-%i.service b@.service\n",
            ),
            (LIB, "c@.service -> a@.service"),
            (
                "/etc/init.d",
                "old.sh: ### BEGIN INIT INFO\n# Provides: old mta\n### END INIT INFO",
            ),
            (ETC, "net.service.d/x.conf: [Install]\nAlias=more.service"),
        ]);
        names.add_loaded(
            "board.service",
            ["board.service", "alias.service"],
            "/lib/systemd/system/board.service",
        );
        for (name, all) in [
            (
                "ifup.service",
                vec![
                    "board.service",
                    "ifup.service",
                    "more.service",
                    "net.service",
                    "network.service",
                    "ssh.service",
                ],
            ),
            (
                "board.service",
                vec!["alias.service", "board.service", "ssh.service"],
            ),
            (
                "alias.service",
                vec!["alias.service", "board.service", "ssh.service"],
            ),
            (
                "c@x.service",
                vec!["a-x.service", "a@x.service", "b@x.service", "c@x.service"],
            ),
            ("old.service", vec!["mta.service", "old.service"]),
            ("other.service", vec!["other.service"]),
        ] {
            assert_eq!(sorted(names.all(name)), all, "{name}");
        }
    }

    #[test]
    fn what_is_enabled_with_a_unit_is_followed_to_its_end() {
        let names = names(&[
            (LIB, "a.service: [Install]\nAlso=a.socket b.service\n"),
            (LIB, "a.socket: [Install]\nAlso=a.service\n"),
            (LIB, "b.service -> c.service"),
            (LIB, "c.service: [Install]\nAlso=d@x.service\n"),
            (LIB, "d@.service: [Install]\nAlso=e-%i.timer\n"),
        ]);
        let with_a = [
            "a.service",
            "a.socket",
            "b.service",
            "d@x.service",
            "e-x.timer",
        ];
        assert_eq!(sorted(names.also("a.service")), with_a);
        assert_eq!(sorted(names.also("e-x.timer")), [""; 0]);
    }

    #[test]
    fn the_files_of_a_unit_are_those_of_what_its_name_stands_for() {
        let names = names(&[
            (LIB, "sysctl.service"),
            (ETC, "sysctl.service"),
            (LIB, "procps.service -> sysctl.service"),
            ("/etc/init.d", "procps"),
            (ETC, "linked.service -> /opt/other.service"),
            (LIB, "a@.service"),
            (ETC, "a@x.service"),
        ]);
        let (lib, etc) = ("usr/lib/systemd/system", "etc/systemd/system");
        for (name, files) in [
            (
                "procps.service",
                vec![
                    "etc/init.d/procps".to_owned(),
                    format!("{etc}/sysctl.service"),
                    format!("{lib}/sysctl.service"),
                ],
            ),
            (
                "linked.service",
                vec![
                    format!("{etc}/linked.service"),
                    "opt/other.service".to_owned(),
                ],
            ),
            ("a@x.service", vec![format!("{etc}/a@x.service")]),
            ("a@y.service", vec![format!("{lib}/a@.service")]),
            ("none.service", vec![]),
        ] {
            assert_eq!(sorted(names.files(name)), files, "{name}");
        }
    }

    #[test]
    fn a_template_has_each_instance_that_is_known_by_any_name() {
        let names = names(&[
            (LIB, "a@.service"),
            (LIB, "a@file.service"),
            (LIB, "b@.service -> a@.service"),
            (ETC, "link.service -> a@linked.service"),
            (
                ETC,
                "x.target.wants/a@wanted.service -> /lib/systemd/system/a@.service",
            ),
            (
                ETC,
                "x.target.requires/b@by-alias.service -> /lib/systemd/system/a@.service",
            ),
            (ETC, "other@c.service"),
        ]);
        let instances = [
            "a@file.service",
            "a@wanted.service",
            "b@by-alias.service",
            "link.service",
        ];
        assert_eq!(sorted(names.instances("a@.service")), instances);
    }

    #[test]
    fn only_a_mask_that_stays_makes_a_script_no_unit() {
        let names = names(&[
            (LIB, "rc.service -> /dev/null"),
            ("/etc/init.d", "rc"),
            (ETC, "own.service -> /dev/null"),
            ("/etc/init.d", "own"),
            (LIB, "both.service -> /dev/null"),
            (ETC, "both.service"),
        ]);
        for (name, masked) in [
            ("rc.service", true),
            ("own.service", false),
            ("both.service", false),
        ] {
            assert_eq!(names.is_masked(name), masked, "{name}");
        }
    }

    /// A root with these files below it: `path`, `path -> target`, `path: text`, or a folder `path/`.
    fn root_with(files: &[&str]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        for file in files {
            let (path, text) = file.split_once(": ").unwrap_or((file, ""));
            let (path, target) = match path.split_once(" -> ") {
                Some((path, target)) => (path, Some(target)),
                None => (path, None),
            };
            let at = root.path(path);
            match (target, path.ends_with('/')) {
                (_, true) => fs::create_dir_all(&at).unwrap(),
                (target, false) => {
                    fs::create_dir_all(at.parent().unwrap()).unwrap();
                    match target {
                        Some(target) => std::os::unix::fs::symlink(target, &at).unwrap(),
                        None => fs::write(&at, text).unwrap(),
                    }
                }
            }
        }
        (folder, root)
    }

    #[test]
    fn the_files_of_a_device_are_read_in_each_folder_and_one_folder_deeper() {
        let (_folder, root) = root_with(&[
            "usr/lib/systemd/system/a@.service: [Install]\nAlias=%p-%i.service\n",
            "usr/lib/systemd/system/own.d/",
            "usr/lib/systemd/system/a-file.d",
            "usr/lib/systemd/system/folder.service/x.service: [Install]\nAlias=y.service\n",
            "lib/systemd/system/unmerged.service",
            "etc/systemd/system/alias.service -> unmerged.service",
            "etc/systemd/system/alias.service.d/own.conf: [Install]\nAlias=claimed.service\n",
            "etc/systemd/system/x.target.wants/a@wanted.service -> /usr/lib/systemd/system/a@.service",
            "etc/systemd/system/x.target.wants/read.me",
            "etc/init.d/old: ### BEGIN INIT INFO\n# Provides: mta\n### END INIT INFO\n",
        ]);
        let names = Names::on(&root).unwrap();
        assert_eq!(sorted(names.instances("a@.service")), ["a@wanted.service"]);
        assert_eq!(
            sorted(names.all("alias.service")),
            ["alias.service", "claimed.service", "unmerged.service"]
        );
        assert_eq!(
            sorted(names.files("alias.service")),
            ["usr/lib/systemd/system/unmerged.service"]
        );
        assert_eq!(
            sorted(names.all("old.service")),
            ["mta.service", "old.service"]
        );
        assert_eq!(sorted(names.files("old.service")), ["etc/init.d/old"]);
        assert!(!names.others.contains("read.me"), "{:?}", names.others);
        assert_eq!(sorted(names.all("x.service")), ["x.service"]);
    }

    #[test]
    fn files_in_lib_count_once_where_lib_is_merged_into_usr() {
        let (_folder, root) = root_with(&["usr/lib/systemd/system/a.service", "lib -> usr/lib"]);
        let names = Names::on(&root).unwrap();
        assert_eq!(
            sorted(names.files("a.service")),
            ["usr/lib/systemd/system/a.service"]
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_file_all_the_same() {
        let (_folder, root) = root_with(&["etc/systemd/system/a.service"]);
        let huge = fs::File::create(root.path("etc/systemd/system/a.service")).unwrap();
        huge.set_len(1 << 40).unwrap();
        assert!(Names::on(&root).unwrap().is_there("a.service"));
    }

    #[test]
    fn a_folder_of_units_that_is_no_folder_is_an_error_and_no_empty_one() {
        let (_folder, root) = root_with(&["etc/systemd/system"]);
        assert!(Names::on(&root).is_err());
    }

    #[test]
    fn a_loaded_unit_has_its_names_and_its_file_but_no_file_that_only_masks() {
        let mut names = Names::default();
        names.add_loaded(
            "a.service",
            ["a.service", "b.service"],
            "/usr/lib/systemd/system/a.service",
        );
        for no_file in ["", "/dev/null"] {
            names.add_loaded("t@x.service", ["t@x.service"], no_file);
        }
        assert_eq!(sorted(names.leads_to("b.service")), ["a.service"]);
        assert_eq!(
            sorted(names.files("b.service")),
            ["usr/lib/systemd/system/a.service"]
        );
        assert_eq!(sorted(names.instances("t@.service")), ["t@x.service"]);
        assert!(!names.is_there("t@x.service"));
    }

    #[test]
    fn units_come_with_what_is_enabled_with_them() {
        let names = names(&[(LIB, "a.service: [Install]\nAlso=a.socket\n")]);
        let units = ["a.service", "b.service"].map(|name| UnitName::new(name).unwrap());
        assert_eq!(
            sorted(names.with_also(&units)),
            ["a.service", "a.socket", "b.service"]
        );
    }
}
