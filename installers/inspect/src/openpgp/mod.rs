//! OpenPGP (RFC 9580), by sequoia.
//!
//! - [`certificates`]: those who may sign.
//! - [`digests`]: the hashes of a content.
//! - [`signature`]: who signed a digest, and whether that may be believed.
//! - [`message`]: a package inside a message, and the signatures around it.

pub(crate) mod certificates;
pub(crate) mod digests;
pub(crate) mod message;
pub(crate) mod signature;
