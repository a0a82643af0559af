//! Parses Retry-After (RFC 9110 10.2.3). Pure: the time is an argument.

use std::time::SystemTime;

use crate::range::digits;

/// The seconds of a Retry-After. A date is compared with the Date of the response if it has one, since
/// this device's clock may be wrong.
pub fn seconds(value: &str, date: Option<&str>, now: SystemTime) -> Option<u64> {
    let value = value.trim();
    digits(value).or_else(|| {
        let until = httpdate::parse_http_date(value).ok()?;
        let now = date
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .unwrap_or(now);
        Some(until.duration_since(now).map_or(0, |wait| wait.as_secs()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:51:37 GMT";

    #[test]
    fn reads_seconds_and_dates() {
        let year_2001 = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (value, date, expected) in [
            ("120", None, Some(120)),
            (" 0 ", None, Some(0)),
            (LATER, Some(EARLIER), Some(120)),
            (EARLIER, Some(LATER), Some(0)),
            (LATER, None, Some(0)),
            ("-1", None, None),
            ("+1", None, None),
            ("soon", None, None),
            ("", None, None),
            ("99999999999999999999999", None, None),
        ] {
            assert_eq!(
                seconds(value, date, year_2001),
                expected,
                "{value:?} {date:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_date_and_the_seconds_until_it_are_the_same(now in 0..4_000_000_000u64, wait in 0..1_000_000u64) {
            let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
            let value = httpdate::fmt_http_date(time(now + wait));
            prop_assert_eq!(seconds(&value, None, time(now)), Some(wait));
        }

        #[test]
        fn no_text_makes_it_panic(value in ".{0,40}", date in proptest::option::of(".{0,40}")) {
            let _ = seconds(&value, date.as_deref(), UNIX_EPOCH);
        }
    }
}
