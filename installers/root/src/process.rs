//! Starts programs of a root, and watches them until they end. Their output goes into a file, not into a pipe: a daemon
//! that a maintainer script started would keep a pipe open, and would die with its other end.

use std::{
    ffi::{CString, OsStr},
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        resource::{Resource, getrlimit, rlim_t, setrlimit},
    },
    unistd::{chdir, chroot},
};

use crate::{Root, addresses, durable, limits};

/// The interval for a child that cannot be watched.
const STEP: Duration = Duration::from_millis(200);

/// The interval of [`wait_and_look`].
const LOOK: Duration = Duration::from_secs(1);

/// The mark in a URI before its user or host.
const HOST: &str = "://";

/// A program of this root. It does not inherit our environment: variables of an administrator's shell must not decide how
/// a package is installed.
pub fn program(root: &Root, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", "/root")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null());
    if !root.is_system() {
        run_inside(&mut command, root.folder());
    }
    command
}

/// Has the new process enter this root before it looks for its program, as chroot(8) does.
#[allow(
    unsafe_code,
    reason = "between fork and exec only chroot(2) and chdir(2) are called, which are safe there"
)]
fn run_inside(command: &mut Command, root: &Path) {
    let root = CString::new(root.as_os_str().as_bytes());
    let enter = move || -> io::Result<()> {
        let root = root.as_ref().map_err(|_| io::ErrorKind::InvalidFilename)?;
        chroot(root.as_c_str())?;
        Ok(chdir(c"/")?)
    };
    unsafe { command.pre_exec(enter) };
}

/// Gives this program and all that it starts the usual limit of open files. Without /proc, a package manager may close
/// every possible descriptor before it starts a program: with a limit of a million that takes half a second each time.
pub fn usual_file_limit() {
    const USUAL: rlim_t = 1024;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(USUAL), hard);
    }
}

/// Runs a program that changes nothing, and returns its output.
pub fn ask<S: AsRef<OsStr>>(
    root: &Root,
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> io::Result<Output> {
    program(root, name).args(arguments).output()
}

/// The text without users and passwords of URIs: `http://…@host/`. Paths stay: a maintainer script may print a link for a person
/// to follow.
pub fn without_users(text: &str) -> String {
    // A password that is not escaped may contain characters that end a host.
    addresses::shown(text, |uri| match uri.rfind('@') {
        Some(at) => format!("…{}", uri.split_at(at).1),
        None => uri.to_owned(),
    })
}

/// The output file of a program. Only its end is kept.
pub struct Printed {
    path: PathBuf,
    file: File,
}

impl Printed {
    /// Creates a file whose name begins with this path.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            durable::private_folder(folder)?;
        }
        let mut options = OpenOptions::new();
        let (path, file) = durable::create_unique(&path, options.read(true).append(true))?;
        Ok(Self { path, file })
    }

    /// A descriptor for the program.
    pub fn writer(&self) -> io::Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from)
    }

    /// Its last lines, without the users and passwords of URIs: a package manager may print those of a source.
    pub fn tail(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let start = file.metadata()?.len().saturating_sub(limits::OUTPUT);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(limits::OUTPUT).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        if start == 0 {
            return Ok(without_users(&text));
        }
        // The first word may be the rest of a URI.
        let cut = without_users(&format!("{HOST}{text}"));
        Ok(cut.trim_start_matches(HOST).to_owned())
    }

    /// Empties the file if it is too long. The program appends, so it continues at the beginning.
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

/// Watches output files for growth. It is made before the program starts, so that an error comes while nothing runs.
pub struct Growth<'a> {
    files: &'a [&'a Printed],
    /// There until it is dropped.
    events: Option<Inotify>,
    socket: Option<OwnedFd>,
}

impl<'a> Growth<'a> {
    /// Watches these files.
    pub fn of(files: &'a [&'a Printed]) -> io::Result<Self> {
        let events = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        for file in files {
            events.add_watch(&file.path, AddWatchFlags::IN_MODIFY)?;
        }
        Ok(Self {
            files,
            events: Some(events),
            socket: None,
        })
    }

    /// Watches this socket as well. Its owner reads it after each growth.
    pub fn and(mut self, socket: impl AsFd) -> io::Result<Self> {
        self.socket = Some(socket.as_fd().try_clone_to_owned()?);
        Ok(self)
    }

    /// Keeps the files short. A failure must not end the wait for the child.
    fn take(&self) {
        let _ = self.events.as_ref().map(Inotify::read_events);
        for file in self.files {
            let _ = file.bound();
        }
    }
}

/// The kernel closes an inotify only after a grace period of RCU, 20 ms here. Nobody has to wait for that.
impl Drop for Growth<'_> {
    fn drop(&mut self) {
        let events = self.events.take();
        let _ = thread::Builder::new().spawn(move || drop(events));
    }
}

