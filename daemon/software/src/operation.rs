//! Operations: who asked for what, and how far it is. When and how it is done is not known here.

use wharf_frames::{Action, OperationId, Text};

/// A download, or an action of the installer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name. The installer does an operation once, however often it is asked.
    pub id: OperationId,
    /// What is done.
    pub kind: Kind,
    /// Who asked for it.
    pub origin: Origin,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Downloads from a Package URI.
    Pull,
    /// Receives a Package that a server writes.
    Push,
    /// Has the installer perform an action: on the delivered package if it is an Install, else on the software in place.
    Action(Action),
}

impl Kind {
    /// The word under which it is stored and logged.
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

/// Who wanted an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
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
    /// The package is downloaded, and is judged.
    Verify,
}

/// An accepted operation of the installer that has not ended. The place of it in the instance is its action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Its name.
    pub id: OperationId,
    /// Who asked for it.
    pub origin: Origin,
    /// How far it is.
    pub progress: Progress,
}

impl Work {
    pub(crate) const fn operation(&self, action: Action) -> Operation {
        Operation {
            id: self.id,
            kind: Kind::Action(action),
            origin: self.origin,
        }
    }
}

/// How far an accepted operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// In the gate; told what it waits for, once that is known.
    Queued(Option<Text>),
    /// Let through: the installer has it, or will have it as soon as it can be asked; told what keeps it from that.
    Running(Option<Text>),
}
