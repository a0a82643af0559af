//! Free space on the disk of staged files, and the part of it that stays free: the package manager and its database
//! need it.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;
use wharf_root::{Root, limits};

use crate::policy::Quota;

/// Bytes of a disk.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Unused bytes.
    pub free: u64,
    /// Bytes that must stay free.
    pub reserve: u64,
}

impl Room {
    /// The folder for staged files, or its nearest ancestor that exists and that the caller may read, and the room
    /// there.
    pub fn for_staging(root: &Root, quota: &Quota) -> io::Result<(PathBuf, Self)> {
        let staged = root.staged();
        let found = staged.ancestors().find_map(|folder| {
            let room = Self::on_disk_of(folder, quota).ok()?;
            Some((folder.to_owned(), room))
        });
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    #[allow(
        clippy::useless_conversion,
        reason = "they are narrower on 32-bit machines"
    )]
    pub(crate) fn on_disk_of(folder: &Path, quota: &Quota) -> io::Result<Self> {
        let disk = statvfs(folder)?;
        let block = u64::from(disk.fragment_size());
        let size = u64::from(disk.blocks()).saturating_mul(block);
        Ok(Self {
            free: u64::from(disk.blocks_available()).saturating_mul(block),
            reserve: reserve(quota, size),
        })
    }
}

fn reserve(quota: &Quota, disk: u64) -> u64 {
    let percent = disk / 100 * limits::RESERVE_PERCENT;
    percent
        .clamp(*limits::RESERVE_BYTES.start(), *limits::RESERVE_BYTES.end())
        .saturating_add(quota.reserve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_of_the_disk_stays_free_within_64_mib_and_1_gib() {
        const MIB: u64 = 1024 * 1024;
        for (disk, configured, stays_free) in [
            (100 * MIB, 0, 64 * MIB),
            (2000 * MIB, 0, 100 * MIB),
            (2000 * MIB, 7, 100 * MIB + 7),
            (250_000 * MIB, 0, 1024 * MIB),
            (u64::MAX, u64::MAX, u64::MAX),
        ] {
            let quota = Quota {
                reserve: configured,
                ..Quota::default()
            };
            assert_eq!(reserve(&quota, disk), stays_free, "{disk} {configured}");
        }
    }
}
