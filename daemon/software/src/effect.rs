//! The effects of a transition: work that is done after the transition is stored. They are plain data and idempotent,
//! since a crash repeats them.

use std::fmt;

use wharf_frames::{OperationId, StageId, Transaction};

use crate::{Instance, UpdateState, operation::Phase};

/// An effect. The instance has all that it needs besides its ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Ask the gate about the operation until it may start (`Started`) or is refused (`Failed`).
    Queue {
        /// The operation.
        operation: OperationId,
    },
    /// Download from the instance's Package URI into the file, and resume at its end.
    StartPull {
        /// The operation.
        operation: OperationId,
        /// The file.
        stage: StageId,
    },
    /// Write the blocks of the server's Write into the file.
    AcceptPush {
        /// The operation.
        operation: OperationId,
        /// The file.
        stage: StageId,
    },
    /// End the delivery into the file, without a report.
    StopDelivery {
        /// The file.
        stage: StageId,
    },
    /// Remove the file.
    Discard {
        /// The file.
        stage: StageId,
    },
    /// Have the file verified.
    Seal {
        /// The download.
        operation: OperationId,
        /// The file.
        stage: StageId,
    },
    /// Have the installer perform the transaction.
    Perform {
        /// The operation.
        operation: OperationId,
        /// The transaction.
        transaction: Transaction,
    },
    /// Send an Update soon, if objects and instances differ from the registered ones.
    UpdateRegistration,
}

/// An effect as a row of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectRecord {
    /// Its kind.
    pub kind: EffectKind,
    /// Its operation.
    pub operation: Option<OperationId>,
    /// Its file.
    pub stage: Option<StageId>,
    /// Its transaction.
    pub transaction: Option<Transaction>,
}

/// The effects without their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKind {
    /// [`Effect::Queue`]
    Queue,
    /// [`Effect::StartPull`]
    StartPull,
    /// [`Effect::AcceptPush`]
    AcceptPush,
    /// [`Effect::StopDelivery`]
    StopDelivery,
    /// [`Effect::Discard`]
    Discard,
    /// [`Effect::Seal`]
    Seal,
    /// [`Effect::Perform`]
    Perform,
    /// [`Effect::UpdateRegistration`]
    UpdateRegistration,
}

impl EffectKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Queue,
        Self::StartPull,
        Self::AcceptPush,
        Self::StopDelivery,
        Self::Discard,
        Self::Seal,
        Self::Perform,
        Self::UpdateRegistration,
    ];

    /// Its word in the database and the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::StartPull => "start-pull",
            Self::AcceptPush => "accept-push",
            Self::StopDelivery => "stop-delivery",
            Self::Discard => "discard",
            Self::Seal => "seal",
            Self::Perform => "perform",
            Self::UpdateRegistration => "update-registration",
        }
    }

    /// The kind stored under this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A row without exactly the ids of its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored effect `{}` has not exactly the ids that it needs: the database was changed or is damaged", .0.as_str())]
pub struct NotAnEffect(pub EffectKind);

impl Effect {
    /// The effects after the software changed, for servers that set Update Supported Objects (TS table 6.-2).
    pub(crate) fn registration(instance: &Instance) -> Vec<Self> {
        match instance.update_supported_objects() {
            true => vec![Self::UpdateRegistration],
            false => Vec::new(),
        }
    }

    /// The effect without its ids.
    pub const fn kind(&self) -> EffectKind {
        match self {
            Self::Queue { .. } => EffectKind::Queue,
            Self::StartPull { .. } => EffectKind::StartPull,
            Self::AcceptPush { .. } => EffectKind::AcceptPush,
            Self::StopDelivery { .. } => EffectKind::StopDelivery,
            Self::Discard { .. } => EffectKind::Discard,
            Self::Seal { .. } => EffectKind::Seal,
            Self::Perform { .. } => EffectKind::Perform,
            Self::UpdateRegistration => EffectKind::UpdateRegistration,
        }
    }

    /// Its operation.
    pub const fn operation(&self) -> Option<OperationId> {
        match self {
            Self::Queue { operation }
            | Self::StartPull { operation, .. }
            | Self::AcceptPush { operation, .. }
            | Self::Seal { operation, .. }
            | Self::Perform { operation, .. } => Some(*operation),
            Self::StopDelivery { .. } | Self::Discard { .. } | Self::UpdateRegistration => None,
        }
    }

    /// Its file.
    pub const fn stage(&self) -> Option<StageId> {
        match self {
            Self::StartPull { stage, .. }
            | Self::AcceptPush { stage, .. }
            | Self::StopDelivery { stage }
            | Self::Discard { stage }
            | Self::Seal { stage, .. } => Some(*stage),
            Self::Queue { .. } | Self::Perform { .. } | Self::UpdateRegistration => None,
        }
    }

    /// Its transaction.
    pub const fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Perform { transaction, .. } => Some(transaction),
            _ => None,
        }
    }

    /// Whether a stored effect is still due for the current state of its instance; none if that is deleted.
    pub fn is_due(&self, instance: Option<&Instance>) -> bool {
        let is_at = |phase| {
            instance.is_some_and(|instance| {
                let running = instance.operation().map(|operation| operation.id);
                running == self.operation() && instance.phase() == Some(phase)
            })
        };
        match self {
            Self::Queue { .. } => is_at(Phase::Gate),
            Self::StartPull { .. } | Self::AcceptPush { .. } | Self::Perform { .. } => {
                is_at(Phase::Act)
            }
            Self::Seal { stage, .. } => instance.is_some_and(|instance| {
                let judged = instance.update_state() == UpdateState::Downloaded;
                judged && instance.stage() == Some(*stage)
            }),
            Self::StopDelivery { .. } | Self::Discard { .. } | Self::UpdateRegistration => true,
        }
    }
}

/// Its word, or the actions for the installer.
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Transaction { steps }) = self.transaction() else {
            return f.write_str(self.kind().as_str());
        };
        let actions: Vec<&str> = steps.iter().map(|step| step.action().as_str()).collect();
        f.write_str(&actions.join(", "))
    }
}

impl From<&Effect> for EffectRecord {
    fn from(effect: &Effect) -> Self {
        Self {
            kind: effect.kind(),
            operation: effect.operation(),
            stage: effect.stage(),
            transaction: effect.transaction().cloned(),
        }
    }
}

impl TryFrom<EffectRecord> for Effect {
    type Error = NotAnEffect;

    #[rustfmt::skip]
    fn try_from(record: EffectRecord) -> Result<Self, NotAnEffect> {
        let EffectRecord { kind, operation, stage, transaction } = record;
        Ok(match (kind, operation, stage, transaction) {
            (EffectKind::Queue, Some(operation), None, None) => Self::Queue { operation },
            (EffectKind::StartPull, Some(operation), Some(stage), None) => Self::StartPull { operation, stage },
            (EffectKind::AcceptPush, Some(operation), Some(stage), None) => Self::AcceptPush { operation, stage },
            (EffectKind::StopDelivery, None, Some(stage), None) => Self::StopDelivery { stage },
            (EffectKind::Discard, None, Some(stage), None) => Self::Discard { stage },
            (EffectKind::Seal, Some(operation), Some(stage), None) => Self::Seal { operation, stage },
            (EffectKind::Perform, Some(operation), None, Some(transaction)) => Self::Perform { operation, transaction },
            (EffectKind::UpdateRegistration, None, None, None) => Self::UpdateRegistration,
            _ => return Err(NotAnEffect(kind)),
        })
    }
}
