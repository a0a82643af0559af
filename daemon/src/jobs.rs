//! One job of the installer, from asking for it to its end, whatever is restarted meanwhile. The installer
//! does an operation once, so asking again is how to find out.

use wharf_frames::{
    Cause, Failure, OperationId, PackageName,
    installer::{Found, JobStatus, Outcome, Request},
};
use wharf_journal::message;
use wharf_software::{Event, InstanceId};

use crate::{
    installer::NotDone,
    work::{Context, FOR_EVER, operation_id, outlasts_a_restart},
};

/// A job that the gate let through.
pub struct Job {
    /// The instance it is for.
    pub instance: InstanceId,
    /// Its operation.
    pub operation: OperationId,
    /// What it is about, where that is known.
    pub package: Option<PackageName>,
    /// What is asked of the installer.
    pub request: Request,
}

impl Job {
    /// Has it done. What comes back ends the operation.
    pub async fn run(self, context: &Context) -> Event {
        match self.until_ended(context).await {
            Ok(outcome) => self.ended(outcome.failure, outcome.device),
            Err(failure) => self.refused(context, failure).await,
        }
    }

    /// Nothing was done. But the reason may be that the device is not as we believe: removed by hand, for example.
    async fn refused(self, context: &Context, failure: Failure) -> Event {
        let operation = self.operation;
        let Some(package) = self.package.clone() else {
            return Event::Failed { operation, failure };
        };
        match context.installer.state(package).await {
            Ok(device) => self.ended(Some(failure), device),
            Err(_) => Event::Failed { operation, failure },
        }
    }

    fn ended(&self, failure: Option<Failure>, device: Option<Found>) -> Event {
        Event::Ended {
            operation: self.operation,
            failure,
            device,
            next: operation_id(),
        }
    }

    /// There is no limit to asking: an earlier question may have started the job, so to stop asking would be to guess
    /// how it ended.
    async fn until_ended(&self, context: &Context) -> Result<Outcome, Failure> {
        let operation = self.operation;
        let outcome = context.until_answered(
            FOR_EVER,
            async || self.ask(context).await,
            |failure, in_vain| {
                tracing::warn!(
                    MESSAGE_ID = message::INSTALLER_NOT_REACHED,
                    WHARF_OPERATION = %operation,
                    "the installer cannot tell about the job now: {failure}"
                );
                if outlasts_a_restart(in_vain) {
                    let why = format!("the installer: {failure}").into();
                    context.waits_for(self.instance, operation, why);
                }
            },
        );
        outcome.await
    }

    async fn ask(&self, context: &Context) -> Result<Outcome, NotDone> {
        let operation = self.operation;
        let silent = |why| context.waits_for(self.instance, operation, why);
        let installer = &context.installer;
        installer.submit(self.request.clone(), silent).await?;
        wharf_fault::point("job.submitted");
        let mut watch = installer.watch(operation).await?;
        let mut is_told = false;
        loop {
            match watch.next().await? {
                JobStatus::Ended(outcome) => {
                    wharf_fault::point("job.told");
                    if let Some(note) = &outcome.note {
                        tracing::info!(WHARF_OPERATION = %operation, "the installer: {note}");
                    }
                    return Ok(outcome);
                }
                // So it is asked for again.
                JobStatus::Unknown => return Err(NotDone::Later(forgotten())),
                JobStatus::Open { phase, percent } => {
                    if !std::mem::replace(&mut is_told, true) {
                        context.report(self.instance, Event::Underway { operation });
                    }
                    tracing::debug!(WHARF_OPERATION = %operation, "the job goes on: {phase:?}, {percent:?}");
                    context.publisher.progress(operation, percent);
                }
            }
        }
    }
}

fn forgotten() -> Failure {
    Failure::new(
        Cause::Unavailable,
        "the installer does not know the job that it accepted",
    )
}
