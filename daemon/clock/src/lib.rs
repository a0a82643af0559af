//! The wall clock: the time, whether it is set, and its format. Protocols never read it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wharf_frames::calendar;

/// The build time. An earlier clock was never set. Packages are built with SOURCE_DATE_EPOCH; other builds use
/// 2026-11-01.
pub const BUILT: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(seconds) => number(seconds),
    None => 1_793_491_200,
};

const fn number(digits: &str) -> u64 {
    match u64::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => 0,
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

/// Whether the clock is set. Many gateways start in 1970, when no certificate is valid yet.
pub fn is_set() -> bool {
    now() >= BUILT
}

/// Seconds since 1970 as RFC 3339 in UTC: gateways seldom have a time zone.
pub fn utc(seconds: u64) -> String {
    let (day, second) = (calendar::day(seconds), seconds % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{day}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The end of this wait: a time, or a duration if the clock was never set.
pub fn after(wait: Duration) -> String {
    match is_set() {
        true => format!("at {}", utc(now().saturating_add(wait.as_secs()))),
        false => format!("in {} s", wait.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_793_491_199, "2026-10-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }
}
