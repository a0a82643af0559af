//! The package inside a staged message (`gpg --sign`): a file beside the message, which replaces it after a good
//! verdict. This module does not parse OpenPGP. It limits the bytes, and syncs them before they are judged.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::libc;
use wharf_frames::Cause;
use wharf_root::durable;

use crate::not_done::NotDone;

/// The extension of such a file.
pub(crate) const EXTENSION: &str = ".inner";

/// The file, which is removed unless it is kept.
#[derive(Debug)]
pub(crate) struct Inner {
    path: PathBuf,
    limit: u64,
    length: u64,
    file: Option<File>,
    is_made: bool,
}

impl Inner {
    /// A file of at most `limit` bytes. It is created with its first byte.
    pub(crate) const fn at(path: PathBuf, limit: u64) -> Self {
        Self {
            path,
            limit,
            length: 0,
            file: None,
            is_made: false,
        }
    }

    /// Writes more of the package.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), NotDone> {
        self.length = self.length.saturating_add(bytes.len() as u64);
        if self.length > self.limit {
            let detail = format!(
                "the package inside the message does not fit beside it: {} bytes are left (quota.bytes in \
                 installer.toml, and the disk)",
                self.limit
            );
            return Err(NotDone::refused(Cause::Quota, detail));
        }
        let written = self.open().and_then(|file| file.write_all(bytes));
        written.map_err(|error| self.failed("write", &error))
    }

    /// Ends the file. It is synced and open for reading only.
    pub(crate) fn finish(&mut self) -> Result<File, NotDone> {
        let synced = self.open().and_then(|file| file.sync_all());
        self.file = None;
        let opened = synced.and_then(|()| File::open(&self.path));
        opened.map_err(|error| self.failed("finish", &error))
    }

    /// Puts other bytes into the place of the file: the manifest of a bundle.
    pub(crate) fn replace(&mut self, bytes: &[u8]) -> Result<(), NotDone> {
        if self.is_made {
            fs::remove_file(&self.path).map_err(|error| self.failed("remove", &error))?;
        }
        (self.file, self.length) = (None, 0);
        self.append(bytes)?;
        self.finish().map(drop)
    }

    /// Its length.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Its path, if the package was inside a message.
    pub(crate) fn written(&self) -> Option<&Path> {
        self.is_made.then_some(self.path.as_path())
    }

    /// Leaves the file to its verdict.
    pub(crate) fn keep(mut self) {
        self.is_made = false;
    }

    fn open(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&self.path)?,
        };
        self.is_made = true;
        Ok(self.file.insert(file))
    }

    fn failed(&self, what: &str, error: &io::Error) -> NotDone {
        let detail = format!("cannot {what} {}: {error}", self.path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                NotDone::refused(Cause::DiskFull, detail)
            }
            _ => NotDone::not_now(detail),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_made {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Moves the package over its message, if a crash after the verdict left it beside.
pub(crate) fn settle(stage: &Path) -> io::Result<()> {
    match fs::rename(path(stage), stage) {
        Ok(()) => durable::sync_folder_of(stage),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the file beside this message.
pub(crate) fn remove(stage: &Path) -> io::Result<()> {
    durable::remove(&path(stage))
}

/// The path of the package inside a staged message.
pub(crate) fn path(stage: &Path) -> PathBuf {
    let mut path = stage.as_os_str().to_owned();
    path.push(EXTENSION);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_as_long_as_it_is_wanted_and_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let stage = folder.path().join("stage");
        fs::write(&stage, "message").unwrap();
        let left = |stage: &Path| fs::read_to_string(path(stage)).ok();

        let mut inner = Inner::at(path(&stage), 7);
        inner.append(b"package").unwrap();
        let refused = inner.append(b"s");
        assert!(
            matches!(&refused, Err(NotDone::Refused(failure)) if failure.cause == Cause::Quota),
            "{refused:?}"
        );
        drop(inner);
        assert_eq!(left(&stage), None, "not wanted");
        settle(&stage).unwrap();
        assert_eq!(fs::read_to_string(&stage).unwrap(), "message");

        let mut inner = Inner::at(path(&stage), 7);
        inner.append(b"pack").unwrap();
        inner.append(b"age").unwrap();
        let mut file = inner.finish().unwrap();
        assert_eq!(io::read_to_string(&mut file).unwrap(), "package");
        assert!(file.write_all(b"more").is_err());
        inner.keep();
        settle(&stage).unwrap();
        assert_eq!(fs::read_to_string(&stage).unwrap(), "package");
        assert_eq!(left(&stage), None);

        fs::write(path(&stage), "of an interrupted judgement").unwrap();
        let refused = Inner::at(path(&stage), 7).append(b"package");
        assert!(
            matches!(&refused, Err(NotDone::NotNow(failure)) if failure.cause == Cause::Unavailable),
            "{refused:?}"
        );
        remove(&stage).unwrap();
        remove(&stage).unwrap();
        assert_eq!(left(&stage), None);
    }
}
