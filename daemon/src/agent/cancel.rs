//! A local user cancels an operation. Only the installer can cancel a job that it has: it answers, and the job reports its
//! end. The request is stored until then, so that it survives a restart.

use tokio::{sync::watch, time::timeout};
use wharf_frames::{Failure, OperationId};
use wharf_journal::message;
use wharf_software::{InstanceId, Operation, OperationKind, operation::Phase};

use super::Agent;
use crate::{
    bus::{AnswerSender, InstanceCommand, Refused},
    installer::{self, REMEDY},
    jobs,
    tasks::TaskContext,
};

/// A job on its way to its end.
pub(super) struct RunningJob {
    /// Whether the installer has the job.
    pub(super) submitted: watch::Receiver<bool>,
    /// Its cancel, if a user requested it.
    pub(super) cancelled: Option<Cancelled>,
}

/// The outcome of a cancel; none while it runs.
type Cancelled = watch::Receiver<Option<Result<(), Failure>>>;

impl Agent {
    /// Cancels an operation.
    pub(super) fn cancel(
        &mut self,
        id: InstanceId,
        operation: OperationId,
        user: u32,
        answer: AnswerSender<Option<OperationId>>,
    ) {
        let job = self.begun_job(id).filter(|job| job.id == operation);
        let cancel = job.and_then(|job| Some((job.kind, self.cancel_once(id, user, job)?)));
        let Some((kind, mut cancelled)) = cancel else {
            let cancelled = self.request_local(id, InstanceCommand::Cancel(operation), user);
            return drop(answer.send(cancelled));
        };
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
    fn cancel_once(&mut self, id: InstanceId, user: u32, job: Operation) -> Option<Cancelled> {
        let running = self.jobs.get_mut(&job.id)?;
        let has_failed = |known: &Cancelled| matches!(*known.borrow(), Some(Err(_)));
        if let Some(known) = running
            .cancelled
            .as_ref()
            .filter(|known| !has_failed(known))
        {
            return Some(known.clone());
        }
        let (sender, cancelled) = watch::channel(None);
        running.cancelled = Some(cancelled.clone());
        let (context, submitted) = (self.context.clone(), running.submitted.clone());
        tokio::task::spawn_local(async move {
            let outcome = cancel_job(&context, id, user, job, submitted).await;
            sender.send_replace(Some(outcome));
        });
        Some(cancelled)
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
}

/// The answer to a cancel while the installer does not answer.
fn noted(kind: OperationKind) -> Refused {
    let kind = kind.as_str();
    Refused::NotAllowed(format!(
        "the installer does not answer: {REMEDY}. wharfd cancels the {kind} as soon as it answers"
    ))
}

/// Asks the installer to cancel the job. A full disk does not stop the cancel.
async fn cancel_job(
    context: &TaskContext,
    id: InstanceId,
    user: u32,
    job: Operation,
    submitted: watch::Receiver<bool>,
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
    let outcome = jobs::cancel(context, job.id, submitted).await;
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
