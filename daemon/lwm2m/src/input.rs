//! What happens to the engine.

use core::fmt;

use crate::{Answer, InstanceId, ObjectId, Path, RequestId};

/// Something that happened, for [`Engine::handle`](crate::Engine::handle).
#[derive(Clone, PartialEq)]
pub enum Input {
    /// A datagram came from the server's own address.
    Datagram(Vec<u8>),
    /// The time of [`Engine::next_deadline`](crate::Engine::next_deadline) has come. Early or
    /// without need does no harm.
    Timeout,
    /// Register, and stay registered. With the registration of an earlier run: Update.
    Start,
    /// The way to the server is a new one: another local address, or a new DTLS session. The server
    /// is told so by an Update (a Register if it knows none) before anything else goes there, or it
    /// would take notifications for those of a stranger. They and separate responses wait until it
    /// has answered. Before [`Start`](Self::Start) nothing happens.
    Moved,
    /// The application answers an [`Output::Request`](crate::Output::Request). Within
    /// [`Transmission::processing_delay`](crate::Transmission) the answer travels in the
    /// acknowledgement, later it travels in a message of its own. To be given before the
    /// [`Changed`](Self::Changed) that the same commit caused, so that the server sees its response
    /// first.
    Answer {
        /// Which request. One that is not open any more is ignored.
        request: RequestId,
        /// What to say.
        answer: Answer,
    },
    /// One commit changed these resources. Whoever observes one is notified, in this order: the
    /// engine asks for the values by requests with
    /// [`ReadPurpose::Notification`](crate::ReadPurpose), to be answered from this commit.
    Changed(Vec<Path>),
    /// These may have changed while the program did not run. Whoever observes one, and has another
    /// value of it than there is now, is notified, in this order.
    MayHaveChanged(Vec<Path>),
    /// Instances appeared or went away. Observers of what went away are told so (4.04) and
    /// forgotten.
    ObjectsChanged {
        /// All instances there are now, of all objects.
        instances: Vec<(ObjectId, InstanceId)>,
        /// When the server shall learn it.
        update: UpdateTiming,
    },
    /// Send an Update now: the server's Registration Update Trigger, or a changed setting.
    Update {
        /// Set if the lifetime changed: seconds.
        lifetime: Option<u32>,
    },
    /// Deregister and be silent. [`Event::Deregistered`](crate::Event::Deregistered) tells the end.
    Stop,
}

/// When a changed list of instances is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateTiming {
    /// At once.
    Now,
    /// With the next Update that is due anyway.
    WithNext,
}

/// A datagram may carry a secret: only its length is shown.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datagram(bytes) => write!(f, "Datagram({} bytes)", bytes.len()),
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
