//! Bytes in, bytes out: the sockets between wharfd and an LwM2M server. Knows addresses and datagrams,
//! and nothing of what is in them.
//!
//! - [`address`]: `coap://host:port` taken apart, and what of it may go unprotected.
//! - [`udp`]: CoAP's plain transport.

#![forbid(unsafe_code)]

pub mod address;
pub mod udp;

pub use address::{BadAddress, ServerAddress};
pub use udp::Udp;
