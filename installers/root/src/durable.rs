//! Small files. A file is either whole or absent, and a written file survives a power cut.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use crate::limits;

/// Creates the file, or replaces it as a whole: write, fsync, rename, fsync of the folder.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, None, true)
}

/// Like [`write`], for a file that others than root may read. Keeps the group and mode of the old file; a new file gets
/// this mode.
pub fn write_readable(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let access = match fs::metadata(path) {
        Ok(known) => (Some(known.gid()), known.permissions().mode()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (None, mode),
        Err(error) => return Err(error),
    };
    replace(path, bytes, Some(access), true)
}

/// Like [`write`], for a file that need not survive a power cut.
pub fn write_volatile(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, None, false)
}

/// The group of a file, if it is not the writer's, and its mode.
type Access = (Option<u32>, u32);

fn replace(path: &Path, bytes: &[u8], access: Option<Access>, durable: bool) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    // No other file of ours has a name that begins with a dot.
    let mut new = OsString::from(NEW);
    new.push(name);
    if let Some(folder) = path.parent() {
        sweep(folder, NEW);
    }
    let mut writable = OpenOptions::new();
    let (new, mut file) = create_unique(&path.with_file_name(new), writable.write(true))?;
    let written = file
        .write_all(bytes)
        .and_then(|()| access.map_or(Ok(()), |access| grant(&file, access)))
        .and_then(|()| if durable { file.sync_all() } else { Ok(()) })
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    if durable {
        sync_folder_of(path)
    } else {
        Ok(())
    }
}

/// Sets the group first, so that the old group never gets the permissions of the new one.
fn grant(file: &File, (group, mode): Access) -> io::Result<()> {
    if group.is_some() {
        fchown(file, None, group)?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Prefix of a temporary file.
pub const NEW: &str = ".new-";

/// Creates a new file (O_EXCL) with this name and an unpredictable stamp. Safe also in a folder that other users may write.
pub fn create_unique(path: &Path, options: &mut OpenOptions) -> io::Result<(PathBuf, File)> {
    let options = options.create_new(true).mode(0o600);
    unique(path, "", |path| options.open(path))
}

/// Creates something new with this name, a stamp and this ending: nothing, or an extension with its dot. `create` must
/// fail if the name exists.
pub fn unique<T>(
    path: &Path,
    ending: &str,
    create: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    const TRIES: u32 = 8;
    let mut tries = 0;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}{ending}", stamp()));
        let path = PathBuf::from(name);
        match create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => {
                tries += 1;
            }
            created => return created.map(|created| (path, created)),
        }
    }
}

/// The number of this process, and a random number: the standard library keys its hash with random bytes of the kernel.
fn stamp() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{random:016x}", std::process::id())
}

/// The process that made a file of this name by [`unique`]. The stamp may have an ending behind it.
fn maker(name: &str) -> Option<Pid> {
    name.rsplit('.').take(2).find_map(maker_by_stamp)
}

fn maker_by_stamp(stamp: &str) -> Option<Pid> {
    let (pid, random) = stamp.split_once('-')?;
    let is_ours = random.len() == 16 && u64::from_str_radix(random, 16).is_ok();
    let pid = pid.parse().ok().filter(|pid| *pid > 0 && is_ours)?;
    Some(Pid::from_raw(pid))
}

