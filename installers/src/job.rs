//! One job, from its record to its end: what wharf-job does. It may die at any step and be started again; then it
//! looks first. It knows no socket.

use std::{cell::RefCell, fs, io, path::PathBuf, thread};

use nix::fcntl::FlockArg;
use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, OperationId, PackageName,
    installer::{Found, JobPhase, Outcome},
};
use wharf_managers::{InstallOptions, PackageFile, PackageManager, Progress, Supervisor};
use wharf_root::{
    Change, Root, durable,
    file_systems::{self, FileSystems},
    limits, session,
};

use crate::{
    device::{Device, Installation},
    ledger::Ledger,
    log,
    permission::{Witnesses, may_install, may_purge, may_remove, policy_now},
    policy::Policy,
    progress,
    records::{Attempt, Job, Order, Records, State, lock_file},
    verdict::{self, Judged},
};

/// The note on a job that is [`Job::cut_off`].
const DONE_AGAIN: &str = "the device stopped while this was done before, and files may be lost: it is done again, \
                          maintainer scripts included";

/// Does one job.
pub struct Worker<'a> {
    root: &'a Root,
    policy: &'a Policy,
    device: &'a Device,
    records: Records,
    ledger: Ledger,
}

/// Why work on a job stopped.
enum Stop {
    /// It failed.
    Failed(Failure),
    /// It was cancelled: its end is recorded already.
    Cancelled,
    /// Nobody can say now whether it may go on. It has not ended: another attempt follows.
    Later(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// To whoever has to be told of a cancel as of a failure, before the end shows that it was recorded already.
impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Failed(failure) | Stop::Later(failure) => failure,
            Stop::Cancelled => Self::new(Cause::GaveUp, "it was cancelled"),
        }
    }
}

impl<'a> Worker<'a> {
    /// A worker in this root.
    pub fn new(root: &'a Root, policy: &'a Policy, device: &'a Device) -> io::Result<Self> {
        Ok(Self {
            root,
            policy,
            device,
            records: Records::open(root)?,
            ledger: Ledger::of(root),
        })
    }

    /// Does the job, or what is left of it, and records its end. An error means that nothing could be recorded.
    pub fn run(&self, operation: OperationId) -> Result<(), Failure> {
        let session = session::begin();
        let _turn = lock_file(&self.root.job_lock(), FlockArg::LockExclusive)
            .map_err(|error| unavailable("lock", self.root.job_lock(), &error))?;
        // As a unit it is started from here on: whoever wants to know its end waits for the lock (queue.rs).
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let Some(mut job) = self.records.job(operation)? else {
            let detail = format!(
                "there is no job {operation} in {}",
                self.root.jobs().display()
            );
            return Err(Failure::new(Cause::Policy, detail));
        };
        if !job.is_open() {
            return Ok(());
        }
        self.wait_for_earlier(&job)?;
        durable::sweep(&self.root.run(), "");
        self.tidy(&|name| name == job.order.package());
        let mut written = FileSystems::of(self.root);
        self.add_paths(&mut written, job.order.package())?; // a removal leaves no list of them
        let (failure, device) = match self.work(&mut job, session) {
            Ok(device) => (None, device),
            // The package manager says that it was stopped; by whom, the record says.
            Err(Stop::Failed(failure)) if !self.is_open(&job)? => {
                return self.after_cancel(&job, &failure);
            }
            Err(Stop::Failed(failure)) => {
                self.go_back(&job);
                (Some(failure), self.device.found(job.order.package())?)
            }
            Err(Stop::Cancelled) => return Ok(()),
            Err(Stop::Later(failure)) => return Err(failure),
        };
        self.add_paths(&mut written, job.order.package())?;
        self.end(job, failure, device, &written)
    }

    /// Records in the ledger what a cancelled job changed: nothing, unless a package manager did not wait for consent.
    fn after_cancel(&self, job: &Job, failure: &Failure) -> Result<(), Failure> {
        let device = self.device.found(job.order.package())?;
        if !is_the_same(job.before.as_ref(), device.as_ref()) {
            log::failed(job, failure);
        }
        self.record(job, false, device.as_ref())
    }

