//! Programs of a root, started in it, watched to their end, never trusted. What they print goes into a file, not a
//! pipe: a service that a maintainer script leaves behind must neither hold us up nor die of our end.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        resource::{Resource, getrlimit, setrlimit},
    },
};

use crate::{limits, root::Root};

/// A program of this root. Its environment is this and nothing of ours: what an administrator's shell left in it must
/// not decide how a package is installed.
pub(crate) fn program(root: &Root, program: &str) -> Command {
    let mut command = match root.is_system() {
        true => Command::new(program),
        false => {
            let mut command = Command::new("/usr/sbin/chroot");
            command.arg(root.folder()).arg(program);
            command
        }
    };
    command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", "/root")
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("NEEDRESTART_SUSPEND", "1")
        .env("APT_LISTCHANGES_FRONTEND", "none")
        .env("APT_LISTBUGS_FRONTEND", "none")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// Gives this program and all that it starts the usual limit of open files. Where /proc is not mounted, apt visits
/// every possible descriptor before it starts a program: with a limit of a million it takes half a second each time.
pub fn usual_file_limit() {
    const USUAL: u64 = 1024;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(USUAL), hard);
    }
}

/// Runs a program that only looks, and gives what it printed.
pub(crate) fn ask<S: AsRef<OsStr>>(
    root: &Root,
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> io::Result<Output> {
    program(root, name).args(arguments).output()
}

/// The file into which a program prints, of which the end is kept.
pub(crate) struct Printed {
    path: PathBuf,
    file: File,
}

impl Printed {
    /// An empty one.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            crate::durable::private_folder(folder)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(&path)?;
        file.set_len(0)?;
        Ok(Self { path, file })
    }

    /// A descriptor to print to.
    pub(crate) fn writer(&self) -> io::Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from)
    }

    /// Its last lines.
    pub(crate) fn tail(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(limits::OUTPUT)))?;
        let mut bytes = Vec::new();
        file.take(limits::OUTPUT).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Begins again once there is too much: it is open for appending, so nobody who prints notices.
    fn bound(&self) -> io::Result<()> {
        if self.file.metadata()?.len() > 16 * limits::OUTPUT {
            self.file.set_len(0)?;
        }
        Ok(())
    }
}

impl Drop for Printed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Waits for the child's end. `changed` is called whenever one of the files grew, `overdue` once the time is over and
/// then again after each further `limit`: it may end what hangs, and the wait goes on.
pub(crate) fn wait(
    child: &mut Child,
    files: &[&Printed],
    limit: Duration,
    mut changed: impl FnMut(),
    mut overdue: impl FnMut(u32),
) -> io::Result<Option<i32>> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let ended = pidfd(pid)?;
    let grown = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    for file in files {
        grown.add_watch(&file.path, AddWatchFlags::IN_MODIFY)?;
    }
    let mut deadline = Instant::now() + limit;
    loop {
        let mut events = [
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(grown.as_fd(), PollFlags::POLLIN),
        ];
        wait_for_event(&mut events, deadline)?;
        let [end, growth] = events.map(|event| event.any().unwrap_or(false));
        if growth {
            let _ = grown.read_events();
            files.iter().try_for_each(|file| file.bound())?;
            changed();
        }
        if end {
            return Ok(child.wait()?.code());
        }
        if Instant::now() >= deadline {
            overdue(child.id());
            deadline = Instant::now() + limit.min(Duration::from_secs(60));
        }
    }
}

/// Waits for one of the events, at most until the deadline.
pub(crate) fn wait_for_event(events: &mut [PollFd<'_>], deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    // Rounded up, or the last millisecond would be spun away.
    let left = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(events, left) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A descriptor that becomes readable when the process ends.
#[allow(
    unsafe_code,
    reason = "nix has no pidfd_open; the new descriptor is owned by nobody else"
)]
pub(crate) fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(descriptor) {
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
