//! The end of a mount in a drop. A panic there, while another panic unwinds, aborts the whole process.

use std::{path::Path, time::Duration};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};

use crate::waiting::wait_at_most;

/// Unmounts `at`, and returns whether it is unused now. A mount that is still busy after `limit` ends with its last
/// user.
pub fn unmount(at: &Path, limit: Duration) -> bool {
    let unmounted = wait_at_most(limit, || match umount2(at, MntFlags::empty()) {
        Ok(()) | Err(Errno::EINVAL) => Some(()), // EINVAL: nothing is mounted there
        Err(_) => None,
    });
    if unmounted.is_some() {
        return true;
    }
    match umount2(at, MntFlags::MNT_DETACH) {
        Ok(()) => eprintln!("{at:?} is busy: its mount ends with its last user"),
        Err(error) => eprintln!("{at:?} stays mounted: {error}"),
    }
    false
}
