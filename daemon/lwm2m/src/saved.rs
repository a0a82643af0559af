//! The engine state that the caller stores over restarts.

use crate::Path;

/// The registration and the observations: from [`Engine::saved`](crate::Engine::saved), for
/// [`Engine::restored`](crate::Engine::restored).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The registered endpoint client name.
    pub endpoint: String,
    /// The registered LwM2M version.
    pub version: String,
    /// The segments of the path that the server assigned. Empty if there is no registration.
    pub location: Vec<Vec<u8>>,
    /// The Message-ID ceiling (RFC 7252 4.4). Every Message ID up to it may have been used. It grows
    /// in steps, so that not every message needs a save.
    pub message_ceiling: u16,
    /// The ceiling of Observe numbers (RFC 7641 3.4).
    pub observe_ceiling: u32,
    /// The observations of the server.
    pub observations: Vec<SavedObservation>,
}

/// One of the server's observations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedObservation {
    /// The observed path.
    pub path: Path,
    /// The token of the observation and of its notifications.
    pub token: Vec<u8>,
    /// The Content-Format of its notifications.
    pub format: u16,
    /// The block size exponent (SZX) that the server requested.
    pub block_exponent: u8,
    /// A digest of the last value that the server acknowledged.
    pub told: u64,
}

/// A message that changed something, with its response: from
/// [`Engine::answered`](crate::Engine::answered), for
/// [`Engine::remember`](crate::Engine::remember).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The Message ID.
    pub message_id: u16,
    /// A digest of the whole message.
    pub digest: u64,
    /// The response datagram. Empty for a non-confirmable message.
    pub reply: Vec<u8>,
}
