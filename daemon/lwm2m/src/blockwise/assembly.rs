//! Assembles a block-wise request body up to a limit. A new body replaces an incomplete one.

use core::time::Duration;

use zeroize::Zeroizing;

use super::BodyPart;
use crate::{ErrorCode, Path, Time, coap::Code};

struct Incomplete {
    target: (Code, Path),
    bytes: Zeroizing<Vec<u8>>,
    until: Time,
}

/// The incomplete body of a request.
pub(crate) struct Assembly {
    incomplete: Option<Incomplete>,
    longest: usize,
    lifetime: Duration,
}

/// The result of a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Assembled {
    /// More blocks follow.
    Incomplete,
    /// The block was the last one.
    Whole(Zeroizing<Vec<u8>>),
}

impl Assembly {
    pub(crate) fn new(longest: usize, lifetime: Duration) -> Self {
        Self {
            incomplete: None,
            longest,
            lifetime,
        }
    }

    /// Adds a block. 4.08 if it does not continue the body (RFC 7959 2.9.2), 4.13 if the body is too
    /// long (RFC 7959 2.9.3).
    pub(crate) fn add(
        &mut self,
        now: Time,
        target: (Code, Path),
        part: BodyPart<'_>,
    ) -> Result<Assembled, ErrorCode> {
        let known = self
            .incomplete
            .take_if(|it| it.target == target && now < it.until);
        let mut bytes = match known {
            // A growing buffer would leave copies of secret bytes in freed memory.
            _ if part.offset == 0 => Zeroizing::new(Vec::with_capacity(self.longest)),
            Some(incomplete) => incomplete.bytes,
            None => return Err(ErrorCode::RequestEntityIncomplete),
        };
        let is_repeated = part.offset > 0 && part.more && part.end() == bytes.len() as u64;
        if !is_repeated {
            if part.offset != bytes.len() as u64 {
                return Err(ErrorCode::RequestEntityIncomplete);
            }
            if bytes.len() + part.bytes.len() > self.longest {
                return Err(ErrorCode::RequestEntityTooLarge);
            }
            bytes.extend_from_slice(part.bytes);
        }
        if !part.more {
            return Ok(Assembled::Whole(bytes));
        }
        self.incomplete = Some(Incomplete {
            target,
            bytes,
            until: now + self.lifetime,
        });
        Ok(Assembled::Incomplete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: (Code, Path) = (Code::PUT, Path::Instance(9, 0));

    fn part(offset: u64, more: bool) -> BodyPart<'static> {
        BodyPart {
            offset,
            bytes: &[7; 16],
            more,
        }
    }

    fn assembly() -> Assembly {
        Assembly::new(40, Duration::from_secs(247))
    }

    #[test]
    fn a_body_is_whole_with_its_last_block_even_if_one_came_twice() {
        let (mut assembly, now) = (assembly(), Time::from_millis(0));
        assert_eq!(
            assembly.add(now, TARGET, part(0, true)),
            Ok(Assembled::Incomplete)
        );
        assert_eq!(
            assembly.add(now, TARGET, part(0, true)),
            Ok(Assembled::Incomplete)
        );
        assert_eq!(
            assembly.add(now, TARGET, part(16, true)),
            Ok(Assembled::Incomplete)
        );
        assert_eq!(
            assembly.add(now, TARGET, part(16, true)),
            Ok(Assembled::Incomplete)
        );
        let last = BodyPart {
            offset: 32,
            bytes: &[7; 3],
            more: false,
        };
        assert_eq!(
            assembly.add(now, TARGET, last),
            Ok(Assembled::Whole(vec![7; 35].into()))
        );
        assert_eq!(
            assembly.add(now, TARGET, last),
            Err(ErrorCode::RequestEntityIncomplete)
        );
    }

    #[test]
    fn a_gap_another_target_or_a_timeout_is_incomplete() {
        let now = Time::from_millis(0);
        let incomplete = Err(ErrorCode::RequestEntityIncomplete);
        let begun = || {
            let mut assembly = assembly();
            assembly.add(now, TARGET, part(0, true)).unwrap();
            assembly
        };
        assert_eq!(begun().add(now, TARGET, part(32, false)), incomplete);
        assert_eq!(
            begun().add(now, (Code::POST, TARGET.1), part(16, false)),
            incomplete
        );
        let late = now + Duration::from_secs(247);
        assert_eq!(begun().add(late, TARGET, part(16, false)), incomplete);
    }

    #[test]
    fn a_body_over_the_limit_is_too_large() {
        let (mut assembly, now) = (assembly(), Time::from_millis(0));
        assembly.add(now, TARGET, part(0, true)).unwrap();
        assembly.add(now, TARGET, part(16, true)).unwrap();
        assert_eq!(
            assembly.add(now, TARGET, part(32, true)),
            Err(ErrorCode::RequestEntityTooLarge)
        );
    }
}
