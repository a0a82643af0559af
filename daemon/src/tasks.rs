//! The shared context of the agent's tasks, and their reports to the agent. A task acts for one stored effect and ends
//! with the event that ends the effect. Only the agent changes an instance.

use std::{cell::RefCell, rc::Rc, time::Duration};

use lwm2m::RequestId;
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot, watch},
    time::Instant,
};
use wharf_frames::{Cause, Failure, OperationId, PackageName, StageId, Text};
use wharf_software::{Event, InstanceId, ShortId};

use crate::{
    bus::Publisher,
    config::Timing,
    delivery::{fetcher::Fetcher, room::DownloadRoom},
    installer::{Installer, InstallerError},
    random::random,
    store::{EffectId, Store, StoreError},
};

/// The key of a server's request, for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey {
    /// The account of the server.
    pub server: ShortId,
    /// The request, among those of this server.
    pub request: RequestId,
}

/// A report of a task to the agent.
#[derive(Debug)]
pub enum TaskReport {
    /// An event of an instance.
    Event {
        /// The instance.
        instance: InstanceId,
        /// The event, in a box since it is much larger than other reports.
        event: Box<Event>,
        /// The request to answer after the event is stored and before anybody is notified.
        answers: Option<(RequestKey, Result<(), Failure>)>,
    },
    /// A block of a push is written: the next one may come.
    Block(RequestKey),
    /// The end of an effect that no event ends.
    Done(EffectId),
    /// A download waits for its next attempt, and gives up its turn.
    TurnGivenUp(EffectId),
    /// The time of its next attempt has come.
    TurnWanted(EffectId),
    /// The gate may answer differently now.
    AskGate,
    /// Asks for the software that the installer can be asked about.
    IdleSoftware(oneshot::Sender<Vec<(InstanceId, PackageName)>>),
}

/// The context of every task.
#[derive(Clone)]
pub struct TaskContext {
    /// The client of the installer.
    pub installer: Installer,
    /// Starts wharf-fetch.
    pub fetcher: Fetcher,
    /// The room for parallel downloads.
    pub room: DownloadRoom,
    /// The database. No task holds it over an await.
    pub store: Rc<RefCell<Store>>,
    /// The channel to the agent.
    pub reports: UnboundedSender<TaskReport>,
    /// Publishes progress on the bus.
    pub publisher: Publisher,
    /// Time limits and pauses.
    pub timing: Timing,
    /// True when wharfd ends.
    pub ending: watch::Receiver<bool>,
}

impl TaskContext {
    /// Reports an event of an instance.
    pub fn report(&self, instance: InstanceId, event: Event) {
        self.send(TaskReport::Event {
            instance,
            event: Box::new(event),
            answers: None,
        });
    }

    /// Reports the reason why an operation waits.
    pub fn waits_for(&self, instance: InstanceId, operation: OperationId, why: Text) {
        self.report(instance, Event::Waiting { operation, why });
    }

    /// Sends a report to the agent.
    pub fn send(&self, report: TaskReport) {
        let _ = self.reports.send(report); // fails only when the agent ends
    }

    /// Whether wharfd ends: no new work begins then.
    pub fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Waits until wharfd ends.
    pub async fn until_ending(&self) {
        let mut ending = self.ending.clone();
        let _ = ending.wait_for(|ending| *ending).await; // the agent may have ended already
    }

    /// Asks the installer until it accepts or refuses, for at most `patience`. `not_now` gets the reason and the number
    /// of each attempt without an answer.
    pub async fn until_answered<T>(
        &self,
        patience: Duration,
        ask: impl AsyncFn() -> Result<T, InstallerError>,
        not_now: impl Fn(Failure, u32),
    ) -> Result<T, Failure> {
        let pause = |in_vain| self.timing.pause(in_vain);
        until_answered(patience, pause, ask, not_now).await
    }
}

/// The time limit of a question that must be answered.
pub const FOR_EVER: Duration = Duration::MAX;

/// Shortens the last pause, so that the time limit holds.
async fn until_answered<T>(
    patience: Duration,
    pause: impl Fn(u32) -> Duration,
    ask: impl AsyncFn() -> Result<T, InstallerError>,
    not_now: impl Fn(Failure, u32),
) -> Result<T, Failure> {
    let begin = Instant::now();
    let mut in_vain = 0;
    loop {
        let failure = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(InstallerError::Refused(failure)) => return Err(failure),
            Err(InstallerError::Later(failure)) => failure,
        };
        let left = patience.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(failure);
        }
        in_vain += 1;
        not_now(failure, in_vain);
        tokio::time::sleep(pause(in_vain).min(left)).await;
    }
}

/// Whether to report that the installer did not answer this many times in a row: a restart of it takes only a moment.
pub const fn outlasts_a_restart(in_vain: u32) -> bool {
    in_vain > 1
}

/// The failure of an operation whose progress cannot be stored.
pub fn not_stored(error: StoreError) -> Failure {
    let cause = match error {
        StoreError::Full { .. } => Cause::DiskFull,
        _ => Cause::Unavailable,
    };
    Failure::new(cause, error.to_string())
}

/// A new id for an operation.
pub fn operation_id() -> OperationId {
    OperationId::from_bytes(random())
}

/// A new id for a staged file.
pub fn stage_id() -> StageId {
    StageId::from_bytes(random())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_is_a_time_and_not_a_number_of_attempts() {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        for minutes in [1, 7, 60, 23 * 60] {
            let pause = Duration::from_secs(minutes * 60);
            let (asked, begin) = (Cell::new(0), Instant::now());
            let ask = async || {
                asked.set(asked.get() + 1);
                Err::<(), _>(InstallerError::Later(Failure::new(
                    Cause::Unavailable,
                    "not now",
                )))
            };
            let answer = until_answered(DAY, |_| pause, ask, |_, _| {}).await;
            assert!(answer.is_err());
            assert_eq!(begin.elapsed(), DAY, "with pauses of {minutes} min");
            let expected = 1 + (24 * 60_u64).div_ceil(minutes);
            assert_eq!(asked.get(), expected, "with pauses of {minutes} min");
        }
    }
}
