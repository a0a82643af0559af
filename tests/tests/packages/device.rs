//! The facts of a device: its files, the databases of dpkg and debconf, its units. Two devices are compared fact by
//! fact.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use wharf_tests::container::Container;

/// All facts, by their names: `file /etc/passwd`, `unit cron.service`.
#[derive(Debug, Default)]
pub(crate) struct Device {
    pub(crate) facts: BTreeMap<String, String>,
}

/// A fact that differs between the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) fact: String,
    pub(crate) ours: Option<String>,
    pub(crate) twins: Option<String>,
}

/// Folders and files that differ between any two devices, or hold only temporary content.
const VOLATILE: &[&str] = &[
    "dev/",
    "proc/",
    "root/",
    "run/",
    "sys/",
    "srv/given/",
    "tmp/",
    "var/tmp/",
    "etc/machine-id",
    // logs and times
    "var/log/",
    "var/cache/apt/",
    "var/lib/apt/lists/",
    "var/lib/apt/periodic/",
    "var/lib/systemd/catalog/",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/timers/",
    "var/lib/logrotate/status",
    "var/lib/private/systemd/",
    // caches with times
    "etc/ld.so.cache",
    "var/cache/ldconfig/",
    "var/cache/man/",
    // copies from before the last change
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/lib/dpkg/available",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/statoverride-old",
    // files of wharfd itself
    "etc/wharfd/",
    "var/lib/wharf-installer/",
    "var/lib/wharfd/",
];

/// Files of paragraphs in any order.
const PARAGRAPHS: [&str; 5] = [
    "var/cache/debconf/config.dat",
    "var/cache/debconf/passwords.dat",
    "var/cache/debconf/templates.dat",
    "var/lib/apt/extended_states",
    "var/lib/dpkg/status",
];

/// systemd's units, with the states of those that run or failed. A unit that systemd generated from an init script
/// stays loaded after the script is gone, until systemd is reloaded.
const UNITS: &str = "
systemctl list-unit-files --plain --no-legend | grep -v ' generated ' | awk '{print \"enabled\", $1 \"\\t\" $2}'
systemctl list-units --plain --no-legend --state=active,activating,reloading,failed \
    --type=service,socket,timer,path,target | awk '{print \"unit\", $1 \"\\t\" $3}'
";

impl Device {
    /// Reads everything that one of the two has changed in the system below.
    pub(crate) fn look(container: &Container, changes: &[PathBuf; 2]) -> Self {
        let mut device = Self::default();
        let root = container.path();
        let mut paths = BTreeSet::new();
        for upper in changes {
            changed(upper, &root, Path::new(""), &mut paths);
        }
        for path in paths {
            let is_in = |layer: &PathBuf| layer.join(&path).symlink_metadata().is_ok();
            match changes.iter().any(is_in) {
                true => device.add_file(&root, &path),
                false => device.add_untouched(&root, &path),
            }
        }
        for line in container.sh(UNITS).lines() {
            let (fact, value) = line.split_once('\t').unwrap_or((line, ""));
            if !fact.contains(" wharf") && !fact.contains(" run-") {
                device.facts.insert(fact.to_owned(), value.to_owned());
            }
        }
        device
    }

    /// A file that neither of the two has changed exists, or a new folder hides it.
    fn add_untouched(&mut self, root: &Path, path: &Path) {
        if root.join(path).symlink_metadata().is_ok() {
            let fact = format!("file /{}", path.display());
            self.facts.insert(fact, "untouched".to_owned());
        }
    }

    fn add_file(&mut self, root: &Path, path: &Path) {
        let shown = path.display().to_string();
        let file = root.join(path);
        let Ok(metadata) = file.symlink_metadata() else {
            return;
        };
        let kind = metadata.file_type();
        let owner = format!(
            "{:o} {}:{}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid()
        );
        let value = if kind.is_symlink() {
            let target = fs::read_link(&file).unwrap_or_default();
            format!("link to {}", target.display())
        } else if kind.is_dir() {
            format!("folder {owner}")
        } else if kind.is_file() {
            let content = fs::read(&file).unwrap_or_default();
            if PARAGRAPHS.contains(&shown.as_str()) {
                self.add_paragraphs(&shown, &content);
                format!("file {owner}")
            } else {
                format!("file {owner} {:016x}", digest(&content))
            }
        } else {
            let what = if kind.is_socket() { "socket" } else { "other" };
            format!("{what} {owner}")
        };
        self.facts.insert(format!("file /{shown}"), value);
    }

    fn add_paragraphs(&mut self, file: &str, content: &[u8]) {
        let text = String::from_utf8_lossy(content);
        for paragraph in text.split("\n\n") {
            let name = paragraph.trim_start().lines().next().unwrap_or_default();
            if !name.is_empty() {
                let value = paragraph.trim().to_owned();
                self.facts.insert(format!("file /{file}: {name}"), value);
            }
        }
    }
}

/// The paths in a layer and in its folders: a name may exist, or be hidden, on only one of both.
fn changed(upper: &Path, root: &Path, folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for layer in [upper, root] {
        for entry in fs::read_dir(layer.join(folder))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = folder.join(entry.file_name());
            let shown = path.display().to_string();
            let is_volatile =
                |begin: &&str| shown.starts_with(*begin) || begin.strip_suffix('/') == Some(&shown);
            if VOLATILE.iter().any(is_volatile) {
                continue;
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if layer == upper && is_folder {
                changed(upper, root, &path, found);
            }
            found.insert(path);
        }
    }
}

fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Every fact that differs between the two.
pub(crate) fn differences(ours: &Device, twins: &Device) -> Vec<Difference> {
    let names: BTreeSet<&String> = ours.facts.keys().chain(twins.facts.keys()).collect();
    let differences = names.into_iter().filter_map(|fact| {
        let (ours, twins) = (ours.facts.get(fact), twins.facts.get(fact));
        (ours != twins).then(|| Difference {
            fact: fact.clone(),
            ours: ours.cloned(),
            twins: twins.cloned(),
        })
    });
    differences.collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        let (ours, twins) = (value(&self.ours), value(&self.twins));
        write!(to, "{}: {ours:.400}; the twin: {twins:.400}", self.fact)
    }
}
