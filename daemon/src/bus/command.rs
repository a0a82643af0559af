//! The commands of the bus to the agent, and their answers. The bus has checked the caller before.

use std::{fs::File, os::fd::OwnedFd};

use tokio::sync::oneshot;
use wharf_frames::{Action, OperationId};
use wharf_software::{InstanceId, Write};

use crate::store::{HistoryEntry, StoredOperation};

/// The channel for an answer. The answer to a change is sent after the change is stored.
pub type AnswerSender<T> = oneshot::Sender<Result<T, Refused>>;

/// A command to the agent.
#[derive(Debug)]
pub enum AgentCommand {
    /// Like a server's Write, Execute or Delete.
    Instance {
        /// The instance.
        id: InstanceId,
        /// The command.
        command: InstanceCommand,
        /// The uid of the caller.
        user: u32,
        /// The operation for the request, if it needs one.
        answer: AnswerSender<Option<OperationId>>,
    },
    /// Like a server's Create without an id.
    Create {
        /// The id of the new instance.
        answer: AnswerSender<InstanceId>,
        /// The uid of the caller.
        user: u32,
    },
    /// Write each CoAP message into a pipe until its reader closes it.
    Trace {
        /// The write end of the pipe.
        writer: OwnedFd,
        /// Sent when the trace has begun.
        answer: AnswerSender<()>,
    },
    /// Read the states that servers could see, oldest first.
    History {
        /// The instance; none for all of them.
        instance: Option<InstanceId>,
        /// The lines.
        answer: AnswerSender<Vec<HistoryEntry>>,
    },
    /// Read all stored operations.
    Operations {
        /// In the order of acceptance.
        answer: AnswerSender<Vec<StoredOperation>>,
    },
}

/// A command to one instance.
#[derive(Debug)]
pub enum InstanceCommand {
    /// A Write of one or more resources, except Package.
    Write(Write),
    /// A Write of Package, from a file that is open for reading.
    WritePackage {
        /// The package.
        file: File,
        /// Its detached signature.
        signature: Option<Vec<u8>>,
    },
    /// An Execute, or a purge.
    Execute {
        /// The action.
        action: Action,
        /// The arguments, as in a server's Execute.
        arguments: &'static [u8],
    },
    /// A Delete.
    Delete,
    /// Cancels this operation, which waits, downloads, or has not begun to change the device.
    Cancel(OperationId),
}

/// The reason for a refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such instance.
    #[error("there is no instance {0}")]
    NoInstance(u16),
    /// The request is not valid: a server would read 4.00.
    #[error("{0}")]
    BadRequest(String),
    /// The state of the instance does not allow it: a server would read 4.05.
    #[error("{0}")]
    NotAllowed(String),
    /// The database could not be read or written.
    #[error("{0}")]
    NotStored(String),
}

impl From<wharf_software::Refusal> for Refused {
    fn from(refusal: wharf_software::Refusal) -> Self {
        let why = refusal.why.to_string();
        match refusal.code {
            wharf_software::RefusalCode::BadRequest => Self::BadRequest(why),
            wharf_software::RefusalCode::MethodNotAllowed => Self::NotAllowed(why),
        }
    }
}