    /// Releases units that an older wharfd held back wrongly. Leaves packages of open jobs alone.
    pub fn tidy_up(&self) -> Result<(), Failure> {
        let jobs = self.records.jobs()?;
        let open: Vec<&Job> = jobs.iter().filter(|job| job.is_open()).collect();
        self.tidy(&|name| open.iter().any(|job| job.order.package() == name));
        Ok(())
    }

    /// A failure here stops no job.
    fn tidy(&self, is_at_work: &dyn Fn(&PackageName) -> bool) {
        if let Err(failure) = self.device.tidy(is_at_work) {
            tracing::warn!("cannot look for units that are held back and should not be: {failure}");
        }
    }

    /// A package manager may outlive wharf-job, and a job is over when its processes are gone. Processes that stay for longer
    /// than a job may take must not hold up other jobs: a working package manager holds its own lock against the next attempt.
    fn wait_for_earlier(&self, job: &Job) -> Result<(), Failure> {
        let last = job.attempts.last();
        let Some(attempt) = last.filter(|attempt| attempt.boot == boot()) else {
            return Ok(());
        };
        let gone = session::wait_until_gone(attempt.session, self.policy.job_time_limit);
        if !gone.map_err(|error| unavailable("look at", PathBuf::from("/proc"), &error))? {
            let session = attempt.session;
            log::repairs(
                job,
                format_args!(
                    "processes of the one before stay (session {session}); it goes on without waiting"
                ),
            );
        }
        Ok(())
    }

    /// Does what is left to do, and gives what the device has then.
    fn work(&self, job: &mut Job, session: i32) -> Result<Option<Found>, Stop> {
        let boot = boot();
        if job.state == State::Applied && !is_of_another_boot(job, &boot) {
            return Ok(self.look(job)?); // only the end is missing
        }
        if is_used_up(job, &boot) {
            return self.give_up(job);
        }
        let interrupted = has_begun(job);
        self.begin_attempt(
            job,
            Attempt {
                boot: boot.clone(),
                session,
            },
        )?;
        // Repair runs the package's scripts, so policy comes first.
        let mut allowed = match interrupted {
            true => self.may_go_on(job, &boot)?,
            false => self.allowed(job)?,
        };
        if job.cut_off {
            log::repairs(job, format_args!("{DONE_AGAIN}"));
        }
        if interrupted && self.repair(job)? == Change::Changed && job.cut_off {
            // The repair installed the whole file.
            if let Some((_, options)) = &mut allowed {
                options.reinstall = false;
            }
        }
        self.apply(job, allowed)?;
        let device = self.look(job)?;
        self.advance(job, State::Applied)?;
        fault::point("job.applied");
        Ok(device)
    }

    /// Nothing more is tried. The device may have what was asked all the same.
    fn give_up(&self, job: &Job) -> Result<Option<Found>, Stop> {
        let was_there = match &job.order {
            Order::Install { judged, .. } => job
                .whole_before()
                .is_some_and(|before| before.version == judged.package.version),
            _ => false,
        };
        match self.look(job) {
            Ok(device) if !was_there && !job.cut_off && !is_of_another_boot(job, &boot()) => {
                Ok(device)
            }
            _ => {
                let detail = format!(
                    "given up after {} attempts that were interrupted: an operator has to look ({})",
                    job.attempts.len(),
                    self.manager().remedies().list_damage
                );
                Err(Failure::new(Cause::Interrupted, detail).into())
            }
        }
    }

    /// The attempt's number is on disk before the attempt. One that follows an interrupted one goes on from there: what
    /// is half done can neither be cancelled nor be taken for untouched.
    fn begin_attempt(&self, job: &mut Job, attempt: Attempt) -> Result<(), Stop> {
        if job.attempts.is_empty() {
            let found = self.ledger.found(job.order.package(), self.device)?;
            job.adopts = found.as_ref().is_some_and(|found| !found.managed);
            job.before = found;
        }
        job.cut_off |= has_begun(job) && is_of_another_boot(job, &attempt.boot);
        job.attempts.push(attempt);
        let state = match has_begun(job) {
            true => State::Applying,
            false => State::Attempted,
        };
        self.advance(job, state)?;
        fault::point("job.attempted");
        Ok(())
    }

