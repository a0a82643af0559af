//! Configuration files of a package, kept before a job changes it and put back if the job goes back. A copy has the owner, the
//! mode, the times and the extended attributes of its file. No link is followed, neither at the file nor on the way to it:
//! a folder may belong to the user of a service.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink},
        },
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use minicbor::{Decode, Encode, bytes::ByteVec};
use nix::{
    fcntl::AtFlags,
    libc,
    unistd::{Gid, Uid, fchownat},
};
use wharf_fault as fault;
use wharf_frames::{decode_record, encode_record};
use wharf_root::{Root, attributes, durable, limits};

/// The record of the kept files, in their folder.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct ConfigurationRecord {
    /// The [`FORMAT`] of this record.
    #[n(0)]
    format: u32,
    #[n(1)]
    paths: Vec<KeptPath>,
}

/// A path as it was.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct KeptPath {
    /// Below the root, without a slash in front.
    #[n(0)]
    path: String,
    #[n(1)]
    was: Was,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
enum Was {
    /// Nothing was there.
    #[n(0)]
    Absent,
    /// A link with this target, owner and group.
    #[n(1)]
    Link(#[n(0)] ByteVec, #[n(1)] u32, #[n(2)] u32),
    /// A file. Its copy has its own path in this list as a number.
    #[n(2)]
    File,
}

const FORMAT: u32 = 1;
const RECORD: &str = "record";

/// A path in a folder that is open: nobody can lead it elsewhere.
struct Place {
    folder: File,
    path: PathBuf,
}

/// Keeps these paths below the root in a new folder: present files and links as they are, and that the others are absent.
pub(crate) fn keep(root: &Root, paths: &[String], into: &Path) -> io::Result<()> {
    if paths.len() > limits::CONFIGURATION_PATHS {
        let why = format!(
            "{} paths, and at most {} are kept",
            paths.len(),
            limits::CONFIGURATION_PATHS
        );
        return Err(io::Error::other(why));
    }
    match fs::remove_dir_all(into) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ if paths.is_empty() => return Ok(()),
        _ => durable::private_folder(into)?,
    }
    let mut left = limits::CONFIGURATION_BYTES;
    let mut kept = Vec::new();
    for path in paths {
        let copy = into.join(kept.len().to_string());
        let was = keep_path(root, path, &copy, &mut left)
            .map_err(|error| io::Error::new(error.kind(), format!("/{path}: {error}")))?;
        if let Some(was) = was {
            let path = path.clone();
            kept.push(KeptPath { path, was });
        }
    }
    let record = ConfigurationRecord {
        format: FORMAT,
        paths: kept,
    };
    let bytes = encode_record(&record).map_err(io::Error::other)?;
    durable::write(&into.join(RECORD), &bytes)?;
    fault::point("keep.recorded");
    Ok(())
}

/// None for anything else than a file or a link, since no package manager replaces it, and for a path that leads over a link.
fn keep_path(root: &Root, path: &str, copy: &Path, left: &mut u64) -> io::Result<Option<Was>> {
    let place = match place(root, path) {
        Err(error) if leads_over_link(&error) => {
            tracing::warn!("/{path} is not kept, since a folder on the way to it is a link");
            return Ok(None);
        }
        place => place?,
    };
    let Some(place) = place else {
        return Ok(Some(Was::Absent));
    };
    let metadata = match fs::symlink_metadata(&place.path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Was::Absent)),
        Err(error) => return Err(error),
    };
    if metadata.is_symlink() {
        let target = fs::read_link(&place.path)?.as_os_str().as_bytes().to_vec();
        return Ok(Some(Was::Link(
            target.into(),
            metadata.uid(),
            metadata.gid(),
        )));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let file = open(&place.path)?;
    let metadata = file.metadata()?;
    let more = || io::Error::other(format!("more than {} bytes", limits::CONFIGURATION_BYTES));
    *left = left.checked_sub(metadata.len()).ok_or_else(more)?;
    let new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(copy)?;
    copy_of(&file, &metadata, &new)?;
    Ok(Some(Was::File))
}

/// Puts the paths that are kept in this folder back as they were. One that fails does not keep the others from it.
pub(crate) fn put_back(root: &Root, from: &Path) -> io::Result<()> {
    let bytes = durable::read(&from.join(RECORD))?.ok_or(io::ErrorKind::NotFound)?;
    let record: ConfigurationRecord = decode_record(&bytes).map_err(io::Error::other)?;
    if record.format > FORMAT {
        return Err(io::Error::other("a newer wharfd wrote it"));
    }
    let mut failed = None;
    for (number, KeptPath { path, was }) in record.paths.iter().enumerate() {
        match put_path_back(root, path, was, &from.join(number.to_string())) {
            Err(error) if leads_over_link(&error) => {
                tracing::warn!(
                    "/{path} is not put back, since a folder on the way to it is a link"
                );
            }
            Err(error) => {
                let error = io::Error::new(error.kind(), format!("/{path}: {error}"));
                failed.get_or_insert(error);
            }
            Ok(()) => {}
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Whether [`place`] failed at a folder that is a link, or no folder.
fn leads_over_link(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR))
}

fn put_path_back(root: &Root, path: &str, was: &Was, copy: &Path) -> io::Result<()> {
    let Some(place) = place(root, path)? else {
        return match was {
            Was::Absent => Ok(()),
            // The old version has its folders again.
            _ => Err(io::ErrorKind::NotFound.into()),
        };
    };
    let new = place
        .path
        .with_file_name(format!("{}wharf-back", durable::NEW));
    remove(&new)?;
    match was {
        Was::Absent => {
            let is_there = fs::symlink_metadata(&place.path);
            if is_there.is_ok_and(|it| it.is_file() || it.is_symlink()) {
                remove(&place.path)?;
            }
        }
        Was::Link(target, uid, gid) => {
            symlink(std::ffi::OsStr::from_bytes(target), &new)?;
            give_link(&new, *uid, *gid)?;
            fs::rename(&new, &place.path)?;
        }
        Was::File => {
            let kept = open(copy)?;
            let metadata = kept.metadata()?;
            let mut options = OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o600);
            let file = options.custom_flags(libc::O_NOFOLLOW).open(&new)?;
            copy_of(&kept, &metadata, &file)?;
            fs::rename(&new, &place.path)?;
        }
    }
    place.folder.sync_all()
}

