//! What of an engine outlives its program. Where it is kept is for the caller.

use crate::Path;

/// The registration, and who observes what: from [`Engine::saved`](crate::Engine::saved), for
/// [`Engine::restored`](crate::Engine::restored).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The endpoint client name that was registered.
    pub endpoint: String,
    /// The LwM2M version that was registered.
    pub version: String,
    /// The path that the server assigned, by its segments. Empty if it knows no registration.
    pub location: Vec<Vec<u8>>,
    /// Every Message ID up to this one may have been used (RFC 7252 4.4). They are reserved in steps, so that not each
    /// of them has to be kept.
    pub message_ceiling: u16,
    /// The same of Observe numbers (RFC 7641 3.4).
    pub observe_ceiling: u32,
    /// What the server observes.
    pub observations: Vec<SavedObservation>,
}

/// One of the server's observations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedObservation {
    /// What is observed.
    pub path: Path,
    /// The server's name for it, in each notification.
    pub token: Vec<u8>,
    /// The Content-Format of its notifications.
    pub format: u16,
    /// The exponent of the block size that the server can take.
    pub block_exponent: u8,
    /// A digest of the value that the server has.
    pub told: u64,
}

/// A message that acted, with the answer that it got: from [`Engine::answered`](crate::Engine::answered), for
/// [`Engine::remember`](crate::Engine::remember).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its Message ID.
    pub message_id: u16,
    /// A digest of all of it.
    pub digest: u64,
    /// The datagram that answers it. Empty if none does.
    pub reply: Vec<u8>,
}
