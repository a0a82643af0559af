//! Bytes in, bytes out: the ways between wharfd and an LwM2M server. Knows addresses and datagrams,
//! and nothing of what is in them.
//!
//! - [`address`]: `coap://host:port` or `coaps://host:port` taken apart, and the addresses of its name.
//! - [`udp`]: CoAP's plain transport.
//! - [`dtls`]: what protects it: datagrams and time in, datagrams and plaintext out; no socket.
//! - [`channel`]: a way that is open, with or without protection.

pub mod address;
pub mod channel;
pub mod dtls;
pub mod udp;

pub use address::{BadAddress, Scheme, ServerAddress};
pub use channel::{Channel, Lost, OpenError};
pub use dtls::{BadPsk, Psk};
pub use udp::Udp;
