//! DTLS 1.2 with a pre-shared key (RFC 6347, RFC 4279), profiled for small devices (RFC 7925). Knows no socket:
//! [`Session`] takes datagrams and time, and gives datagrams, plaintext and its next deadline.
//!
//! - [`psk`]: who this gateway says it is, and the key that proves it.
//! - [`client`]: what all sessions with one server share, the session to resume among it.
//! - [`session`]: one handshake and what follows it.
//! - [`failure`]: why there is no session, in words that say what to do.

pub mod client;
mod datagrams;
pub mod failure;
mod libssl;
pub mod psk;
pub mod session;
#[cfg(test)]
mod tests;

use crate::udp::MAX_DATAGRAM;

pub use client::Client;
pub use failure::{Alert, Failure};
pub use psk::{BadPsk, Psk};
pub use session::{End, Session, State};

/// What a record adds to its message, at most: header, vector, MAC, and CBC's padding (RFC 6347 4.1).
const RECORD: usize = 13 + 16 + 32 + 16;

/// The longest datagram that is taken.
pub const LONGEST_DATAGRAM: usize = MAX_DATAGRAM + RECORD;
