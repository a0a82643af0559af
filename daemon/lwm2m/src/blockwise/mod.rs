//! Bodies longer than a datagram (RFC 7959). Knows no message: offsets and bytes only.

mod assembly;
mod body;
mod stream;

pub(crate) use assembly::{Assembled, Assembly};
pub(crate) use body::{Bodies, slice};
pub(crate) use stream::{Streams, Taken};

/// One block of a request's body, as it came.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) offset: u64,
    pub(crate) bytes: &'a [u8],
    pub(crate) more: bool,
}

impl Part<'_> {
    fn end(self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}
