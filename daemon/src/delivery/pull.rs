//! A download from a Package URI during its turn: attempts until the package is complete or the next one has to wait.
//! Each attempt is counted before it is made, and resumes the one before.

use std::{cell::Cell, time::Duration};

use wharf_frames::{
    Failure, OperationId, PackageName, Secret, StageId, Text,
    fetch::{FetchEvent as Progress, FetchSubject, FetchTimeouts, Resume},
};
use wharf_journal::message;
use wharf_software::{
    Event, InstanceId, UpdateResult,
    causes::{self, During},
};

use super::{
    attempt::{DownloadAttempt, FailedAttempt},
    percent,
    seal::{discard, seal},
};
use crate::{
    clock,
    config::Timing,
    installer::{InstallerError, WritableStage},
    store::Download,
    tasks::{TaskContext, not_stored},
};

/// The number of attempts without [`DURABLE_EVERY`](wharf_frames::fetch::DURABLE_EVERY) new bytes, after which an
/// operator is needed: a package that never arrives must not use up a data plan.
pub const ATTEMPT_LIMIT: u32 = 8;

/// A download that the gate let through.
#[derive(Debug, Clone)]
pub struct Pull {
    /// The instance.
    pub instance: InstanceId,
    /// Its operation.
    pub operation: OperationId,
    /// The expected package.
    pub package: Option<PackageName>,
    /// The file to write.
    pub stage: StageId,
    /// Package URI.
    pub uri: Secret,
    /// Resource 14.
    pub user_name: Option<Secret>,
    /// Resource 15.
    pub password: Option<Secret>,
}

/// The result of a turn.
#[derive(Debug)]
pub enum Turn {
    /// This event ends the download.
    Over(Event),
    /// The next attempt comes after this wait, and others may download meanwhile.
    GivenUp {
        /// The wait.
        wait: Duration,
    },
}

/// The reason why the package is not complete.
enum NotWhole {
    Failed(Failure),
    Later(Duration),
}

impl From<Failure> for NotWhole {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Pull {
    /// Runs the turn.
    pub async fn run(self, context: &TaskContext) -> Turn {
        let operation = self.operation;
        match self.until_whole(context).await {
            Ok(()) => Turn::Over(Event::PackageWritten { operation }),
            Err(NotWhole::Failed(failure)) => Turn::Over(Event::Failed { operation, failure }),
            Err(NotWhole::Later(wait)) => Turn::GivenUp { wait },
        }
    }

    async fn until_whole(&self, context: &TaskContext) -> Result<(), NotWhole> {
        loop {
            let download = self.download(context)?;
            if !download.whole {
                if download.started_over && download.durable == 0 {
                    discard(context, self.stage).await; // it failed verification
                    wharf_fault::point("pull.discarded");
                }
                self.try_once(context).await?;
            }
            if context.is_ending() || self.is_sound(context).await? {
                return Ok(());
            } // else retry once from the first byte
        }
    }

    async fn try_once(&self, context: &TaskContext) -> Result<(), NotWhole> {
        let begun = context.store.borrow_mut().begin_attempt(self.stage);
        let download = begun.map_err(not_stored)?;
        let Err(failed) = self.attempt(context, &download).await else {
            return Ok(());
        };
        let may_pass = failed.gives_way || failed.failure.cause.may_pass();
        if context.is_ending() || !may_pass {
            return Err(failed.failure.into());
        }
        let attempts = self.download(context)?.attempts;
        if attempts >= ATTEMPT_LIMIT {
            return Err(gave_up(&failed.failure).into());
        }
        if failed.gives_way {
            discard(context, self.stage).await; // its first bytes would use room of the others
        }
        Err(NotWhole::Later(self.later(context, attempts, &failed)))
    }

    fn download(&self, context: &TaskContext) -> Result<Download, Failure> {
        let download = context.store.borrow_mut().download(self.stage);
        download.map_err(not_stored)
    }

    async fn attempt(
        &self,
        context: &TaskContext,
        download: &Download,
    ) -> Result<(), FailedAttempt> {
        let resume = resume(download);
        let keep = resume.as_ref().map_or(0, |resume| resume.offset);
        let counted = context.room.lengths();
        let staged = self.staged(context, keep).await?;
        let share =
            context
                .room
                .share(self.stage, counted, &staged.file, staged.kept, staged.limit);
        let attempt = DownloadAttempt {
            subject: FetchSubject {
                instance: self.instance.0,
                operation: self.operation,
                package: self.package.clone(),
            },
            staged,
            uri: self.uri.clone(),
            user_name: self.user_name.clone(),
            password: self.password.clone(),
            resume,
            limits: FetchTimeouts {
                connect_ms: millis(context.timing.connect),
                stall_ms: millis(context.timing.stall),
            },
        };
        let total = Cell::new(None);
        let note = |progress| {
            if let Progress::Started { total: told, .. } = &progress {
                total.set(*told);
                share.expect(*told).map_err(FailedAttempt::giving_way)?;
            }
            self.note(context, progress);
            Ok(())
        };
        let show = || {
            let percent = total.get().map(|total| percent(share.length(), total));
            if percent.is_some() {
                context.publisher.progress(self.operation, percent);
            }
        };
        let ended = attempt.run(context, note, show).await;
        let mut store = context.store.borrow_mut();
        let noted = match &ended {
            Ok(length) => store.note_whole(self.stage, *length),
            Err(FailedAttempt {
                durable: Some(length),
                ..
            }) => store.note_durable(self.stage, *length),
            Err(_) => Ok(()),
        };
        noted.map_err(not_stored)?;
        ended.map(drop)
    }