    /// From here on it cannot be cancelled.
    fn begin_applying(&self, job: &mut Job) -> Result<(), Stop> {
        self.advance(job, State::Applying)?;
        fault::point("job.applying");
        if let Order::Install { judged, .. } = &job.order {
            self.ledger.begin(&judged.package.name, job.operation)?;
            fault::point("ledger.begun");
        }
        Ok(())
    }

    /// Records the state, unless the job was cancelled meanwhile.
    fn advance(&self, job: &mut Job, state: State) -> Result<(), Stop> {
        let lock = self.records.lock().map_err(Failure::from)?;
        if !self.is_open(job)? {
            return Err(Stop::Cancelled);
        }
        job.state = state;
        self.records.update(&lock, job).map_err(Failure::from)?;
        Ok(())
    }

    fn is_open(&self, job: &Job) -> Result<bool, Failure> {
        let recorded = self.records.job(job.operation).map_err(Failure::from)?;
        Ok(recorded.is_some_and(|recorded| recorded.is_open()))
    }

    /// What an interrupted attempt left half-way. A removal needs no repair first: it goes on from any state.
    fn repair(&self, job: &Job) -> Result<Change, Stop> {
        let file = match &job.order {
            Order::Install { stage, judged } => Some(self.root.stage(*stage))
                .filter(|path| verdict::still_holds(path, judged).is_ok()),
            _ => None,
        };
        let (name, manager) = (job.order.package(), self.manager());
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        let repaired = match &file {
            Some(file) if job.cut_off => manager.redo(name, file, &printed),
            file => manager.repair(name, file.as_deref(), &printed),
        };
        match repaired {
            Ok(change) => {
                log::repairs(
                    job,
                    match change {
                        Change::Unchanged => format_args!("the one before left nothing to repair"),
                        Change::Changed => format_args!("what the one before left is repaired"),
                    },
                );
                Ok(change)
            }
            Err(failure) if matches!(job.order, Order::Install { .. }) => Err(failure.into()),
            Err(failure) => {
                log::repairs(job, format_args!("what the one before left: {failure}"));
                Ok(Change::Unchanged)
            }
        }
    }

    /// Whether an interrupted job may go on. That nobody can say so now is no verdict on the package: it is asked again,
    /// here and by the next attempt. Only after a refusal, or in the last attempt, the package is left as it is then.
    fn may_go_on(
        &self,
        job: &Job,
        boot: &str,
    ) -> Result<Option<(PackageFile, InstallOptions)>, Stop> {
        let mut asked = 1;
        let refusal = loop {
            match self.allowed(job) {
                Ok(allowed) => return Ok(allowed),
                Err(failure) if failure.cause != Cause::Unavailable => break failure,
                Err(failure) if asked >= limits::JUDGEMENTS && is_used_up(job, boot) => {
                    break failure;
                }
                Err(failure) if asked >= limits::JUDGEMENTS => return Err(Stop::Later(failure)),
                Err(failure) => log::repairs(
                    job,
                    format_args!("whether it may go on is asked again: {failure}"),
                ),
            }
            asked += 1;
            thread::sleep(limits::JUDGEMENT_PAUSE);
        };
        Err(self.make_sound(job, refusal).into())
    }

    /// An interrupted attempt has begun a job that is not allowed any more. The package manager configures the unpacked
    /// files, so that it can do other work. Nothing is installed from the file. Returns the refusal, with a note of the repair.
    fn make_sound(&self, job: &Job, refusal: Failure) -> Failure {
        let name = job.order.package();
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        let done = match self.manager().repair(name, None, &printed) {
            Ok(Change::Unchanged) => return refusal,
            Ok(Change::Changed) => {
                format!("{name} was left half-way: it was configured, not installed from its file")
            }
            Err(failure) => {
                log::repairs(job, format_args!("{failure}"));
                match self.take_back(job) {
                    true => format!("{name} was left half-way: it was removed"),
                    false => format!(
                        "{name} was left half-way and cannot be configured: run `{}`, or deliver a version \
                         that is allowed",
                        self.manager().remedies().list_damage
                    ),
                }
            }
        };
        log::repairs(job, format_args!("{done}: {refusal}"));
        let cause = match job.order {
            // The policy of a purge says that nothing was done.
            Order::Purge(_) => Cause::Interrupted,
            _ => refusal.cause,
        };
        Failure::new(cause, format!("{done}: {refusal}"))
    }

