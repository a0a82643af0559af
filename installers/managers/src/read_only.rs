//! Read-only file systems. At a removal, package managers forget the files that they cannot delete on one.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use nix::sys::statvfs::{FsFlags, statvfs};
use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::Root;

/// Refuses to change a package with a file on a read-only file system.
pub(crate) fn refuse(root: &Root, name: &PackageName, paths: &[PathBuf]) -> Result<(), Failure> {
    let folders: BTreeSet<&Path> = paths.iter().filter_map(|path| existing(path)).collect();
    let found = folders.into_iter().find(|folder| is_read_only(folder));
    found.map_or(Ok(()), |folder| {
        let detail = format!(
            "{name} cannot be changed: {} is on a file system that is read-only; mount it with write access",
            root.seen_inside(folder).display()
        );
        Err(Failure::new(Cause::PackageManager, detail))
    })
}

/// The folder of this path, or the closest one above it that exists.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|folder| folder.exists())
}

fn is_read_only(folder: &Path) -> bool {
    statvfs(folder).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}
