//! Each question of the job socket, and its answer. Knows no socket but for `watch`, which answers for as long as the
//! job runs.

use std::{fs::File, io, os::fd::OwnedFd};

use wharf_frames::{
    Cause, Failure, OperationId, PackageName, StageId, Step, Text, Transaction,
    installer::{Found, JobStatus, PROTOCOL, Reply, Request},
};
use wharf_root::{Root, session::Process};

use crate::{
    device::Device,
    inner::Inner,
    ledger::Ledger,
    permission::{Witnesses, may_install, may_purge, may_remove, policy_now},
    queue::Queue,
    records::Job,
    seal,
    staging::{NotDone, Staging},
};

/// All that answers are made of.
pub struct Responder {
    /// Where everything lies.
    pub root: Root,
    /// Package manager, services and wharf-inspect.
    pub device: Device,
    /// Files on their way.
    pub staging: Staging,
    /// Jobs.
    pub queue: Queue,
    /// What was ever installed.
    pub ledger: Ledger,
}

/// What a question is answered with.
pub(crate) enum Answer {
    /// One frame.
    Reply(Reply),
    /// One frame and a descriptor.
    WithDescriptor(Reply, OwnedFd),
    /// A frame at each change, until the job has ended.
    Watch(OperationId),
}

impl From<NotDone> for Reply {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Refused(failure) => Self::Refused(failure),
            NotDone::NotNow(failure) => Self::NotNow(failure),
        }
    }
}

/// What could not be read or run now may be there later; what was judged stays judged.
impl From<Failure> for NotDone {
    fn from(failure: Failure) -> Self {
        match failure.cause {
            Cause::Unavailable => Self::NotNow(failure),
            _ => Self::Refused(failure),
        }
    }
}

impl Responder {
    /// Answers one question.
    pub(crate) fn answer(&self, request: Request) -> Answer {
        let answered = match request {
            Request::Watch { operation } => return Answer::Watch(operation),
            Request::Stage { stage, keep, size } => return self.stage(stage, keep, size),
            Request::Hello { .. } => Ok(self.hello()),
            Request::Seal { stage, signature } => {
                self.seal(stage, signature.as_ref().map(|bytes| bytes.as_slice()))
            }
            Request::Discard { stage } => self.discard(stage),
            Request::List => self.list(),
            Request::Perform {
                operation,
                transaction,
            } => self.perform(operation, &transaction),
            Request::State { package } => self.state(&package),
            Request::Cancel { operation } => self.cancel(operation),
        };
        Answer::Reply(answered.unwrap_or_else(Reply::from))
    }

    fn hello(&self) -> Reply {
        let database = self.root.seen_inside(&self.device.database);
        Reply::Hello {
            protocol: PROTOCOL,
            backend: self.device.packages.name().into(),
            architecture: self.device.packages.architecture().into(),
            database: Some(Text::new(&database.to_string_lossy())),
        }
    }

    fn stage(&self, stage: StageId, keep: u64, size: Option<u64>) -> Answer {
        if let Err(error) = self.expire() {
            tracing::warn!("cannot look for old files: {error}");
        }
        let needs = |stage| self.job_that_needs(stage);
        match self.staging.stage(stage, keep, size, &needs) {
            Ok(staged) => Answer::WithDescriptor(
                Reply::Staged {
                    kept: staged.kept,
                    limit: staged.limit,
                },
                staged.file,
            ),
            Err(not_done) => Answer::Reply(not_done.into()),
        }
    }

    /// Old files go, but for those of open jobs.
    fn expire(&self) -> io::Result<()> {
        self.staging.expire(&|stage| self.job_that_needs(stage))
    }

    fn seal(&self, stage: StageId, signature: Option<&[u8]>) -> Result<Reply, NotDone> {
        let judge =
            |file: &File, inner: &mut Inner| seal::judge(file, signature, inner, self.witnesses());
        let judged = self.staging.seal(stage, judge)?;
        Ok(Reply::Sealed(judged.package))
    }

    fn discard(&self, stage: StageId) -> Result<Reply, NotDone> {
        let needs = |stage| self.job_that_needs(stage);
        self.staging.discard(stage, &needs).map(|()| Reply::Done)
    }

    fn list(&self) -> Result<Reply, NotDone> {
        let stages = self.staging.list().map_err(|error| {
            Failure::new(
                Cause::Unavailable,
                format!("cannot list staged files: {error}"),
            )
        })?;
        let open = self.open_jobs()?.iter().map(|job| job.operation).collect();
        Ok(Reply::List { stages, open })
    }

