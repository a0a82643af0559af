//! What is being done for whom, and the phases that it passes. It knows neither when nor how.

use wharf_frames::{OperationId, Text};

/// One thing to do: a download, an Install, an Uninstall, a purge, an Activate, a Deactivate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name; the installer does it once, however often it is asked.
    pub id: OperationId,
    /// What is done.
    pub kind: Kind,
    /// Who wanted it.
    pub origin: Origin,
    /// It is not started after this moment, in the seconds of [`crate::gate::Facts::now`].
    pub deadline: Option<u64>,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Downloads from a Package URI.
    Pull,
    /// Receives a Package that a server writes.
    Push,
    /// Installs what was delivered.
    Install,
    /// Removes the software in place.
    Uninstall,
    /// Removes it with its configuration.
    Purge,
    /// Activates it.
    Activate,
    /// Deactivates it.
    Deactivate,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Pull,
        Self::Push,
        Self::Install,
        Self::Uninstall,
        Self::Purge,
        Self::Activate,
        Self::Deactivate,
    ];

    /// The word under which it is stored and logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Install => "install",
            Self::Uninstall => "uninstall",
            Self::Purge => "purge",
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
        }
    }

    /// The kind stored under this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
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

/// The phases of an operation. This version has no hooks: `Pre` and `After` are passed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Accepted; waits until [`crate::gate::may_start`] says now.
    Gate,
    /// What must happen before.
    Pre,
    /// The work itself.
    Act,
    /// Does the device have what was asked?
    Verify,
    /// It does: the new state is stored and told.
    Commit,
    /// What follows.
    After,
    /// It does not, or may not: the state that is left is stored and told.
    Abort,
}

impl Phase {
    /// The phase that follows when this one passed or failed; none when the operation is over.
    pub const fn next(self, passed: bool) -> Option<Self> {
        match (self, passed) {
            (Self::Gate, true) => Some(Self::Pre),
            (Self::Pre, true) => Some(Self::Act),
            (Self::Act, true) => Some(Self::Verify),
            (Self::Verify, true) => Some(Self::Commit),
            (Self::Commit, true) => Some(Self::After),
            (Self::Gate | Self::Pre | Self::Act | Self::Verify | Self::Commit, false) => {
                Some(Self::Abort)
            }
            (Self::After | Self::Abort, _) => None,
        }
    }
}

/// An accepted operation of the installer that has not ended. Its kind is the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Its name.
    pub id: OperationId,
    /// Who wanted it.
    pub origin: Origin,
    /// As in [`Operation::deadline`].
    pub deadline: Option<u64>,
    /// How far it is.
    pub progress: Progress,
}

impl Work {
    pub(crate) fn operation(&self, kind: Kind) -> Operation {
        Operation {
            id: self.id,
            kind,
            origin: self.origin,
            deadline: self.deadline,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_passes_its_phases_in_order() {
        use Phase::{Act, After, Commit, Gate, Pre, Verify};
        let mut phases = vec![Gate];
        while let Some(next) = phases.last().and_then(|phase| phase.next(true)) {
            phases.push(next);
        }
        assert_eq!(phases, [Gate, Pre, Act, Verify, Commit, After]);
    }

    #[test]
    fn a_failure_in_any_phase_aborts_and_what_follows_a_commit_cannot() {
        use Phase::{Abort, Act, After, Commit, Gate, Pre, Verify};
        for phase in [Gate, Pre, Act, Verify, Commit] {
            assert_eq!(phase.next(false), Some(Abort), "{phase:?}");
        }
        for phase in [After, Abort] {
            assert_eq!((phase.next(true), phase.next(false)), (None, None));
        }
    }
}