    /// Removes a first installation that cannot be configured: it would block the package manager.
    fn take_back(&self, job: &Job) -> bool {
        if !matches!(job.order, Order::Install { .. }) || job.before.is_some() {
            return false;
        }
        let supervisor = Supervisor {
            report: &|_| (),
            begin: &|| Ok(()),
            printed: &|program, text| log::printed(job.operation, program, text),
        };
        let removed = self.device.remove(job.order.package(), supervisor);
        if let Err(failure) = &removed {
            log::repairs(job, format_args!("{failure}"));
        }
        removed.is_ok()
    }

    fn manager(&self) -> &dyn PackageManager {
        self.device.packages.as_ref()
    }

    /// What policy says. It is asked again here: since the job was accepted, another may have been done, and root may
    /// have changed its policy.
    fn allowed(&self, job: &Job) -> Result<Option<(PackageFile, InstallOptions)>, Failure> {
        let (stage, judged) = match &job.order {
            Order::Install { stage, judged } => (stage, judged),
            Order::Remove(name) => return may_remove(name, self.policy).map(|()| None),
            Order::Purge(name) => return may_purge(name, self.policy).map(|()| None),
            Order::Activate(_) | Order::Deactivate(_) => return Ok(None),
        };
        may_install(judged, self.policy, self.witnesses())?;
        self.not_below_what_was_there(job, judged)?;
        let file = PackageFile {
            path: self.root.stage(*stage),
            package: judged.package.clone(),
        };
        let options = self.options(job, judged)?;
        Ok(Some((file, options)))
    }