/// Removes files and folders with this prefix that a killed process of ours left in the folder ([`unique`]).
pub fn sweep(folder: &Path, beginning: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().filter(|name| name.starts_with(beginning));
        if name
            .and_then(maker)
            .is_some_and(|maker| kill(maker, None) == Err(Errno::ESRCH))
        {
            let path = entry.path();
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}

/// Removes the file if it exists. It does not come back after a power cut.
pub fn remove(path: &Path) -> io::Result<()> {
    match remove_present(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Like [`remove`], for a file that must exist.
pub fn remove_present(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_folder_of(path)
}

/// The content of the file; none if there is no file.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    open(path)?.map(read_bounded).transpose()
}

/// Like [`read`], for a file that decides about installations. Refuses a file that another user than root may write.
pub fn read_of_root(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    only_root_writes(&file, path)?;
    read_bounded(file).map(Some)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks the open file: its name may lead to another file by now. The installer runs as root; another user may only check
/// the configuration.
pub fn only_root_writes(file: &File, path: &Path) -> io::Result<()> {
    let metadata = file.metadata()?;
    let path = path.display();
    if ![0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid()) {
        let why = format!(
            "{path} belongs to uid {} (run `chown root {path}`)",
            metadata.uid()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if metadata.mode() & 0o022 != 0 {
        let why = format!("users other than root may write {path} (run `chmod go-w {path}`)");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

/// Refuses a folder in which another user than root may create files. A missing folder counts as empty.
pub fn folder_of_root(path: &Path) -> io::Result<()> {
    open(path)?.map_or(Ok(()), |folder| only_root_writes(&folder, path))
}

fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limits::FILE + 1).read_to_end(&mut bytes)?;
    bounded(&bytes)?;
    Ok(bytes)
}

/// Refuses a content that [`read`] would refuse.
pub fn bounded(bytes: &[u8]) -> io::Result<()> {
    match bytes.len() as u64 > limits::FILE {
        true => {
            let why = format!("longer than {} bytes", limits::FILE);
            Err(io::Error::other(why))
        }
        false => Ok(()),
    }
}

/// Syncs the folder of this file, so that its name survives a power cut.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Creates a folder that only root may read, with its parents.
pub fn private_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return folder_of_root(path);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    sync_folder_of(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_somebody_put_at_a_temporary_name_is_neither_written_nor_kept_as_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("record"), folder.path().join("victim"));
        fs::write(&victim, "theirs").unwrap();
        symlink(&victim, folder.path().join(".new-record")).unwrap();
        write(&path, b"ours").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "theirs");
        assert_eq!(fs::read_to_string(&path).unwrap(), "ours");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());

        let tried = std::cell::RefCell::new(Vec::new());
        let taken = unique(&path, "", |path| {
            assert!(!tried.borrow().contains(&path.to_owned()));
            tried.borrow_mut().push(path.to_owned());
            Err::<(), _>(io::ErrorKind::AlreadyExists.into())
        });
        assert!(taken.is_err() && tried.borrow().len() > 1);
    }

    #[test]
    fn of_two_who_write_at_once_each_reader_sees_one_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let texts = [vec![b'a'; 8192], vec![b'b'; 16384]];
        std::thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| {
                    for _ in 0..200 {
                        write_volatile(&path, text).unwrap();
                        let there = fs::read(&path).unwrap();
                        assert!(texts.contains(&there), "torn: {} bytes", there.len());
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), ["record"]);
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_a_living_one_writes_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let dead = gone.id();
        gone.wait().unwrap();
        let here = std::process::id();
        let stays = [
            format!(".new-a.{here}-0123456789abcdef"),
            format!("apt.{dead}-0123456789abcdef"),
            format!(".new-a.{dead}-012"),
            ".new-a".to_owned(),
        ];
        for name in &stays {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(
            folder
                .path()
                .join(format!(".new-b.{dead}-0123456789abcdef")),
            "",
        )
        .unwrap();
        write(&folder.path().join("a"), b"").unwrap();
        let mut left: Vec<_> = stays.into_iter().chain(["a".to_owned()]).collect();
        left.sort();
        assert_eq!(names(folder.path()), left);
        let link = format!("acme.{dead}-0123456789abcdef.deb");
        fs::write(folder.path().join(link), "").unwrap();
        let run = folder.path().join(format!("run.{dead}-0123456789abcdef"));
        fs::create_dir_all(run.join("partial")).unwrap();
        sweep(folder.path(), "");
        left.retain(|name| !name.starts_with("apt."));
        assert_eq!(names(folder.path()), left);
    }
}