    /// Opens the file, cut to at most `keep` bytes. Status Reason says so while the installer does not answer.
    async fn staged(&self, context: &TaskContext, keep: u64) -> Result<WritableStage, Failure> {
        let mut was_silent = false;
        let staged = context.installer.stage(self.stage, keep, None, |why| {
            was_silent = true;
            self.waits_for(context, why);
        });
        let staged = staged.await.map_err(InstallerError::into_failure)?;
        if was_silent {
            self.waits_for(context, "the first byte".into());
        }
        wharf_fault::point("attempt.staged");
        Ok(staged)
    }

    fn waits_for(&self, context: &TaskContext, why: Text) {
        context.waits_for(self.instance, self.operation, why);
    }

    /// Stores the progress, so that a later attempt can resume. A failure costs only bytes, so the download continues.
    fn note(&self, context: &TaskContext, progress: Progress) {
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
            Progress::Durable(length) => {
                let noted = store.note_durable(self.stage, length);
                wharf_fault::point("pull.durable");
                noted
            }
            Progress::Complete { .. } | Progress::Failed { .. } => Ok(()),
        };
        if let Err(error) = noted {
            tracing::warn!(
                MESSAGE_ID = message::NOT_STORED,
                WHARF_OPERATION = %self.operation,
                "cannot store the progress of a download: {error}"
            );
        }
    }

    /// Reports the time of the next attempt. Returns the wait.
    fn later(&self, context: &TaskContext, failed: u32, why: &FailedAttempt) -> Duration {
        let wait = context.timing.pause(failed);
        let wait = wait.max(Duration::from_secs(why.retry_after.unwrap_or(0)).min(DAY));
        tracing::warn!(
            MESSAGE_ID = message::DOWNLOAD_DELAYED,
            WHARF_INSTANCE = self.instance.0,
            WHARF_OPERATION = %self.operation,
            WHARF_PACKAGE = self.package.as_ref().map(PackageName::as_str),
            "instance {}: the download is retried in {} s: {}",
            self.instance.0,
            wait.as_secs(),
            why.failure
        );
        let (next, when) = (failed + 1, clock::after(wait));
        let why = format!(
            "attempt {next} of {ATTEMPT_LIMIT} {when}, since {}",
            why.failure
        );
        self.waits_for(context, why.into());
        wait
    }

    /// Whether the file is sound. A resumed download may mix two files, although the validator matched. If its
    /// verification fails, it is deleted and downloaded once more from the start, without a report to the server.
    async fn is_sound(&self, context: &TaskContext) -> Result<bool, Failure> {
        let download = self.download(context)?;
        if !download.continued || download.started_over {
            return Ok(true);
        }
        let waits = |why| self.waits_for(context, why);
        match seal(context, self.stage, short_patience(&context.timing), waits).await {
            Err(failure) if is_integrity(&failure) => {
                tracing::warn!(
                    MESSAGE_ID = message::DOWNLOAD_DELAYED,
                    WHARF_INSTANCE = self.instance.0,
                    WHARF_OPERATION = %self.operation,
                    WHARF_PACKAGE = self.package.as_ref().map(PackageName::as_str),
                    "instance {}: the resumed download failed verification and starts over: {failure}",
                    self.instance.0
                );
                let forgotten = context.store.borrow_mut().start_over(self.stage);
                forgotten.map_err(not_stored)?;
                wharf_fault::point("pull.started_over");
                Ok(false)
            }
            _ => Ok(true),
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The time limit of the first question for the verdict: a few retries, since the download keeps its turn meanwhile.
/// Without an answer, the seal asks again with the whole time limit.
fn short_patience(timing: &Timing) -> Duration {
    let pause = timing.retry.first.min(timing.retry.longest);
    (pause * 6).min(timing.verdict)
}

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

fn gave_up(last: &Failure) -> Failure {
    // The Result of the last failure: a lost connection stays a lost connection.
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

#[cfg(test)]
mod tests {
    use lwm2m::Backoff;

    use super::*;

    #[test]
    fn the_short_patience_is_bounded_by_the_longest_pause_and_by_the_time_for_a_verdict() {
        for (first, longest, verdict, expected) in [
            (5, 900, 86_400, 30),
            (5, 2, 86_400, 12),
            (5, 900, 20, 20),
            (86_400, 86_400, 86_400, 86_400),
        ] {
            let [first, longest, verdict, expected] =
                [first, longest, verdict, expected].map(Duration::from_secs);
            let timing = Timing {
                retry: Backoff { first, longest },
                verdict,
                ..Timing::default()
            };
            assert_eq!(short_patience(&timing), expected, "{timing:?}");
        }
    }
}
