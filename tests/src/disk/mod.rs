//! A disk with power cuts: a loop device over a file that this process serves by FUSE. The file logs each write and
//! each flush. A loop device passes the kernel's flushes on as fsync, and has no cache of its own.

mod fuse;
mod image;
mod unmount;

use std::{
    fmt::{self, Debug, Formatter},
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use self::fuse::{Content, Session};
pub use self::{
    image::{Image, LogEntry, SECTOR, Unflushed},
    unmount::unmount,
};
use crate::{command::output_of, folder::Folder, waiting::LIMIT};

/// A disk. It is detached when this is dropped.
pub struct Disk {
    folder: Folder,
    mounted: Option<PathBuf>,
    state: Arc<Mutex<State>>,
    serves: Option<JoinHandle<()>>,
}

struct State {
    image: Image,
    log: Vec<LogEntry>,
}

/// The end of a disk's log, which grows with each write and each flush.
#[derive(Clone)]
pub struct Position(Arc<Mutex<State>>);

impl Position {
    /// The number of writes and flushes so far.
    pub fn now(&self) -> usize {
        self.0.lock().expect("the disk's state").log.len()
    }
}

/// The disk's data for the thread that serves it.
struct Served {
    base: File,
    state: Arc<Mutex<State>>,
}

impl Disk {
    /// A disk with this image, not mounted yet.
    ///
    /// # Panics
    ///
    /// If /dev/fuse cannot be used.
    pub fn with(image: Image) -> Self {
        let folder = Folder::new();
        let at = folder.make("fuse");
        let log = Vec::new();
        let state = Arc::new(Mutex::new(State { image, log }));
        let (ready, is_ready) = mpsc::channel();
        let (shared, place) = (Arc::clone(&state), at.clone());
        let serves = thread::spawn(move || serve(&place, shared, &ready));
        match is_ready.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("no file system at {at:?} by /dev/fuse: {error}"),
            Err(_) => panic!("the thread that serves {at:?} has ended"),
        }
        Self {
            folder,
            mounted: None,
            state,
            serves: Some(serves),
        }
    }

    /// Mounts its file system, ext4 with its default options, on a loop device.
    ///
    /// # Errors
    ///
    /// The message of mount(8).
    pub fn mount(&mut self) -> Result<PathBuf, String> {
        let at = self.folder.make("root");
        let output = Command::new("mount")
            .args(["-t", "ext4", "-o", "loop"])
            .arg(self.folder.join("fuse").join(fuse::NAME))
            .arg(&at)
            .output()
            .expect("mount(8)");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        self.mounted = Some(at.clone());
        Ok(at)
    }

    /// The end of its log, for other threads too.
    pub fn position(&self) -> Position {
        Position(Arc::clone(&self.state))
    }

    /// All writes and flushes so far.
    pub fn log(&self) -> Vec<LogEntry> {
        self.state().log.clone()
    }

    /// Its folder, in which its mounts are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the disk's state")
    }
}

fn serve(at: &Path, state: Arc<Mutex<State>>, ready: &mpsc::Sender<std::io::Result<()>>) {
    let base = state
        .lock()
        .expect("the disk's state")
        .image
        .base()
        .to_owned();
    let opened =
        fuse::own_descriptors().and_then(|()| Ok((File::open(base)?, Session::mount(at)?)));
    let (base, session) = match opened {
        Ok(opened) => opened,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let _ = ready.send(Ok(()));
    session
        .serve(&mut Served { base, state })
        .unwrap_or_else(|error| panic!("the disk at {at:?}: {error}"));
}

impl Content for Served {
    fn size(&self) -> u64 {
        self.state().image.size()
    }

    fn read(&mut self, offset: u64, size: usize) -> Vec<u8> {
        self.state().image.read(offset, size, &self.base)
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut state = self.state();
        state.image.write(offset, data);
        state.log.push(LogEntry::Write(offset, data.into()));
    }

    fn flush(&mut self) {
        self.state().log.push(LogEntry::Flush);
    }
}

impl Served {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the disk's state")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The loop device ends with its last mount. Until then the file system below it is busy.
        let is_unused = self.mounted.iter().all(|at| unmount(at, LIMIT));
        let limit = if is_unused { LIMIT } else { Duration::ZERO };
        // The thread serves until the last user of the disk has ended.
        if unmount(&self.folder.join("fuse"), limit)
            && let Some(serves) = self.serves.take()
        {
            let _ = serves.join();
        }
    }
}

impl Debug for Disk {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Disk").field(&self.folder).finish()
    }
}

/// Makes an ext4 file system of `mebibytes` in this file, with the content of `folder`.
pub fn format(file: &Path, mebibytes: u32, folder: Option<&Path>) {
    let mut command = Command::new("mkfs.ext4");
    // The kernel has nothing left to initialise in the background.
    command.args(["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"]);
    if let Some(folder) = folder {
        command.arg("-d").arg(folder);
    }
    output_of(command.arg(file).arg(format!("{mebibytes}M")));
}
