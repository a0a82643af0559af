//! Keeps the body of a long response, so that all its blocks come from one state (RFC 7959 2.4).

use core::time::Duration;
use std::collections::VecDeque;

use crate::{Path, Time, coap::BlockOption, content::ContentFormat, exchange::digest};

/// The most bodies: one for a Read, and one for a notification that is sent meanwhile.
const BODIES: usize = 2;

struct Body {
    path: Path,
    format: ContentFormat,
    bytes: Vec<u8>,
    until: Time,
}

/// The bodies of which the server has not yet read all blocks.
pub(crate) struct Bodies {
    bodies: VecDeque<Body>,
    lifetime: Duration,
}

/// The part of a body in one message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// `None` if the whole body fits and the server did not request blocks.
    pub(crate) block: Option<BlockOption>,
    /// The ETag of a body in several blocks (RFC 7959 2.4).
    pub(crate) etag: Option<u64>,
    pub(crate) size: usize,
    pub(crate) bytes: Vec<u8>,
}

/// The requested block of a body, or the first one. `None` if there is no such block.
pub(crate) fn slice(body: &[u8], wanted: Option<BlockOption>, exponent: u8) -> Option<Slice> {
    let exponent = wanted.map_or(exponent, BlockOption::exponent);
    let offset = usize::try_from(wanted.map_or(0, BlockOption::offset)).ok()?;
    let rest = body
        .get(offset..)
        .filter(|rest| offset == 0 || !rest.is_empty())?;
    let whole = offset == 0 && rest.len() <= 16 << exponent;
    let bytes = rest.get(..16 << exponent).unwrap_or(rest);
    let block = BlockOption::at(offset, bytes.len() < rest.len(), exponent)?;
    Some(Slice {
        block: (wanted.is_some() || !whole).then_some(block),
        etag: (!whole).then(|| digest(body)),
        size: body.len(),
        bytes: bytes.to_vec(),
    })
}

impl Bodies {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self {
            bodies: VecDeque::new(),
            lifetime,
        }
    }

    /// Keeps a body whose first block is sent now.
    pub(crate) fn keep(&mut self, now: Time, path: Path, format: ContentFormat, bytes: Vec<u8>) {
        self.bodies
            .retain(|body| now < body.until && (body.path, body.format) != (path, format));
        if self.bodies.len() == BODIES {
            self.bodies.pop_front();
        }
        self.bodies.push_back(Body {
            path,
            format,
            bytes,
            until: now + self.lifetime,
        });
    }

    /// A kept body.
    pub(crate) fn find(&mut self, now: Time, path: Path, format: ContentFormat) -> Option<&[u8]> {
        self.bodies.retain(|body| now < body.until);
        let body = self
            .bodies
            .iter()
            .find(|body| (body.path, body.format) == (path, format));
        body.map(|body| body.bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_body_that_fits_is_split_only_if_the_server_requests_blocks() {
        let plain = slice(&[1; 1024], None, 6).unwrap();
        assert_eq!(
            (plain.block, plain.etag, plain.bytes.len()),
            (None, None, 1024)
        );
        let asked = slice(&[1; 64], BlockOption::at(0, false, 2), 6).unwrap();
        assert_eq!(
            (asked.block, asked.etag),
            (BlockOption::at(0, false, 2), None)
        );
        assert_eq!(
            slice(&[1; 64], BlockOption::at(64, false, 2), 6),
            None,
            "beyond the end"
        );
    }

    proptest! {
        #[test]
        fn blocks_of_any_size_make_up_the_body(
            body in vec(any::<u8>(), 0..3000),
            exponent in 0_u8..=6,
        ) {
            let (mut joined, mut more) = (Vec::new(), true);
            while more {
                let wanted = BlockOption::at(joined.len(), false, exponent);
                let slice = slice(&body, wanted, 6).unwrap();
                more = slice.block.unwrap().more();
                joined.extend(slice.bytes);
            }
            prop_assert_eq!(joined, body);
        }
    }
}
