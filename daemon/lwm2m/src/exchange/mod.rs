//! The message layer (RFC 7252 4): retransmission and deduplication.

mod duplicates;
mod transmission;

pub(crate) use duplicates::{Duplicates, Reply, digest};
pub(crate) use transmission::{Sender, Tick};
