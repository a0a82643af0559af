//! Editions of a file of a database: as long as there is the same one, the answers of the database are the same.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use nix::time::{ClockId, clock_gettime};

/// The precision of a file system that keeps whole seconds, or every second one.
const SECONDS: Duration = Duration::from_secs(2);

/// An edition of a file, by what each write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edition {
    inode: u64,
    length: u64,
    /// Of its content: SQLite sets the owner of its log each time that it opens it.
    written: (i64, i64),
}

impl Edition {
    /// The current one; none if the file cannot be looked at.
    pub(crate) fn of(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }

    /// Whether another write into the same file, from now on, changes the edition. A write within the same tick of the kernel
    /// may not.
    pub(crate) fn is_settled(&self) -> bool {
        is_settled(self.written)
    }
}

/// Whether a change of a file from now on gets another time than this one.
pub(crate) fn is_settled(time: (i64, i64)) -> bool {
    stamp_of_a_write().is_some_and(|now| is_settled_at(time, now))
}

fn is_settled_at((seconds, nanos): (i64, i64), now: Duration) -> bool {
    let (Ok(seconds), Ok(nanos)) = (seconds.try_into(), nanos.try_into()) else {
        return false;
    };
    let precision = match nanos {
        0 => SECONDS,
        _ => Duration::ZERO,
    };
    now > Duration::new(seconds, nanos) + precision
}

/// The time that a write of this moment gives to a file: the kernel's clock of whole ticks.
fn stamp_of_a_write() -> Option<Duration> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE).ok()?;
    Some(Duration::new(
        now.tv_sec().try_into().ok()?,
        now.tv_nsec().try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for each edition to settle, and writes right then: the narrowest case.
    #[test]
    fn each_write_makes_another_edition_once_the_last_one_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("database");
        assert_eq!(Edition::of(&path), None);
        fs::write(&path, "1").unwrap();
        let first = Edition::of(&path).unwrap();
        while !first.is_settled() {
            std::thread::yield_now();
        }
        assert_eq!(Edition::of(&path), Some(first));
        let mut second = first;
        for _ in 0..20 {
            while !second.is_settled() {
                std::thread::yield_now();
            }
            fs::write(&path, "2").unwrap();
            let next = Edition::of(&path).unwrap();
            assert_ne!(next, second);
            second = next;
        }
        let other = folder.path().join("other");
        fs::write(&other, "3").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Edition::of(&path), Some(second));
    }

    #[test]
    fn a_time_in_whole_seconds_is_settled_after_two_of_them() {
        let is_settled = |written, seconds, millis| {
            let now = Duration::from_secs(seconds) + Duration::from_millis(millis);
            is_settled_at(written, now)
        };
        assert!(!is_settled((100, 0), 102, 0));
        assert!(is_settled((100, 0), 102, 1));
        assert!(!is_settled((100, 10_000_000), 100, 10));
        assert!(is_settled((100, 10_000_000), 100, 11));
    }
}
