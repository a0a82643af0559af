//! The pauses between retries.

use core::time::Duration;

/// The back-off between retries. The pause doubles with each failure. Its length is random, from half of it to all of
/// it, so that gateways do not retry at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(900),
        }
    }
}

impl Backoff {
    /// The pause after this number of failures in a row. All values of `random` must be equally likely.
    pub fn pause(&self, failures: u32, random: u16) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let half = self.first.saturating_mul(1 << doublings).min(self.longest) / 2;
        half + half.saturating_mul(random.into()) / u16::MAX.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_the_longest_and_is_at_least_half_of_it() {
        let backoff = Backoff::default();
        for (failures, seconds) in [
            (0, 5),
            (1, 5),
            (2, 10),
            (3, 20),
            (8, 640),
            (9, 900),
            (u32::MAX, 900),
        ] {
            let all = Duration::from_secs(seconds);
            assert_eq!(backoff.pause(failures, 0), all / 2, "after {failures}");
            assert_eq!(backoff.pause(failures, u16::MAX), all, "after {failures}");
            let within = backoff.pause(failures, 12_345);
            assert!(all / 2 < within && within < all, "after {failures}");
        }
    }

    #[test]
    fn no_pause_overflows() {
        let backoff = Backoff {
            first: Duration::MAX,
            longest: Duration::MAX,
        };
        assert!(backoff.pause(u32::MAX, u16::MAX) >= Duration::MAX / 2);
    }
}
