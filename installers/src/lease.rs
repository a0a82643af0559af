//! Whether anybody could still write to a file. The kernel grants a read lease only on a file without any writable
//! descriptor, duplicate, message in flight or shared mapping.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use nix::libc;

/// A writer that has closed its file stays visible for some milliseconds. No event tells of its end: inotify reports
/// the close before the kernel removes the writer from its count.
const STEP: Duration = Duration::from_millis(5);

/// Whether the file, which is open for reading, has no writer. Waits at most this long for the last one.
pub(crate) fn has_no_writer(file: &File, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        match lease(file, libc::F_RDLCK) {
            Ok(()) => return lease(file, libc::F_UNLCK).map(|()| true),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if Instant::now() >= deadline => return Ok(false),
            Err(_) => thread::sleep(STEP),
        }
    }
}

#[allow(
    unsafe_code,
    reason = "nix has no F_SETLEASE; the descriptor is borrowed for the call"
)]
fn lease(file: &File, kind: libc::c_int) -> io::Result<()> {
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{IoSlice, Write},
        os::fd::OwnedFd,
    };

    use nix::sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
    };

    /// Turns a descriptor into something that keeps its file writable.
    type Keep = fn(File) -> Box<dyn std::any::Any>;

    fn keepers() -> [(&'static str, Keep); 4] {
        [
            ("the descriptor", |file| Box::new(file)),
            ("a duplicate", |file| Box::new(file.try_clone().unwrap())),
            ("a shared mapping", |file| Box::new(Mapping::of(&file))),
            ("a message in flight", |file| Box::new(in_flight(&file))),
        ]
    }

    #[test]
    fn a_file_that_somebody_can_write_to_gets_no_lease() {
        for (name, keep) in keepers() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut writer = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path)
                .unwrap();
            writer.write_all(&[0; 4096]).unwrap();
            let reader = File::open(&path).unwrap();

            let kept = keep(writer);
            assert!(
                !has_no_writer(&reader, Duration::ZERO).unwrap(),
                "{name} is left"
            );
            drop(kept);
            assert!(
                has_no_writer(&reader, Duration::from_secs(1)).unwrap(),
                "{name} is gone"
            );
        }
    }

    fn in_flight(file: &File) -> (OwnedFd, OwnedFd) {
        let pair = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap();
        let rights = [ControlMessage::ScmRights(&[file.as_raw_fd()])];
        sendmsg::<()>(
            pair.0.as_raw_fd(),
            &[IoSlice::new(b"x")],
            &rights,
            MsgFlags::empty(),
            None,
        )
        .unwrap();
        pair
    }

    struct Mapping(*mut libc::c_void);

    #[allow(unsafe_code, reason = "a mapping is what is tested")]
    impl Mapping {
        fn of(file: &File) -> Self {
            let flags = libc::PROT_READ | libc::PROT_WRITE;
            let start = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    flags,
                    libc::MAP_SHARED,
                    file.as_raw_fd(),
                    0,
                )
            };
            assert_ne!(start, libc::MAP_FAILED);
            Self(start)
        }
    }

    #[allow(unsafe_code, reason = "a mapping is what is tested")]
    impl Drop for Mapping {
        fn drop(&mut self) {
            unsafe { libc::munmap(self.0, 4096) };
        }
    }
}
