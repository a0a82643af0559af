//! One job, from its record to its end. wharf-job does it. It may die at any point: the next attempt looks first. `step`:
//! one step of the job. `verify`: the check of an upgrade that is activated. `recovery`: work that an interrupted or failed
//! attempt left. `back`: the way back of a failed job. `bundle`: the entry of its bundle.

mod back;
mod bundle;
mod recovery;
pub(crate) mod step;
mod verify;

use std::{cell::RefCell, collections::BTreeSet, fs, io, path::PathBuf};

use minicbor::bytes::ByteVec;
use nix::fcntl::FlockArg;
use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, OperationId, PackageName, Step,
    installer::{Dependency, Found, MAX_DEPENDENCIES, Outcome},
};
use wharf_managers::{Brought, PackageManager};
use wharf_root::{
    Root, durable,
    file_systems::{self, FileSystems},
    limits, session,
};

use crate::{
    back::{KeptPackages, Previous},
    device::Device,
    ledger::Ledger,
    log,
    not_done::NotDone,
    policy::Policy,
    progress,
    records::{Before, Job, JobAttempt, JobState, Records, lock_file, package},
};
use bundle::is_removal;
use step::{Permit, was_there};

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
    kept: KeptPackages,
}

/// The end of the work on a job.
struct Done {
    /// None if the device has what was asked.
    failure: Option<Failure>,
    /// The packages of the steps on the device.
    devices: Vec<Option<Found>>,
    /// It failed, and the device is as before.
    is_back: bool,
}