    fn perform(&self, operation: OperationId, transaction: &Transaction) -> Result<Reply, NotDone> {
        let [step] = transaction.steps.as_slice() else {
            let why = format!(
                "a transaction of {} steps: a job here has exactly one",
                transaction.steps.len()
            );
            return Err(Failure::new(Cause::Policy, why).into());
        };
        if self.is_known(operation)? {
            return Ok(Reply::Accepted);
        }
        let step = match step {
            Step::Install(stage) => return self.install(operation, *stage),
            Step::Uninstall(package) => {
                self.is_managed(package, true)?;
                may_remove(package, &policy_now(&self.root)?)?;
                Step::Uninstall(package.clone())
            }
            Step::Purge(package) => {
                self.is_managed(package, false)?;
                may_purge(package, &policy_now(&self.root)?)?;
                Step::Purge(package.clone())
            }
            Step::Activate(package) => {
                self.is_managed(package, true)?;
                Step::Activate(package.clone())
            }
            Step::Deactivate(package) => {
                self.is_managed(package, true)?;
                Step::Deactivate(package.clone())
            }
        };
        self.queue.accept(operation, vec![step])?;
        Ok(Reply::Accepted)
    }

    fn install(&self, operation: OperationId, stage: StageId) -> Result<Reply, NotDone> {
        // Kept until the job is recorded: from then on the record keeps the file.
        let kept = self.staging.sealed(stage)?;
        // Policy may have changed since the file was sealed.
        let policy = policy_now(&self.root)?;
        may_install(&kept.file.judged, &policy, self.witnesses())?;
        let step = Step::Install(kept.file.clone());
        self.queue.accept(operation, vec![step])?;
        Ok(Reply::Accepted)
    }

    fn witnesses(&self) -> Witnesses<'_> {
        Witnesses {
            root: &self.root,
            ledger: &self.ledger,
            device: &self.device,
        }
    }

    /// A name that fits the grammar, that we installed or began to install, and of which the device still has something by
    /// exactly this name. A purge does not need the package: only its configuration may be left, or nothing.
    fn is_managed(&self, package: &PackageName, needs_it: bool) -> Result<(), Failure> {
        let why = if !self.device.packages.is_name(package) {
            "is no name of a package"
        } else if !self.ledger.is_managed(package)? {
            "was never installed by wharfd"
        } else if needs_it && self.device.packages.found(package)?.is_none() {
            "is not installed"
        } else {
            return Ok(());
        };
        Err(Failure::new(
            Cause::NotManaged,
            format!("'{package}' {why}"),
        ))
    }

    fn state(&self, package: &PackageName) -> Result<Reply, NotDone> {
        match self.device.packages.is_name(package) {
            true => Ok(Reply::State(self.found(package)?)),
            false => Ok(Reply::State(None)),
        }
    }

    fn cancel(&self, operation: OperationId) -> Result<Reply, NotDone> {
        let recognise = &|process: &Process| self.device.packages.role(process);
        self.queue
            .cancel(operation, recognise, |package| self.found(package))?;
        Ok(Reply::Done)
    }

    fn found(&self, package: &PackageName) -> Result<Option<Found>, Failure> {
        self.ledger.found(package, &self.device)
    }

    /// How a job stands.
    pub(crate) fn status(&self, operation: OperationId) -> Result<JobStatus, NotDone> {
        let status = self.queue.records().status(operation);
        status.map_err(|error| Failure::from(error).into())
    }

    /// Whether the job is recorded. One that is open is done, also if recording it was told to have failed.
    fn is_known(&self, operation: OperationId) -> Result<bool, Failure> {
        let job = self.queue.records().job(operation)?;
        if job.as_ref().is_some_and(Job::is_open) {
            self.queue.wake();
        }
        Ok(job.is_some())
    }

    fn job_that_needs(&self, stage: StageId) -> Result<Option<OperationId>, Failure> {
        let open = self.open_jobs()?;
        let job = open.iter().find(|job| job.needs(stage));
        Ok(job.map(|job| job.operation))
    }

    fn open_jobs(&self) -> Result<Vec<Job>, Failure> {
        let mut jobs = self.queue.records().jobs()?;
        jobs.retain(Job::is_open);
        Ok(jobs)
    }
}
