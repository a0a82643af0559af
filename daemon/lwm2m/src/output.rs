//! What the engine wants done.

use core::fmt;

use crate::{Path, Request, RequestId, Time};

/// Something to do, from [`Engine::poll_output`](crate::Engine::poll_output).
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this datagram to the server. It may get lost.
    Send(Vec<u8>),
    /// The server, or an observation, asks something of the application.
    Request {
        /// For [`Input::Answer`](crate::Input::Answer).
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// What [`Engine::saved`](crate::Engine::saved) gives is not what it was. To be kept, durably,
    /// before what comes after this is done: notifications rely on it. What registers does not, and comes first.
    Save,
    /// Something happened that a person may want to know. There is nothing to do.
    Event(Event),
}

/// News for the journal and the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server accepted the registration.
    Registered {
        /// The path that it assigned.
        location: String,
    },
    /// The server knows the registration of an earlier run, or from before a new way: it accepted an
    /// Update.
    StillRegistered {
        /// The path that it assigned.
        location: String,
    },
    /// The server accepted an Update.
    Updated,
    /// A Register or an Update failed. It is tried again, for ever.
    RegistrationFailed {
        /// What happened.
        failure: Failure,
        /// When it is tried again.
        retry_at: Time,
    },
    /// The server does not know this registration any more; the engine registers anew at once.
    RegistrationLost,
    /// The registration is over, as [`Input::Stop`](crate::Input::Stop) asked.
    Deregistered,
    /// The server observes this.
    Observed(Path),
    /// An observation of this path ended. The server may have other observations of it.
    ObservationEnded(Path),
    /// A message was given up: the server did not acknowledge it. Notifications are kept, and an
    /// Update tries to reach the server.
    Unreachable,
}

/// Why a Register or an Update failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No acknowledgement, or no response after it.
    TimedOut,
    /// The server's CoAP endpoint refused the message (Reset).
    Reset,
    /// The server answered with this code, class and detail.
    Refused(u8, u8),
    /// The server answered in a way that makes no sense: 2.01 without a location, for example.
    Malformed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer from the server"),
            Self::Reset => f.write_str("the server reset the exchange: no LwM2M server there?"),
            Self::Refused(class, detail) => write!(f, "the server answered {class}.{detail:02}"),
            Self::Malformed => f.write_str("the server's answer was malformed"),
        }
    }
}
