//! Records of the first format, which had one order and no list of steps.

use minicbor::Decode;
use wharf_frames::{OperationId, PackageName, StageId, Step, installer::Found};

use super::{Before, JobAttempt, JobState, package};
use crate::verdict::{Judged, Sealed};

/// The number of the format.
pub(super) const FORMAT: u32 = 1;

/// A job of that format.
#[derive(Decode)]
#[cbor(map)]
pub(super) struct Job {
    #[n(1)]
    operation: OperationId,
    #[n(2)]
    sequence: u64,
    #[n(3)]
    order: Order,
    #[n(4)]
    state: JobState,
    #[n(5)]
    attempts: Vec<JobAttempt>,
    #[n(6)]
    before: Option<Found>,
    #[cbor(n(7), default)]
    cut_off: bool,
    #[cbor(n(8), default)]
    adopts: bool,
}

/// Its one step.
#[derive(Decode)]
#[cbor(map)]
pub(super) enum Order {
    #[n(0)]
    Install {
        #[n(0)]
        stage: StageId,
        #[n(1)]
        judged: Box<Judged>,
    },
    #[n(1)]
    Remove(#[n(0)] PackageName),
    #[n(2)]
    Activate(#[n(0)] PackageName),
    #[n(3)]
    Deactivate(#[n(0)] PackageName),
    #[n(4)]
    Purge(#[n(0)] PackageName),
}

impl From<Order> for Step<Sealed> {
    fn from(order: Order) -> Self {
        match order {
            Order::Install { stage, judged } => Self::Install(Sealed {
                stage,
                judged: *judged,
                member: None,
            }),
            Order::Remove(name) => Self::Uninstall(name),
            Order::Activate(name) => Self::Activate(name),
            Order::Deactivate(name) => Self::Deactivate(name),
            Order::Purge(name) => Self::Purge(name),
        }
    }
}

impl From<Job> for super::Job {
    fn from(job: Job) -> Self {
        let step = Step::from(job.order);
        // The first attempt recorded the package.
        let before = match job.attempts.is_empty() {
            true => Vec::new(),
            false => vec![Before {
                package: package(&step).clone(),
                found: job.before,
                adopts: job.adopts,
                back: None,
                left_configuration: false,
                units: None,
                keeps_configuration: false,
                previous: None,
            }],
        };
        Self {
            format: super::FORMAT,
            operation: job.operation,
            sequence: job.sequence,
            state: job.state,
            attempts: job.attempts,
            cut_off: job.cut_off,
            steps: vec![step],
            before,
            dependencies: Vec::new(),
            refreshed: false,
            unused_before: None,
            bundle: None,
        }
    }
}
