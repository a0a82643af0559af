//! The transport between wharfd and an LwM2M server: addresses and datagrams. It does not look into
//! messages.
//!
//! - [`address`]: parses `coap://host:port` and `coaps://host:port`.
//! - [`udp`]: resolves the host, and sends and receives datagrams.
//! - [`dtls`]: encrypts and decrypts, without a socket: datagrams and time in, datagrams and plaintext
//!   out.
//! - [`channel`]: an open connection, with or without DTLS.

pub mod address;
pub mod channel;
pub mod dtls;
pub mod udp;

pub use address::{BadAddress, Scheme, ServerAddress};
pub use channel::{Channel, Lost, OpenError};
pub use dtls::{BadPsk, Psk};
pub use udp::Udp;
