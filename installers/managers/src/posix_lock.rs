//! POSIX locks on files (fcntl(2)), as package managers take them. A process keeps such a lock over exec, and a lock of the same
//! process does not conflict with it. It loses the lock as soon as it closes any descriptor of the file.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    libc,
};
use wharf_frames::{Cause, Failure};

use crate::not_wanted;

/// The time between two attempts: a wait for a POSIX lock has no limit.
const STEP: Duration = Duration::from_millis(100);

/// The process that holds the lock on this file, in words; none if the lock is free, or if there is no such file.
pub(crate) fn holder_of(path: &Path) -> io::Result<Option<String>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => Ok(holder(&opened?)?.map(words)),
    }
}

/// The process that holds the lock; none if it is free.
pub(crate) fn holder(file: &impl AsFd) -> io::Result<Option<i32>> {
    let mut lock = whole();
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

/// Takes the lock for this process.
pub(crate) fn take(file: &impl AsFd) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETLK(&whole()))?;
    Ok(())
}

/// Takes the lock for the process that this command becomes, and then does this, which must be safe between fork and exec. No
/// other descriptor of the file may be open in this process.
#[allow(
    unsafe_code,
    reason = "between fork and exec only functions are called that are safe there: fcntl, and those of `then`"
)]
pub(crate) fn take_in_child(
    command: &mut Command,
    file: impl AsFd + Send + Sync + 'static,
    then: fn() -> io::Result<()>,
) {
    let taken = move || -> io::Result<()> {
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        take(&file)?;
        then()
    };
    unsafe { command.pre_exec(taken) };
}

/// Waits until the lock is free and `take` has it, as long as that is wanted. `open` opens the file of this name for each
/// attempt; `take` fails with `WouldBlock` if another process was faster.
pub(crate) fn obtain<F: AsFd, T>(
    name: &Path,
    wait: Duration,
    is_wanted: &dyn Fn() -> bool,
    failed: &dyn Fn(io::Error) -> Failure,
    mut open: impl FnMut() -> io::Result<F>,
    mut take: impl FnMut(F) -> io::Result<T>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + wait;
    loop {
        if !is_wanted() {
            return Err(not_wanted());
        }
        let file = open().map_err(failed)?;
        let holder = holder(&file).map_err(failed)?;
        if holder.is_none() {
            match take(file) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => return taken.map_err(failed),
            }
        }
        if Instant::now() >= deadline {
            return Err(locked(name, holder));
        }
        thread::sleep(STEP);
    }
}

fn locked(path: &Path, holder: Option<i32>) -> Failure {
    let by = holder.map_or(String::new(), |pid| format!(" by {}", words(pid)));
    let detail = format!("{} is locked{by}", path.display());
    Failure::new(Cause::Locked, detail)
}

/// `process 12 (rpm -U hello.rpm)`. A lock of a process that this one cannot see has no positive number.
pub(crate) fn words(pid: i32) -> String {
    if pid <= 0 {
        return "a process that cannot be seen from here".to_owned();
    }
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    match command.trim_end() {
        "" => format!("process {pid}"),
        command => format!("process {pid} ({command})"),
    }
}

/// A lock on the whole file, to write.
fn whole() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
