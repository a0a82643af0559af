//! One job of the installer from its request to its end, across restarts. The installer does an operation once, so
//! repeating the request is the way to learn its state.
//!
//! Only the installer can cancel a job. If it does not have the job yet, the cancel is sent right after the job.

use tokio::sync::watch;
use wharf_frames::{
    Cause, Failure, OperationId, PackageName, Text, Transaction,
    installer::{Found, JobStatus, Outcome},
};
use wharf_journal::message;
use wharf_software::{Event, InstanceId};

use crate::{
    installer::InstallerError,
    tasks::{FOR_EVER, TaskContext, operation_id, outlasts_a_restart},
};

/// A job that the gate let through.
pub struct InstallerJob {
    /// The instance.
    pub instance: InstanceId,
    /// Its operation.
    pub operation: OperationId,
    /// The package that it changes, if it is known.
    pub package: Option<PackageName>,
    /// The steps.
    pub transaction: Transaction,
    /// Whether the installer has it.
    pub submitted: watch::Sender<bool>,
}

/// Cancels a job as soon as the installer has it and answers. A cancel must not overtake its job, which the installer
/// would not know yet.
pub async fn cancel(
    context: &TaskContext,
    operation: OperationId,
    mut submitted: watch::Receiver<bool>,
) -> Result<(), Failure> {
    if submitted.wait_for(|submitted| *submitted).await.is_err() {
        let why = "it ended before it could be cancelled";
        return Err(Failure::new(Cause::Policy, why));
    }
    let cancel = async || context.installer.cancel(operation).await;
    context.until_answered(FOR_EVER, cancel, |_, _| {}).await
}

impl InstallerJob {
    /// Has the installer do it. Returns the event that ends the operation.
    pub async fn run(self, context: &TaskContext) -> Event {
        match self.until_ended(context).await {
            Ok(outcome) => self.ended(outcome.failure, outcome.device),
            Err(failure) => self.refused(context, failure).await,
        }
    }

    /// The end of a refused job. It includes the state of the device, which may differ from ours: a package may have
    /// been removed by hand.
    async fn refused(self, context: &TaskContext, failure: Failure) -> Event {
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

    /// Asks without a limit: an earlier request may have started the job, so its end would otherwise be unknown.
    async fn until_ended(&self, context: &TaskContext) -> Result<Outcome, Failure> {
        let operation = self.operation;
        let outcome = context.until_answered(
            FOR_EVER,
            async || self.ask(context).await,
            |failure, in_vain| {
                tracing::warn!(
                    MESSAGE_ID = message::INSTALLER_NOT_REACHED,
                    WHARF_OPERATION = %operation,
                    "cannot ask the installer about the job now: {failure}"
                );
                if outlasts_a_restart(in_vain) {
                    let why = format!("the installer: {failure}").into();
                    context.waits_for(self.instance, operation, why);
                }
            },
        );
        outcome.await
    }

    async fn ask(&self, context: &TaskContext) -> Result<Outcome, InstallerError> {
        let operation = self.operation;
        let silent = |why| context.waits_for(self.instance, operation, why);
        let installer = &context.installer;
        let transaction = self.transaction.clone();
        installer.perform(operation, transaction, silent).await?;
        wharf_fault::point("job.submitted");
        self.submitted.send_replace(true);
        let mut watch = installer.watch(operation).await?;
        let mut told = None;
        loop {
            match watch.next().await? {
                JobStatus::Ended(outcome) => {
                    wharf_fault::point("job.told");
                    if let Some(note) = &outcome.note {
                        tracing::info!(WHARF_OPERATION = %operation, "the installer: {note}");
                    }
                    if let Some(beside) = beside(&outcome) {
                        tracing::info!(WHARF_OPERATION = %operation, "the installer: {beside}");
                        let kept = context.store.borrow_mut().keep_beside(operation, &beside);
                        kept.unwrap_or_else(|error| tracing::warn!("{error}"));
                    }
                    return Ok(*outcome);
                }
                // The caller submits it again.
                JobStatus::Unknown => return Err(InstallerError::Later(forgotten())),
                JobStatus::Open { phase, percent } => {
                    if told.replace(phase) != Some(phase) {
                        context.report(self.instance, Event::Underway { operation, phase });
                    }
                    tracing::debug!(WHARF_OPERATION = %operation, "the job continues: {phase:?}, {percent:?}");
                    context.publisher.progress(operation, percent);
                }
            }
        }
    }
}

/// The changes of a job beside its package: the dependencies that came, and those that nothing needs any more.
fn beside(outcome: &Outcome) -> Option<Text> {
    let named = |what: &str, names: Vec<String>| {
        let is_any = !names.is_empty();
        is_any.then(|| Text::from(format!("{what}: {}", names.join(", "))))
    };
    let came = match outcome.refreshed {
        true => "came with it, after the lists of the sources were fetched again",
        false => "came with it",
    };
    let dependencies = outcome.dependencies.iter().map(ToString::to_string);
    let unused = outcome.unused.iter().map(ToString::to_string);
    let came = named(came, dependencies.collect());
    let unused = named("nothing needs any more", unused.collect());
    match (came, unused) {
        (Some(came), Some(unused)) => Some(came.followed_by(&unused)),
        (came, unused) => came.or(unused),
    }
}

fn forgotten() -> Failure {
    Failure::new(
        Cause::Unavailable,
        "the installer does not know the job that it accepted",
    )
}

#[cfg(test)]
mod tests {
    use wharf_frames::{PackageVersion, installer::Dependency};

    use super::*;

    #[test]
    fn dependencies_that_came_and_those_that_are_unused_are_told() {
        let name = |text| PackageName::new(text).unwrap();
        let came = Outcome {
            dependencies: vec![Dependency {
                name: name("libfoo"),
                version: PackageVersion::new("2").unwrap(),
            }],
            ..Outcome::default()
        };
        let told = |outcome: &Outcome| beside(outcome).map(|text| text.to_string());
        assert_eq!(told(&Outcome::default()), None);
        assert_eq!(told(&came).as_deref(), Some("came with it: libfoo 2"));
        let both = Outcome {
            refreshed: true,
            unused: vec![name("libbar")],
            ..came
        };
        assert_eq!(
            told(&both).as_deref(),
            Some(
                "came with it, after the lists of the sources were fetched again: libfoo 2; nothing needs any more: libbar"
            )
        );
    }
}
