//! The message layer of RFC 7252 4: what is sent reliably, and what was received before. Knows no
//! operation.

mod duplicates;
mod transmission;

pub(crate) use duplicates::{Duplicates, Reply, digest};
pub(crate) use transmission::{Sender, Tick};
