//! Checks the order of the blocks of streamed resources. The application gets the bytes; the engine
//! keeps none.

use core::time::Duration;

use super::BodyPart;
use crate::{ErrorCode, Path, RequestId, Time, exchange::digest};

/// The most transfers at once. A new one replaces the one without a block for the longest time.
const TRANSFERS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamState {
    /// The application has not answered the last block yet.
    Waiting(RequestId),
    /// The application accepted the last block, and more follow.
    Accepted,
    /// The application accepted the final block.
    Finished,
}

struct Transfer {
    path: Path,
    offset: u64,
    end: u64,
    digest: u64,
    last: bool,
    state: StreamState,
    until: Time,
}

/// The decision about a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The block is new and goes to the application.
    New,
    /// The block repeats one that the application has not answered yet. Both get its answer.
    InProgress(RequestId),
    /// The block repeats one that the application accepted.
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

    /// Decides about a block that would become the request `id`. Block 0 restarts the transfer.
    /// Another block that does not follow the last accepted one gets 4.08 (RFC 7959 2.9.2).
    pub(crate) fn decide(
        &mut self,
        now: Time,
        path: Path,
        part: BodyPart<'_>,
        id: RequestId,
    ) -> Result<Decision, ErrorCode> {
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
                StreamState::Waiting(request) if again => return Ok(Decision::InProgress(request)),
                StreamState::Accepted | StreamState::Finished if again && part.offset > 0 => {
                    return Ok(Decision::Repeated);
                }
                StreamState::Accepted if transfer.end == part.offset => {}
                _ if part.offset == 0 => {}
                _ => return Err(ErrorCode::RequestEntityIncomplete),
            }
        } else if part.offset > 0 {
            return Err(ErrorCode::RequestEntityIncomplete);
        }
        self.record(now, path, part, digest, id);
        Ok(Decision::New)
    }

    fn record(&mut self, now: Time, path: Path, part: BodyPart<'_>, digest: u64, id: RequestId) {
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
            state: StreamState::Waiting(id),
            until: now + self.lifetime,
        });
    }

    /// Records the application's answer to a block. A rejected block ends the transfer.
    pub(crate) fn answered(&mut self, id: RequestId, accepted: bool) {
        let waiting = |transfer: &Transfer| transfer.state == StreamState::Waiting(id);
        if !accepted {
            self.transfers.retain(|transfer| !waiting(transfer));
        } else if let Some(transfer) = self.transfers.iter_mut().find(|transfer| waiting(transfer))
        {
            transfer.state = if transfer.last {
                StreamState::Finished
            } else {
                StreamState::Accepted
            };
        }
    }

    /// Forgets the transfers whose target no longer exists.
    pub(crate) fn retain(&mut self, exists: impl Fn(Path) -> bool) {
        self.transfers.retain(|transfer| exists(transfer.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: Path = Path::Resource(9, 0, 2);
    const LIFETIME: Duration = Duration::from_secs(247);
    const INCOMPLETE: Result<Decision, ErrorCode> = Err(ErrorCode::RequestEntityIncomplete);

    fn block(number: u8, more: bool) -> BodyPart<'static> {
        const BYTES: [[u8; 16]; 4] = [[0; 16], [1; 16], [2; 16], [3; 16]];
        BodyPart {
            offset: u64::from(number) * 16,
            bytes: &BYTES[usize::from(number)],
            more,
        }
    }

    fn streams_with(blocks: u8) -> Streams {
        let mut streams = Streams::new(LIFETIME);
        for number in 0..blocks {
            let id = RequestId(u64::from(number));
            let decision = streams.decide(Time::from_millis(0), PACKAGE, block(number, true), id);
            assert_eq!(decision, Ok(Decision::New));
            streams.answered(id, true);
        }
        streams
    }

    #[test]
    fn a_repeated_block_goes_to_the_application_once() {
        let now = Time::from_millis(0);
        let mut streams = streams_with(2);
        assert_eq!(
            streams.decide(now, PACKAGE, block(1, true), RequestId(9)),
            Ok(Decision::Repeated)
        );
        assert_eq!(
            streams.decide(now, PACKAGE, block(2, false), RequestId(9)),
            Ok(Decision::New)
        );
        let again = streams.decide(now, PACKAGE, block(2, false), RequestId(10));
        assert_eq!(again, Ok(Decision::InProgress(RequestId(9))));
        streams.answered(RequestId(9), true);
        assert_eq!(
            streams.decide(now, PACKAGE, block(2, false), RequestId(11)),
            Ok(Decision::Repeated)
        );
    }

    #[test]
    fn block_0_restarts_a_push() {
        let mut streams = streams_with(3);
        let now = Time::from_millis(0);
        assert_eq!(
            streams.decide(now, PACKAGE, block(0, true), RequestId(9)),
            Ok(Decision::New)
        );
        streams.answered(RequestId(9), true);
        assert_eq!(
            streams.decide(now, PACKAGE, block(3, true), RequestId(10)),
            INCOMPLETE
        );
        assert_eq!(
            streams.decide(now, PACKAGE, block(1, true), RequestId(11)),
            Ok(Decision::New)
        );
    }

    #[test]
    fn a_block_that_does_not_continue_is_incomplete() {
        let now = Time::from_millis(0);
        assert_eq!(
            streams_with(0).decide(now, PACKAGE, block(1, true), RequestId(9)),
            INCOMPLETE
        );
        assert_eq!(
            streams_with(1).decide(now, PACKAGE, block(2, true), RequestId(9)),
            INCOMPLETE
        );
        let other = Path::Resource(9, 1, 2);
        assert_eq!(
            streams_with(1).decide(now, other, block(1, true), RequestId(9)),
            INCOMPLETE
        );
        let late = now + LIFETIME;
        assert_eq!(
            streams_with(1).decide(late, PACKAGE, block(1, true), RequestId(9)),
            INCOMPLETE
        );
    }

    #[test]
    fn a_rejected_block_ends_the_transfer() {
        let now = Time::from_millis(0);
        let mut streams = streams_with(1);
        assert_eq!(
            streams.decide(now, PACKAGE, block(1, true), RequestId(9)),
            Ok(Decision::New)
        );
        streams.answered(RequestId(9), false);
        assert_eq!(
            streams.decide(now, PACKAGE, block(1, true), RequestId(10)),
            INCOMPLETE
        );
    }
}
