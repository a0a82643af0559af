//! opkg's lock, a POSIX lock on a file. The process that becomes opkg takes it before the plan, and keeps it over exec: opkg's
//! own lock does not conflict with it. Nobody else can change packages from the plan to the end, also if we die. opkg itself
//! never waits for it.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    libc,
};
use wharf_frames::{Cause, Failure};
use wharf_root::Root;

use super::{configuration::Configuration, files};
use crate::holder;

/// How long until it is looked at again: POSIX locks have no wait with a limit.
const STEP: Duration = Duration::from_millis(100);

/// The lock of one root.
pub(super) struct Lock<'a> {
    pub(super) root: &'a Root,
    /// As a program in the root sees it.
    pub(super) path: &'a Path,
    /// How long to wait for it.
    pub(super) wait: Duration,
}

impl Lock<'_> {
    /// Starts a program that holds the lock, once that is free.
    pub(super) fn spawn(
        &self,
        mut command: impl FnMut() -> io::Result<Command>,
    ) -> Result<Child, Failure> {
        self.obtain(|file| {
            let mut command = command()?;
            take_in_child(&mut command, file);
            let mut child = command.spawn()?;
            let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
            // opkg deletes the file at its end: the lock counts only if the file is still the one of this name.
            match holder(&self.open()?)? == Some(pid) {
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
        self.obtain(|file| {
            fcntl(&file, FcntlArg::F_SETLK(&whole(libc::F_WRLCK)))?;
            Ok(file)
        })
    }

    /// Tries again until the lock was free, or until the time is over.
    fn obtain<T>(&self, mut take: impl FnMut(File) -> io::Result<T>) -> Result<T, Failure> {
        let deadline = Instant::now() + self.wait;
        loop {
            let failed = |error: io::Error| {
                let detail = format!("cannot lock {}: {error}", self.path.display());
                Failure::new(Cause::Unavailable, detail)
            };
            let file = self.open().map_err(failed)?;
            let holder = holder(&file).map_err(failed)?;
            if holder.is_none() {
                match take(file) {
                    // Somebody else was faster.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    taken => return taken.map_err(failed),
                }
            }
            if Instant::now() >= deadline {
                return Err(self.locked(holder));
            }
            thread::sleep(STEP);
        }
    }

    /// The holder of the lock at this time.
    pub(super) fn look(&self) -> Result<crate::Lock, Failure> {
        let looked = || match files::open(self.root, self.path, OFlag::O_RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => holder(&opened?),
        };
        match looked() {
            Ok(holder) => Ok(crate::Lock {
                path: Configuration::outside(self.root, self.path),
                holder: holder.map(holder::words),
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

    fn locked(&self, holder: Option<i32>) -> Failure {
        let by = holder.map_or(String::new(), |pid| format!(" by {}", holder::words(pid)));
        let detail = format!("{} is locked{by}", self.path.display());
        Failure::new(Cause::Locked, detail)
    }
}

/// The child has this one descriptor of the file: an exec that closes another one would release the lock.
#[allow(
    unsafe_code,
    reason = "between fork and exec only fcntl is called, which is safe there"
)]
fn take_in_child(command: &mut Command, file: File) {
    let take = move || -> io::Result<()> {
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        fcntl(&file, FcntlArg::F_SETLK(&whole(libc::F_WRLCK)))?;
        Ok(())
    };
    unsafe { command.pre_exec(take) };
}

/// The process that holds the lock; none if it is free.
fn holder(file: &File) -> io::Result<Option<i32>> {
    let mut lock = whole(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
