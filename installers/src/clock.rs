//! The time by which signatures are judged. It is never before a time that this device has seen: a gateway without a
//! battery starts in 1970, and wharfd's word is not trusted. If the kernel calls the clock synchronised, the clock is
//! believed: files of the future come from a clock that was once wrong. Only root changes the kernel's answer.

use std::{
    env,
    fs::{self, File},
    mem::MaybeUninit,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::errno::Errno;
use serde::Serialize;
use wharf_frames::calendar;
use wharf_root::Root;

/// File systems store times less precisely than the clock.
const TOLERANCE: Duration = Duration::from_secs(60);

/// A time, with the reason if it is not the clock's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JudgedTime {
    /// In Unix seconds.
    pub(crate) at: u64,
    /// The reason to doubt the clock, and the remedy.
    pub(crate) doubt: Option<String>,
    /// Our folder, if its time is ahead of a believed clock.
    ahead: Option<PathBuf>,
}

/// A file, and the time of its last write.
type Seen = (SystemTime, PathBuf);

/// The current time for this root. The package manager writes this database.
pub(crate) fn now(root: &Root, database: &Path) -> JudgedTime {
    let synchronised = synchronised();
    #[cfg(feature = "simulated")]
    let synchronised = simulated(root).map_or(synchronised, Ok);
    let clock = SystemTime::now();
    let program = env::current_exe().ok().and_then(seen);
    let files = [root.jobs(), database.to_owned()];
    let latest = files.into_iter().filter_map(seen).max();
    let ahead = Some(root.jobs()).filter(|jobs| {
        synchronised == Ok(true) && modified(jobs).is_some_and(|time| time > clock + TOLERANCE)
    });
    JudgedTime {
        ahead,
        ..time(clock, synchronised, program, latest)
    }
}

/// A reason to doubt the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// The fault, and the remedy.
    pub why: String,
    /// Whether the clock is used all the same.
    pub believed: bool,
}

/// The simulated answer of the kernel: a file says whether the clock is synchronised.
#[cfg(feature = "simulated")]
fn simulated(root: &Root) -> Option<bool> {
    let is_told = |word: &str| root.path("etc/wharf-simulated").join(word).exists();
    let synchronised = is_told("clock-synchronised").then_some(true);
    synchronised.or_else(|| is_told("clock-unsynchronised").then_some(false))
}

/// The current doubt about the clock of this root. See [`now`].
pub fn doubt(root: &Root, database: &Path) -> Option<Doubt> {
    let clock = unix(SystemTime::now() + TOLERANCE);
    let time = now(root, database);
    time.doubt.map(|why| Doubt {
        why,
        believed: time.at <= clock,
    })
}

impl JudgedTime {
    /// The beginning of time, with this doubt.
    #[cfg(test)]
    pub(crate) fn doubted(doubt: Option<&str>) -> Self {
        Self {
            at: 0,
            doubt: doubt.map(str::to_owned),
            ahead: None,
        }
    }

    /// Sets the time of our folder back to the clock, so that the next boot has a correct minimum.
    pub(crate) fn heal(&self) {
        let Some(folder) = &self.ahead else {
            return;
        };
        let set = File::open(folder).and_then(|folder| folder.set_modified(SystemTime::now()));
        if let Err(error) = set {
            let folder = folder.display();
            tracing::warn!(
                "the time of {folder}, which is ahead of the clock, cannot be set: {error}"
            );
        }
    }
}

/// The modification time of this program's file: no correct clock is before it.
pub(crate) fn built() -> Option<SystemTime> {
    modified(&env::current_exe().ok()?)
}

/// Whether the kernel calls the clock synchronised.
fn synchronised() -> Result<bool, Errno> {
    let mut timex = MaybeUninit::<libc::timex>::zeroed();
    // No modes: it is read only, which needs no capability.
    #[allow(
        unsafe_code,
        reason = "adjtimex(2) writes into the struct that it is given"
    )]
    let state = unsafe { libc::adjtimex(timex.as_mut_ptr()) };
    let state = Errno::result(state)?;
    #[allow(
        unsafe_code,
        reason = "it was all zeros, which is one, and adjtimex(2) filled it"
    )]
    let timex = unsafe { timex.assume_init() };
    Ok(is_synchronised(state, timex.status))
}

/// adjtimex(2): also while a leap second is inserted or deleted.
fn is_synchronised(state: libc::c_int, status: libc::c_int) -> bool {
    state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0
}

/// The time by the clock and by files. No correct clock is before the time of our `program`; `latest` is the newest of
/// the other files.
fn time(
    clock: SystemTime,
    synchronised: Result<bool, Errno>,
    program: Option<Seen>,
    latest: Option<Seen>,
) -> JudgedTime {
    let (floor, passed_over) = match synchronised {
        Ok(true) => (program, latest),
        _ => (program.max(latest), None),
    };
    let ahead = |(seen, _): &Seen| *seen > clock;
    let told = |(seen, _): &Seen| *seen > clock + TOLERANCE;
    let (at, doubt) = match (floor.filter(ahead), passed_over.filter(told)) {
        (Some(floor), _) => (
            floor.0,
            told(&floor).then(|| disputed(clock, synchronised, &floor)),
        ),
        (None, Some(file)) => (clock, Some(disbelief(clock, &file))),
        (None, None) => (clock, None),
    };
    JudgedTime {
        at: unix(at),
        doubt,
        ahead: None,
    }
}