/// The reason for the end of work on a job.
enum Stop {
    /// It failed.
    Failed(Failure),
    /// It was cancelled, and its end is recorded.
    Cancelled,
    /// Whether it may go on cannot be decided now. Another attempt follows.
    Later(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<NotDone> for Stop {
    fn from(not_done: NotDone) -> Self {
        Self::Failed(not_done.into())
    }
}

/// For callbacks that report a cancel as a failure. The record already has the end.
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
            kept: KeptPackages::of(root, policy),
        })
    }

    /// Does the job, or the rest of it, and records its end. An error means that the end is not recorded.
    pub fn run(&self, operation: OperationId) -> Result<(), Failure> {
        let session = session::begin();
        let _turn = lock_file(&self.root.job_lock(), FlockArg::LockExclusive)
            .map_err(|error| unavailable("lock", self.root.job_lock(), &error))?;
        // From here on the unit is started. queue.rs waits for the lock to learn of its end.
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
        self.tidy(&|name| job.may_change(name));
        let mut written = FileSystems::of(self.root);
        self.add_paths(&mut written, &job)?; // a removal leaves no list of them
        match self.done(&mut job, session, &mut written) {
            Ok(done) => self.end(job, done),
            // The package manager says that it was stopped. The record says whether a cancel stopped it.
            Err(Stop::Failed(failure)) if !self.is_open(operation)? => {
                self.after_cancel(&job, &failure)
            }
            Err(Stop::Cancelled) => Ok(()),
            Err(Stop::Failed(failure) | Stop::Later(failure)) => Err(failure),
        }
    }

    /// Does the job, or goes back. The disk has the result then.
    fn done(&self, job: &mut Job, session: i32, written: &mut FileSystems) -> Result<Done, Stop> {
        let done = match self.work(job, session) {
            Ok(devices) => Done {
                failure: None,
                devices,
                is_back: false,
            },
            Err(Stop::Failed(failure)) if self.is_open(job.operation)? => {
                self.undo(job, session, failure)?
            }
            Err(stop) => return Err(stop),
        };
        if job.state == JobState::Confirmed {
            return Ok(done);
        }
        self.add_paths(written, job)?;
        let synced = written.sync();
        synced.map_err(|error| Stop::Later(Failure::new(Cause::Unavailable, error.to_string())))?;
        fault::point("job.synced");
        if done.failure.is_none() {
            self.advance(job, JobState::Confirmed)?;
            fault::point("job.confirmed");
        }
        Ok(done)
    }

    /// Records the changes of a cancelled job in the ledger. There are none, unless the package manager did not wait for
    /// consent.
    fn after_cancel(&self, job: &Job, failure: &Failure) -> Result<(), Failure> {
        let devices = self.devices(job)?;
        let mut packages = job.packages().zip(&devices);
        if packages.any(|(name, device)| !is_the_same(job.found_before(name), device.as_ref())) {
            log::failed(job, failure);
        }
        let done = Done {
            failure: Some(failure.clone()),
            devices,
            is_back: false,
        };
        Ok(self.record(job, &done)?)
    }

    /// Releases units that an older wharfd held back wrongly. Leaves packages of open jobs alone.
    pub fn tidy_up(&self) -> Result<(), Failure> {
        let jobs = self.records.jobs()?;
        let open: Vec<&Job> = jobs.iter().filter(|job| job.is_open()).collect();
        self.tidy(&|name| open.iter().any(|job| job.may_change(name)));
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
            self.repairs(
                job,
                format_args!(
                    "processes of the one before stay (session {session}); it goes on without waiting"
                ),
            );
        }
        Ok(())
    }

    /// Does the rest of the work, and checks it. Returns what the device has of each package.
    fn work(&self, job: &mut Job, session: i32) -> Result<Vec<Option<Found>>, Stop> {
        let boot = boot();
        let devices = match &job.state {
            JobState::Confirmed => return Ok(self.devices(job)?),
            JobState::Returning(back) => return Err(back.why.clone().into()),
            JobState::Applied if !is_of_another_boot(job, &boot) => self.look(job)?,
            _ if is_used_up(job, &boot) => self.give_up(job)?,
            _ => self.change(job, JobAttempt { boot, session })?,
        };
        self.verify(job)?;
        Ok(devices)
    }

    /// Makes an attempt. The device has what was asked then.
    fn change(&self, job: &mut Job, attempt: JobAttempt) -> Result<Vec<Option<Found>>, Stop> {
        let (interrupted, boot) = (has_begun(job), attempt.boot.clone());
        self.begin_attempt(job, attempt)?;
        // Repair runs the package's scripts, so policy comes first.
        let mut permits = self.may_go_on(job, &boot, interrupted)?;
        if job.cut_off {
            self.repairs(job, format_args!("{DONE_AGAIN}"));
        }
        if interrupted {
            self.repair(job, &mut permits)?;
        }
        self.apply(job, &permits)?;
        let devices = self.look(job)?;
        self.advance(job, JobState::Applied)?;
        fault::point("job.applied");
        Ok(devices)
    }

    /// Does the steps in their order. Installations that follow each other are one run.
    fn apply(&self, job: &mut Job, permits: &[Step<Permit>]) -> Result<(), Stop> {
        let job = RefCell::new(job);
        let is_install = |step: &Step<Permit>| step.file().is_some();
        let several = self.manager().takes_several();
        let is_one = |left: &Step<Permit>, right: &Step<Permit>| {
            several && is_install(left) && is_install(right)
                || is_removal(left) && is_removal(right)
        };
        for run in permits.chunk_by(is_one) {
            match run {
                [first, _, ..] if is_removal(first) => self.apply_removals(&job, run)?,
                run => self.apply_run(&job, run)?,
            }
        }
        Ok(())
    }

    /// Tries nothing more. The device may have what was asked all the same.
    fn give_up(&self, job: &Job) -> Result<Vec<Option<Found>>, Stop> {
        let mut files = job.steps.iter().filter_map(Step::file);
        let was_there = files.any(|file| was_there(job, &file.judged));
        match self.look(job) {
            Ok(devices) if !was_there && !job.cut_off && !is_of_another_boot(job, &boot()) => {
                Ok(devices)
            }
            _ => {
                let detail = format!(
                    "given up after {} attempts that were interrupted: an operator has to look (`wharfctl doctor`)",
                    job.attempts.len()
                );
                Err(Failure::new(Cause::Interrupted, detail).into())
            }
        }
    }

    /// The attempt's number is on disk before the attempt. An attempt after an interrupted one keeps its state, since
    /// unfinished work cannot be cancelled.
    fn begin_attempt(&self, job: &mut Job, attempt: JobAttempt) -> Result<(), Stop> {
        if job.attempts.is_empty() {
            job.before = self.all_before(job)?;
            self.leave_activation_out(job)?;
            if job.removes() {
                let unused = self.unused(job);
                job.unused_before = unused.map(|unused| unused.into_iter().collect());
            }
        }
        job.cut_off |= has_begun(job) && is_of_another_boot(job, &attempt.boot);
        job.attempts.push(attempt);
        let state = match &job.state {
            JobState::Accepted | JobState::Attempted => JobState::Attempted,
            JobState::Returning(back) => JobState::Returning(back.clone()),
            _ => JobState::Applying,
        };
        self.advance(job, state)?;
        fault::point("job.attempted");
        Ok(())
    }

    /// A removal does not fail because nobody can say what it leaves.
    fn unused(&self, job: &Job) -> Option<BTreeSet<PackageName>> {
        let unused = self.manager().unused();
        let unknown = |failure: &Failure| {
            self.repairs(
                job,
                format_args!("unused dependencies are not known: {failure}"),
            );
        };
        unused.inspect_err(unknown).ok()
    }

    /// The dependencies that nothing needs since this job.
    fn newly_unused(&self, job: &Job) -> Vec<PackageName> {
        let Some(before) = &job.unused_before else {
            return Vec::new();
        };
        let unused = self.unused(job).into_iter().flatten();
        let is_new = |name: &PackageName| !before.contains(name) && !job.is_about(name);
        unused.filter(is_new).take(MAX_DEPENDENCIES).collect()
    }

    /// The packages that came beside the files, and that the device has now.
    fn brought(&self, job: &Job) -> Result<Vec<Dependency>, Failure> {
        let mut brought = Vec::new();
        for dependency in &job.dependencies {
            let found = self.manager().found(&dependency.name)?;
            let is_new = brought.len() < MAX_DEPENDENCIES && !brought.contains(dependency);
            if is_new && found.is_some_and(|found| found.version == dependency.version) {
                brought.push(dependency.clone());
            }
        }
        Ok(brought)
    }

    /// Each package of the job, once.
    fn all_before(&self, job: &Job) -> Result<Vec<Before>, Failure> {
        let mut all: Vec<Before> = Vec::new();
        for name in job.packages() {
            if all.iter().any(|before| before.package == *name) {
                continue;
            }
            let mut before = self.before(name)?;
            let goes_back = job.goes_back_to_previous(name);
            if goes_back {
                before.previous = self.kept.kept(name)?.and_then(|kept| kept.previous);
            }
            if (goes_back || job.steps.len() > 1) && before.found.is_some() {
                let units = self.device.services.snapshot(name, job.operation)?;
                before.units = units.map(ByteVec::from);
            }
            all.push(before);
        }
        Ok(all)
    }

    fn before(&self, name: &PackageName) -> Result<Before, Failure> {
        let found = self.ledger.with_managed(self.device.found(name)?)?;
        let left_configuration = found.is_none() && self.manager().leaves_configuration(name)?;
        Ok(Before {
            package: name.clone(),
            adopts: found.as_ref().is_some_and(|found| !found.managed),
            back: self.way_back(name, found.as_ref()),
            left_configuration,
            units: None,
            keeps_configuration: false,
            previous: None,
            found,
        })
    }

    /// Begins steps. From here on the job cannot be cancelled.
    fn begin_applying(
        &self,
        job: &mut Job,
        permits: &[Step<Permit>],
        brought: &Brought,
    ) -> Result<(), Stop> {
        if !has_begun(job) {
            self.keep_configuration(job, permits);
        }
        job.dependencies.extend_from_slice(&brought.dependencies);
        job.refreshed |= brought.refreshed;
        self.advance(job, JobState::Applying)?;
        fault::point("job.applying");
        for permit in permits.iter().filter_map(Step::file) {
            let name = &permit.install.file.package.name;
            self.ledger.begin(name, job.operation)?;
            fault::point("ledger.begun");
        }
        self.begin_bundle(job)?;
        Ok(())
    }

    /// Records the state, unless the job was cancelled meanwhile.
    fn advance(&self, job: &mut Job, state: JobState) -> Result<(), Stop> {
        let lock = self.records.lock().map_err(Failure::from)?;
        if !self.is_open(job.operation)? {
            return Err(Stop::Cancelled);
        }
        job.state = state;
        self.records.update(&lock, job).map_err(Failure::from)?;
        Ok(())
    }

    fn is_open(&self, operation: OperationId) -> Result<bool, Failure> {
        let recorded = self.records.job(operation).map_err(Failure::from)?;
        Ok(recorded.is_some_and(|recorded| recorded.is_open()))
    }

    fn manager(&self) -> &dyn PackageManager {
        self.device.packages.as_ref()
    }

    /// Keeps the files of a job that is done. The job does not fail because a file cannot be kept.
    fn keep(&self, job: &Job, done: &Done) {
        for step in &job.steps {
            let name = package(step);
            match step {
                Step::Install(file) if done.failure.is_none() && self.policy.keeps(name) => {
                    let replaced = job.back(name).map(|judged| Previous {
                        judged: judged.clone(),
                        configuration: job.keeps_configuration(name).then_some(job.operation),
                    });
                    let stage = file.path(self.root);
                    let kept = self.kept.keep(&stage, &file.judged, replaced, job.sequence);
                    if let Err(not_done) = kept {
                        log::repairs(job, step, format_args!("no way back is kept: {not_done}"));
                    }
                }
                Step::Back(_) if done.failure.is_none() => {
                    if let Err(not_done) = self.kept.went_back(name, job.sequence) {
                        log::repairs(job, step, format_args!("{not_done}"));
                    }
                }
                Step::Uninstall(_) | Step::Purge(_) if done.failure.is_none() => {
                    self.kept.forget(name);
                }
                _ => {}
            }
        }
        // After a failed return, the configuration files are left for an operator.
        if done.failure.is_none() || done.is_back {
            job.packages().for_each(|name| self.kept.sweep(name));
        }
        self.kept.trim(&|name| job.is_about(name));
    }

    /// Records the end, after the disk has what it says.
    fn end(&self, mut job: Job, done: Done) -> Result<(), Failure> {
        self.record(&job, &done)?;
        fault::point("ledger.recorded");
        self.keep(&job, &done);
        let Done {
            failure, devices, ..
        } = done;
        let is_done = failure.is_none();
        let outcome = Outcome {
            failure,
            device: self.software(&job, devices)?,
            attempts: u32::try_from(job.attempts.len()).unwrap_or(u32::MAX),
            note: (is_done && job.cut_off).then(|| DONE_AGAIN.into()),
            dependencies: self.brought(&job)?,
            refreshed: job.refreshed,
            unused: self.newly_unused(&job),
        };
        log::brought(&job, &outcome);
        match &outcome.failure {
            None => log::done(&job),
            Some(failure) => log::failed(&job, failure),
        }
        match self.advance(&mut job, JobState::Ended(Box::new(outcome))) {
            Ok(()) | Err(Stop::Cancelled) => {}
            Err(stop) => return Err(stop.into()),
        }
        fault::point("job.ended");
        progress::clear(self.root, job.operation);
        Ok(())
    }

    /// Adds the file systems on which the packages lie now.
    fn add_paths(&self, written: &mut FileSystems, job: &Job) -> Result<(), Failure> {
        let mounts = file_systems::mounts();
        let dependencies = job.dependencies.iter().map(|it| &it.name);
        for name in job.packages().chain(dependencies) {
            self.manager()
                .each_path(name, &mut |path| written.add(path, &mounts))?;
        }
        Ok(())
    }

    /// The packages of the steps on the device.
    fn devices(&self, job: &Job) -> Result<Vec<Option<Found>>, Failure> {
        job.packages().map(|name| self.device.found(name)).collect()
    }

    /// Logs a fact about each step.
    fn repairs(&self, job: &Job, what: std::fmt::Arguments<'_>) {
        for step in &job.steps {
            log::repairs(job, step, what);
        }
    }
}

