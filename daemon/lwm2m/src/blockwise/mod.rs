//! Block-wise transfers (RFC 7959), as offsets and bytes without messages.

mod assembly;
mod body;
mod stream;

pub(crate) use assembly::{Assembled, Assembly};
pub(crate) use body::{Bodies, slice};
pub(crate) use stream::{Decision, Streams};

/// One received block of a request body.
#[derive(Clone, Copy)]
pub(crate) struct BodyPart<'a> {
    pub(crate) offset: u64,
    pub(crate) bytes: &'a [u8],
    pub(crate) more: bool,
}

impl BodyPart<'_> {
    fn end(self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}
