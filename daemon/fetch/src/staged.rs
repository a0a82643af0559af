//! The staged file of the package, as a write-only descriptor. Bytes are written in order, and are durable only
//! after fsync.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::{fd::OwnedFd, unix::fs::FileExt},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use wharf_frames::{Cause, Failure};

/// A file that is written at its end.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    length: u64,
    durable: u64,
    max_size: u64,
}

impl StagedFile {
    /// Takes the descriptor, and continues after the first `keep` bytes.
    pub fn new(descriptor: OwnedFd, keep: u64, max_size: u64) -> Result<Self, Failure> {
        let file = File::from(descriptor);
        check(&file, keep).map_err(|why| Failure::new(Cause::Unavailable, why))?;
        let staged = Self {
            file,
            length: keep,
            durable: keep,
            max_size,
        };
        staged.allow(keep)?;
        staged.cut()?;
        Ok(staged)
    }

    /// The number of written bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The number of bytes on disk.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Checks that a package of this length is allowed.
    pub fn allow(&self, length: u64) -> Result<(), Failure> {
        if length <= self.max_size {
            return Ok(());
        }
        let max = self.max_size;
        Err(Failure::new(
            Cause::Quota,
            format!(
                "the package is larger than the allowed {max} bytes: raise quota.bytes in installer.toml, discard other packages, or make room on the disk"
            ),
        ))
    }

    /// Drops all bytes.
    pub fn start_over(&mut self) -> Result<(), Failure> {
        self.length = 0;
        self.durable = 0;
        self.cut()
    }

    /// Appends the next bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let length = self.length.saturating_add(bytes.len() as u64);
        self.allow(length)?;
        self.file
            .write_all_at(bytes, self.length)
            .map_err(|error| self.failed("write", &error))?;
        self.length = length;
        Ok(())
    }

    /// Syncs all bytes to disk, and returns their number.
    pub fn sync(&mut self) -> Result<u64, Failure> {
        if self.durable < self.length {
            self.file
                .sync_all()
                .map_err(|error| self.failed("fsync", &error))?;
            self.durable = self.length;
        }
        Ok(self.durable)
    }

    fn cut(&self) -> Result<(), Failure> {
        self.file
            .set_len(self.length)
            .map_err(|error| self.failed("truncate", &error))
    }

    fn failed(&self, act: &str, error: &io::Error) -> Failure {
        let full = matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
        );
        let (cause, advice) = if full {
            (Cause::DiskFull, "make room where packages are staged")
        } else {
            (
                Cause::Unavailable,
                "look at the disk where packages are staged",
            )
        };
        let at = self.length;
        Failure::new(
            cause,
            format!("cannot {act} the staged file at byte {at}: {error}: {advice}"),
        )
    }
}

fn check(file: &File, keep: u64) -> Result<(), String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let flags = fcntl(file, FcntlArg::F_GETFL).map_err(|error| error.to_string())?;
    let flags = OFlag::from_bits_retain(flags);
    if !metadata.is_file() {
        Err("the descriptor of the request is not a regular file".into())
    } else if flags & OFlag::O_ACCMODE != OFlag::O_WRONLY || flags.contains(OFlag::O_APPEND) {
        Err("the descriptor of the request is not write-only, or it appends".into())
    } else if metadata.len() < keep {
        let length = metadata.len();
        Err(format!(
            "the staged file has only {length} bytes, but {keep} are to be kept"
        ))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn staged(content: &[u8], keep: u64, max_size: u64) -> (tempfile::NamedTempFile, StagedFile) {
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), content).unwrap();
        let file = File::options().write(true).open(named.path()).unwrap();
        let staged = StagedFile::new(file.into(), keep, max_size).unwrap();
        (named, staged)
    }

    fn refused(file: impl Into<OwnedFd>, keep: u64) -> Failure {
        StagedFile::new(file.into(), keep, 100).unwrap_err()
    }

    #[test]
    fn continues_after_the_kept_bytes_and_drops_the_others() {
        let (named, mut staged) = staged(b"kept, not kept", 5, 100);
        staged.append(b" and new").unwrap();
        assert_eq!(staged.durable(), 5);
        assert_eq!(staged.sync().unwrap(), 13);
        assert_eq!(std::fs::read(named.path()).unwrap(), b"kept, and new");
    }

    #[test]
    fn a_byte_over_the_limit_is_rejected_before_it_is_written() {
        let (named, mut staged) = staged(b"", 0, 4);
        staged.append(b"1234").unwrap();
        assert_eq!(staged.append(b"5").unwrap_err().cause, Cause::Quota);
        assert_eq!(std::fs::read(named.path()).unwrap(), b"1234");
    }

    #[test]
    fn a_descriptor_that_is_not_a_write_only_regular_file_is_rejected() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let reading = File::open(named.path()).unwrap();
        let both = File::options()
            .read(true)
            .write(true)
            .open(named.path())
            .unwrap();
        let appending = File::options().append(true).open(named.path()).unwrap();
        let device = File::options().write(true).open("/dev/null").unwrap();
        let (_, pipe) = nix::unistd::pipe().unwrap();
        for descriptor in [
            reading.into(),
            both.into(),
            appending.into(),
            device.into(),
            pipe,
        ] {
            let shown = format!("{:?}", descriptor.as_fd());
            assert_eq!(refused(descriptor, 0).cause, Cause::Unavailable, "{shown}");
        }
    }

    #[test]
    fn a_file_shorter_than_the_kept_bytes_is_rejected() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = File::options().write(true).open(named.path()).unwrap();
        assert_eq!(refused(file, 1).cause, Cause::Unavailable);
    }
}
