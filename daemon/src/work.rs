//! What the tasks of the agent share, and how they tell it what they did. A task acts for one stored effect
//! and ends with the event that ends the effect. Only the agent changes an instance.

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
    delivery::{Fetcher, room::Room},
    installer::{Installer, NotDone},
    jobs::Handovers,
    random::random,
    store::{EffectId, Store, StoreError},
};

/// Names a request of a server, for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey {
    /// The account of the server that asks.
    pub server: ShortId,
    /// The request, among those of this server.
    pub request: RequestId,
}

/// What a task tells the agent.
#[derive(Debug)]
pub enum Report {
    /// Something happened to an instance.
    Event {
        /// The instance.
        instance: InstanceId,
        /// The event. It is much larger than any other report.
        event: Box<Event>,
        /// The request that is answered once the event is stored, before anybody is notified.
        answers: Option<(RequestKey, Result<(), Failure>)>,
    },
    /// A block of a push is in its file: the next one may come.
    Block(RequestKey),
    /// An effect is done that no event ends.
    Done(EffectId),
    /// A download waits for its next attempt, and gives up its turn.
    TurnGivenUp(EffectId),
    /// The time of its next attempt has come.
    TurnWanted(EffectId),
    /// What a waiting operation waited for may have come.
    AskGate,
    /// The device is to be looked at: wants to know about which software it can be asked.
    Look(oneshot::Sender<Vec<(InstanceId, PackageName)>>),
}

/// What every task needs.
#[derive(Clone)]
pub struct Context {
    /// The way to the installer.
    pub installer: Installer,
    /// The way to wharf-fetch.
    pub fetcher: Fetcher,
    /// Room for downloads that run at once.
    pub room: Room,
    /// The jobs on their way to the installer.
    pub handovers: Handovers,
    /// The database. No task holds it over an await.
    pub store: Rc<RefCell<Store>>,
    /// The way to the agent.
    pub reports: UnboundedSender<Report>,
    /// Where it is shown how far things are.
    pub publisher: Publisher,
    /// How long things are waited for.
    pub timing: Timing,
    /// Becomes true when wharfd is to end.
    pub ending: watch::Receiver<bool>,
}

impl Context {
    /// Tells the agent what happened to an instance.
    pub fn report(&self, instance: InstanceId, event: Event) {
        self.send(Report::Event {
            instance,
            event: Box::new(event),
            answers: None,
        });
    }

    /// Tells the agent what an operation has to wait for.
    pub fn waits_for(&self, instance: InstanceId, operation: OperationId, why: Text) {
        self.report(instance, Event::Waiting { operation, why });
    }

    /// Tells the agent.
    pub fn send(&self, report: Report) {
        let _ = self.reports.send(report); // the agent is going: so does this task
    }

    /// Whether wharfd is to end: nothing new is begun then.
    pub fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Waits until wharfd is to end.
    pub async fn until_ending(&self) {
        let mut ending = self.ending.clone();
        let _ = ending.wait_for(|ending| *ending).await; // the agent is gone: that is the end, too
    }

    /// Asks the installer until it says yes or no, for at most `patience`. `not_now` gets the reason of each attempt
    /// without an answer, and how many there were.
    pub async fn until_answered<T>(
        &self,
        patience: Duration,
        ask: impl AsyncFn() -> Result<T, NotDone>,
        not_now: impl Fn(Failure, u32),
    ) -> Result<T, Failure> {
        let pause = |in_vain| self.timing.pause(in_vain);
        until_answered(patience, pause, ask, not_now).await
    }
}

/// The patience of a question that must be answered.
pub const FOR_EVER: Duration = Duration::MAX;

/// The pause before the last attempt is shortened, so that the patience ends on time.
async fn until_answered<T>(
    patience: Duration,
    pause: impl Fn(u32) -> Duration,
    ask: impl AsyncFn() -> Result<T, NotDone>,
    not_now: impl Fn(Failure, u32),
) -> Result<T, Failure> {
    let begin = Instant::now();
    let mut in_vain = 0;
    loop {
        let failure = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(NotDone::Refused(failure)) => return Err(failure),
            Err(NotDone::Later(failure)) => failure,
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

/// Whether it is to be told that the installer was asked in vain so often in a row: one that is being restarted is back
/// in a moment.
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

/// A new name for an operation.
pub fn operation_id() -> OperationId {
    OperationId::from_bytes(random())
}

/// A new name for a file.
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
                Err::<(), _>(NotDone::Later(Failure::new(Cause::Unavailable, "not now")))
            };
            let answer = until_answered(DAY, |_| pause, ask, |_, _| {}).await;
            assert!(answer.is_err());
            assert_eq!(begin.elapsed(), DAY, "with pauses of {minutes} min");
            let expected = 1 + (24 * 60_u64).div_ceil(minutes);
            assert_eq!(asked.get(), expected, "with pauses of {minutes} min");
        }
    }
}
