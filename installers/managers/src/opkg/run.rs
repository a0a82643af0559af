//! Runs of opkg. A run that changes the device waits, under opkg's lock, until its plan is agreed to.

use std::{
    cell::RefCell,
    ffi::OsStr,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
};

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, installer::JobPhase};
use wharf_root::{
    Root, durable,
    process::{self, Growth, Printed},
    session::{self, Recognise},
};

use super::{
    configuration::{Configuration, Feeds},
    lock::Lock,
};
use crate::{Progress, Supervisor, Times, not_wanted};

/// Waits for the options, then becomes opkg. If none come, it ends.
const WAITS: &str =
    "IFS= read -r options || exit 1; exec opkg -f \"$0\" $options \"$@\" </dev/null";

/// Starts opkg in one root.
#[derive(Clone, Copy)]
pub(super) struct Runner<'a> {
    pub(super) root: &'a Root,
    pub(super) configuration: &'a Configuration,
    pub(super) feeds: Feeds<'a>,
    pub(super) times: Times,
    pub(super) recognise: Recognise<'a>,
}

/// A run that holds the lock and waits.
pub(super) struct Held {
    waiting: Waiting,
    printed: Printed,
    _configuration: Temporary,
}

/// A process that waits for its options. It ends with this.
struct Waiting {
    child: Child,
    go: Option<ChildStdin>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.go.take());
        let _ = self.child.wait();
    }
}

/// A run that is over.
pub(super) struct Ran {
    /// The exit code; none if a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) printed: String,
}

/// A file of one run.
struct Temporary {
    outside: PathBuf,
    inside: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.outside);
        let _ = fs::remove_file(self.outside.with_extension("lock"));
    }
}

