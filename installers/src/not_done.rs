//! The reason why a question has no result: a refusal, or "not now". The type tells them apart, not the cause.

use wharf_frames::{Cause, Failure, Text, installer::InstallerReply};
use wharf_managers::OrderError;

/// The reason why a question has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// No, for good.
    #[error(transparent)]
    Refused(Failure),
    /// Not now. The same question may be answered later.
    #[error(transparent)]
    NotNow(Failure),
}

impl NotDone {
    /// A refusal.
    pub(crate) fn refused(cause: Cause, detail: impl Into<Text>) -> Self {
        Self::Refused(Failure::new(cause, detail))
    }

    /// Something of this device cannot be used now.
    pub(crate) fn not_now(detail: impl Into<Text>) -> Self {
        Self::NotNow(Failure::new(Cause::Unavailable, detail))
    }

    /// The device does not say now which packages it has. That is no refusal, whatever failed.
    pub(crate) fn unanswered(failure: Failure) -> Self {
        let cause = Cause::Unavailable;
        Self::NotNow(Failure { cause, ..failure })
    }
}

impl From<NotDone> for InstallerReply {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Refused(failure) => Self::Refused(failure),
            NotDone::NotNow(failure) => Self::NotNow(failure),
        }
    }
}

/// The failure of a job that ends with it.
impl From<NotDone> for Failure {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Refused(failure) | NotDone::NotNow(failure) => failure,
        }
    }
}

/// For the callbacks of a package manager.
impl From<NotDone> for OrderError {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Refused(failure) => Self::Failed(failure),
            NotDone::NotNow(failure) => Self::NotNow(failure),
        }
    }
}
