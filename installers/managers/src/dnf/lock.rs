//! rpm's transaction lock (`.rpm.lock` beside its database). The process that becomes the tool takes it: a POSIX lock stays
//! with a process over exec, and the tool's own lock does not conflict with it. From the plan to the end, no other program
//! can change packages. rpm and dnf do not wait for this lock without a terminal; this module does.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::{SigSet, Signal};
use wharf_frames::{Cause, Failure};
use wharf_root::Root;

use super::programs::not_started;
use crate::{Lock, conversation::above, posix_lock};

/// Starts a program that holds the lock, once the lock is free, if it is still wanted then. dnf 4 takes its own lock first, and
/// would fail if rpm's lock were taken in between. The signals that end a session are blocked: dnf 5 would stop in the middle of
/// its work.
pub(super) fn spawn_locked(
    command: &mut Command,
    root: &Root,
    path: &Path,
    wait: Duration,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Child, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| not_started(&program, &error);
    let file = open(path).map_err(|error| {
        let detail = format!("cannot open {}: {error}", path.display());
        Failure::new(Cause::Unavailable, detail)
    })?;
    let file = Arc::new(file);
    posix_lock::take_in_child(command, Arc::clone(&file), block_signals);
    let spawn = |_: &OwnedFd| match of_dnf4(root).holder {
        Some(_) => Err(io::ErrorKind::WouldBlock.into()),
        None => command.spawn(),
    };
    let spawned = posix_lock::obtain(path, wait, is_wanted, &failed, || Ok(&*file), spawn);
    spawned.map_err(|failure| match of_dnf4(root) {
        Lock {
            path,
            holder: Some(holder),
        } if failure.cause == Cause::Locked => {
            let detail = format!("{} is locked by {holder}", path.display());
            Failure::new(Cause::Locked, detail)
        }
        _ => failure,
    })
}

/// A process loses a POSIX lock when it closes any descriptor of the file. This one is the only one, and the program gets none
/// of its own with this number.
fn open(path: &Path) -> io::Result<OwnedFd> {
    const ABOVE: i32 = 99;
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    above(file.as_fd(), ABOVE)
}

/// Blocks the signals that end a session. sigprocmask(2) is safe between fork and exec.
fn block_signals() -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    Ok(signals.thread_block()?)
}

/// The lock of dnf 4 itself: a file with the number of a process. After a power cut, that may be the number of another one.
pub(super) fn of_dnf4(root: &Root) -> Lock {
    let path = root.path("var/lib/dnf/rpmdb_lock.pid");
    let pid = fs::read_to_string(&path)
        .ok()
        .and_then(|pid| pid.trim().parse().ok());
    let holder = pid.map(posix_lock::words);
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
