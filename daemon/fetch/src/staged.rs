//! The file that the package goes into: a write-only descriptor of somebody else's. Every byte is
//! written once, in order, and counted as durable only after fsync. Knows no network and no path.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::{fd::OwnedFd, unix::fs::FileExt},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use wharf_frames::{Cause, Failure};

/// A file that grows at its end.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    length: u64,
    durable: u64,
    max_size: u64,
}

impl StagedFile {
    /// Takes the descriptor over, to go on behind the first `keep` bytes.
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

    /// The bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The bytes that are on disk.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether a package of this length may be fetched.
    pub fn allow(&self, length: u64) -> Result<(), Failure> {
        if length <= self.max_size {
            return Ok(());
        }
        let max = self.max_size;
        Err(Failure::new(
            Cause::Quota,
            format!(
                "the package is larger than the {max} bytes that are allowed for it here: raise quota.bytes in installer.toml, discard other packages, or make room on the disk"
            ),
        ))
    }

    /// Forgets every byte.
    pub fn start_over(&mut self) -> Result<(), Failure> {
        self.length = 0;
        self.durable = 0;
        self.cut()
    }

    /// Writes the next bytes of the package.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let length = self.length.saturating_add(bytes.len() as u64);
        self.allow(length)?;
        self.file
            .write_all_at(bytes, self.length)
            .map_err(|error| self.failed("write", &error))?;
        self.length = length;
        Ok(())
    }

    /// Returns when every byte is on disk, and says how many that are.
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
        Err("the descriptor that came with the request is no regular file".into())
    } else if flags & OFlag::O_ACCMODE != OFlag::O_WRONLY || flags.contains(OFlag::O_APPEND) {
        Err("the descriptor that came with the request is not a plain write-only one".into())
    } else if metadata.len() < keep {
        let length = metadata.len();
        Err(format!(
            "the staged file holds {length} bytes, {keep} of which were to be kept"
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
    fn goes_on_behind_the_kept_bytes_and_drops_what_is_after_them() {
        let (named, mut staged) = staged(b"kept, not kept", 5, 100);
        staged.append(b" and new").unwrap();
        assert_eq!(staged.durable(), 5);
        assert_eq!(staged.sync().unwrap(), 13);
        assert_eq!(std::fs::read(named.path()).unwrap(), b"kept, and new");
    }

    #[test]
    fn refuses_a_byte_over_the_limit_before_it_is_written() {
        let (named, mut staged) = staged(b"", 0, 4);
        staged.append(b"1234").unwrap();
        assert_eq!(staged.append(b"5").unwrap_err().cause, Cause::Quota);
        assert_eq!(std::fs::read(named.path()).unwrap(), b"1234");
    }

    #[test]
    fn refuses_descriptors_that_are_not_write_only_regular_files() {
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
    fn refuses_a_file_that_is_shorter_than_what_was_to_be_kept() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = File::options().write(true).open(named.path()).unwrap();
        assert_eq!(refused(file, 1).cause, Cause::Unavailable);
    }
}
