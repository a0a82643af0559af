//! The file systems that a job may have written to: where the system usually lies, and where the package's own paths
//! do. Neither maintainer scripts nor all package managers sync what they write. Knows no package manager.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::syncfs;

use crate::Root;

/// Where packages and the package database lie, also by what maintainer scripts do beside the package's paths.
const USUAL: [&str; 8] = ["", "usr", "etc", "opt", "var", "var/lib", "srv", "boot"];

/// A folder or more on each of them.
pub struct FileSystems(BTreeSet<PathBuf>);

/// One could not be synced.
#[derive(Debug, thiserror::Error)]
#[error("cannot sync the file system of {}: {source}", folder.display())]
pub struct NotSynced {
    folder: PathBuf,
    source: io::Error,
}

impl FileSystems {
    /// Those of this root.
    pub fn of(root: &Root) -> Self {
        Self(USUAL.iter().map(|folder| root.path(folder)).collect())
    }

    /// Adds the one that this path lies on, and that which is mounted there. `mounts` are all that there are.
    pub fn add(&mut self, path: &Path, mounts: &BTreeSet<PathBuf>) {
        let mounted = Some(path).filter(|path| mounts.contains(*path));
        for folder in path.parent().into_iter().chain(mounted) {
            if !self.0.contains(folder) {
                self.0.insert(folder.to_owned());
            }
        }
    }

    /// Returns once each has on its disk what was written to it.
    pub fn sync(&self) -> Result<(), NotSynced> {
        let mut synced = BTreeSet::new();
        for folder in &self.0 {
            let Some((folder, device)) = folder.ancestors().find_map(is_there) else {
                continue;
            };
            if synced.insert(device) {
                sync(folder).map_err(|source| NotSynced {
                    folder: folder.to_owned(),
                    source,
                })?;
            }
        }
        Ok(())
    }
}

/// A removed package may have taken its folder along.
fn is_there(folder: &Path) -> Option<(&Path, u64)> {
    let metadata = fs::metadata(folder).ok()?;
    metadata.is_dir().then(|| (folder, metadata.dev()))
}

fn sync(folder: &Path) -> io::Result<()> {
    Ok(syncfs(File::open(folder)?)?)
}

/// Where something is mounted (proc_pid_mountinfo(5)). A name in which the kernel escapes a character is not recognised:
/// no package brings such a folder.
pub fn mounts() -> BTreeSet<PathBuf> {
    let lines = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = lines.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(PathBuf::from).collect()
}
