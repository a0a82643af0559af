//! Small files that are there whole or not at all, and survive a power cut once written.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::limits;

/// Makes the file, or replaces it whole: write, fsync, rename, fsync of the folder.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, true)
}

/// As [`write`], for what need not survive a power cut.
pub(crate) fn write_volatile(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let new = not_yet(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&new, path)?;
    if durable {
        sync_folder_of(path)
    } else {
        Ok(())
    }
}

/// No name of ours begins with a dot, so this is no other file's.
fn not_yet(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut new = OsString::from(".new-");
    new.push(name);
    Ok(path.with_file_name(new))
}

/// Removes the file if it is there; afterwards it stays gone.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match remove_present(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// As [`remove`], for a file that has to be there.
pub(crate) fn remove_present(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_folder_of(path)
}

/// What the file holds; none when there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    open(path)?.map(read_bounded).transpose()
}

/// As [`read`], for what decides what is installed: refused where anybody but root may write it.
pub(crate) fn read_of_root(path: &Path) -> io::Result<Option<Vec<u8>>> {
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

/// Looks at what is open, not at a name that may mean something else by then. Whoever runs this is root.
pub(crate) fn only_root_writes(file: &File, path: &Path) -> io::Result<()> {
    let metadata = file.metadata()?;
    let path = path.display();
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        let why = format!(
            "{path} belongs to uid {} (run `chown root {path}`)",
            metadata.uid()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if metadata.mode() & 0o022 != 0 {
        let why = format!("others than root may write {path} (run `chmod go-w {path}`)");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

/// Refuses a folder in which others than root may put files; none is as good as one that is empty.
pub(crate) fn folder_of_root(path: &Path) -> io::Result<()> {
    open(path)?.map_or(Ok(()), |folder| only_root_writes(&folder, path))
}

fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limits::FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits::FILE {
        return Err(io::Error::other(format!(
            "longer than {} bytes",
            limits::FILE
        )));
    }
    Ok(bytes)
}

/// A new name in this file's folder survives a power cut.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes a folder that only root may look into, with those above it.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return folder_of_root(path);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    sync_folder_of(path)
}
