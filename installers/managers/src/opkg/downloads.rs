//! The packages that were downloaded for one run, as a feed of their own.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use wharf_frames::{PackageName, PackageVersion, installer::Dependency};
use wharf_root::{Root, durable, limits};

use super::configuration::OWN;

/// The downloaded packages in their order, in the folder of a run. It is written last.
const ORDER: &str = "packages/order";

/// A folder with the downloaded packages of one run. It is deleted with this value; after a kill, the repair finds it.
pub(super) struct Downloads {
    pub(super) folder: PathBuf,
    /// The folder as a program in the root sees it.
    pub(super) inside: PathBuf,
    pub(super) packages: Vec<Downloaded>,
}

/// A downloaded package.
pub(super) struct Downloaded {
    pub(super) dependency: Dependency,
    pub(super) file: PathBuf,
}

impl Drop for Downloads {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Downloads {
    pub(super) fn new(root: &Root) -> io::Result<Self> {
        let kept = kept(root);
        durable::private_folder(&kept)?;
        let (folder, ()) = durable::unique(&kept.join("run"), "", |path| fs::create_dir(path))?;
        for inner in ["configured", "fetched", "lists", "packages", "cache"] {
            fs::create_dir(folder.join(inner))?;
        }
        Ok(Self {
            inside: root.seen_inside(&folder),
            folder,
            packages: Vec::new(),
        })
    }

    /// Whether an interrupted run downloaded something.
    pub(super) fn are_left(root: &Root) -> bool {
        let mut runs = fs::read_dir(kept(root)).into_iter().flatten().flatten();
        runs.any(|run| run.path().join(ORDER).exists())
    }

    /// The downloads of an interrupted run.
    pub(super) fn left(root: &Root) -> Option<Self> {
        let runs = fs::read_dir(kept(root)).ok()?.flatten();
        let mut found = runs.filter_map(|run| {
            let folder = run.path();
            let mut packages = Vec::new();
            let list = fs::read_to_string(folder.join(ORDER)).ok()?;
            for line in list.lines() {
                let (name, version) = line.split_once(' ')?;
                packages.push(Downloaded {
                    file: package(&folder, name),
                    dependency: Dependency {
                        name: PackageName::new(name).ok()?,
                        version: PackageVersion::new(version).ok()?,
                    },
                });
            }
            Some(Self {
                inside: root.seen_inside(&folder),
                folder,
                packages,
            })
        });
        found.next()
    }

    pub(super) fn dependencies(&self) -> Vec<Dependency> {
        self.packages
            .iter()
            .map(|it| it.dependency.clone())
            .collect()
    }

    /// The bytes that a download may have: the file system keeps a reserve.
    #[allow(
        clippy::useless_conversion,
        reason = "they are narrower on 32-bit machines"
    )]
    pub(super) fn room(&self) -> io::Result<u64> {
        let disk = nix::sys::statvfs::statvfs(&self.folder)?;
        let block = u64::from(disk.fragment_size());
        let free = u64::from(disk.blocks_available()).saturating_mul(block);
        Ok(free.saturating_sub(*limits::RESERVE_BYTES.start()))
    }

    /// Writes what was downloaded, for the run and for its repair.
    pub(super) fn finish(&self, paragraphs: &str) -> io::Result<()> {
        let order: String = self
            .packages
            .iter()
            .map(|it| format!("{} {}\n", it.dependency.name, it.dependency.version))
            .collect();
        fs::remove_dir_all(self.folder.join("configured"))?;
        fs::remove_dir_all(self.folder.join("fetched"))?;
        let list = self.folder.join("lists").join(OWN);
        let mut list = File::create(list)?;
        list.write_all(paragraphs.as_bytes())?;
        list.sync_all()?;
        durable::write(&self.folder.join(ORDER), order.as_bytes())?;
        durable::sync_folder_of(&self.folder.join("lists").join(OWN))?;
        durable::sync_folder_of(&self.folder.join("lists"))?;
        durable::sync_folder_of(&self.folder)
    }
}

/// Deletes what ended processes left.
pub(super) fn forget(root: &Root) {
    durable::sweep(&kept(root), "");
}

/// The folder of all downloads.
fn kept(root: &Root) -> PathBuf {
    root.state().join("opkg-dependencies")
}

pub(super) fn package(folder: &Path, name: &str) -> PathBuf {
    folder.join("packages").join(format!("{name}.ipk"))
}
