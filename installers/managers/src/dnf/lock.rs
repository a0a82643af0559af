//! rpm's transaction lock (`.rpm.lock` beside its database). The process that becomes the tool takes it: a POSIX lock stays
//! with a process over exec, and the tool's own lock does not conflict with it. From the plan to the end, no other program
//! can change packages. rpm and dnf do not wait for this lock without a terminal; this module does.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Child, Command},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    libc,
    sys::signal::{SigSet, Signal},
};
use wharf_frames::{Cause, Failure};
use wharf_root::Root;

use super::programs::not_started;
use crate::{Lock, holder};

/// The time between two attempts: a wait for a POSIX lock has no limit.
const STEP: Duration = Duration::from_millis(100);

/// Starts a program that holds the lock, once the lock is free. The signals that end a session are blocked: dnf 5 would stop in
/// the middle of its work.
pub(super) fn spawn_locked(
    command: &mut Command,
    path: &Path,
    wait: Duration,
) -> Result<Child, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| not_started(&program, &error);
    let file = open(path).map_err(|error| {
        let detail = format!("cannot open {}: {error}", path.display());
        Failure::new(Cause::Unavailable, detail)
    })?;
    let file = Arc::new(file);
    take_in_child(command, Arc::clone(&file));
    let deadline = Instant::now() + wait;
    loop {
        let holder = holder(&file).map_err(failed)?;
        if holder.is_none() {
            match command.spawn() {
                Ok(child) => return Ok(child),
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if Instant::now() >= deadline {
            return Err(locked(path, holder));
        }
        thread::sleep(STEP);
    }
}

/// A process loses a POSIX lock when it closes any descriptor of the file. This one is the only one, and a shell does not use
/// its number.
fn open(path: &Path) -> io::Result<OwnedFd> {
    const ABOVE: i32 = 100;
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let moved = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(ABOVE))?;
    Ok(owned(moved))
}

#[allow(unsafe_code, reason = "the new descriptor is owned by nobody else")]
fn owned(descriptor: RawFd) -> OwnedFd {
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

#[allow(
    unsafe_code,
    reason = "between fork and exec only functions are called that are safe there: fcntl and sigprocmask"
)]
fn take_in_child(command: &mut Command, file: Arc<OwnedFd>) {
    let take = move || -> io::Result<()> {
        fcntl(&*file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        fcntl(&*file, FcntlArg::F_SETLK(&whole(libc::F_WRLCK)))?;
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block()?;
        Ok(())
    };
    unsafe { command.pre_exec(take) };
}

/// The process that holds the lock; none if it is free.
fn holder(file: &OwnedFd) -> io::Result<Option<i32>> {
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

fn locked(path: &Path, holder: Option<i32>) -> Failure {
    let by = holder.map_or(String::new(), |pid| format!(" by {}", holder::words(pid)));
    let detail = format!("{} is locked{by}", path.display());
    Failure::new(Cause::Locked, detail)
}

/// The lock of dnf 4 itself: a file with the number of a process. After a power cut, that may be the number of another one.
pub(super) fn of_dnf4(root: &Root) -> Lock {
    let path = root.path("var/lib/dnf/rpmdb_lock.pid");
    let pid = fs::read_to_string(&path)
        .ok()
        .and_then(|pid| pid.trim().parse().ok());
    let holder = pid.map(holder::words);
    let is_dnf = |holder: &String| {
        ["dnf", "yum", "packagekit"]
            .iter()
            .any(|name| holder.contains(name))
    };
    Lock {
        holder: holder.filter(is_dnf),
        path,
    }
}
