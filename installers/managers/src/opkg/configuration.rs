//! opkg's configuration, and ours for its runs. Ours keeps where things are and which architectures there are. It leaves
//! out every source, so that opkg sees the installed packages alone, and every option that changes what a command does.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use wharf_root::{Root, durable};

/// The configuration of one root. Paths are as a program in the root sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration {
    /// The lines that are kept, but for the lock.
    lines: Vec<String>,
    /// The database.
    pub(super) status: PathBuf,
    /// The folder with lists of files, control files and scripts.
    pub(super) info: PathBuf,
    /// The lock.
    pub(super) lock: PathBuf,
}

/// The options that are kept.
const KEPT: [&str; 12] = [
    "cache_dir",
    "ignore_uid",
    "info_dir",
    "intercepts_dir",
    "lists_dir",
    "overlay_root",
    "status_file",
    "tmp_dir",
    "use_acl",
    "use_xattr",
    "verbose_status_file",
    "volatile_cache",
];

/// The default paths.
struct Places {
    folder: &'static str,
    lock: &'static str,
}

/// As Yocto builds opkg.
const YOCTO: Places = Places {
    folder: "/var/lib/opkg",
    lock: "/var/run/opkg.lock",
};

/// As OpenWrt builds it.
const OPENWRT: Places = Places {
    folder: "/usr/lib/opkg",
    lock: "/var/lock/opkg.lock",
};

impl Configuration {
    /// The one of this root.
    pub(super) fn read(root: &Root) -> io::Result<Self> {
        let mut text = String::new();
        for path in paths(root)? {
            text += &String::from_utf8_lossy(&durable::read(&path)?.unwrap_or_default());
            text.push('\n');
        }
        let is_openwrt = root.path("usr/lib/opkg/status").exists();
        Ok(Self::parse(&text, if is_openwrt { OPENWRT } else { YOCTO }))
    }

    fn parse(text: &str, places: Places) -> Self {
        let folder = Path::new(places.folder);
        let mut found = Self {
            lines: Vec::new(),
            status: folder.join("status"),
            info: folder.join("info"),
            lock: places.lock.into(),
        };
        for line in text.lines() {
            let mut words = line.split_whitespace().map(|word| word.trim_matches('"'));
            let mut word = || words.next().unwrap_or_default();
            let (kind, name, value) = (word(), word(), word());
            let is_kept = match (kind, name) {
                ("arch" | "dest", _) => true,
                ("option", "lock_file") => {
                    found.lock = value.into();
                    false
                }
                ("option", _) => KEPT.contains(&name),
                _ => false,
            };
            match name {
                "status_file" if is_kept => found.status = value.into(),
                "info_dir" if is_kept => found.info = value.into(),
                _ => {}
            }
            if is_kept {
                found.lines.push(line.trim().to_owned());
            }
        }
        found
    }

    /// The text of our configuration, with this lock.
    pub(super) fn ours(&self, lock: &Path) -> String {
        let lock = format!("option lock_file {}", lock.display());
        let lines: Vec<&str> = self
            .lines
            .iter()
            .map(String::as_str)
            .chain([&*lock])
            .collect();
        lines.join("\n") + "\n"
    }

    /// A path of the configuration, from outside of the root.
    pub(super) fn outside(root: &Root, path: &Path) -> PathBuf {
        root.path(path.strip_prefix("/").unwrap_or(path))
    }
}

/// As opkg reads them: every `*.conf`, in the order of their names.
fn paths(root: &Root) -> io::Result<BTreeSet<PathBuf>> {
    let mut paths = BTreeSet::new();
    let entries = match fs::read_dir(root.path("etc/opkg")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    for entry in entries.into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "conf") {
            paths.insert(path);
        }
    }
    let openwrt = root.path("etc/opkg.conf");
    if openwrt.exists() {
        paths.insert(openwrt);
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_and_architectures_are_kept() {
        let text = "src/gz feed https://example.org/feed\ndest root /\n  arch all 1\narch \"x86_64\" 10\n\
                    option force_overwrite 1\noption autoremove 1\noption offline_root /x\n\
                    option info_dir /opt/info\noption \"lock_file\" /opt/lock # mine\n# arch no 1\n";
        let found = Configuration::parse(text, YOCTO);
        let ours = "dest root /\narch all 1\narch \"x86_64\" 10\noption info_dir /opt/info\noption lock_file /l\n";
        assert_eq!(found.ours(Path::new("/l")), ours);
        assert_eq!(found.status, Path::new("/var/lib/opkg/status"));
        assert_eq!(found.info, Path::new("/opt/info"));
        assert_eq!(found.lock, Path::new("/opt/lock"));
    }

    #[test]
    fn a_root_is_that_of_yocto_unless_it_has_the_database_of_openwrt() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let read = || Configuration::read(&root).unwrap();
        assert_eq!(read().lock, Path::new("/var/run/opkg.lock"));
        fs::create_dir_all(root.path("usr/lib/opkg")).unwrap();
        fs::write(root.path("usr/lib/opkg/status"), "").unwrap();
        fs::create_dir_all(root.path("etc/opkg")).unwrap();
        fs::write(root.path("etc/opkg.conf"), "dest root /").unwrap();
        fs::write(root.path("etc/opkg/b.conf"), "arch b 2").unwrap();
        fs::write(root.path("etc/opkg/a.conf"), "arch a 1\n").unwrap();
        fs::write(root.path("etc/opkg/a.conf-opkg"), "arch x 1\n").unwrap();
        let found = read();
        assert_eq!(found.status, Path::new("/usr/lib/opkg/status"));
        assert_eq!(found.lock, Path::new("/var/lock/opkg.lock"));
        assert_eq!(found.lines, ["arch a 1", "arch b 2", "dest root /"]);
    }
}
