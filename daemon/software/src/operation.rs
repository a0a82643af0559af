//! Operations: their kind, their requester and their progress.

use wharf_frames::{Action, OperationId, Text};

/// A download, or an action of the installer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its id. The installer does an operation once, however often it is asked.
    pub id: OperationId,
    /// Its kind.
    pub kind: OperationKind,
    /// Its requester.
    pub requester: Requester,
}

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// Downloads from a Package URI.
    Pull,
    /// Receives a Package that a server writes.
    Push,
    /// Has the installer perform an action: on the delivered package for an Install, else on the software in place.
    Action(Action),
}

impl OperationKind {
    /// Its word in the database and the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Action(action) => action.as_str(),
        }
    }

    /// The kind stored under this word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "pull" => Some(Self::Pull),
            "push" => Some(Self::Push),
            action => Action::parse(action).map(Self::Action),
        }
    }
}

/// A Short Server ID: it names the account of an LwM2M server (TS Core 1.0 E.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub u16);

/// The requester of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requester {
    /// The LwM2M server of this account.
    Server(ShortId),
    /// The local user with this uid.
    User(u32),
}

/// The phase of an accepted operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It waits until [`crate::gate::may_start`] lets it start.
    Gate,
    /// The download runs, or the installer has the job.
    Act,
    /// The package is complete and is being verified.
    Verify,
}

/// An accepted operation of the installer that has not ended. The state of the instance that holds it gives its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Its id.
    pub id: OperationId,
    /// Its requester.
    pub requester: Requester,
    /// Its progress.
    pub progress: WorkProgress,
}

impl Work {
    pub(crate) const fn operation(&self, action: Action) -> Operation {
        Operation {
            id: self.id,
            kind: OperationKind::Action(action),
            requester: self.requester,
        }
    }
}

/// The progress of an accepted operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkProgress {
    /// In the gate, with the reason why it waits, if known.
    Queued(Option<Text>),
    /// Started: the installer has it, or gets it as soon as it answers. With the line for a person that says why it waits, or
    /// what is done in a phase that takes long.
    Running(Option<Text>),
}
