//! opkg's lock, a POSIX lock on a file. The process that becomes opkg takes it before the plan, and keeps it over exec: opkg's
//! own lock does not conflict with it. Nobody else can change packages from the plan to the end, also if we die. opkg itself
//! never waits for it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use nix::fcntl::OFlag;
use wharf_frames::{Cause, Failure};
use wharf_root::Root;

use super::{configuration::Configuration, files};
use crate::posix_lock;

/// The lock of one root.
pub(super) struct Lock<'a> {
    pub(super) root: &'a Root,
    /// As a program in the root sees it.
    pub(super) path: &'a Path,
    /// The time limit of the wait for it.
    pub(super) wait: Duration,
    /// Whether the wait is still wanted.
    pub(super) is_wanted: &'a dyn Fn() -> bool,
}

impl Lock<'_> {
    /// Starts a program that holds the lock, once that is free.
    pub(super) fn spawn(
        &self,
        mut command: impl FnMut() -> io::Result<Command>,
    ) -> Result<Child, Failure> {
        self.obtain(|file| {
            let mut command = command()?;
            posix_lock::take_in_child(&mut command, file, || Ok(()));
            let mut child = command.spawn()?;
            let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
            // opkg deletes the file at its end: the lock counts only if the file is still the one of this name.
            match posix_lock::holder(&self.open()?)? == Some(pid) {
                true => Ok(child),
                false => {
                    let _ = child.kill();
                    let _ = child.wait();
                    Err(io::ErrorKind::WouldBlock.into())
                }
            }
        })
    }

    /// Takes the lock itself, for as long as the file is open.
    pub(super) fn take(&self) -> Result<File, Failure> {
        self.obtain(|file| posix_lock::take(&file).map(|()| file))
    }

    fn obtain<T>(&self, take: impl FnMut(File) -> io::Result<T>) -> Result<T, Failure> {
        let failed = |error: io::Error| {
            let detail = format!("cannot lock {}: {error}", self.path.display());
            Failure::new(Cause::Unavailable, detail)
        };
        let open = || self.open();
        posix_lock::obtain(self.path, self.wait, self.is_wanted, &failed, open, take)
    }

    /// The holder of the lock at this time.
    pub(super) fn look(&self) -> Result<crate::Lock, Failure> {
        let looked = || match files::open(self.root, self.path, OFlag::O_RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => posix_lock::holder(&opened?),
        };
        match looked() {
            Ok(holder) => Ok(crate::Lock {
                path: Configuration::outside(self.root, self.path),
                holder: holder.map(posix_lock::words),
            }),
            Err(error) => {
                let detail = format!("cannot look at {}: {error}", self.path.display());
                Err(Failure::new(Cause::Unavailable, detail))
            }
        }
    }

    fn open(&self) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT;
        match files::open(self.root, self.path, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = self.path.parent().unwrap_or(Path::new("/"));
                let folder: PathBuf = folder.strip_prefix("/").unwrap_or(folder).into();
                fs::create_dir_all(self.root.path(folder))?;
                files::open(self.root, self.path, flags)
            }
            opened => opened,
        }
    }
}
