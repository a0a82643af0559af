//! One job of the installer, from asking for it to its end, whatever is restarted meanwhile. The installer
//! does an operation once, so asking again is how to find out.

use wharf_frames::{
    Cause, Failure, OperationId, PackageName,
    installer::{Found, JobStatus, Outcome, Request},
};
use wharf_journal::message;
use wharf_software::Event;

use crate::{
    installer::NotDone,
    work::{Context, operation_id},
};

/// Has a job done. What comes back ends the operation.
pub async fn run(
    context: &Context,
    operation: OperationId,
    package: Option<PackageName>,
    job: Request,
) -> Event {
    match until_ended(context, operation, job).await {
        Ok(outcome) => ended(operation, outcome.failure, outcome.device),
        Err(failure) => refused(context, operation, package, failure).await,
    }
}

/// Nothing was done. But the reason may be that the device is not as we believe: removed by hand, for example.
async fn refused(
    context: &Context,
    operation: OperationId,
    package: Option<PackageName>,
    failure: Failure,
) -> Event {
    let Some(package) = package else {
        return Event::Failed { operation, failure };
    };
    match context.installer.state(package).await {
        Ok(device) => ended(operation, Some(failure), device),
        Err(_) => Event::Failed { operation, failure },
    }
}

fn ended(operation: OperationId, failure: Option<Failure>, device: Option<Found>) -> Event {
    Event::Ended {
        operation,
        failure,
        device,
        next: operation_id(),
    }
}

/// There is no limit to asking: an earlier question may have started the job, so to stop asking would be to guess
/// how it ended.
async fn until_ended(
    context: &Context,
    operation: OperationId,
    job: Request,
) -> Result<Outcome, Failure> {
    let outcome = context.until_answered(
        async || ask(context, operation, job.clone()).await,
        |failure, _| {
            tracing::warn!(
                MESSAGE_ID = message::INSTALLER_NOT_REACHED,
                WHARF_OPERATION = %operation,
                "the installer cannot tell about the job now: {failure}"
            );
        },
    );
    outcome.await
}

fn forgotten() -> Failure {
    Failure::new(
        Cause::Unavailable,
        "the installer does not know the job that it accepted",
    )
}

async fn ask(context: &Context, operation: OperationId, job: Request) -> Result<Outcome, NotDone> {
    context.installer.submit(job).await?;
    wharf_fault::point("job.submitted");
    let mut watch = context.installer.watch(operation).await?;
    loop {
        match watch.next().await? {
            JobStatus::Ended(outcome) => {
                wharf_fault::point("job.told");
                return Ok(outcome);
            }
            JobStatus::Unknown => return Err(NotDone::Later(forgotten())), // so it is asked for again
            JobStatus::Open { phase, percent } => {
                tracing::debug!(WHARF_OPERATION = %operation, "the job goes on: {phase:?}, {percent:?}");
                context.publisher.progress(operation, percent);
            }
        }
    }
}