/// Gives a link its owner. The user of a service may have put a file of root's in its place.
fn give_link(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let link = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
        .open(path)?;
    let metadata = link.metadata()?;
    if !metadata.is_symlink() || metadata.nlink() != 1 {
        return Err(io::Error::other("something else came in place of the link"));
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    fchownat(&link, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A path below the root, whose folders are no links. None if a folder is absent.
fn place(root: &Root, path: &str) -> io::Result<Option<Place>> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let invalid = || io::Error::from(io::ErrorKind::InvalidFilename);
    let name = parts.pop().ok_or_else(invalid)?;
    if parts
        .iter()
        .chain([&name])
        .any(|part| matches!(*part, "." | ".."))
    {
        return Err(invalid());
    }
    let mut folder = File::open(root.folder())?;
    for part in parts {
        let next = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
            .open(within(&folder, part));
        folder = match next {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
    }
    let path = within(&folder, name);
    Ok(Some(Place { folder, path }))
}

/// The path of a name in an open folder (proc(5), `/proc/PID/fd`).
fn within(folder: &File, name: &str) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name)
}

/// Opens a file that is no link. A FIFO does not block.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file any more")),
    }
}

/// Copies a file with all that it has beside its bytes. The owner goes first: a change of it erases capabilities.
fn copy_of(from: &File, metadata: &Metadata, to: &File) -> io::Result<()> {
    io::copy(
        &mut io::Read::take(from, limits::CONFIGURATION_BYTES),
        &mut &*to,
    )?;
    fchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    to.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))?;
    for (name, value) in attributes::of(from)? {
        attributes::set(to, &name, &value)?;
    }
    let seconds = u64::try_from(metadata.mtime()).unwrap_or_default();
    let part = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
    to.set_modified(SystemTime::UNIX_EPOCH + Duration::new(seconds, part))?;
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_place_of_a_link_keeps_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "of root").unwrap();
        symlink("file", path("link")).unwrap();
        symlink("file", path("twice")).unwrap();
        fs::hard_link(path("twice"), path("other")).unwrap();
        for (name, is_given) in [("file", false), ("twice", false), ("link", true)] {
            let given = give_link(&path(name), 1234, 4321);
            assert_eq!(given.is_ok(), is_given, "{name}: {given:?}");
            let left = fs::symlink_metadata(path(name)).unwrap();
            assert_eq!((left.uid(), left.gid()) == (1234, 4321), is_given, "{name}");
        }
        assert_ne!(fs::metadata(path("file")).unwrap().uid(), 1234);
    }

    #[test]
    fn no_link_is_followed_and_what_was_absent_is_absent_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path().join("root"));
        let into = folder.path().join("kept");
        let etc = root.path("etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        fs::write(etc.join("file"), "as it was").unwrap();
        symlink(folder.path().join("secret"), etc.join("link")).unwrap();
        symlink(folder.path(), etc.join("away")).unwrap();
        fs::create_dir(etc.join("folder")).unwrap();
        let paths = [
            "etc/file",
            "etc/link",
            "etc/absent",
            "etc/folder",
            "etc/none/x",
            "etc/away/secret",
            "srv/last",
        ];
        fs::create_dir(root.path("srv")).unwrap();
        fs::write(root.path("srv/last"), "last").unwrap();
        keep(&root, &paths.map(str::to_owned), &into).unwrap();
        for path in ["etc/../etc/file", ""] {
            let kept = keep(&root, &[path.to_owned()], &folder.path().join("other"));
            assert!(kept.is_err(), "{path}");
        }

        // A service turns its files into links to those of others.
        for name in ["file", "absent"] {
            let _ = fs::remove_file(etc.join(name));
            symlink(folder.path().join("secret"), etc.join(name)).unwrap();
        }
        fs::remove_file(etc.join("link")).unwrap();
        fs::write(etc.join("link"), "a file now").unwrap();
        for _ in 0..2 {
            put_back(&root, &into).unwrap();
            assert_eq!(fs::read_to_string(etc.join("file")).unwrap(), "as it was");
            assert!(fs::symlink_metadata(etc.join("file")).unwrap().is_file());
            assert!(fs::symlink_metadata(etc.join("link")).unwrap().is_symlink());
            assert!(fs::symlink_metadata(etc.join("absent")).is_err());
        }
        let secret = fs::read_to_string(folder.path().join("secret")).unwrap();
        assert_eq!(secret, "secret");

        // The folder of a file turns into a link.
        fs::rename(&etc, root.path("real")).unwrap();
        symlink(root.path("real"), &etc).unwrap();
        for file in ["real/file", "srv/last"] {
            fs::write(root.path(file), "another").unwrap();
        }
        put_back(&root, &into).unwrap();
        let left = ["real/file", "srv/last"];
        let left = left.map(|file| fs::read_to_string(root.path(file)).unwrap());
        assert_eq!(left, ["another", "last"], "no link is followed");
    }
}
