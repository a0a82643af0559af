//! An operation on the bus.

use zbus::{DeserializeDict, OwnedObjectPath, SerializeDict, Type, interface};

/// The properties of an operation, as the interface describes them.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict", rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the interface below describes each")]
pub struct OperationProperties {
    pub id: String,
    pub kind: String,
    pub origin: (String, u32),
    pub instance: OwnedObjectPath,
    pub sequence: u64,
    pub accepted_at: u64,
    pub state: String,
    pub outcome: String,
}

/// The word in `Origin` before a Short Server ID.
pub const SERVER: &str = "server";

/// The word in `Origin` before the uid of a local user.
pub const USER: &str = "user";

/// The state of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// It waits.
    Queued,
    /// It runs.
    Running,
    /// It ended as requested.
    Done,
    /// It ended otherwise.
    Failed,
}

impl OperationState {
    /// Its word in the property `State`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The state with this word.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Queued, Self::Running, Self::Done, Self::Failed];
        all.into_iter().find(|state| state.as_str() == word)
    }
}

/// Serves an operation.
pub trait OperationService: Send + Sync + 'static {
    /// Reads a part of its properties; the default if it is gone.
    fn read<T: Default>(&self, part: impl FnOnce(&OperationProperties) -> T) -> T;
}

/// `/org/wharfd/Agent1/operations/ID`.
pub struct OperationObject<S>(pub S);

/// An operation on an instance. The bus has those that have not ended, and the last ones that have.
#[interface(name = "org.wharfd.Agent1.Operation")]
impl<S: OperationService> OperationObject<S> {
    /// Its id, also in the journal.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.0.read(|operation| operation.id.clone())
    }

    /// `pull`, `push`, `install`, `uninstall`, `purge`, `activate`, `deactivate`, `back`.
    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> String {
        self.0.read(|operation| operation.kind.clone())
    }

    /// Its origin: `server` with its Short Server ID, or `user` with its uid.
    #[zbus(property(emits_changed_signal = "const"))]
    fn origin(&self) -> (String, u32) {
        self.0.read(|operation| operation.origin.clone())
    }

    /// The instance that it changes.
    #[zbus(property(emits_changed_signal = "const"))]
    fn instance(&self) -> OwnedObjectPath {
        self.0.read(|operation| operation.instance.clone())
    }

    /// Rises from each accepted operation to the next.
    #[zbus(property(emits_changed_signal = "const"))]
    fn sequence(&self) -> u64 {
        self.0.read(|operation| operation.sequence)
    }

    /// The time of its acceptance, in seconds since 1970.
    #[zbus(property(emits_changed_signal = "const"))]
    fn accepted_at(&self) -> u64 {
        self.0.read(|operation| operation.accepted_at)
    }

    /// `queued`, `running`, `done`, `failed`.
    #[zbus(property)]
    fn state(&self) -> String {
        self.0.read(|operation| operation.state.clone())
    }

    /// Its outcome as public text; empty before its end. `Reasons` has the Status Reason of that moment. A `pull` or
    /// `push` ends with the verdict on its package: `done` in DELIVERED, `failed` otherwise.
    #[zbus(property)]
    fn outcome(&self) -> String {
        self.0.read(|operation| operation.outcome.clone())
    }
}
