//! The queue of jobs. One job runs at a time, in the order in which jobs were accepted. Each runs in a process that does not
//! end with this one: a unit where systemd runs, else a child. A job that died before its end is started again, and looks
//! first.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use wharf_frames::{
    Cause, Failure, OperationId, PackageName,
    installer::{Found, Outcome},
};
use wharf_root::{
    Root, limits,
    session::{self, Recognise},
};

use crate::{
    bundle::work::JobWork,
    job::boot,
    not_done::NotDone,
    records::{Job, JobState, Records, lock_file},
};

/// The time between attempts to start a job.
const PAUSE: Duration = Duration::from_secs(30);

/// The jobs of a root, and the program that does them.
#[derive(Debug)]
pub struct Queue {
    root: Root,
    records: Records,
    starter: Starter,
    /// The number of times that a new job may have come.
    accepted: Mutex<u64>,
    changed: Condvar,
}

/// The starter of wharf-job.
#[derive(Debug)]
enum Starter {
    /// systemd, as the unit wharf-job@OPERATION. It survives the end and the upgrade of this program.
    Unit,
    /// This process, if no systemd runs or the root is not that of the machine.
    Child(PathBuf),
}

impl Queue {
    /// The queue of this root. `program` is wharf-job.
    pub fn new(root: &Root, program: PathBuf) -> io::Result<Self> {
        let starter = match root.is_system() && sd_notify::booted()? {
            true => Starter::Unit,
            false => Starter::Child(program),
        };
        Ok(Self {
            root: root.clone(),
            records: Records::open(root)?,
            starter,
            accepted: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// The records.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Accepts a job once, and writes it to the disk. Asking again changes nothing.
    pub fn accept(&self, operation: OperationId, work: impl Into<JobWork>) -> Result<(), NotDone> {
        let lock = self.records.lock()?;
        if self.records.job(operation)?.is_some() {
            return Ok(());
        }
        self.records.forget_old(&lock)?;
        let jobs = self.records.jobs()?;
        let open = jobs.iter().filter(|job| job.is_open()).count();
        if open >= limits::OPEN_JOBS {
            let detail = format!("{open} jobs are waiting already");
            return Err(NotDone::not_now(detail));
        }
        let sequence = jobs.last().map_or(1, |job| job.sequence + 1);
        let accepted = self.records.accept(&lock, operation, work.into(), sequence);
        // After an error the record may exist all the same, and not be durable yet.
        self.wake();
        Ok(accepted?)
    }

    /// Whether every job has ended. A record that cannot be read may be open.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.first_open(), Ok(None))
    }

    /// Makes the queue look for open jobs.
    pub(crate) fn wake(&self) {
        *self.lock() += 1;
        self.changed.notify_all();
    }

    /// Cancels a job that has not changed the device. `look` returns the package that the device has.
    pub fn cancel(
        &self,
        operation: OperationId,
        recognise: Recognise<'_>,
        look: impl FnOnce(&PackageName) -> Result<Option<Found>, NotDone>,
    ) -> Result<(), NotDone> {
        let lock = self.records.lock()?;
        let Some(mut job) = self.records.job(operation)? else {
            return Err(NotDone::refused(
                Cause::Policy,
                format!("there is no job {operation}"),
            ));
        };
        // In these states the package manager changes the device only if it did not ask for consent.
        let is_at_work = job.attempts.last().is_some_and(|attempt| {
            attempt.boot == boot() && session::changes_packages(attempt.session, recognise)
        });
        match job.state {
            JobState::Accepted | JobState::Attempted if !is_at_work => {}
            _ => {
                let detail = format!("{operation} cannot be cancelled any more");
                return Err(NotDone::refused(Cause::Policy, detail));
            }
        }
        let device = match job.subject() {
            Some(package) => look(package)?,
            None => None,
        };
        job.state = JobState::Ended(Box::new(Outcome {
            failure: Some(Failure::new(
                Cause::GaveUp,
                "cancelled on the device before anything was changed",
            )),
            device,
            attempts: u32::try_from(job.attempts.len()).unwrap_or(u32::MAX),
            ..Outcome::default()
        }));
        self.records.update(&lock, &job)?;
        Ok(())
    }

    /// Runs jobs without end.
    pub fn run(&self) {
        loop {
            let accepted = *self.lock();
            if let Err(error) = self.run_open_jobs() {
                tracing::error!(
                    "jobs wait, and are tried again in {} s: {error}",
                    PAUSE.as_secs()
                );
                self.wait(accepted, Some(PAUSE));
            } else {
                self.wait(accepted, None);
            }
        }
    }

    /// Runs every open job. An error means that one cannot run now.
    fn run_open_jobs(&self) -> io::Result<()> {
        // A job of an earlier wharf-installer may still hold the lock.
        drop(self.turn()?);
        while let Some(job) = self.first_open()? {
            self.run_job(&job)?;
        }
        Ok(())
    }

    fn run_job(&self, job: &Job) -> io::Result<()> {
        let status = match &self.starter {
            Starter::Unit => self.run_in_unit(job)?,
            Starter::Child(program) => self.run_as_child(job, program)?,
        };
        let after = self.records.job(job.operation).map_err(io::Error::other)?;
        match after {
            // The job counts its attempts. One that did not even begin must not be repeated at once.
            Some(after) if after.is_open() && after.attempts == job.attempts => {
                Err(io::Error::other(format!(
                    "wharf-job did not begin {} ({status}); it is tried again",
                    job.operation
                )))
            }
            _ => Ok(()),
        }
    }

    /// The unit is started once it holds the lock of jobs, and releases the lock only by its end. The lock tells that the
    /// job is over. The output of systemctl only explains an error: an upgrade of systemd may cut its connection.
    fn run_in_unit(&self, job: &Job) -> io::Result<String> {
        let unit = format!("wharf-job@{}.service", job.operation);
        let started = Command::new("systemctl")
            .args(["start", &unit])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| io::Error::other(format!("cannot start systemctl: {error}")))?;
        drop(self.turn()?);
        let said = String::from_utf8_lossy(&started.stderr);
        Ok(format!(
            "systemctl start {unit}: {} {}",
            started.status,
            said.trim()
        ))
    }

    fn run_as_child(&self, job: &Job, program: &Path) -> io::Result<String> {
        let mut child = Command::new(program)
            .arg("run")
            .arg(job.operation.to_string())
            .arg("--root")
            .arg(self.root.folder())
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| {
                io::Error::other(format!("cannot start {}: {error}", program.display()))
            })?;
        child.wait().map(|status| status.to_string())
    }

    fn first_open(&self) -> io::Result<Option<Job>> {
        let jobs = self.records.jobs().map_err(io::Error::other)?;
        Ok(jobs.into_iter().find(Job::is_open))
    }

    fn turn(&self) -> io::Result<Flock<File>> {
        lock_file(&self.root.job_lock(), FlockArg::LockExclusive)
    }

    fn wait(&self, seen: u64, pause: Option<Duration>) {
        let nothing_new = |accepted: &mut u64| *accepted == seen;
        let accepted = self.lock();
        match pause {
            None => drop(self.changed.wait_while(accepted, nothing_new)),
            Some(pause) => drop(
                self.changed
                    .wait_timeout_while(accepted, pause, nothing_new),
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
