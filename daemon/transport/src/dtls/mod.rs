//! DTLS 1.2 with a pre-shared key (RFC 6347, RFC 4279), with the profile of RFC 7925. There is no socket here:
//! [`Session`] takes datagrams and the time, and returns datagrams, plaintext and its next deadline.
//!
//! - [`psk`]: the identity of this gateway and its key.
//! - [`client`]: the settings of all sessions with one server, and the session to resume.
//! - [`session`]: one session, from its handshake to its end.
//! - [`failure`]: the reasons why there is no session.

pub mod client;
mod datagrams;
pub mod failure;
mod libssl;
pub mod psk;
pub mod session;
#[cfg(test)]
mod tests;

use crate::udp::MAX_DATAGRAM;

pub use client::DtlsClient;
pub use failure::{Alert, DtlsFailure};
pub use psk::{BadPsk, Psk};
pub use session::{Session, SessionEnd, SessionState};

/// The most bytes that a record adds to its message: header, IV, MAC and CBC padding (RFC 6347 4.1).
const RECORD: usize = 13 + 16 + 32 + 16;

/// The longest accepted datagram.
pub const LONGEST_DATAGRAM: usize = MAX_DATAGRAM + RECORD;
