//! The inputs of the engine.

use core::fmt;

use crate::{Answer, ObjectId, ObjectInstanceId, Path, RequestId, Secret};

/// An event, for [`Engine::handle`](crate::Engine::handle).
#[derive(Clone, PartialEq)]
pub enum Input {
    /// A datagram came from the server's own address. It may contain a secret.
    Datagram(Secret),
    /// The deadline of [`Engine::next_deadline`](crate::Engine::next_deadline) has passed. An early
    /// timeout does nothing.
    Timeout,
    /// Register and stay registered. After a restart, the engine sends an Update instead.
    Start,
    /// The local address or the DTLS session is new. The engine first sends an Update, or a Register
    /// if there is no registration. Notifications and separate responses wait for its response: the
    /// server does not accept them from an unknown address. Before [`Start`](Self::Start) this does
    /// nothing.
    Moved,
    /// The application answers an [`Output::Request`](crate::Output::Request). The response is
    /// piggybacked within [`Transmission::processing_delay`](crate::Transmission), else separate
    /// (RFC 7252 5.2). Pass it in before the [`Changed`](Self::Changed) of the same commit, so that
    /// the server gets the response before the notifications.
    Answer {
        /// The request. The engine ignores one that is no longer open.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// One commit changed these resources. The engine notifies their observers, in this order. It
    /// requests the values with [`ReadPurpose::Notification`](crate::ReadPurpose); answer them from
    /// this commit.
    Changed(Vec<Path>),
    /// These resources may have changed while the program did not run. The engine notifies, in this
    /// order, the observers that have another value.
    MayHaveChanged(Vec<Path>),
    /// Instances were added or removed. An observation of a removed one ends with a 4.04
    /// notification (RFC 7641 4.2).
    ObjectsChanged {
        /// The present instances of all objects.
        instances: Vec<(ObjectId, ObjectInstanceId)>,
        /// When to send the list to the server.
        update: UpdateTiming,
    },
    /// Send an Update now: after the Registration Update Trigger, or after a changed setting.
    Update {
        /// The new lifetime in seconds, if it changed.
        lifetime: Option<u32>,
    },
    /// Deregister and stop. [`Event::Deregistered`](crate::EngineEvent::Deregistered) follows at the end.
    Stop,
}

/// When the engine sends a changed list of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateTiming {
    /// At once.
    Now,
    /// With the next Update.
    WithNext,
}

/// A datagram may contain a secret, so that only its length is shown.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datagram(datagram) => write!(f, "Datagram({} bytes)", datagram.expose().len()),
            Self::Timeout => f.write_str("Timeout"),
            Self::Start => f.write_str("Start"),
            Self::Moved => f.write_str("Moved"),
            Self::Answer { request, answer } => write!(f, "Answer({request:?}, {answer:?})"),
            Self::Changed(paths) => write!(f, "Changed({paths:?})"),
            Self::MayHaveChanged(paths) => write!(f, "MayHaveChanged({paths:?})"),
            Self::ObjectsChanged { instances, update } => {
                write!(f, "ObjectsChanged({instances:?}, {update:?})")
            }
            Self::Update { lifetime } => write!(f, "Update({lifetime:?})"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}
