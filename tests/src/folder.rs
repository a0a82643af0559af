//! Folders of one test. Their paths are short, since a socket's path has 108 bytes. They are removed with their
//! processes and mounts. The next test removes the leftovers of a killed one.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Once,
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

const PARENT: &str = "/tmp";
const PREFIX: &str = "wt-";
const OWNER: &str = "owner.lock";

/// `/tmp/wt-XXXXXX`, which any user may enter.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
    /// Locked while this test runs, so that the clean-up spares folders in use.
    _owner: File,
}

impl Folder {
    /// A folder that is empty, except for the lock of its owner.
    pub fn new() -> Self {
        static SWEEP: Once = Once::new();
        let guard = lock(&cache().join("folders.lock"));
        SWEEP.call_once(sweep);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(PARENT)
            .unwrap_or_else(|error| panic!("no folder in {PARENT}: {error}"));
        let owner = lock(&folder.path().join(OWNER));
        drop(guard);
        Self {
            folder,
            _owner: owner,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The path of `name` in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Makes the folder `name` in it, and its parents.
    pub fn make(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("no folder {path:?}: {error}"));
        path
    }
}

/// The folder that outlives every test, for things that are made once for this machine.
pub fn cache() -> PathBuf {
    let cache = PathBuf::from("/var/tmp/wharf-tests");
    fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("no folder {cache:?}: {error}"));
    cache
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        clear(self.path());
    }
}

/// Opens and locks `path`. The lock ends with the file.
pub(crate) fn lock(path: &Path) -> File {
    let file = File::create(path).unwrap_or_else(|error| panic!("no lock file {path:?}: {error}"));
    file.lock()
        .unwrap_or_else(|error| panic!("{path:?} cannot be locked: {error}"));
    file
}

fn sweep() {
    for entry in fs::read_dir(PARENT).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes())
            && is_left(&path)
        {
            clear(&path);
            // Another test's leftovers must not fail this test.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn is_left(folder: &Path) -> bool {
    File::open(folder.join(OWNER)).is_ok_and(|owner| owner.try_lock().is_ok())
}

fn clear(folder: &Path) {
    for process in processes_in(folder) {
        let _ = kill(process, Signal::SIGKILL);
    }
    for mount in mounts_below(folder).iter().rev() {
        // At once if it is unused, else as soon as its last user has ended.
        let _ =
            umount2(mount, MntFlags::empty()).or_else(|_busy| umount2(mount, MntFlags::MNT_DETACH));
    }
}

/// Mount points below `folder` in the mount namespace of this thread, outer ones first.
pub fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(folder))
        .collect()
}

/// Processes in `folder`, by their root, their working folder or an argument.
pub fn processes_in(folder: &Path) -> Vec<Pid> {
    let own = Pid::this();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(|process| *process != own && is_in(*process, folder))
        .collect()
}

fn is_in(process: Pid, folder: &Path) -> bool {
    let proc = PathBuf::from(format!("/proc/{process}"));
    let stands_in = |link| fs::read_link(proc.join(link)).is_ok_and(|at| at.starts_with(folder));
    let told = || {
        let arguments = fs::read(proc.join("cmdline")).unwrap_or_default();
        let folder = folder.as_os_str().as_encoded_bytes();
        arguments
            .windows(folder.len())
            .any(|window| window == folder)
    };
    stands_in("root") || stands_in("cwd") || told()
}
