//! The time by which signatures are judged: never before what this device has seen already, since a gateway without a
//! battery starts in 1970 and wharfd's word is not taken. What is seen too late is told, as a file of the future (the
//! clock was once wrong) would have every signature expired.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::root::Root;

/// File systems know the time less exactly than the clock does.
const TOLERANCE: Duration = Duration::from_secs(60);

/// A time, and why it is not the clock's where it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Time {
    /// In Unix seconds.
    pub(crate) at: u64,
    /// What is said where the clock is behind.
    pub(crate) doubt: Option<String>,
}

/// The time in this root.
pub(crate) fn now(root: &Root) -> Time {
    let clock = SystemTime::now();
    let program = env::current_exe().unwrap_or_default();
    let seen = [program, root.jobs(), root.path("var/lib/dpkg/status")];
    let seen = seen
        .into_iter()
        .filter_map(|path| Some((modified(&path)?, path)));
    time(clock, seen.max())
}

/// When this program was built, as its file says: before that, no clock was right.
pub(crate) fn built() -> Option<SystemTime> {
    modified(&env::current_exe().ok()?)
}

fn time(clock: SystemTime, last_seen: Option<(SystemTime, PathBuf)>) -> Time {
    match last_seen {
        Some((seen, path)) if seen > clock => Time {
            at: unix(seen),
            doubt: (seen > clock + TOLERANCE).then(|| doubt(clock, seen, &path)),
        },
        _ => Time {
            at: unix(clock),
            doubt: None,
        },
    }
}

fn doubt(clock: SystemTime, seen: SystemTime, path: &Path) -> String {
    format!(
        "the clock shows {}, but {} is of {}, which is taken for the time: set the clock, or touch that file if the clock is right",
        date(clock),
        path.display(),
        date(seen)
    )
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Seconds since 1970; nothing here is older.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The day of the (proleptic Gregorian) calendar: the years are counted from March on, so that a leap day is the last.
pub fn date(time: SystemTime) -> String {
    let days = unix(time) / 86400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year_of_era + next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(days * 86400)
    }

    #[test]
    fn the_time_is_never_before_what_was_seen_and_says_where_that_was() {
        let file = || PathBuf::from("/var/lib/dpkg/status");
        for (clock, seen, at, doubted) in [
            (day(2), None, day(2), false),
            (day(2), Some((day(1), file())), day(2), false),
            (day(2), Some((day(2), file())), day(2), false),
            (
                day(2),
                Some((day(2) + TOLERANCE, file())),
                day(2) + TOLERANCE,
                false,
            ),
            (day(0), Some((day(3), file())), day(3), true),
        ] {
            let time = time(clock, seen.clone());
            assert_eq!(
                (time.at, time.doubt.is_some()),
                (unix(at), doubted),
                "{clock:?}, {seen:?}: {:?}",
                time.doubt
            );
            let doubt = time.doubt.unwrap_or_default();
            for word in ["1970-01-01", "/var/lib/dpkg/status", "1970-01-04"] {
                assert_eq!(doubt.contains(word), doubted, "{doubt:?}: {word}");
            }
        }
    }

    #[test]
    fn tells_a_day_as_people_do() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_704_067_199, "2023-12-31"),
            (1_709_164_800, "2024-02-29"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(
                date(UNIX_EPOCH + Duration::from_secs(seconds)),
                day,
                "{seconds}"
            );
        }
    }
}
