//! The requests of local users over D-Bus. They become the same events as a server's requests, so that the server is
//! notified. Also publishes the state of the agent on D-Bus.

use std::os::fd::OwnedFd;

use tokio::{sync::watch, time::timeout};
use wharf_frames::{Failure, OperationId};
use wharf_journal::message;
use wharf_software::{
    Event, Instance, InstanceId, Kind, Operation, Origin, Refusal, Source, Transition, Write,
    create::{Wanted, create, free_id},
    operation::Phase,
};

use super::{Agent, pushes::Expected};
use crate::{
    bus::{Answer, Command, InstanceCommand, Refused},
    delivery::copy::LocalFile,
    installer::{self, LOOK},
    jobs, objects,
    store::{HistoryEntry, StoreError},
    work::{Context, operation_id, stage_id},
};

/// The outcome of a cancel; none while it runs.
pub(super) type Cancelled = watch::Receiver<Option<Result<(), Failure>>>;

/// The number of ended operations on the bus.
const ENDED_SHOWN: u32 = 16;

impl Agent {
    /// Answers after the request is stored. The caller may have gone.
    pub(super) fn answer_local(&mut self, command: Command) {
        match command {
            Command::Instance {
                id,
                command: InstanceCommand::Cancel(operation),
                user,
                answer,
            } => self.cancel(id, operation, user, answer),
            Command::Instance {
                id,
                command,
                user,
                answer,
            } => drop(answer.send(self.request_local(id, command, user))),
            Command::Create { user, answer } => drop(answer.send(self.create_local(user))),
            Command::Trace { writer, answer } => drop(answer.send(self.trace(writer))),
            Command::History { instance, answer } => drop(answer.send(self.history(instance))),
            Command::Operations { answer } => {
                let operations = self.context.store.borrow_mut().kept_operations();
                drop(answer.send(operations.map_err(not_stored)));
            }
        }
    }

    /// Cancels an operation. Only the installer can cancel a job that it has: it answers, and the job reports its end.
    fn cancel(
        &mut self,
        id: InstanceId,
        operation: OperationId,
        user: u32,
        answer: Answer<Option<OperationId>>,
    ) {
        let Some(job) = self.begun_job(id).filter(|job| job.id == operation) else {
            let cancelled = self.request_local(id, InstanceCommand::Cancel(operation), user);
            return drop(answer.send(cancelled));
        };
        let kind = job.kind;
        let mut cancelled = self.cancel_once(id, user, job);
        tokio::task::spawn_local(async move {
            let outcome = timeout(installer::SILENCE, cancelled.wait_for(Option::is_some)).await;
            let outcome = outcome.ok().and_then(|ended| ended.ok()?.clone());
            let refused = |failure: Failure| Refused::NotAllowed(failure.to_string());
            drop(answer.send(match outcome {
                Some(outcome) => outcome.map(|()| None).map_err(refused),
                None => Err(noted(kind)),
            }));
        });
    }

    /// Cancels a job, or joins an earlier cancel that runs or has succeeded.
    fn cancel_once(&mut self, id: InstanceId, user: u32, job: Operation) -> Cancelled {
        let accepted = &self.accepted;
        self.cancels.retain(|operation, cancelled| {
            let is_open = accepted.iter().any(|(known, _)| known == operation);
            is_open && !matches!(*cancelled.borrow(), Some(Err(_)))
        });
        let (context, operation) = (self.context.clone(), job.id);
        let cancelled = self.cancels.entry(operation).or_insert_with(|| {
            let (sender, cancelled) = watch::channel(None);
            tokio::task::spawn_local(async move {
                sender.send_replace(Some(cancel_job(&context, id, user, job).await));
            });
            cancelled
        });
        cancelled.clone()
    }

    /// Cancels the resumed job, if a local user requested this before a restart and the installer has not answered. An
    /// earlier effect of the instance has no job to cancel yet.
    pub(super) fn cancel_again(&mut self, id: InstanceId, resumed: Option<OperationId>) {
        let job = self.begun_job(id);
        let Some(job) = job.filter(|job| Some(job.id) == resumed) else {
            return;
        };
        let kept = self.context.store.borrow_mut().kept_cancel(job.id);
        match kept {
            Ok(None) => {}
            Ok(Some(user)) => drop(self.cancel_once(id, user, job)),
            Err(error) => tracing::warn!("cannot read whether the job was cancelled: {error}"),
        }
    }

    /// The operation of an instance that has passed the gate to the installer.
    fn begun_job(&self, id: InstanceId) -> Option<Operation> {
        let busy = self.instances.get(&id).filter(|known| known.is_busy())?;
        let begun = busy.phase() == Some(Phase::Act);
        busy.operation().filter(|_| begun)
    }

    fn request_local(
        &mut self,
        id: InstanceId,
        command: InstanceCommand,
        user: u32,
    ) -> Result<Option<OperationId>, Refused> {
        let event = match command {
            InstanceCommand::Write(values) => write(user, values),
            InstanceCommand::WritePackage { file, signature } => {
                let file = LocalFile::new(file, signature)?;
                let source = Some(Source::Package {
                    empty: file.is_empty(),
                });
                self.pushes.expected = Some(Expected::File(file));
                write(
                    user,
                    Write {
                        source,
                        ..Write::default()
                    },
                )
            }
            InstanceCommand::Execute { action, arguments } => Event::Execute {
                action,
                arguments: arguments.to_vec(),
                starts: asked(user),
            },
            InstanceCommand::Delete => Event::Delete,
            InstanceCommand::Cancel(operation) => Event::Cancel {
                operation,
                by: Origin::User(user),
            },
        };
        let done = self.happen_locally(id, event);
        self.pushes.expected = None;
        done
    }

