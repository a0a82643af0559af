//! A download from a Package URI: attempts until the package is there, each counted before it is made, each going
//! on where the one before stopped.

use std::time::Duration;

use wharf_frames::{
    Cause, Failure, OperationId, Secret, StageId, Text,
    fetch::{DURABLE_EVERY, Event as Progress, Limits, Resume},
};
use wharf_software::{
    Event, InstanceId, UpdateResult,
    causes::{self, During},
};

use super::{
    attempt::{Attempt, Failed},
    seal::seal,
};
use crate::{
    installer::NotDone,
    store::Download,
    work::{Context, not_stored},
};

/// So many attempts without [`DURABLE_EVERY`] new bytes, and an operator is needed: a package that never arrives
/// must not eat a data plan.
pub const ATTEMPT_LIMIT: u32 = 8;

/// A download that the gate let through.
#[derive(Debug, Clone)]
pub struct Pull {
    /// The instance it is for.
    pub instance: InstanceId,
    /// Its operation.
    pub operation: OperationId,
    /// The file it goes into.
    pub stage: StageId,
    /// Package URI.
    pub uri: Secret,
    /// Resource 14.
    pub user_name: Option<Secret>,
    /// Resource 15.
    pub password: Option<Secret>,
}

impl Pull {
    /// Downloads. What comes back ends the operation.
    pub async fn run(self, context: &Context) -> Event {
        let operation = self.operation;
        match self.until_whole(context).await {
            Ok(()) => Event::PackageWritten { operation },
            Err(failure) => Event::Failed { operation, failure },
        }
    }

    async fn until_whole(&self, context: &Context) -> Result<(), Failure> {
        loop {
            let begun = context.store.borrow_mut().begin_attempt(self.stage);
            let download = begun.map_err(not_stored)?;
            if download.attempts > ATTEMPT_LIMIT {
                return Err(never_ended()); // wharfd was killed in each of them
            }
            let failed = match self.attempt(context, &download).await {
                Ok(()) if self.is_sound(context).await? => return Ok(()),
                Ok(()) => continue, // once more, from the first byte
                Err(failed) => failed,
            };
            self.note_failure(context, &download, &failed)?;
            if context.is_ending() || !failed.failure.cause.may_pass() {
                return Err(failed.failure);
            }
            if download.attempts >= ATTEMPT_LIMIT {
                return Err(gave_up(&failed.failure));
            }
            self.wait(context, download.attempts, failed).await;
        }
    }

    async fn attempt(&self, context: &Context, download: &Download) -> Result<(), Failed> {
        let attempt = Attempt {
            stage: self.stage,
            uri: self.uri.clone(),
            user_name: self.user_name.clone(),
            password: self.password.clone(),
            resume: resume(download),
            limits: Limits {
                connect_ms: millis(context.timing.connect),
                stall_ms: millis(context.timing.stall),
            },
        };
        let note = |progress| self.note(context, progress);
        let length = context.fetcher.run(context, attempt, note).await?;
        let noted = context.store.borrow_mut().note_durable(self.stage, length);
        noted.map_err(|error| not_stored(error).into())
    }

    /// What is stored of the way, so that an attempt after a kill goes on there. That it cannot be stored
    /// costs bytes and no truth, so the download goes on.
    fn note(&self, context: &Context, progress: Progress) {
        let mut store = context.store.borrow_mut();
        let noted = match progress {
            Progress::Signature(signature) => store.note_signature(self.stage, &signature),
            Progress::Started {
                offset, validator, ..
            } => {
                context.report(
                    self.instance,
                    Event::FirstByte {
                        operation: self.operation,
                    },
                );
                store.note_started(self.stage, offset, validator.as_ref())
            }
            Progress::Durable(length) => store.note_durable(self.stage, length),
            Progress::Complete { .. } | Progress::Failed { .. } => Ok(()),
        };
        if let Err(error) = noted {
            tracing::warn!(stage = %self.stage, %error, "the progress of a download is not stored");
        }
    }

    /// Fewer attempts are counted when bytes came that had not come before.
    fn note_failure(
        &self,
        context: &Context,
        before: &Download,
        failed: &Failed,
    ) -> Result<(), Failure> {
        let mut store = context.store.borrow_mut();
        if let Some(durable) = failed.durable {
            store
                .note_durable(self.stage, durable)
                .map_err(not_stored)?;
        }
        let now = store.download(self.stage).map_err(not_stored)?;
        if now.durable >= before.durable + DURABLE_EVERY {
            store.forget_attempts(self.stage).map_err(not_stored)?;
        }
        Ok(())
    }

    async fn wait(&self, context: &Context, failed: u32, why: Failed) {
        let wait = context.back_off(failed);
        let wait = wait.max(Duration::from_secs(why.retry_after.unwrap_or(0)).min(DAY));
        tracing::warn!(operation = %self.operation, failure = %why.failure, ?wait, "the download is tried again");
        let why = Text::from(format!("the next attempt, since {}", why.failure));
        context.report(
            self.instance,
            Event::Waiting {
                operation: self.operation,
                why,
            },
        );
        tokio::time::sleep(wait).await;
    }

    /// A download that was continued may be a mixture, although its validator said otherwise. If it is judged
    /// so, it is forgotten and fetched once from the start, before a server hears of it.
    async fn is_sound(&self, context: &Context) -> Result<bool, Failure> {
        let download = context.store.borrow_mut().download(self.stage);
        let download = download.map_err(not_stored)?;
        if !download.continued || download.started_over {
            return Ok(true);
        }
        match seal(context, self.stage).await {
            Err(failure) if is_integrity(&failure) => {
                tracing::warn!(stage = %self.stage, %failure, "fetching a continued package from its start");
                let discarded = context.installer.discard(self.stage).await;
                discarded.map_err(NotDone::into_failure)?;
                let forgotten = context.store.borrow_mut().start_over(self.stage);
                forgotten.map_err(not_stored)?;
                Ok(false)
            }
            _ => Ok(true), // the verdict is given again when the effect asks for it
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn is_integrity(failure: &Failure) -> bool {
    causes::update_result(failure.cause, During::Delivery) == UpdateResult::IntegrityFailure
}

fn resume(download: &Download) -> Option<Resume> {
    let validator = download.validator.clone()?;
    (download.durable > 0).then_some(Resume {
        offset: download.durable,
        validator,
    })
}

fn never_ended() -> Failure {
    Failure::new(
        Cause::GaveUp,
        format!(
            "{ATTEMPT_LIMIT} attempts were begun and none ended: needs an operator, who looks into the journal"
        ),
    )
}

fn gave_up(last: &Failure) -> Failure {
    // The Result is that of the last failure: connection lost stays connection lost.
    Failure::new(
        last.cause,
        format!(
            "gave up after {ATTEMPT_LIMIT} attempts, an operator is needed: {}",
            last.detail
        ),
    )
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
