//! What the caller decides once for an account: names, times, bounds. Knows no file.

use core::time::Duration;

/// The configuration of an [`Engine`](crate::Engine).
#[derive(Clone, Debug)]
pub struct Config {
    /// The endpoint client name.
    pub endpoint: String,
    /// The lifetime of the registration, in seconds.
    pub lifetime: u32,
    /// Times of the message layer.
    pub transmission: Transmission,
    /// When a failed Register or Update is tried again.
    pub backoff: Backoff,
    /// Bounds of everything that a server could make grow.
    pub limits: Limits,
}

impl Config {
    /// Defaults that a gateway can live with.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            lifetime: 3600,
            transmission: Transmission::default(),
            backoff: Backoff::default(),
            limits: Limits::default(),
        }
    }
}

/// The parameters of RFC 7252 4.8, with its defaults.
#[derive(Clone, Copy, Debug)]
pub struct Transmission {
    /// ACK_TIMEOUT: how long to wait for the first acknowledgement, at least.
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR, in percent: 150 is 1.5.
    pub ack_random_percent: u32,
    /// MAX_RETRANSMIT: how often a message is repeated.
    pub max_retransmit: u32,
    /// EXCHANGE_LIFETIME: how long a Message ID is remembered, and how long a response may take.
    pub exchange_lifetime: Duration,
    /// How long an application may take before its answer needs a message of its own. Less than the
    /// server's ACK_TIMEOUT, or the server repeats its request.
    pub processing_delay: Duration,
}

impl Default for Transmission {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            ack_random_percent: 150,
            max_retransmit: 4,
            exchange_lifetime: Duration::from_secs(247),
            processing_delay: Duration::from_millis(500),
        }
    }
}

/// Pauses between attempts to register: doubled each time, each a random length between half of it
/// and all of it, so that a fleet does not come back as one.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(900),
        }
    }
}

/// Bounds. Nothing is allocated before it is needed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that the application has not answered yet; one more gets 5.03.
    pub open_requests: usize,
    /// Messages remembered against duplicates: this many that act at once (all but reads and
    /// blocks), and this many others.
    pub remembered_messages: usize,
    /// The most observations. At the limit, a new one replaces the oldest of the path that has most, the new one
    /// counted. If no path has two, it is answered as a plain Read, without the Observe option (RFC 7641 4.1).
    pub observations: usize,
    /// Notifications that wait, for each observation; then the oldest is dropped.
    pub queued_notifications: usize,
    /// The most bytes of a request body, in one message or in blocks. A longer one gets 4.13. A streamed body has no
    /// limit.
    pub request_body: usize,
    /// Bytes of a response's body; more gets 5.00.
    pub response_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_requests: 32,
            remembered_messages: 128,
            observations: 64,
            queued_notifications: 16,
            request_body: 8 * 1024,
            response_body: 64 * 1024,
        }
    }
}
