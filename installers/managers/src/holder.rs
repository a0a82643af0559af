//! The holders of locks, for an administrator.

use std::{fs::File, io, path::Path};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};

/// The process that holds a POSIX lock on this file, in words; none if the lock is free, or if there is no such file.
pub(crate) fn of(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then(|| words(lock.l_pid)))
}

/// `process 12 (rpm -U hello.rpm)`. A lock of a process that this one cannot see has no positive number.
pub(crate) fn words(pid: i32) -> String {
    if pid <= 0 {
        return "a process that cannot be seen from here".to_owned();
    }
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    match command.trim_end() {
        "" => format!("process {pid}"),
        command => format!("process {pid} ({command})"),
    }
}
