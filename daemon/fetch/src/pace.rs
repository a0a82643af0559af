//! The lowest accepted speed of a body, so that a slow origin cannot block the queue of downloads. Pure: the time is an
//! argument.

use std::time::{Duration, Instant};

/// The least bytes in a span. With the usual span of ten minutes this is 437 bytes a second; GPRS has thousands.
pub const LEAST: u64 = 256 * 1024;

/// The length of a span, as a multiple of the stall timeout.
pub const SPAN: u32 = 10;

/// Measures the speed of one body.
#[derive(Debug)]
pub struct Pace {
    span: Duration,
    begun: Instant,
    received: u64,
}

impl Pace {
    /// Starts a measurement, with the stall timeout of the origin.
    pub fn new(stall: Duration, now: Instant) -> Self {
        Self {
            span: stall.saturating_mul(SPAN),
            begun: now,
            received: 0,
        }
    }

    /// Counts received bytes. A span with too few ends in an error, with its bytes and its duration.
    pub fn count(&mut self, bytes: u64, now: Instant) -> Result<(), (u64, Duration)> {
        self.received = self.received.saturating_add(bytes);
        let took = now.saturating_duration_since(self.begun);
        if took < self.span {
            return Ok(());
        }
        if self.received < LEAST {
            return Err((self.received, took));
        }
        (self.begun, self.received) = (now, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row has (second, bytes) pairs of a span of ten seconds.
    #[test]
    fn a_span_with_too_few_bytes_ends_the_body() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let ends = |bodies: &[(u32, u64)]| {
            let mut pace = Pace::new(second, start);
            let mut late = bodies
                .iter()
                .filter(|(at, bytes)| pace.count(*bytes, start + second * *at).is_err());
            late.next().map(|(at, _)| *at)
        };
        for (came, end) in [
            (&[(1, 1), (5, 1), (9, 1)][..], None),
            (&[(1, 1), (5, 1), (10, 1)], Some(10)),
            (&[(1, LEAST), (10, 1)], None),
            (&[(1, LEAST), (10, 1), (19, 1)], None),
            (&[(1, LEAST), (10, 1), (20, 1)], Some(20)),
            (
                &[(9, LEAST / 2), (10, LEAST / 2), (19, LEAST), (20, 0)],
                None,
            ),
            (&[(9, LEAST / 2), (11, LEAST / 2 - 1)], Some(11)),
        ] {
            assert_eq!(ends(came), end, "{came:?}");
        }
    }
}
