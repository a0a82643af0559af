//! The outputs of the engine.

use core::fmt;

use crate::{Path, Request, RequestId, Time};

/// An action for the caller, from [`Engine::poll_output`](crate::Engine::poll_output).
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this datagram to the server. The network may lose it.
    Send(Vec<u8>),
    /// The application has to answer a request of the server, or read a value for a notification.
    Request {
        /// For [`Input::Answer`](crate::Input::Answer).
        id: RequestId,
        /// The request.
        request: Request,
    },
    /// [`Engine::saved`](crate::Engine::saved) has changed. Store it durably before the next output
    /// is carried out, since notifications rely on it. A Register or Update is sent before it.
    Save,
    /// An event for the journal. It needs no action.
    Event(EngineEvent),
}

/// An event for the journal and the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// The server accepted the registration.
    Registered {
        /// The path that the server assigned.
        location: String,
    },
    /// The server accepted an Update after a restart or after [`Input::Moved`](crate::Input::Moved).
    StillRegistered {
        /// The path that the server assigned.
        location: String,
    },
    /// The server accepted an Update.
    Updated,
    /// A Register or an Update failed. The engine retries without end.
    RegistrationFailed {
        /// The cause.
        failure: RegistrationFailure,
        /// The time of the next attempt.
        retry_at: Time,
    },
    /// The server no longer knows this registration. The engine registers again at once.
    RegistrationLost,
    /// The registration ended after [`Input::Stop`](crate::Input::Stop).
    Deregistered,
    /// The server observes this path.
    Observed(Path),
    /// One observation of this path ended. The path may have others.
    ObservationEnded(Path),
    /// The server did not acknowledge a message after all retransmissions. The engine keeps the
    /// notifications and sends an Update.
    Unreachable,
}

/// Why a Register or an Update failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationFailure {
    /// The server sent no acknowledgement, or no response after it.
    TimedOut,
    /// The server answered with a Reset message.
    Reset,
    /// The server answered with this code: class and detail.
    Refused(u8, u8),
    /// The response is invalid, for example a 2.01 without a location.
    Malformed,
}

impl fmt::Display for RegistrationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer from the server"),
            Self::Reset => f.write_str("the server reset the exchange: no LwM2M server there?"),
            Self::Refused(class, detail) => write!(f, "the server answered {class}.{detail:02}"),
            Self::Malformed => f.write_str("the server's answer was malformed"),
        }
    }
}