/// Waits for the end of the child. It returns no error before that: the caller would take the child for ended. `changed` is
/// called after each growth. `overdue` is called after `limit`, and then again after each further minute or `limit`: it may
/// end hanging processes, and the wait continues.
pub fn wait(
    child: &mut Child,
    growth: &Growth<'_>,
    limit: Duration,
    changed: impl FnMut(),
    overdue: impl FnMut(u32),
) -> io::Result<Option<i32>> {
    wait_and_look(child, growth, limit, |_| false, changed, overdue)
}

/// As [`wait`]. `look` is called about once a second until it returns false, and may end the child as well.
pub fn wait_and_look(
    child: &mut Child,
    growth: &Growth<'_>,
    limit: Duration,
    mut look: impl FnMut(u32) -> bool,
    mut changed: impl FnMut(),
    mut overdue: impl FnMut(u32),
) -> io::Result<Option<i32>> {
    let mut deadline = Instant::now() + limit;
    let mut next_look = Some(Instant::now() + LOOK);
    loop {
        let until = next_look.map_or(deadline, |next| next.min(deadline));
        match wait_for_end_or_growth(child, growth, until) {
            Ok([end, growing]) => {
                if growing {
                    growth.take();
                    changed();
                }
                if end {
                    break;
                }
            }
            // A child that cannot be watched is polled.
            Err(_) => match child.try_wait() {
                Ok(None) => {
                    changed();
                    thread::sleep(STEP);
                }
                _ => break,
            },
        }
        if next_look.is_some_and(|next| Instant::now() >= next) {
            next_look = look(child.id()).then(|| Instant::now() + LOOK);
        }
        if Instant::now() >= deadline {
            overdue(child.id());
            deadline = Instant::now() + limit.min(Duration::from_secs(60));
        }
    }
    Ok(child.wait()?.code())
}

fn wait_for_end_or_growth(
    child: &Child,
    growth: &Growth<'_>,
    deadline: Instant,
) -> io::Result<[bool; 2]> {
    let ended = pidfd(i32::try_from(child.id()).map_err(io::Error::other)?)?;
    let sources = [
        Some(ended.as_fd()),
        growth.events.as_ref().map(AsFd::as_fd),
        growth.socket.as_ref().map(AsFd::as_fd),
    ];
    let event = |source| PollFd::new(source, PollFlags::POLLIN);
    let mut events: Vec<_> = sources.into_iter().flatten().map(event).collect();
    wait_for_event(&mut events, deadline)?;
    let mut events = events.iter().map(|event| event.any().unwrap_or(false));
    let end = events.next().unwrap_or(false);
    Ok([end, events.any(|growing| growing)])
}

/// Waits for one of the events, until the deadline.
pub fn wait_for_event(events: &mut [PollFd<'_>], deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    // Rounded up: less than a millisecond would become zero, and the caller would spin.
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
pub fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(descriptor) {
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_watched_is_known_before_anything_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let printed = Printed::new(folder.path().join("output")).unwrap();
        let files = [&printed];
        assert!(Growth::of(&files).is_ok());
        fs::remove_file(&printed.path).unwrap();
        assert!(Growth::of(&files).is_err());
    }

    #[test]
    fn the_users_and_passwords_of_uris_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let mut printed = Printed::new(folder.path().join("output")).unwrap();
            io::Write::write_all(&mut printed.file, text.as_bytes()).unwrap();
            printed.tail().unwrap()
        };
        for (text, expected) in [
            ("", ""),
            ("a://", "a://"),
            (
                "E: http://h/p.deb 404 by a@b",
                "E: http://h/p.deb 404 by a@b",
            ),
            (
                "E: http://u:secret@h:80/p.deb\n  404",
                "E: http://…@h:80/p.deb\n  404",
            ),
            ("'http://u:secret/@?secret@h/'", "'http://…@h/'"),
            ("http://u@a http://u:secret@b", "http://…@a http://…@b"),
            (
                r#"{"a":"http://h/","b":"a@b"}"#,
                r#"{"a":"http://h/","b":"a@b"}"#,
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        let uri = "http://user:secret@host/ ";
        let rest = " ".repeat(usize::try_from(limits::OUTPUT).unwrap());
        for cut in 0..uri.len() {
            let (_, rest) = rest.split_at(uri.len() - cut);
            let read = read(&[uri, rest].concat());
            let first = read.split(' ').next().unwrap();
            assert!(
                !"user:secret@".contains(first) || first.is_empty(),
                "{cut}: {first}"
            );
            assert!(!first.contains("cret"), "{cut}: {first}");
        }
    }

    #[test]
    fn a_wait_ends_with_the_child_also_where_a_file_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let printed = Printed::new(folder.path().join("output")).unwrap();
        let files = [&printed];
        let growth = Growth::of(&files).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "echo; rm -r \"$0\"; exit 7"])
            .arg(folder.path())
            .stdout(printed.writer().unwrap())
            .spawn()
            .unwrap();
        let code = wait(&mut child, &growth, Duration::from_secs(60), || (), |_| ());
        assert_eq!(code.unwrap(), Some(7));
    }
}
