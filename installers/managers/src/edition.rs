//! Editions of a file of a database: as long as there is the same one, the answers of the database are the same.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The precision of the times of files: the tick of any kernel, twice.
const TICK: Duration = Duration::from_millis(20);

/// The same for a file system that keeps whole seconds, or every second one.
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

    /// Whether another write into the same file, from now on, changes the edition. A write within the same tick may not.
    pub(crate) fn is_settled(&self) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.is_ok_and(|now| self.is_settled_at(now))
    }

    fn is_settled_at(&self, now: Duration) -> bool {
        let (Ok(seconds), Ok(nanos)) = (self.written.0.try_into(), self.written.1.try_into())
        else {
            return false;
        };
        let precision = match nanos {
            0 => SECONDS + TICK,
            _ => TICK,
        };
        now > Duration::new(seconds, nanos) + precision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        fs::write(&path, "2").unwrap();
        let second = Edition::of(&path).unwrap();
        assert_ne!(second, first);
        let other = folder.path().join("other");
        fs::write(&other, "3").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Edition::of(&path), Some(second));
    }

    #[test]
    fn a_time_in_whole_seconds_is_settled_after_two_of_them() {
        let edition = |written| Edition {
            inode: 1,
            length: 1,
            written,
        };
        let is_settled = |written, seconds, millis| {
            let now = Duration::from_secs(seconds) + Duration::from_millis(millis);
            edition(written).is_settled_at(now)
        };
        assert!(!is_settled((100, 0), 102, 10));
        assert!(is_settled((100, 0), 102, 30));
        assert!(!is_settled((100, 1), 100, 10));
        assert!(is_settled((100, 1), 100, 30));
    }
}
