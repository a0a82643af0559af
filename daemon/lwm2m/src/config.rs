//! The settings of one server account: names, times and limits.

use core::time::Duration;

use crate::Backoff;

/// The configuration of an [`Engine`](crate::Engine).
#[derive(Clone, Debug)]
pub struct Config {
    /// The endpoint client name.
    pub endpoint: String,
    /// The lifetime of the registration, in seconds.
    pub lifetime: u32,
    /// Times of the message layer.
    pub transmission: Transmission,
    /// The pauses before a failed Register or Update is retried.
    pub backoff: Backoff,
    /// The limits on memory that a server can make the engine use.
    pub limits: Limits,
}

impl Config {
    /// A configuration with default values.
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

/// The transmission parameters of RFC 7252 4.8, with its default values.
#[derive(Clone, Copy, Debug)]
pub struct Transmission {
    /// ACK_TIMEOUT: the shortest wait before the first retransmission.
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR, in percent: 150 is 1.5.
    pub ack_random_percent: u32,
    /// MAX_RETRANSMIT: the number of retransmissions of a message.
    pub max_retransmit: u32,
    /// EXCHANGE_LIFETIME (RFC 7252 4.8.2): the time for which a received Message ID is remembered,
    /// and the longest wait for a separate response.
    pub exchange_lifetime: Duration,
    /// The longest wait for the application before the engine acknowledges a request with an empty
    /// message (RFC 7252 5.2.2). It must be shorter than the server's ACK_TIMEOUT.
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

/// Limits. The engine allocates memory only when it needs it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most requests that the application has not answered yet. Another one gets 5.03.
    pub open_requests: usize,
    /// The most messages remembered to detect duplicates: this many that change something, and this
    /// many others.
    pub remembered_messages: usize,
    /// The most observations. At the limit, a new one replaces the oldest one of the path that has
    /// most, with the new one counted. If no path has two, the response is that of a plain Read,
    /// without the Observe option (RFC 7641 4.1).
    pub observations: usize,
    /// The most queued notifications of each observation. Another one drops the oldest.
    pub queued_notifications: usize,
    /// The most bytes of a request body, in one message or in blocks. A longer one gets 4.13. A
    /// streamed body has no limit.
    pub request_body: usize,
    /// The most bytes of a response body. A longer one becomes 5.00.
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
