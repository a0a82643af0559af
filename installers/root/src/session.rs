//! The processes of a job. A job has a session of its own, which its package manager and the maintainer scripts share.
//! This module looks them up in /proc. The package manager tells its own processes from others ([`Recognise`]).

use std::{
    fs, io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags},
    sys::signal::{Signal, kill},
    unistd::{Pid, getsid},
};

use crate::{
    limits,
    process::{pidfd, wait_for_event},
};

/// A running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningProcess {
    /// Its number.
    pub pid: i32,
}

/// The part that a process has in the work of a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A program of the package manager. It waits, or answers a question.
    Idle,
    /// A program of the package manager that changes the device. It is never ended.
    Working,
    /// A maintainer script. It may hang, and may be ended.
    Script,
}

/// Tells the role of a process; none if it is neither the package manager nor a maintainer script.
pub type Recognise<'a> = &'a dyn Fn(&RunningProcess) -> Option<Role>;

/// One line of /proc.
struct Running {
    process: RunningProcess,
    parent: i32,
    session: i32,
}

impl RunningProcess {
    /// The name that the kernel has for it: at most 15 bytes. Empty if it has ended.
    pub fn name(&self) -> String {
        let name = fs::read(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(name.trim_ascii_end()).into_owned()
    }

    /// Its command line, each argument followed by a zero byte. Empty if it has ended.
    pub fn command_line(&self) -> Vec<u8> {
        fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default()
    }

    fn end(self) {
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL); // it may have ended by now
    }
}

impl Role {
    /// Whether the process changes the device.
    pub const fn changes_the_device(self) -> bool {
        matches!(self, Self::Working | Self::Script)
    }

    /// Whether it is a program of the package manager.
    pub const fn is_package_manager(self) -> bool {
        matches!(self, Self::Idle | Self::Working)
    }
}

/// Makes this process the head of a session of its own. A signal to the group of its parent then does not reach the
/// package manager. Returns the session.
pub fn begin() -> i32 {
    // Refused only to a process that is a head already.
    let session = nix::unistd::setsid().or_else(|_| getsid(None));
    session.map_or(0, Pid::as_raw)
}

/// Waits until the last process of a session that somebody else began has ended. Returns false after `limit`.
pub fn wait_until_gone(session: i32, limit: Duration) -> io::Result<bool> {
    wait_until_none(session, limit, |_| true)
}

fn wait_until_none(
    session: i32,
    limit: Duration,
    counts: impl Fn(&RunningProcess) -> bool,
) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    while let Some(process) = first_of(session, &counts)? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        match pidfd(process.pid) {
            Ok(end) => {
                let mut events = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
                wait_for_event(&mut events, deadline)?;
                if !events.iter().any(|event| event.any() == Some(true)) {
                    return Ok(false);
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Waits until this process is alone in its own session. A program of the package manager may outlive the one that
/// started it, and the database is final only after its end. Any other process may be a daemon that a script started: it
/// gets less time.
pub fn wait_for_the_rest(limit: Duration, recognise: Recognise<'_>) -> io::Result<()> {
    let own = nix::unistd::getpid();
    if getsid(None) != Ok(own) {
        return Ok(()); // the other processes of this session are not ours
    }
    if first_of(own.as_raw(), |_| true)?.is_none() {
        return Ok(());
    }
    let is_package_manager =
        |process: &RunningProcess| recognise(process).is_some_and(Role::is_package_manager);
    wait_until_none(own.as_raw(), limit, is_package_manager)?;
    wait_until_none(own.as_raw(), limit.min(limits::LEFT_BEHIND), |_| true)?;
    Ok(())
}

/// Whether a process of this session changes the device.
pub fn changes_packages(session: i32, recognise: Recognise<'_>) -> bool {
    let mut all = of_session(session).unwrap_or_default().into_iter();
    all.any(|process| recognise(&process).is_some_and(Role::changes_the_device))
}

fn first_of(
    session: i32,
    counts: impl Fn(&RunningProcess) -> bool,
) -> io::Result<Option<RunningProcess>> {
    let this = i32::try_from(std::process::id()).unwrap_or_default();
    let others = of_session(session)?.into_iter();
    let mut others = others.filter(|process| process.pid != this);
    Ok(others.find(counts))
}

/// Ends a package manager that has no consent, with all its children. If one of them changes the device all the same, ends
/// nothing, and returns false.
pub fn end_waiting(above: u32, recognise: Recognise<'_>) -> bool {
    let (Ok(pid), Ok(all)) = (i32::try_from(above), running()) else {
        return false;
    };
    let below = descendants(&all, pid);
    let changes =
        |process: &RunningProcess| recognise(process).is_some_and(Role::changes_the_device);
    if below.iter().any(changes) {
        return false;
    }
    for process in below.into_iter().chain([RunningProcess { pid }]) {
        process.end();
    }
    true
}

/// Ends the maintainer scripts below this process, or the process itself if it is one, with all that they started. The
/// package manager itself is never ended.
pub fn end_scripts(above: u32, recognise: Recognise<'_>) {
    let (Ok(pid), Ok(all)) = (i32::try_from(above), running()) else {
        return;
    };
    let scripts = descendants(&all, pid)
        .into_iter()
        .chain([RunningProcess { pid }])
        .filter(|process| recognise(process) == Some(Role::Script));
    for script in scripts {
        for process in descendants(&all, script.pid).into_iter().chain([script]) {
            process.end();
        }
    }
}

fn descendants(all: &[Running], above: i32) -> Vec<RunningProcess> {
    let mut found = vec![RunningProcess { pid: above }];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = all.iter().filter(|running| running.parent == parent.pid);
        found.extend(children.map(|running| running.process));
        at += 1;
    }
    found.split_off(1)
}

fn running() -> io::Result<Vec<Running>> {
    Ok(pids()?.filter_map(look_up).collect())
}

/// The running processes of this session. The kernel tells the session much faster than it writes a file of /proc.
fn of_session(session: i32) -> io::Result<Vec<RunningProcess>> {
    let is_of = |pid: &i32| match getsid(Some(Pid::from_raw(*pid))) {
        Ok(of) => of.as_raw() == session,
        Err(error) => error != Errno::ESRCH, // a security module may keep it secret
    };
    let running = pids()?.filter(is_of).filter_map(look_up);
    // Between the two, the number may become that of another process.
    let of_session = running.filter(|running| running.session == session);
    Ok(of_session.map(|running| running.process).collect())
}

fn pids() -> io::Result<impl Iterator<Item = i32>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// proc_pid_stat(5): the name is in parentheses and may hold any character, so fields are counted after the last `)`.
/// A zombie has ended.
fn look_up(pid: i32) -> Option<Running> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, _group, session) = (number()?, number()?, number()?);
    (state != "Z").then_some(Running {
        process: RunningProcess { pid },
        parent,
        session,
    })
}
