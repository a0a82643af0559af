//! Room for downloads that run at once. The installer grants each file all that is free then, since only the origins say
//! how long the packages are. A download that does not fit beside those that were first ends at its first byte.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use wharf_frames::{Cause, Failure, StageId};

/// The downloads that run.
#[derive(Debug, Clone, Default)]
pub struct Room(Rc<RefCell<BTreeMap<StageId, Growing>>>);

#[derive(Debug, Clone, Copy)]
struct Growing {
    /// Bytes in the file when the attempt began.
    kept: u64,
    /// Bytes in the file now.
    arrived: u64,
    /// The length of the package, once the origin said it.
    total: Option<u64>,
}

/// An attempt's part of the room, until it is dropped.
#[derive(Debug)]
pub struct Share {
    room: Room,
    stage: StageId,
    /// The length that the installer granted.
    limit: u64,
    /// Bytes of the others that the installer counted for that.
    counted: BTreeMap<StageId, u64>,
}

impl Room {
    /// An attempt for which the installer granted `limit` just now.
    pub fn share(&self, stage: StageId, kept: u64, limit: u64) -> Share {
        let mut running = self.0.borrow_mut();
        let counted = running.iter().map(|(other, file)| (*other, file.arrived));
        let counted = counted.collect();
        let file = Growing {
            kept,
            arrived: kept,
            total: None,
        };
        running.insert(stage, file);
        Share {
            room: self.clone(),
            stage,
            limit,
            counted,
        }
    }
}

impl Share {
    /// The origin sends a package of `total` bytes, from `offset` on. Refused where that does not fit beside what the
    /// others still need.
    pub fn expect(&self, offset: u64, total: Option<u64>) -> Result<(), Failure> {
        let mut running = self.room.0.borrow_mut();
        let still_needed = |(other, file): (&StageId, &Growing)| {
            let counted = self.counted.get(other).unwrap_or(&file.kept);
            file.total.map_or(0, |total| total.saturating_sub(*counted))
        };
        let others = running.iter().filter(|(other, _)| **other != self.stage);
        let needed = others.map(still_needed).fold(0, u64::saturating_add);
        let left = self.limit.saturating_sub(needed);
        // What exceeds the limit alone, wharf-fetch refuses.
        if let Some(total) = total.filter(|total| (left + 1..=self.limit).contains(total)) {
            return Err(Failure::new(
                Cause::Quota,
                format!(
                    "{total} bytes do not fit beside the downloads that run: they still need {needed} of {} bytes. Order it \
                     again when they are done, or make room",
                    self.limit
                ),
            ));
        }
        if let Some(file) = running.get_mut(&self.stage) {
            file.arrived = offset;
            file.total = total;
        }
        Ok(())
    }

    /// So many bytes are in the file.
    pub fn arrived(&self, bytes: u64) {
        if let Some(file) = self.room.0.borrow_mut().get_mut(&self.stage) {
            file.arrived = bytes;
        }
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

    /// Of 10 bytes, the first download needs 6.
    fn first(room: &Room) -> Share {
        let share = room.share(FIRST, 0, 10);
        share.expect(0, Some(6)).unwrap();
        share
    }

    #[test]
    fn a_download_alone_has_all_the_room() {
        let room = Room::default();
        assert!(room.share(FIRST, 0, 10).expect(0, Some(10)).is_ok());
        assert!(room.share(SECOND, 3, 10).expect(3, Some(10)).is_ok());
    }

    #[test]
    fn a_second_download_has_what_the_first_does_not_need() {
        let room = Room::default();
        let _first = first(&room);
        assert!(room.share(SECOND, 0, 10).expect(0, Some(4)).is_ok());
        let refused = room.share(SECOND, 0, 10).expect(0, Some(5)).unwrap_err();
        assert_eq!(refused.cause, Cause::Quota);
        let told = "5 bytes do not fit beside the downloads that run: they still need 6 of 10 bytes. Order it again when \
                    they are done, or make room";
        assert_eq!(refused.detail.as_str(), told);
    }

    #[test]
    fn bytes_that_the_installer_counted_are_not_counted_again() {
        let room = Room::default();
        let first = first(&room);
        first.arrived(5);
        let second = room.share(SECOND, 0, 5); // 5 of 10 are written
        assert!(second.expect(0, Some(4)).is_ok());
        first.arrived(6);
        assert!(second.expect(0, Some(5)).is_err());
    }

    #[test]
    fn of_two_that_were_granted_the_same_room_the_first_to_begin_has_it() {
        let room = Room::default();
        let (slow, fast) = (room.share(FIRST, 0, 10), room.share(SECOND, 0, 10));
        assert!(fast.expect(0, Some(6)).is_ok());
        fast.arrived(6);
        assert!(slow.expect(0, Some(5)).is_err());
        assert!(slow.expect(0, Some(4)).is_ok());
    }

    #[test]
    fn room_is_free_again_when_a_download_ends_or_waits() {
        let room = Room::default();
        drop(first(&room));
        assert!(room.share(SECOND, 0, 10).expect(0, Some(10)).is_ok());
    }

    #[test]
    fn a_package_whose_length_nobody_says_takes_no_room_in_advance() {
        let room = Room::default();
        let first = room.share(FIRST, 0, 10);
        first.expect(0, None).unwrap();
        assert!(room.share(SECOND, 0, 10).expect(0, Some(10)).is_ok());
    }

    #[test]
    fn what_exceeds_the_limit_alone_is_left_to_wharf_fetch() {
        let room = Room::default();
        let _first = first(&room);
        assert!(room.share(SECOND, 0, 10).expect(0, Some(11)).is_ok());
    }
}