    fn happen_locally(
        &mut self,
        id: InstanceId,
        event: Event,
    ) -> Result<Option<OperationId>, Refused> {
        let old = self.instances.get(&id).cloned();
        let old = old.ok_or(Refused::NoInstance(id.0))?;
        match self.step(&old, event) {
            Ok(transition) => {
                let stored = self.commit(id, Some(&old), &transition, None);
                stored.map_err(not_stored)?;
                let operation = transition.instance.and_then(|new| new.operation());
                Ok(operation.map(|operation| operation.id))
            }
            Err(refusal) => self.refuse_locally(id, &old, refusal),
        }
    }

    /// A refusal may have a result, which the server reads as after its own request.
    fn refuse_locally(
        &mut self,
        id: InstanceId,
        old: &Instance,
        mut refusal: Refusal,
    ) -> Result<Option<OperationId>, Refused> {
        if let Some(instance) = refusal.instance.take() {
            let transition = Transition {
                instance: Some(*instance),
                effects: Vec::new(),
            };
            let stored = self.commit(id, Some(old), &transition, None);
            stored.map_err(not_stored)?;
        }
        Err(refusal.into())
    }

    fn create_local(&mut self, user: u32) -> Result<InstanceId, Refused> {
        let taken: Vec<InstanceId> = self.instances.keys().copied().collect();
        let id = free_id(
            Wanted::Highest,
            &taken,
            usize::from(self.settings.max_instances),
        )?;
        let exists = |link| objects::exists(&self.instances, link);
        let transition = create(
            Write::default(),
            asked(user),
            stage_id(),
            &self.rules(None, &exists),
        )?;
        let stored = self.commit(id, None, &transition, None);
        stored.map_err(not_stored).map(|()| id)
    }

    /// The messages of all servers go into one pipe.
    fn trace(&mut self, watcher: OwnedFd) -> Result<(), Refused> {
        if self.servers.is_empty() {
            let why = "no server is configured, so there are no messages to trace";
            return Err(Refused::NotAllowed(why.to_owned()));
        }
        let refused = |error: &dyn std::error::Error| {
            Refused::BadRequest(format!("the pipe cannot be used: {error}"))
        };
        for server in self.servers.values_mut() {
            let watcher = watcher.try_clone().map_err(|error| refused(&error))?;
            server.trace(watcher).map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    fn history(&self, instance: Option<InstanceId>) -> Result<Vec<HistoryEntry>, Refused> {
        let history = self.context.store.borrow_mut().history();
        let mut lines = history.map_err(not_stored)?;
        lines.retain(|line| instance.is_none_or(|id| line.instance == id));
        Ok(lines)
    }

    /// Publishes everything at the start.
    pub(super) fn show(&self) {
        for (id, instance) in &self.instances {
            self.context.publisher.instance(*id, Some(instance));
        }
        self.show_operations();
    }

    /// Publishes the change of a commit.
    pub(super) fn show_change(
        &self,
        id: InstanceId,
        old: Option<&Instance>,
        new: Option<&Instance>,
    ) {
        let of = |instance: Option<&Instance>| {
            instance.map(|instance| (instance.operation(), instance.phase()))
        };
        if of(old) != of(new) {
            self.show_operations();
        }
        self.context.publisher.instance(id, new);
    }

    fn show_operations(&self) {
        let operations = self.context.store.borrow_mut().operations(ENDED_SHOWN);
        match operations {
            Ok(operations) => self.context.publisher.operations(operations),
            Err(error) => tracing::warn!("cannot publish the operations: {error}"),
        }
    }
}

fn write(user: u32, write: Write) -> Event {
    Event::Write {
        write,
        starts: asked(user),
        stage: stage_id(),
    }
}

/// The answer to a cancel while the installer does not answer.
fn noted(kind: Kind) -> Refused {
    let kind = kind.as_str();
    Refused::NotAllowed(format!(
        "the installer does not answer: {LOOK}. wharfd cancels the {kind} as soon as it answers"
    ))
}

/// Asks the installer to cancel the job. wharfd stores the request until the answer, so that it survives a restart. A
/// full disk does not stop the cancel.
async fn cancel_job(
    context: &Context,
    id: InstanceId,
    user: u32,
    job: Operation,
) -> Result<(), Failure> {
    let keep = |by, otherwise| {
        let kept = context.store.borrow_mut().keep_cancel(job.id, by);
        let operation = job.id;
        kept.inspect_err(|error| {
            tracing::warn!(
                MESSAGE_ID = message::NOT_STORED,
                WHARF_INSTANCE = id.0,
                WHARF_OPERATION = %operation,
                "instance {}: a restarted wharfd {otherwise} for the cancel of this job: {error}",
                id.0
            );
        })
    };
    let is_kept = keep(Some(user), "does not ask").is_ok();
    let outcome = jobs::cancel(context, job.id).await;
    if is_kept {
        let _ = keep(None, "asks again");
    }
    tell_cancelled(id, user, &job, &outcome);
    outcome
}

fn tell_cancelled(id: InstanceId, user: u32, job: &Operation, outcome: &Result<(), Failure>) {
    let (id, kind) = (id.0, job.kind.as_str());
    let told = match outcome {
        Ok(()) => format!("user {user} cancelled the {kind}"),
        Err(why) => format!("user {user} could not cancel the {kind}: {why}"),
    };
    tracing::info!(WHARF_INSTANCE = id, WHARF_OPERATION = %job.id, "instance {id}: {told}");
}

fn asked(user: u32) -> wharf_software::NewOperation {
    wharf_software::NewOperation {
        id: operation_id(),
        origin: Origin::User(user),
    }
}

fn not_stored(error: StoreError) -> Refused {
    Refused::NotStored(error.to_string())
}
