//! OpenPGP (RFC 9580), by sequoia.
//!
//! - [`certificates`]: the trusted certificates.
//! - [`digests`]: the hashes of a content.
//! - [`signature`]: the signer of a digest, and whether it is trusted.
//! - [`message`]: a package inside a message, and the signatures around it.

pub(crate) mod certificates;
pub(crate) mod digests;
pub(crate) mod message;
pub(crate) mod signature;
