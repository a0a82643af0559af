//! The room for parallel downloads. The installer grants each file all free space, since only the origin knows the
//! length of a package. A download that does not fit beside earlier ones gives up its turn at its first byte.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::File,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt as _},
    rc::Rc,
};

use wharf_frames::{Cause, Failure, StageId};

/// The running downloads.
#[derive(Debug, Clone, Default)]
pub struct DownloadRoom(Rc<RefCell<BTreeMap<StageId, Growing>>>);

#[derive(Debug)]
struct Growing {
    /// Bytes in the file when the attempt began.
    kept: u64,
    /// The file, through a descriptor that cannot write: the seal waits for writers only.
    file: Option<File>,
    /// The length of the package, after the origin sent it.
    total: Option<u64>,
}

/// Bytes of the running downloads.
pub type Lengths = BTreeMap<StageId, u64>;

/// The room of one attempt, until this is dropped.
#[derive(Debug)]
pub struct Share {
    room: DownloadRoom,
    stage: StageId,
    /// The length that the installer granted.
    limit: u64,
    /// The bytes of the others that the installer counted before this grant.
    counted: Lengths,
}

impl DownloadRoom {
    /// The current lengths. The installer, asked later, counts at least as much.
    pub fn lengths(&self) -> Lengths {
        let running = self.0.borrow();
        let length = |(stage, file): (&StageId, &Growing)| (*stage, file.length());
        running.iter().map(length).collect()
    }

    /// Adds an attempt. The installer granted `limit` after these lengths.
    pub fn share(
        &self,
        stage: StageId,
        counted: Lengths,
        file: &impl AsRawFd,
        kept: u64,
        limit: u64,
    ) -> Share {
        let growing = Growing {
            kept,
            file: path_handle(file),
            total: None,
        };
        self.0.borrow_mut().insert(stage, growing);
        Share {
            room: self.clone(),
            stage,
            limit,
            counted,
        }
    }
}

fn path_handle(file: &impl AsRawFd) -> Option<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path);
    opened.ok() // without it, the length at the start of the attempt is used
}

impl Growing {
    fn length(&self) -> u64 {
        let metadata = self.file.as_ref().and_then(|file| file.metadata().ok());
        metadata.map_or(self.kept, |metadata| metadata.len())
    }
}

impl Share {
    /// Records that the origin sends `total` bytes. Fails if they do not fit beside the need of the others.
    pub fn expect(&self, total: Option<u64>) -> Result<(), Failure> {
        let mut running = self.room.0.borrow_mut();
        let still_needed = |(other, file): (&StageId, &Growing)| {
            let counted = self.counted.get(other).unwrap_or(&file.kept);
            file.total.map_or(0, |total| total.saturating_sub(*counted))
        };
        let others = running.iter().filter(|(other, _)| **other != self.stage);
        let needed = others.map(still_needed).fold(0, u64::saturating_add);
        let left = self.limit.saturating_sub(needed);
        // wharf-fetch refuses a package that exceeds the limit alone.
        if let Some(total) = total.filter(|total| (left + 1..=self.limit).contains(total)) {
            return Err(Failure::new(
                Cause::Quota,
                format!(
                    "{total} bytes do not fit beside the downloads that run: they still need {needed} of {} bytes",
                    self.limit
                ),
            ));
        }
        if let Some(file) = running.get_mut(&self.stage) {
            file.total = total;
        }
        Ok(())
    }

    /// Bytes in the file now.
    pub fn length(&self) -> u64 {
        let running = self.room.0.borrow();
        running.get(&self.stage).map_or(0, Growing::length)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.0.borrow_mut().remove(&self.stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: StageId = StageId::from_bytes([1; 16]);
    const SECOND: StageId = StageId::from_bytes([2; 16]);

    fn file(length: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        file
    }

    /// The installer has just granted `limit`.
    fn share(room: &DownloadRoom, stage: StageId, file: &File, limit: u64) -> Share {
        let kept = file.metadata().unwrap().len();
        room.share(stage, room.lengths(), file, kept, limit)
    }

    /// Of 10 bytes, the first download needs 6.
    fn first(room: &DownloadRoom, file: &File) -> Share {
        let share = share(room, FIRST, file, 10);
        share.expect(Some(6)).unwrap();
        share
    }

    #[test]
    fn a_download_alone_has_all_the_room() {
        let room = DownloadRoom::default();
        for (stage, kept) in [(FIRST, 0), (SECOND, 3)] {
            let alone = share(&room, stage, &file(kept), 10);
            assert!(alone.expect(Some(10)).is_ok());
        }
    }

    #[test]
    fn a_second_download_has_what_the_first_does_not_need() {
        let room = DownloadRoom::default();
        let _first = first(&room, &file(0));
        let empty = file(0);
        assert!(share(&room, SECOND, &empty, 10).expect(Some(4)).is_ok());
        let refused = share(&room, SECOND, &empty, 10).expect(Some(5));
        let refused = refused.unwrap_err();
        assert_eq!(refused.cause, Cause::Quota);
        let told =
            "5 bytes do not fit beside the downloads that run: they still need 6 of 10 bytes";
        assert_eq!(refused.detail.as_str(), told);
    }

    /// The progress of the first download is not reported.
    #[test]
    fn bytes_that_the_installer_counted_are_not_counted_again() {
        let room = DownloadRoom::default();
        let growing = file(0);
        let _first = first(&room, &growing);
        growing.set_len(5).unwrap();
        let second = share(&room, SECOND, &file(0), 5); // 5 of 10 are written
        assert!(second.expect(Some(4)).is_ok());
        growing.set_len(6).unwrap();
        assert!(second.expect(Some(5)).is_err());
    }

    #[test]
    fn of_two_that_were_granted_the_same_room_the_first_to_begin_has_it() {
        let room = DownloadRoom::default();
        let files = [file(0), file(0)];
        let [slow, fast] = [(FIRST, &files[0]), (SECOND, &files[1])]
            .map(|(stage, file)| share(&room, stage, file, 10));
        assert!(fast.expect(Some(6)).is_ok());
        files[1].set_len(6).unwrap();
        assert!(slow.expect(Some(5)).is_err());
        assert!(slow.expect(Some(4)).is_ok());
    }

    #[test]
    fn room_is_free_again_when_a_download_ends_or_waits() {
        let room = DownloadRoom::default();
        drop(first(&room, &file(0)));
        let second = share(&room, SECOND, &file(0), 10);
        assert!(second.expect(Some(10)).is_ok());
    }

    #[test]
    fn a_package_whose_length_nobody_says_takes_no_room_in_advance() {
        let room = DownloadRoom::default();
        let unknown = file(0);
        let first = share(&room, FIRST, &unknown, 10);
        first.expect(None).unwrap();
        let second = share(&room, SECOND, &file(0), 10);
        assert!(second.expect(Some(10)).is_ok());
    }

    #[test]
    fn what_exceeds_the_limit_alone_is_left_to_wharf_fetch() {
        let room = DownloadRoom::default();
        let _first = first(&room, &file(0));
        let second = share(&room, SECOND, &file(0), 10);
        assert!(second.expect(Some(11)).is_ok());
    }
}
