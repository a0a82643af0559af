//! The file systems that a job may have written to: the usual ones of a system, and those of the package's own paths.
//! Maintainer scripts and some package managers do not sync their files.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::syncfs;

use crate::Root;

/// The usual folders of packages, of the package database, and of files that maintainer scripts write.
const USUAL: [&str; 8] = ["", "usr", "etc", "opt", "var", "var/lib", "srv", "boot"];

/// At least one folder on each file system.
pub struct FileSystems(BTreeSet<PathBuf>);

/// A file system could not be synced.
#[derive(Debug, thiserror::Error)]
#[error("cannot sync the file system of {}: {source}", folder.display())]
pub struct NotSynced {
    folder: PathBuf,
    source: io::Error,
}

impl FileSystems {
    /// The usual file systems of this root.
    pub fn of(root: &Root) -> Self {
        Self(USUAL.iter().map(|folder| root.path(folder)).collect())
    }

    /// Adds the file system of this path, and the one that is mounted at it. `mounts` are all mount points.
    pub fn add(&mut self, path: &Path, mounts: &BTreeSet<PathBuf>) {
        let mounted = Some(path).filter(|path| mounts.contains(*path));
        for folder in path.parent().into_iter().chain(mounted) {
            if !self.0.contains(folder) {
                self.0.insert(folder.to_owned());
            }
        }
    }

    /// Syncs each file system.
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

/// The removal of a package may have removed the folder.
fn is_there(folder: &Path) -> Option<(&Path, u64)> {
    let metadata = fs::metadata(folder).ok()?;
    metadata.is_dir().then(|| (folder, metadata.dev()))
}

fn sync(folder: &Path) -> io::Result<()> {
    Ok(syncfs(File::open(folder)?)?)
}

/// All mount points (proc_pid_mountinfo(5)). A name with escaped characters is not recognised: no package has such a
/// folder.
pub fn mounts() -> BTreeSet<PathBuf> {
    let lines = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = lines.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(PathBuf::from).collect()
}