    fn witnesses(&self) -> Witnesses<'_> {
        Witnesses {
            root: self.root,
            ledger: &self.ledger,
            device: self.device,
        }
    }

    /// The administrator may have installed a higher version than we ever did.
    fn not_below_what_was_there(&self, job: &Job, judged: &Judged) -> Result<(), Failure> {
        let package = &judged.package;
        let Some(before) = job.whole_before() else {
            return Ok(());
        };
        let order = self
            .manager()
            .compare_versions(&package.version, &before.version);
        if order.is_ge() || self.policy.allows_downgrade(&package.name) {
            return Ok(());
        }
        let detail = format!(
            "{} {} is installed, and policy allows no way down to {} (allow-downgrade in installer.toml)",
            package.name, before.version, package.version
        );
        Err(Failure::new(Cause::Downgrade, detail))
    }

    fn options(&self, job: &Job, judged: &Judged) -> Result<InstallOptions, Failure> {
        let package = &judged.package;
        let was_there = job
            .whole_before()
            .is_some_and(|before| before.version == package.version);
        let entry = self.ledger.entry(&package.name)?;
        let other_bytes = entry.is_none_or(|entry| entry.digest != judged.digest);
        Ok(InstallOptions {
            allow_downgrade: self.policy.allows_downgrade(&package.name),
            // An interrupted attempt of this job installed these bytes. The ledger knows no bytes after a job that did
            // not end well (`Ledger::doubt`).
            reinstall: job.cut_off || (was_there && other_bytes),
        })
    }

    /// Until the package manager is about to change the device, the job can be cancelled.
    fn apply(
        &self,
        job: &mut Job,
        allowed: Option<(PackageFile, InstallOptions)>,
    ) -> Result<Change, Failure> {
        let (operation, order, cut_off) = (job.operation, job.order.clone(), job.cut_off);
        let adopts = job.adopts;
        let job = RefCell::new(job);
        let supervisor = Supervisor {
            report: &|progress| progress::write(self.root, operation, progress),
            printed: &|program, text| log::printed(operation, program, text),
            begin: &|| {
                // The package manager may have waited for days for its lock.
                match &order {
                    Order::Install { judged, .. } => {
                        may_install(judged, &policy_now(self.root)?, self.witnesses())?;
                    }
                    Order::Purge(name) => may_purge(name, &policy_now(self.root)?)?,
                    Order::Remove(_) | Order::Activate(_) | Order::Deactivate(_) => {}
                }
                self.begin_applying(&mut job.borrow_mut())?;
                Ok(())
            },
        };
        match (&order, &allowed) {
            (Order::Install { judged, .. }, Some((file, options))) => {
                verdict::still_holds(&file.path, judged)?;
                let installation = Installation {
                    file,
                    options: *options,
                    operation,
                    adopts,
                };
                self.device.install(installation, supervisor)
            }
            (Order::Install { .. }, None) => Err(Failure::new(Cause::Plan, "there is no plan")),
            (Order::Remove(name), _) => self.remove(name, cut_off, supervisor),
            (Order::Purge(name), _) => {
                self.remove(name, cut_off, supervisor)?;
                match self.device.purge(name, supervisor)? {
                    Change::Unchanged if cut_off => {
                        self.manager().finish_purge(name, supervisor.printed)
                    }
                    change => Ok(change),
                }
            }
            (Order::Activate(name), _) => {
                (supervisor.begin)()?;
                self.device.services.activate(name, operation)
            }
            (Order::Deactivate(name), _) => {
                (supervisor.begin)()?;
                self.device.services.deactivate(name)
            }
        }
    }

    /// Runs the last script of the removal again if a power cut followed it.
    fn remove(
        &self,
        name: &PackageName,
        cut_off: bool,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, Failure> {
        match self.device.remove(name, supervisor)? {
            Change::Unchanged if cut_off => self.manager().finish_removal(name, supervisor.printed),
            change => Ok(change),
        }
    }

    /// Undoes a failed install or activation: units that are still installed are enabled and run as before.
    fn go_back(&self, job: &Job) {
        let name = match &job.order {
            Order::Install { judged, .. } => &judged.package.name,
            Order::Activate(name) => name,
            Order::Remove(_) | Order::Purge(_) | Order::Deactivate(_) => return,
        };
        if let Err(failure) = self.device.services.settle(name, job.operation, false) {
            log::repairs(
                job,
                format_args!("the units are not as they were before: {failure}"),
            );
        }
    }

    /// Whether the device has what was asked.
    fn look(&self, job: &Job) -> Result<Option<Found>, Failure> {
        progress::write(
            self.root,
            job.operation,
            Progress {
                phase: JobPhase::Verifying,
                percent: None,
            },
        );
        let name = job.order.package();
        let device = self.device.found(name)?;
        let whole = device.as_ref().filter(|found| found.is_whole());
        let holds = match &job.order {
            Order::Install { judged, .. } => {
                whole.is_some_and(|found| found.version == judged.package.version)
            }
            Order::Remove(_) => device.is_none(),
            Order::Purge(_) => device.is_none() && !self.manager().leaves_configuration(name)?,
            Order::Activate(_) => whole.is_some_and(|found| found.active),
            Order::Deactivate(_) => whole.is_some_and(|found| !found.active),
        };
        if holds {
            return Ok(device);
        }
        let has = match &device {
            Some(found) => format!("{found}, {}", activity(found)),
            None if self.manager().leaves_configuration(name)? => {
                format!("the configuration of {name}")
            }
            None => format!("nothing of {name}"),
        };
        let detail = format!(
            "{} said that it was done, and the device has {has}",
            self.manager().name()
        );
        Err(Failure::new(Cause::PackageManager, detail))
    }

    /// Records the end, after the disk has what it says.
    fn end(
        &self,
        mut job: Job,
        failure: Option<Failure>,
        device: Option<Found>,
        written: &FileSystems,
    ) -> Result<(), Failure> {
        written
            .sync()
            .map_err(|error| Failure::new(Cause::Unavailable, error.to_string()))?;
        fault::point("job.synced");
        let is_done = failure.is_none();
        self.record(&job, is_done, device.as_ref())?;
        fault::point("ledger.recorded");
        let managed = self.ledger.is_managed(job.order.package())?;
        let outcome = Outcome {
            failure,
            device: device.map(|found| Found { managed, ..found }),
            attempts: u32::try_from(job.attempts.len()).unwrap_or(u32::MAX),
            note: (is_done && job.cut_off).then(|| DONE_AGAIN.into()),
        };
        match &outcome.failure {
            None => log::done(&job),
            Some(failure) => log::failed(&job, failure),
        }
        match self.advance(&mut job, State::Ended(outcome)) {
            Ok(()) | Err(Stop::Cancelled) => {}
            Err(stop) => return Err(stop.into()),
        }
        fault::point("job.ended");
        progress::clear(self.root, job.operation);
        Ok(())
    }

    /// What the ledger keeps of the job.
    fn record(&self, job: &Job, is_done: bool, device: Option<&Found>) -> Result<(), Failure> {
        let name = job.order.package();
        match &job.order {
            Order::Install { judged, .. } if is_done => {
                return self.ledger.record(judged, self.manager(), self.policy);
            }
            Order::Install { judged, .. } => {
                if is_the_same(job.before.as_ref(), device) {
                    self.ledger.take_back(name, job.operation)?;
                }
                if brought(job, judged, device) {
                    self.ledger.record(judged, self.manager(), self.policy)?;
                }
                if has_begun(job) {
                    self.ledger.doubt(name)?;
                }
                if self.ledger.entry(name)?.is_some() {
                    self.raise(job, device)?;
                }
            }
            Order::Remove(_) | Order::Purge(_) => self.raise(job, device)?,
            Order::Activate(_) | Order::Deactivate(_) => {}
        }
        match device {
            None => self.ledger.forget_beginning(name),
            Some(_) => Ok(()),
        }
    }

    /// Somebody else may have installed a higher version than we ever did.
    fn raise(&self, job: &Job, device: Option<&Found>) -> Result<(), Failure> {
        let whole = device.filter(|found| found.is_whole());
        for found in job.whole_before().into_iter().chain(whole) {
            self.ledger
                .raise(job.order.package(), &found.version, self.manager())?;
        }
        Ok(())
    }

    /// Adds the file systems on which the package lies now.
    fn add_paths(&self, written: &mut FileSystems, name: &PackageName) -> Result<(), Failure> {
        let mounts = file_systems::mounts();
        self.manager()
            .each_path(name, &mut |path| written.add(path, &mounts))
    }
}

