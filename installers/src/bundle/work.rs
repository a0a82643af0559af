//! The work of a job: its steps, and the bundle that they come from.

use minicbor::{Decode, Encode};
use wharf_frames::{PackageName, Step};

use super::installed::InstalledBundle;
use crate::verdict::{Judged, Sealed};

/// The bundle that a job works on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JobBundle {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// The bundle as a whole, if the job installs it.
    #[n(1)]
    pub judged: Option<Judged>,
    /// Its packages; those of the new one, if the job installs it.
    #[n(2)]
    pub components: Vec<PackageName>,
    /// The bundle before the job, by the ledger.
    #[n(3)]
    pub before: Option<InstalledBundle>,
    /// Whether a failure leads back to the packages of before.
    #[n(4)]
    pub undo: bool,
}

/// The work of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobWork {
    /// The steps in their order.
    pub steps: Vec<Step<Sealed>>,
    /// The bundle, if the steps are those of one.
    pub bundle: Option<JobBundle>,
}

impl From<Vec<Step<Sealed>>> for JobWork {
    fn from(steps: Vec<Step<Sealed>>) -> Self {
        Self {
            steps,
            bundle: None,
        }
    }
}
