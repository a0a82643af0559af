//! The processes of a job: a session of their own, from which maintainer scripts and package managers cannot be told
//! apart by name. Looked up in /proc; nothing here is a signal to a package manager.

use std::{
    fs, io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    limits,
    process::{pidfd, wait_for_event},
};

/// One line of /proc.
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
}

/// Makes this process the head of a session of its own, so that no signal to the group of whoever started it reaches
/// the package manager. Gives the session.
pub(crate) fn begin() -> i32 {
    // Refused only to one that is a head already.
    let session = nix::unistd::setsid().or_else(|_| nix::unistd::getsid(None));
    session.map_or(0, Pid::as_raw)
}

/// Waits until the last process of a session that somebody else began has ended. False when the time is over.
pub(crate) fn wait_until_gone(session: i32, limit: Duration) -> io::Result<bool> {
    wait_until_none(session, limit, |_| true)
}

fn wait_until_none(
    session: i32,
    limit: Duration,
    counts: impl Fn(i32) -> bool,
) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    while let Some(process) = first_of(session, &counts)? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        match pidfd(process) {
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

/// Waits until nothing is left in this process's own session but itself: dpkg outlives an apt that was killed, and
/// the database says what holds only after it. What is no dpkg may be a program that a script left behind for good: it
/// is not waited for as long.
pub(crate) fn wait_for_the_rest(limit: Duration) -> io::Result<()> {
    let own = nix::unistd::getpid();
    if nix::unistd::getsid(None) != Ok(own) {
        return Ok(()); // others share it, and they are not ours
    }
    let is_dpkg = |pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("dpkg") || name.starts_with("apt")
    };
    wait_until_none(own.as_raw(), limit, is_dpkg)?;
    wait_until_none(own.as_raw(), limit.min(limits::LEFT_BEHIND), |_| true)?;
    Ok(())
}

/// Whether a package manager changes the device, or a maintainer script runs, in a session.
pub(crate) fn changes_packages(session: i32) -> bool {
    let all = processes().unwrap_or_default();
    let mut all = all.iter().filter(|process| process.session == session);
    all.any(|process| is_at_work(process.pid))
}

fn first_of(session: i32, counts: impl Fn(i32) -> bool) -> io::Result<Option<i32>> {
    let this = i32::try_from(std::process::id()).unwrap_or_default();
    let mut all = processes()?.into_iter();
    let found = all
        .find(|process| process.session == session && process.pid != this && counts(process.pid));
    Ok(found.map(|process| process.pid))
}

/// Ends a package manager that has no consent, with all its children. If dpkg is at work all the same, ends only its
/// scripts, and gives false.
pub(crate) fn end_waiting(above: u32) -> bool {
    let (Ok(pid), Ok(all)) = (i32::try_from(above), processes()) else {
        return false;
    };
    let below = descendants(&all, pid);
    if below.iter().any(|pid| is_at_work(*pid)) {
        end_scripts(above);
        return false;
    }
    for pid in below.into_iter().chain([pid]) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // it may be gone by now
    }
    true
}

/// Ends the maintainer scripts that run below this process, or itself if it is one, with all that they started: where a
/// package manager takes too long, they are what hangs. dpkg itself is never ended, nor is apt.
pub(crate) fn end_scripts(above: u32) {
    let (Ok(above), Ok(all)) = (i32::try_from(above), processes()) else {
        return;
    };
    let scripts = descendants(&all, above)
        .into_iter()
        .chain([above])
        .filter(|pid| is_script(*pid));
    for script in scripts {
        for pid in descendants(&all, script).into_iter().chain([script]) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // it may be gone by now
        }
    }
}

/// dpkg runs scripts by their path in its database, or debconf does with that path among its arguments. wharf-job runs
/// a kept postrm by its path.
fn is_script(pid: i32) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = arguments.split(|byte| *byte == 0);
    arguments.any(|argument| {
        argument.starts_with(b"/var/lib/dpkg/info/")
            || argument.starts_with(b"/var/lib/dpkg/tmp.ci/")
            || argument.starts_with(b"/var/lib/wharf-installer/postrms/")
    })
}

/// dpkg at work: apt also starts it for questions, which do not count.
fn is_at_work(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = arguments.split(|byte| *byte == 0);
    let works = |argument: &[u8]| {
        const WORK: [&[u8]; 7] = [
            b"--unpack",
            b"--configure",
            b"--install",
            b"-i",
            b"--remove",
            b"--purge",
            b"--triggers-only",
        ];
        WORK.contains(&argument)
    };
    (name.trim_end() == "dpkg" && arguments.any(works)) || is_script(pid)
}

fn descendants(all: &[Process], above: i32) -> Vec<i32> {
    let mut found = vec![above];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = all.iter().filter(|process| process.parent == parent);
        found.extend(children.map(|process| process.pid));
        at += 1;
    }
    found.split_off(1)
}

fn processes() -> io::Result<Vec<Process>> {
    let entries = fs::read_dir("/proc")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(process).collect())
}

/// proc_pid_stat(5): the name is in parentheses and may hold any character, so fields are counted after the last `)`.
/// A zombie has ended.
fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, _group, session) = (number()?, number()?, number()?);
    (state != "Z").then_some(Process {
        pid,
        parent,
        session,
    })
}
