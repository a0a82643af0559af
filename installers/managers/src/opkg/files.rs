//! The files of installed packages, by opkg's lists of them, and files of the root as a program in the root sees them.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{Mode, fstatat},
};
use wharf_frames::{Cause, Failure};
use wharf_root::{Owners, Root, durable, merged};

/// Opens a path of the root as a program in the root does: a link with an absolute target stays below the root.
pub(super) fn open(root: &Root, path: &Path, flags: OFlag) -> io::Result<File> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let how =
        OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .mode(match flags.contains(OFlag::O_CREAT) {
                true => Mode::from_bits_truncate(0o640),
                false => Mode::empty(),
            });
    let opened = match root.is_system() {
        // Older kernels have no openat2(2).
        true => nix::fcntl::open(
            &root.path(below),
            flags | OFlag::O_CLOEXEC,
            Mode::from_bits_truncate(0o640),
        )?,
        false => {
            let folder = File::open(root.folder())?;
            openat2(&folder, below, how.resolve(ResolveFlag::RESOLVE_IN_ROOT))?
        }
    };
    Ok(opened.into())
}

/// The target of a symbolic link of the root; none if there is something else at this path.
pub(super) fn link_target(root: &Root, path: &Path) -> io::Result<Option<PathBuf>> {
    let link = open(root, path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
    match nix::fcntl::readlinkat(&link, "") {
        Ok(target) => Ok(Some(target.into())),
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is something at this path of the root, or there may be.
pub(super) fn exists(root: &Root, path: &str) -> bool {
    let there = open(root, Path::new(path), OFlag::O_PATH | OFlag::O_NOFOLLOW);
    !there.is_err_and(|error| {
        [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
    })
}

/// Whether there is a symbolic link at this path of the root.
fn is_link(root: &Root, path: &str) -> bool {
    matches!(link_target(root, Path::new(path)), Ok(Some(_)))
}

/// The first link of the root on the way to one of these paths.
pub(super) fn link_on_the_way(root: &Root, paths: &BTreeSet<String>) -> Option<String> {
    let mut ways = folders(paths.iter().map(String::as_str)).into_iter();
    ways.find(|path| is_link(root, path)).map(str::to_owned)
}

/// Each folder on the way to these paths.
fn folders<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let above = |path: &'a str| path.match_indices('/').map(move |(at, _)| &path[..at]);
    paths.flat_map(above).collect()
}

/// The lists of files of one root.
#[derive(Debug, Clone)]
pub(super) struct Lists {
    pub(super) root: Root,
    /// opkg's folder of lists, from outside of the root.
    pub(super) folder: PathBuf,
}

impl Lists {
    /// Visits each path of a package, with folders, without the slash in front. A package without a list has none.
    pub(super) fn each(&self, name: &str, visit: &mut dyn FnMut(&str)) -> io::Result<()> {
        let list = match File::open(self.folder.join(format!("{name}.list"))) {
            Ok(list) => BufReader::new(list),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for line in list.split(b'\n') {
            // `/usr/bin/acme<TAB>0100755`, and the target of a link behind another tab.
            let line = line?;
            let path = line.split(|byte| *byte == b'\t').next().unwrap_or_default();
            let path = String::from_utf8_lossy(path);
            let path = path.trim_start_matches('/').trim_end_matches('/');
            if !path.is_empty() {
                visit(path);
            }
        }
        Ok(())
    }

    /// Writes the list of a package anew.
    pub(super) fn write(&self, name: &str, paths: &[String]) -> Result<(), Failure> {
        let list = self.folder.join(format!("{name}.list"));
        let text: String = paths.iter().map(|path| format!("/{path}\n")).collect();
        durable::write_readable(&list, text.as_bytes(), 0o644).map_err(|error| {
            let detail = format!("cannot write {}: {error}", list.display());
            Failure::new(Cause::Unavailable, detail)
        })
    }

    /// Whether opkg has a control file of this package: it deletes that with the package.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.folder.join(format!("{name}.control")).exists()
    }

    /// The owners of these paths among these packages.
    pub(super) fn owners<'a>(
        &self,
        packages: impl Iterator<Item = &'a str>,
        paths: &BTreeSet<String>,
    ) -> io::Result<Owners> {
        let mut owners = Owners::new();
        for package in packages {
            self.each(package, &mut |path| {
                let path = merged(path);
                if paths.contains(&path) {
                    owners.entry(path).or_default().insert(package.to_owned());
                }
            })?;
        }
        Ok(owners)
    }

    /// A link of the system that opkg deletes with this package: opkg notes a folder of the package that is a link on the
    /// device as a link of the package. `own` has the files and links of the package, if they are known.
    pub(super) fn link_of_system(
        &self,
        name: &str,
        own: Option<&BTreeSet<String>>,
    ) -> io::Result<Option<String>> {
        let mut listed = BTreeSet::new();
        self.each(name, &mut |path| {
            listed.insert(path.to_owned());
        })?;
        let ways = folders(listed.iter().map(String::as_str));
        let mut suspects = listed.iter().filter(|path| {
            ways.contains(path.as_str()) || own.is_some_and(|own| !own.contains(*path))
        });
        Ok(suspects.find(|path| is_link(&self.root, path)).cloned())
    }

    /// Deletes a file that no package has, and nothing but a file or a link.
    pub(super) fn delete(&self, path: &str) -> io::Result<()> {
        let path = Path::new(path);
        let Some((folder, name)) = path.parent().zip(path.file_name()) else {
            return Ok(());
        };
        let folder = match open(&self.root, folder, OFlag::O_DIRECTORY) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        // A disk that is read-only would refuse to delete what is not there.
        if fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) == Err(Errno::ENOENT) {
            return Ok(());
        }
        match nix::unistd::unlinkat(&folder, name, nix::unistd::UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT | Errno::EISDIR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
