//! Which block of a streamed resource may come next. The bytes go on to the application and are not
//! kept.

use core::time::Duration;

use super::Part;
use crate::{ErrorCode, Path, RequestId, Time, exchange::digest};

/// As many transfers at once as anybody needs; the one that rested longest makes room.
const TRANSFERS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The application has the last block and did not answer yet.
    Waiting(RequestId),
    /// It took it.
    Taken,
    /// It took it, and nothing follows.
    Finished,
}

struct Transfer {
    path: Path,
    offset: u64,
    end: u64,
    digest: u64,
    last: bool,
    state: State,
    until: Time,
}

/// What becomes of a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is new: to the application.
    Handed,
    /// It came before in another message, and the application is still at it: both get its answer.
    Joined(RequestId),
    /// It came before in another message and was taken.
    Repeated,
}

/// The transfers of one server.
pub(crate) struct Streams {
    transfers: Vec<Transfer>,
    lifetime: Duration,
}

impl Streams {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self {
            transfers: Vec::new(),
            lifetime,
        }
    }

    /// Judges a block that would become the request `id`. Block 0 begins anew. 4.08 if another
    /// block does not continue what was taken.
    pub(crate) fn take(
        &mut self,
        now: Time,
        path: Path,
        part: Part<'_>,
        id: RequestId,
    ) -> Result<Taken, ErrorCode> {
        self.transfers.retain(|transfer| now < transfer.until);
        let digest = digest(part.bytes);
        let transfer = self
            .transfers
            .iter_mut()
            .find(|transfer| transfer.path == path);
        if let Some(transfer) = transfer {
            transfer.until = now + self.lifetime;
            let again = transfer.offset == part.offset && transfer.digest == digest;
            match transfer.state {
                State::Waiting(request) if again => return Ok(Taken::Joined(request)),
                State::Taken | State::Finished if again && part.offset > 0 => {
                    return Ok(Taken::Repeated);
                }
                State::Taken if transfer.end == part.offset => {}
                _ if part.offset == 0 => {}
                _ => return Err(ErrorCode::RequestEntityIncomplete),
            }
        } else if part.offset > 0 {
            return Err(ErrorCode::RequestEntityIncomplete);
        }
        self.hand(now, path, part, digest, id);
        Ok(Taken::Handed)
    }

    fn hand(&mut self, now: Time, path: Path, part: Part<'_>, digest: u64, id: RequestId) {
        self.transfers.retain(|transfer| transfer.path != path);
        if self.transfers.len() == TRANSFERS {
            self.transfers.remove(0);
        }
        self.transfers.push(Transfer {
            path,
            offset: part.offset,
            end: part.end(),
            digest,
            last: !part.more,
            state: State::Waiting(id),
            until: now + self.lifetime,
        });
    }

    /// The application took the block of this request, or refused it, which ends the transfer.
    pub(crate) fn answered(&mut self, id: RequestId, taken: bool) {
        let waiting = |transfer: &Transfer| transfer.state == State::Waiting(id);
        if !taken {
            self.transfers.retain(|transfer| !waiting(transfer));
        } else if let Some(transfer) = self.transfers.iter_mut().find(|transfer| waiting(transfer))
        {
            transfer.state = if transfer.last {
                State::Finished
            } else {
                State::Taken
            };
        }
    }

    /// Forgets the transfers whose target is not there any more.
    pub(crate) fn retain(&mut self, exists: impl Fn(Path) -> bool) {
        self.transfers.retain(|transfer| exists(transfer.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: Path = Path::Resource(9, 0, 2);
    const LIFETIME: Duration = Duration::from_secs(247);
    const INCOMPLETE: Result<Taken, ErrorCode> = Err(ErrorCode::RequestEntityIncomplete);

    fn block(number: u8, more: bool) -> Part<'static> {
        const BYTES: [[u8; 16]; 4] = [[0; 16], [1; 16], [2; 16], [3; 16]];
        Part {
            offset: u64::from(number) * 16,
            bytes: &BYTES[usize::from(number)],
            more,
        }
    }

    fn streams_with(blocks: u8) -> Streams {
        let mut streams = Streams::new(LIFETIME);
        for number in 0..blocks {
            let id = RequestId(u64::from(number));
            let taken = streams.take(Time::from_millis(0), PACKAGE, block(number, true), id);
            assert_eq!(taken, Ok(Taken::Handed));
            streams.answered(id, true);
        }
        streams
    }

    #[test]
    fn a_block_that_comes_twice_is_handed_on_once() {
        let now = Time::from_millis(0);
        let mut streams = streams_with(2);
        assert_eq!(
            streams.take(now, PACKAGE, block(1, true), RequestId(9)),
            Ok(Taken::Repeated)
        );
        assert_eq!(
            streams.take(now, PACKAGE, block(2, false), RequestId(9)),
            Ok(Taken::Handed)
        );
        let again = streams.take(now, PACKAGE, block(2, false), RequestId(10));
        assert_eq!(again, Ok(Taken::Joined(RequestId(9))));
        streams.answered(RequestId(9), true);
        assert_eq!(
            streams.take(now, PACKAGE, block(2, false), RequestId(11)),
            Ok(Taken::Repeated)
        );
    }

    #[test]
    fn resumes_a_push_from_block_0() {
        let mut streams = streams_with(3);
        let now = Time::from_millis(0);
        assert_eq!(
            streams.take(now, PACKAGE, block(0, true), RequestId(9)),
            Ok(Taken::Handed)
        );
        streams.answered(RequestId(9), true);
        assert_eq!(
            streams.take(now, PACKAGE, block(3, true), RequestId(10)),
            INCOMPLETE
        );
        assert_eq!(
            streams.take(now, PACKAGE, block(1, true), RequestId(11)),
            Ok(Taken::Handed)
        );
    }

    #[test]
    fn a_block_that_does_not_continue_is_incomplete() {
        let now = Time::from_millis(0);
        assert_eq!(
            streams_with(0).take(now, PACKAGE, block(1, true), RequestId(9)),
            INCOMPLETE
        );
        assert_eq!(
            streams_with(1).take(now, PACKAGE, block(2, true), RequestId(9)),
            INCOMPLETE
        );
        let other = Path::Resource(9, 1, 2);
        assert_eq!(
            streams_with(1).take(now, other, block(1, true), RequestId(9)),
            INCOMPLETE
        );
        let late = now + LIFETIME;
        assert_eq!(
            streams_with(1).take(late, PACKAGE, block(1, true), RequestId(9)),
            INCOMPLETE
        );
    }

    #[test]
    fn a_refused_block_ends_the_transfer() {
        let now = Time::from_millis(0);
        let mut streams = streams_with(1);
        assert_eq!(
            streams.take(now, PACKAGE, block(1, true), RequestId(9)),
            Ok(Taken::Handed)
        );
        streams.answered(RequestId(9), false);
        assert_eq!(
            streams.take(now, PACKAGE, block(1, true), RequestId(10)),
            INCOMPLETE
        );
    }
}