fn activity(found: &Found) -> &'static str {
    if found.active { "active" } else { "inactive" }
}

/// Whether an Install that did not end well made its version whole on the device all the same.
fn brought(job: &Job, judged: &Judged, device: Option<&Found>) -> bool {
    let is_it = |found: &&Found| found.is_whole() && found.version == judged.package.version;
    device.filter(is_it).is_some() && job.before.as_ref().filter(is_it).is_none()
}

/// Whether nothing of a package was changed, as far as its package manager knows.
fn is_the_same(before: Option<&Found>, device: Option<&Found>) -> bool {
    let known = |found: &Found| (found.version.clone(), found.damage.clone());
    before.map(known) == device.map(known)
}

fn is_used_up(job: &Job, boot: &str) -> bool {
    let in_this_boot = job.attempts.iter().filter(|attempt| attempt.boot == boot);
    in_this_boot.count() >= limits::ATTEMPTS_A_BOOT || job.attempts.len() >= limits::ATTEMPTS
}

/// Whether an attempt may have changed the device.
fn has_begun(job: &Job) -> bool {
    matches!(job.state, State::Applying | State::Applied)
}

/// Whether the last attempt was cut off with its boot: then the package database may say what the files do not hold.
fn is_of_another_boot(job: &Job, boot: &str) -> bool {
    let last = job.attempts.last();
    last.is_some_and(|attempt| attempt.boot != boot)
}

/// This boot, by the name that the kernel gave it.
pub(crate) fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}

fn unavailable(what: &str, path: PathBuf, error: &io::Error) -> Failure {
    Failure::new(
        Cause::Unavailable,
        format!("cannot {what} {}: {error}", path.display()),
    )
}