fn disputed(clock: SystemTime, synchronised: Result<bool, Errno>, (seen, path): &Seen) -> String {
    let kernel = match synchronised {
        Ok(true) => "calls it synchronised".to_owned(),
        Ok(false) => "does not call it synchronised".to_owned(),
        Err(error) => format!("does not say whether it is synchronised ({error})"),
    };
    format!(
        "the clock shows {} and the kernel {kernel}, but {} is of {}, which is taken for the time: set the clock, or touch that file if the clock is right",
        day(clock),
        path.display(),
        day(*seen)
    )
}

fn disbelief(clock: SystemTime, (seen, path): &Seen) -> String {
    format!(
        "{} is of {}, but the clock shows {} and the kernel calls it synchronised: the clock is taken for the time",
        path.display(),
        day(*seen),
        day(clock),
    )
}

fn seen(path: PathBuf) -> Option<Seen> {
    Some((modified(&path)?, path))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// The day of a time, in UTC.
fn day(time: SystemTime) -> String {
    calendar::day(unix(time))
}

/// In seconds since 1970; an earlier time counts as 1970.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(days * 86400)
    }

    const PROGRAM: &str = "/usr/libexec/wharfd/wharf-installer";
    const DATABASE: &str = "/var/lib/packages/database";

    #[test]
    fn the_time_is_never_before_what_was_seen_and_says_where_that_was() {
        let second = Duration::from_secs(1);
        let file = |path: &str, time: SystemTime| Some((time, PathBuf::from(path)));
        let latest = |time| file(DATABASE, time);
        let told = [DATABASE, "1970-01-04", "does not call it synchronised"];
        let of_program = [PROGRAM, "1970-01-04", "not call it synchronised"];
        let unknown = [DATABASE, "1970-01-04", "does not say", "EPERM"];
        for (clock, synchronised, program, latest, at, words) in [
            (day(2), Ok(false), None, None, day(2), &[][..]),
            (day(2), Ok(false), None, latest(day(1)), day(2), &[]),
            (day(2), Ok(false), None, latest(day(2)), day(2), &[]),
            (
                day(2),
                Ok(false),
                None,
                latest(day(2) + TOLERANCE),
                day(2) + TOLERANCE,
                &[],
            ),
            (
                day(3) - TOLERANCE - second,
                Ok(false),
                None,
                latest(day(3)),
                day(3),
                &told,
            ),
            (day(0), Ok(false), None, latest(day(3)), day(3), &told),
            (
                day(0),
                Err(Errno::EPERM),
                None,
                latest(day(3)),
                day(3),
                &unknown,
            ),
            (
                day(0),
                Ok(false),
                file(PROGRAM, day(1)),
                latest(day(3)),
                day(3),
                &told,
            ),
            (
                day(0),
                Ok(false),
                file(PROGRAM, day(3)),
                latest(day(1)),
                day(3),
                &of_program,
            ),
        ] {
            let shown = format!("{clock:?}, {synchronised:?}, {program:?}, {latest:?}");
            let time = time(clock, synchronised, program, latest);
            expect(&time, at, words, &shown);
        }
    }

    #[test]
    fn a_synchronised_clock_is_the_time_whatever_was_seen_but_for_the_program() {
        let file = |path: &str, time: SystemTime| Some((time, PathBuf::from(path)));
        let dropped = [DATABASE, "1970-01-04", "the clock shows 1970-01-03"];
        let program = [PROGRAM, "1970-01-04", "1970-01-03", "set the clock"];
        for (seen_program, seen, at, words) in [
            (None, None, day(2), &[][..]),
            (None, file(DATABASE, day(1)), day(2), &[]),
            (None, file(DATABASE, day(2) + TOLERANCE), day(2), &[]),
            (None, file(DATABASE, day(3)), day(2), &dropped),
            (
                file(PROGRAM, day(1)),
                file(DATABASE, day(3)),
                day(2),
                &dropped,
            ),
            (file(PROGRAM, day(3)), None, day(3), &program),
            (
                file(PROGRAM, day(3)),
                file(DATABASE, day(4)),
                day(3),
                &program,
            ),
        ] {
            let shown = format!("{seen_program:?}, {seen:?}");
            let time = time(day(2), Ok(true), seen_program, seen);
            expect(&time, at, words, &shown);
        }
    }

    /// Expects a doubt with these words, or none if there are no words.
    #[track_caller]
    fn expect(time: &JudgedTime, at: SystemTime, words: &[&str], shown: &str) {
        let doubt = time.doubt.as_deref();
        assert_eq!(
            (time.at, doubt.is_some()),
            (unix(at), !words.is_empty()),
            "{shown}: {doubt:?}"
        );
        for word in words {
            assert!(
                doubt.unwrap_or_default().contains(word),
                "{shown}: {doubt:?}: {word}"
            );
        }
    }

    #[test]
    fn the_kernels_word_is_that_of_adjtimex() {
        let leap_second = libc::STA_INS;
        for (state, status, expected) in [
            (libc::TIME_OK, libc::STA_PLL, true),
            (libc::TIME_INS, libc::STA_PLL | leap_second, true),
            (libc::TIME_WAIT, libc::STA_PLL, true),
            (libc::TIME_ERROR, libc::STA_PLL | libc::STA_UNSYNC, false),
            (libc::TIME_ERROR, libc::STA_PLL | libc::STA_CLOCKERR, false),
            (libc::TIME_OK, libc::STA_UNSYNC, false),
        ] {
            assert_eq!(
                is_synchronised(state, status),
                expected,
                "{state}, {status:#x}"
            );
        }
        synchronised().expect("the kernel answers");
    }
}
