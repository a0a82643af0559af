//! Records of unfinished runs. rpm's database does not have them: a package is installed and verifies clean even if its %post was
//! killed or has failed. The record is written before dnf may change the package.

use std::{fs, io::ErrorKind, path::PathBuf, time::SystemTime};

use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::{Root, durable};

use super::rpm::Copy;

/// The records of one root.
pub(super) struct Unfinished {
    folder: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunRecord {
    /// A run has begun. Its end is not known.
    Begun,
    /// A script failed. The record is about this copy: a new installation of any kind repairs the package.
    Failed { instance: u64, words: String },
}

impl Unfinished {
    pub(super) fn of(root: &Root) -> Self {
        Self {
            folder: root.state().join("rpm-unfinished"),
        }
    }

    /// The record of a package; none on a sound device.
    pub(super) fn record(&self, name: &PackageName) -> Result<Option<RunRecord>, Failure> {
        let bytes = durable::read(&self.path(name));
        let bytes = bytes.map_err(|error| self.failed("read", name, &error))?;
        Ok(bytes.map(|bytes| parsed(&String::from_utf8_lossy(&bytes))))
    }

    /// The time at which the run of a package began, by its record.
    pub(super) fn begun_at(&self, name: &PackageName) -> Option<SystemTime> {
        fs::metadata(self.path(name)).ok()?.modified().ok()
    }

    /// The damage of an installed copy.
    pub(super) fn damage(
        &self,
        name: &PackageName,
        copy: &Copy,
    ) -> Result<Option<String>, Failure> {
        Ok(match self.record(name)? {
            Some(RunRecord::Begun) => Some("cut off in the middle".to_owned()),
            Some(RunRecord::Failed { instance, words }) if instance == copy.instance => Some(words),
            _ => None,
        })
    }

    pub(super) fn write(&self, name: &PackageName, record: &RunRecord) -> Result<(), Failure> {
        let text = match record {
            RunRecord::Begun => "begun\n".to_owned(),
            RunRecord::Failed { instance, words } => format!("failed {instance} {words}\n"),
        };
        durable::private_folder(&self.folder)
            .and_then(|()| durable::write(&self.path(name), text.as_bytes()))
            .map_err(|error| self.failed("write", name, &error))
    }

    /// Restores the record from before a run that changed nothing.
    pub(super) fn put_back(
        &self,
        name: &PackageName,
        record: Option<RunRecord>,
    ) -> Result<(), Failure> {
        match record {
            Some(record) => self.write(name, &record),
            None => self.clear(name),
        }
    }

    /// The packages with a run whose end is not known.
    pub(super) fn begun(&self) -> Vec<PackageName> {
        let mut names = self.names();
        names.retain(|name| matches!(self.record(name), Ok(Some(RunRecord::Begun))));
        names
    }

    /// The packages with a record, in the order of their names.
    pub(super) fn names(&self) -> Vec<PackageName> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| PackageName::new(entry.file_name().to_str()?).ok());
        let mut names: Vec<PackageName> = names.collect();
        names.sort();
        names
    }

    /// The job syncs this file system before it records its end.
    pub(super) fn clear(&self, name: &PackageName) -> Result<(), Failure> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(self.failed("delete", name, &error))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, name: &PackageName) -> PathBuf {
        // The grammar of names has no '/'.
        self.folder.join(name.as_str())
    }

    fn failed(&self, what: &str, name: &PackageName, error: &std::io::Error) -> Failure {
        let detail = format!("cannot {what} {}: {error}", self.path(name).display());
        Failure::new(Cause::Unavailable, detail)
    }
}

/// An unreadable record is of a run whose end is not known.
fn parsed(text: &str) -> RunRecord {
    let failed = || {
        let (instance, words) = text.strip_prefix("failed ")?.trim_end().split_once(' ')?;
        Some(RunRecord::Failed {
            instance: instance.parse().ok()?,
            words: words.to_owned(),
        })
    };
    failed().unwrap_or(RunRecord::Begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let unfinished = Unfinished::of(&Root::new(folder.path()));
        let name = PackageName::new("acme").unwrap();
        assert_eq!(unfinished.record(&name).unwrap(), None);
        let failed = RunRecord::Failed {
            instance: 7,
            words: "its %post failed".to_owned(),
        };
        for record in [RunRecord::Begun, failed] {
            unfinished.write(&name, &record).unwrap();
            assert_eq!(unfinished.record(&name).unwrap(), Some(record));
        }
        unfinished.clear(&name).unwrap();
        unfinished.clear(&name).unwrap();
        assert_eq!(unfinished.record(&name).unwrap(), None);
        assert_eq!(parsed("x"), RunRecord::Begun);
    }
}
