//! Encoding of CoAP messages (RFC 7252 3, RFC 7959 2).

mod block;
mod code;
mod message;
mod options;

pub use block::{BlockError, BlockOption};
pub use code::Code;
pub use message::{CoapType, Malformed, Message};
pub use options::{OptionNumber, uint, uint_value};