/// Removes items that may need each other. One that another one needs still (`Plan`) is removed after that. Returns those that
/// stay, with the refusal of each.
fn in_rounds<T: Copy>(
    mut left: Vec<T>,
    remove: impl Fn(T) -> Result<(), Stop>,
) -> Result<Vec<(T, Failure)>, Stop> {
    loop {
        let mut needed = Vec::new();
        for item in &left {
            match remove(*item) {
                Err(Stop::Failed(failure)) if failure.cause == Cause::Plan => {
                    needed.push((*item, failure));
                }
                done => done?,
            }
        }
        if needed.len() == left.len() {
            return Ok(needed);
        }
        left = needed.into_iter().map(|(item, _)| item).collect();
    }
}

/// Whether a package did not change, as far as its package manager knows.
fn is_the_same(before: Option<&Found>, device: Option<&Found>) -> bool {
    let known = |found: &Found| (found.version.clone(), found.damage.clone());
    before.map(known) == device.map(known)
}

/// Whether the attempts at the job, or at its way back, are used up.
fn is_used_up(job: &Job, boot: &str) -> bool {
    let before = match &job.state {
        JobState::Returning(back) => usize::try_from(back.attempts_before).unwrap_or_default(),
        _ => 0,
    };
    let attempts = job.attempts.iter().skip(before);
    let in_this_boot = attempts.clone().filter(|attempt| attempt.boot == boot);
    in_this_boot.count() >= limits::ATTEMPTS_A_BOOT || attempts.count() >= limits::ATTEMPTS
}

/// Whether an attempt may have changed the device.
fn has_begun(job: &Job) -> bool {
    matches!(
        job.state,
        JobState::Applying | JobState::Applied | JobState::Confirmed | JobState::Returning(_)
    )
}

/// Whether the boot of the last attempt has ended. The package database may then call a package whole whose files are lost.
fn is_of_another_boot(job: &Job, boot: &str) -> bool {
    let last = job.attempts.last();
    last.is_some_and(|attempt| attempt.boot != boot)
}

/// The kernel's name of this boot.
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
