//! A file system with one file, which the kernel reads and writes through /dev/fuse: the protocol of `linux/fuse.h`, as
//! far as a loop device needs it. Every other request is answered by ENOSYS, fallocate(2) among them: the kernel then
//! writes zeros instead of a discard, and the log has those.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::fd::AsRawFd,
    path::Path,
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::close,
};

/// The one file.
pub(super) const NAME: &str = "disk";

/// The content of the file.
pub(super) trait Content {
    fn size(&self) -> u64;
    fn read(&mut self, offset: u64, size: usize) -> Vec<u8>;
    fn write(&mut self, offset: u64, data: &[u8]);
    fn flush(&mut self);
}

/// The connection to the kernel; the file system ends with it.
pub(super) struct Session {
    device: File,
}

const ROOT: u64 = 1;
const FILE: u64 = 2;

/// The largest write in one request. The buffer has room for its headers too.
const LARGEST_WRITE: usize = 1 << 20;
const HEADERS: usize = 4096;
const IN_HEADER: usize = 40;
const WRITE_HEADER: usize = 40;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

const MINOR: u32 = 31;
const BIG_WRITES: u32 = 1 << 5;
const MAX_PAGES: u32 = 1 << 22;
/// The kernel caches no page of the file: each write arrives at once.
const DIRECT_IO: u32 = 1;
/// Seconds for which the kernel may cache names and attributes, which never change.
const EVER: u64 = 1 << 30;

/// Gives the calling thread its own table of descriptors, with only the standard ones. The kernel ends the file system
/// when this thread ends, even if other threads of a killed process still wait for it.
pub(super) fn own_descriptors() -> io::Result<()> {
    unshare(CloneFlags::CLONE_FILES)?;
    let open = fs::read_dir("/proc/thread-self/fd")?;
    let open: Vec<i32> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        let _ = close(descriptor); // that of the folder is closed by now
    }
    Ok(())
}

impl Session {
    /// Mounts the file system at `at`.
    pub(super) fn mount(at: &Path) -> io::Result<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
        mount(
            Some("powercut"),
            at,
            Some("fuse"),
            flags,
            Some(options.as_str()),
        )?;
        Ok(Self { device })
    }

    /// Answers the kernel until the file system is unmounted.
    pub(super) fn serve(mut self, content: &mut impl Content) -> io::Result<()> {
        let mut buffer = vec![0; LARGEST_WRITE + HEADERS];
        loop {
            let length = match self.device.read(&mut buffer) {
                Ok(length) => length,
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::ENODEV) => return Ok(()),
                    Some(Errno::EINTR | Errno::EAGAIN | Errno::ENOENT) => continue,
                    _ => return Err(error),
                },
            };
            let request = &buffer[..length];
            let opcode = u32_at(request, 4);
            if matches!(opcode, FORGET | BATCH_FORGET | INTERRUPT) {
                continue; // these have no reply
            }
            let reply = match answer(opcode, request, content) {
                Ok(body) => reply(request, 0, &body),
                Err(errno) => reply(request, errno as i32, &[]),
            };
            match self.device.write_all(&reply) {
                // The request was interrupted: no process waits for the reply.
                Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {}
                written => written?,
            }
        }
    }
}

fn answer(opcode: u32, request: &[u8], content: &mut impl Content) -> Result<Vec<u8>, Errno> {
    let node = u64_at(request, 16);
    let body = &request[IN_HEADER..];
    match opcode {
        INIT => Ok(init()),
        LOOKUP if node == ROOT && body == format!("{NAME}\0").as_bytes() => {
            Ok(entry(content.size()))
        }
        LOOKUP => Err(Errno::ENOENT),
        GETATTR | SETATTR => Ok(attributes_reply(node, content.size())),
        OPEN => Ok([number(0_u64), number(u64::from(DIRECT_IO))].concat()),
        READ => Ok(content.read(u64_at(body, 8), u32_at(body, 16) as usize)),
        WRITE => {
            let size = u32_at(body, 16);
            let data = &body[WRITE_HEADER..WRITE_HEADER + size as usize];
            content.write(u64_at(body, 8), data);
            Ok(number(u64::from(size)))
        }
        FSYNC => {
            content.flush();
            Ok(Vec::new())
        }
        FLUSH | RELEASE | DESTROY => Ok(Vec::new()),
        _ => Err(Errno::ENOSYS),
    }
}

fn reply(request: &[u8], errno: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("a short reply");
    let mut reply = Vec::with_capacity(16 + body.len());
    reply.extend(length.to_ne_bytes());
    reply.extend((-errno).to_ne_bytes());
    reply.extend(&request[8..16]); // its unique name
    reply.extend(body);
    reply
}

/// `fuse_init_out`.
fn init() -> Vec<u8> {
    let mut out = Vec::new();
    for field in [7, MINOR, 0, BIG_WRITES | MAX_PAGES] {
        out.extend(field.to_ne_bytes());
    }
    out.extend([0; 4]); // max_background and congestion_threshold: the kernel's own
    let largest = u32::try_from(LARGEST_WRITE).expect("a small number");
    out.extend(largest.to_ne_bytes());
    out.extend(1_u32.to_ne_bytes()); // time_gran
    out.extend(256_u16.to_ne_bytes()); // max_pages
    out.resize(64, 0);
    out
}

/// `fuse_entry_out` of the file.
fn entry(size: u64) -> Vec<u8> {
    let times = [FILE, 0, EVER, EVER, 0].map(number).concat();
    [times, attributes(FILE, size)].concat()
}

/// `fuse_attr_out`.
fn attributes_reply(node: u64, size: u64) -> Vec<u8> {
    [number(EVER), number(0), attributes(node, size)].concat()
}

/// `fuse_attr`.
fn attributes(node: u64, size: u64) -> Vec<u8> {
    let (mode, size) = match node {
        FILE => (0o100_600_u32, size),
        _ => (0o040_700, 0),
    };
    let mut out = [node, size, size / 512, 0, 0, 0].map(number).concat();
    out.extend([0; 12]); // nanoseconds
    for field in [mode, 1, 0, 0, 0, 4096, 0] {
        out.extend(field.to_ne_bytes());
    }
    out
}

fn number(value: u64) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
