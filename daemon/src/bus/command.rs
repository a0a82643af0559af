//! What is asked of the agent over the bus, and how it answers. Who asks was looked at before.

use std::{fs::File, os::fd::OwnedFd};

use tokio::sync::oneshot;
use wharf_frames::OperationId;
use wharf_software::{Executable, InstanceId, Write};

use crate::store::{HistoryEntry, KeptOperation};

/// The way of an answer back to who asked. It comes when what was asked is stored.
pub type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// Something that is asked of the agent.
#[derive(Debug)]
pub enum Command {
    /// As a server's Write, Execute or Delete.
    Instance {
        /// The instance.
        id: InstanceId,
        /// What is asked.
        request: Request,
        /// The uid of who asks.
        user: u32,
        /// Answers after the request is accepted and stored, with the operation for it, if there is one.
        answer: Answer<Option<OperationId>>,
    },
    /// As a server's Create without an id.
    Create {
        /// The id of the new instance.
        answer: Answer<InstanceId>,
        /// The uid of who asks.
        user: u32,
    },
    /// To be told each CoAP message, as long as somebody reads there.
    Trace {
        /// The end to write to.
        writer: OwnedFd,
        /// When it is so.
        answer: Answer<()>,
    },
    /// What servers could see, oldest first.
    History {
        /// Of this instance; none: of all.
        instance: Option<InstanceId>,
        /// The lines.
        answer: Answer<Vec<HistoryEntry>>,
    },
    /// All operations that are kept.
    Operations {
        /// In the order of acceptance.
        answer: Answer<Vec<KeptOperation>>,
    },
}

/// What is asked of an instance.
#[derive(Debug)]
pub enum Request {
    /// A Write of anything but Package, in one.
    Write(Write),
    /// A Write of Package, from a file that is open for reading.
    WritePackage {
        /// The package.
        file: File,
        /// What stood beside it.
        signature: Option<Vec<u8>>,
    },
    /// An Execute.
    Execute {
        /// The resource.
        resource: Executable,
        /// As a server gives them.
        arguments: &'static [u8],
    },
    /// An Uninstall that deletes the configuration as well.
    Purge,
    /// A Delete.
    Delete,
    /// Cancels this operation, which waits, downloads, or has not begun to change the device.
    Cancel(OperationId),
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such instance.
    #[error("there is no instance {0}")]
    NoInstance(u16),
    /// What is asked for cannot be understood or used: a server would read 4.00.
    #[error("{0}")]
    BadRequest(String),
    /// It cannot be done as things are: a server would read 4.05.
    #[error("{0}")]
    NotAllowed(String),
    /// The database does not take or give it.
    #[error("{0}")]
    NotStored(String),
}

impl From<wharf_software::Refusal> for Refused {
    fn from(refusal: wharf_software::Refusal) -> Self {
        let why = refusal.why.to_string();
        match refusal.code {
            wharf_software::Code::BadRequest => Self::BadRequest(why),
            wharf_software::Code::MethodNotAllowed => Self::NotAllowed(why),
        }
    }
}