impl Runner<'_> {
    /// The plan, as opkg prints it. It takes a lock of its own, since a plan may be asked for while opkg works.
    pub(super) fn plan(&self, options: &str, command: &str, what: &OsStr) -> Result<Ran, Failure> {
        let ask = || -> io::Result<Ran> {
            let configuration = self.temporary(None)?;
            let output = process::program(self.root, "opkg")
                .arg("-f")
                .arg(&configuration.inside)
                .args(options.split_whitespace())
                .args(["--noaction", command])
                .arg(what)
                .output()?;
            let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
            printed.push_str(&String::from_utf8_lossy(&output.stderr));
            Ok(Ran {
                code: output.status.code(),
                printed,
            })
        };
        ask().map_err(|error| not_started(&error))
    }

    /// Runs opkg for something that changes no package, without its lock, at most as long as a job may take. Once it is not
    /// wanted any more, or `refuses`, it is ended.
    pub(super) fn fetch(
        &self,
        words: &[&OsStr],
        is_wanted: &dyn Fn() -> bool,
        refuses: &dyn Fn() -> Option<Failure>,
    ) -> Result<Ran, Failure> {
        let failed = |error: io::Error| not_started(&error);
        let prepare = || -> io::Result<(Temporary, Printed)> {
            let configuration = self.temporary(None)?;
            Ok((configuration, Printed::new(self.folder()?.join("output"))?))
        };
        let (configuration, printed) = prepare().map_err(failed)?;
        let files = [&printed];
        let growth = Growth::of(&files).map_err(failed)?;
        let mut child = process::program(self.root, "opkg")
            .arg("-f")
            .arg(&configuration.inside)
            .args(words)
            .stdout(printed.writer().map_err(failed)?)
            .stderr(printed.writer().map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        let (pid, limit) = (child.id(), self.times.limit);
        let ended = RefCell::new(None);
        let end = |why: Failure| {
            session::end_waiting(pid, self.recognise);
            ended.borrow_mut().get_or_insert(why);
        };
        let look = |_| {
            let why = refuses().or_else(|| (!is_wanted()).then(not_wanted));
            let is_over = why.is_some();
            why.into_iter().for_each(end);
            !is_over
        };
        let overdue = |_| {
            let detail = format!("opkg was ended: it took more than {} s", limit.as_secs());
            end(Failure::new(Cause::PackageManager, detail));
        };
        let code = process::wait_and_look(&mut child, &growth, limit, look, || (), overdue);
        let code = code.map_err(failed)?;
        match ended.take() {
            Some(why) => Err(why),
            None => Ok(Ran {
                code,
                printed: printed.tail().map_err(failed)?,
            }),
        }
    }

    /// Starts a run, once the lock is free, if it is still wanted then. It changes nothing before [`Held::go`].
    pub(super) fn hold(
        &self,
        command: &str,
        what: &OsStr,
        supervisor: Supervisor<'_>,
    ) -> Result<Held, Failure> {
        let lock = &self.configuration.lock;
        let prepare = || -> io::Result<(Temporary, Printed)> {
            let configuration = self.temporary(Some(lock))?;
            Ok((configuration, Printed::new(self.folder()?.join("output"))?))
        };
        let (configuration, printed) = prepare().map_err(|error| not_started(&error))?;
        let lock = Lock {
            is_wanted: supervisor.is_wanted,
            ..self.lock()
        };
        let mut child = lock.spawn(|| {
            let mut waits = process::program(self.root, "sh");
            waits
                .args(["-c", WAITS])
                .arg(&configuration.inside)
                .arg(command)
                .arg(what)
                .stdin(Stdio::piped())
                .stdout(printed.writer()?)
                .stderr(printed.writer()?);
            Ok(waits)
        })?;
        let go = child.stdin.take();
        Ok(Held {
            waiting: Waiting { child, go },
            printed,
            _configuration: configuration,
        })
    }

    pub(super) fn lock(&self) -> Lock<'_> {
        Lock {
            root: self.root,
            path: &self.configuration.lock,
            wait: self.times.lock_wait,
            is_wanted: &|| true,
        }
    }

    /// Our configuration, with this lock or with one of its own.
    fn temporary(&self, lock: Option<&Path>) -> io::Result<Temporary> {
        let folder = self.folder()?;
        durable::sweep(&folder, "");
        let write = |path: &Path| {
            let own = self.root.seen_inside(&path.with_extension("lock"));
            let text = self.configuration.ours(lock.unwrap_or(&own), self.feeds);
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).open(path)?;
            file.write_all(text.as_bytes())
        };
        let (outside, ()) = durable::unique(&folder.join("opkg"), ".conf", write)?;
        Ok(Temporary {
            inside: self.root.seen_inside(&outside),
            outside,
        })
    }

    /// Root's alone (0700).
    fn folder(&self) -> io::Result<PathBuf> {
        let folder = self.root.run().join("opkg");
        durable::private_folder(&folder)?;
        Ok(folder)
    }
}

impl Held {
    /// Lets opkg work with these options, and waits for the end of it and its scripts.
    pub(super) fn go(
        mut self,
        options: &str,
        runner: Runner<'_>,
        supervisor: Supervisor<'_>,
    ) -> Result<Ran, Failure> {
        let failed = |error: io::Error| not_started(&error);
        let files = [&self.printed];
        let growth = Growth::of(&files).map_err(failed)?;
        let go = self.waiting.go.take();
        let mut go = go.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        writeln!(go, "{options}").map_err(failed)?;
        drop(go);
        fault::point("opkg.started");
        let applying = || {
            (supervisor.report)(Progress {
                phase: JobPhase::Applying,
                percent: None,
            });
        };
        applying();
        let overdue = |pid| session::end_scripts(pid, runner.recognise);
        let limit = runner.times.limit;
        let code = process::wait(&mut self.waiting.child, &growth, limit, applying, overdue);
        let code = code.map_err(failed)?;
        session::wait_for_the_rest(limit, runner.recognise).map_err(failed)?;
        // It has run, so unreadable output is no failure.
        let printed = self.printed.tail().unwrap_or_default();
        (supervisor.printed)("opkg", &printed);
        Ok(Ran { code, printed })
    }
}

/// The failure of an opkg that did not run.
pub(super) fn not_started(error: &io::Error) -> Failure {
    Failure::new(Cause::Unavailable, format!("cannot run opkg: {error}"))
}
