//! opkg's configuration, and ours for its runs. Ours keeps where things are and which architectures there are. It leaves
//! out every feed, so that opkg sees the installed packages alone, and every option that changes what a command does. A run
//! that has to know feeds gets them beside that.

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
    /// Each architecture with its priority; none if opkg has its own defaults.
    architectures: Vec<(i64, String)>,
    /// The folder with the lists of feeds.
    pub(super) feed_lists: PathBuf,
    pub(super) feeds: Vec<Feed>,
    /// The options for downloads and signatures.
    fetching: Vec<String>,
    /// The line by which the administrator lets opkg check the signatures of feeds. opkg takes any value for 1.
    checks_signatures: Option<String>,
}

/// A feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Feed {
    line: String,
    pub(super) name: String,
    pub(super) url: String,
}

impl Feed {
    /// Keeps the line as it is: opkg ignores one with blanks at its end.
    fn of(line: &str, name: &str, url: &str) -> Self {
        Self {
            line: line.to_owned(),
            name: name.to_owned(),
            url: url.to_owned(),
        }
    }
}

/// The feeds that a run knows. Folders are as a program in the root sees them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Feeds<'a> {
    /// None.
    None,
    /// Those of the device, with their lists in a folder of ours. opkg checks the signature of each feed that it takes a
    /// package of, unless the feed's line says `[trusted=yes]`.
    Configured(&'a Path),
    /// Those of the device, to fetch their lists.
    Fetched,
    /// A folder with downloaded packages.
    Downloaded(&'a Path),
}

/// The options that are kept.
const KEPT: [&str; 10] = [
    "ignore_uid",
    "info_dir",
    "intercepts_dir",
    "overlay_root",
    "status_file",
    "tmp_dir",
    "use_acl",
    "use_xattr",
    "verbose_status_file",
    "volatile_cache",
];

/// The beginnings of options that are kept for a run with feeds.
const FETCHING: [&str; 15] = [
    "connect_timeout_ms",
    "follow_location",
    "ftp_",
    "gpg_",
    "http_",
    "https_proxy",
    "no_proxy",
    "proxy_",
    "signature_",
    "ssl_",
    "transfer_timeout_ms",
    "user_agent",
    "verify_",
    "wget_",
    "compress_list_files",
];

/// The default paths.
struct Places {
    folder: &'static str,
    feed_lists: &'static str,
    lock: &'static str,
}

/// As Yocto builds opkg.
const YOCTO: Places = Places {
    folder: "/var/lib/opkg",
    feed_lists: "/var/lib/opkg/lists",
    lock: "/var/run/opkg.lock",
};

/// As OpenWrt builds it.
const OPENWRT: Places = Places {
    folder: "/usr/lib/opkg",
    feed_lists: "/var/opkg-lists",
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

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self::parse(text, YOCTO)
    }

    fn parse(text: &str, places: Places) -> Self {
        let folder = Path::new(places.folder);
        let mut found = Self {
            lines: Vec::new(),
            status: folder.join("status"),
            info: folder.join("info"),
            lock: places.lock.into(),
            architectures: Vec::new(),
            feed_lists: places.feed_lists.into(),
            feeds: Vec::new(),
            fetching: Vec::new(),
            checks_signatures: None,
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
                ("option", "lists_dir") => {
                    found.feed_lists = value.into();
                    false
                }
                ("option", "check_signature") => {
                    found.checks_signatures = Some(line.trim().to_owned());
                    false
                }
                ("option", _) if FETCHING.iter().any(|it| name.starts_with(it)) => {
                    found.fetching.push(line.trim().to_owned());
                    false
                }
                ("src" | "src/gz", _) => {
                    found.feeds.push(Feed::of(line, name, value));
                    false
                }
                ("option", _) => KEPT.contains(&name),
                _ => false,
            };
            if let ("arch", Ok(priority)) = (kind, value.parse()) {
                found.architectures.push((priority, name.to_owned()));
            }
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

    /// The text of our configuration, with this lock and these feeds.
    pub(super) fn ours(&self, lock: &Path, feeds: Feeds<'_>) -> String {
        let option = |name: &str, value: &Path| format!("option {name} {}", value.display());
        let mut lines = self.lines.clone();
        lines.push(option("lock_file", lock));
        let (lists, checks) = match feeds {
            Feeds::None => return lines.join("\n") + "\n",
            Feeds::Configured(folder) => {
                lines.push(option("cache_dir", &folder.join("fetched")));
                (
                    folder.join("configured"),
                    Some("option check_signature 1".to_owned()),
                )
            }
            Feeds::Fetched => (self.feed_lists.clone(), self.checks_signatures.clone()),
            Feeds::Downloaded(folder) => {
                lines.push(option("cache_dir", &folder.join("cache")));
                lines.push(format!("src {OWN} file://{}", folder.display()));
                (folder.join("lists"), None)
            }
        };
        if !matches!(feeds, Feeds::Downloaded(_)) {
            lines.extend(self.fetching.iter().cloned());
            lines.extend(self.feeds.iter().map(|feed| feed.line.clone()));
        }
        lines.push(option("lists_dir", &lists));
        lines.extend(checks);
        lines.push("option no_install_recommends 1".to_owned());
        lines.join("\n") + "\n"
    }

    /// Each architecture that opkg installs, the best one last. Empty if the configuration has none, and opkg knows its own.
    pub(super) fn architectures(&self) -> Vec<String> {
        by_priority(self.architectures.clone())
    }

    /// A path of the configuration, from outside of the root.
    pub(super) fn outside(root: &Root, path: &Path) -> PathBuf {
        root.path(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The name of the feed of downloaded packages.
pub(super) const OWN: &str = "wharfd";

/// Architectures by their priorities. opkg installs none whose priority is not positive.
pub(super) fn by_priority(mut found: Vec<(i64, String)>) -> Vec<String> {
    found.retain(|(priority, _)| *priority > 0);
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
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
        let text = "src/gz feed https://example.org/feed [trusted=yes]\ndest root /\n  arch all 1\narch \"x86_64\" 10\n\
                    option force_overwrite 1\noption autoremove 1\noption offline_root /x\n\
                    option info_dir /opt/info\noption gpg_dir /g\noption check_signature 0\noption \"lock_file\" /opt/lock # mine\n# arch no 1\n";
        let found = Configuration::parse(text, YOCTO);
        let ours = "dest root /\narch all 1\narch \"x86_64\" 10\noption info_dir /opt/info\noption lock_file /l\n";
        assert_eq!(found.ours(Path::new("/l"), Feeds::None), ours);
        assert_eq!(found.status, Path::new("/var/lib/opkg/status"));
        assert_eq!(found.info, Path::new("/opt/info"));
        assert_eq!(found.lock, Path::new("/opt/lock"));
        assert_eq!(found.architectures(), ["all", "x86_64"]);
        let feeds = found.ours(Path::new("/l"), Feeds::Configured(Path::new("/f")));
        let expected = format!(
            "{ours}option cache_dir /f/fetched\noption gpg_dir /g\nsrc/gz feed https://example.org/feed [trusted=yes]\n\
             option lists_dir /f/configured\noption check_signature 1\noption no_install_recommends 1\n"
        );
        assert_eq!(feeds, expected);
        let none = Configuration::parse("arch all 0\narch x\n", YOCTO);
        assert_eq!(none.architectures(), [""; 0]);
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
