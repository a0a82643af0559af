//! How fast a body has to come at least, so that an origin that drips holds no download for ever. Pure: whoever asks tells
//! the time.

use std::time::{Duration, Instant};

/// Fewer bytes in a span are too few: with the usual span of ten minutes, 437 bytes a second, where GPRS has thousands.
pub const LEAST: u64 = 256 * 1024;

/// A span is so many times as long as an origin may be silent.
pub const SPAN: u32 = 10;

/// The spans of one body.
#[derive(Debug)]
pub struct Pace {
    span: Duration,
    begun: Instant,
    came: u64,
}

impl Pace {
    /// Of a body that begins now, of an origin that may be silent for `stall`.
    pub fn new(stall: Duration, now: Instant) -> Self {
        Self {
            span: stall.saturating_mul(SPAN),
            begun: now,
            came: 0,
        }
    }

    /// Counts what came. At the end of a span it may have been too little: then how much, in how long.
    pub fn take(&mut self, bytes: u64, now: Instant) -> Result<(), (u64, Duration)> {
        self.came = self.came.saturating_add(bytes);
        let took = now.saturating_duration_since(self.begun);
        if took < self.span {
            return Ok(());
        }
        if self.came < LEAST {
            return Err((self.came, took));
        }
        (self.begun, self.came) = (now, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes and the second in which they come, of a span of ten seconds.
    #[test]
    fn each_span_has_to_bring_something() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let ends = |bodies: &[(u32, u64)]| {
            let mut pace = Pace::new(second, start);
            let mut late = bodies
                .iter()
                .filter(|(at, bytes)| pace.take(*bytes, start + second * *at).is_err());
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
