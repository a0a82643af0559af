//! A link to a package file, for one run of a package manager: they accept a file only if its name has the right ending.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use wharf_root::{Root, durable};

/// The link is deleted when this is dropped.
pub(crate) struct Link {
    outside: PathBuf,
    /// Its absolute path in the root.
    pub(crate) inside: PathBuf,
}

impl Link {
    /// Makes a link in this folder of the root. Each run has its own, since a plan may be asked for while the same file is
    /// installed.
    pub(crate) fn new(root: &Root, folder: &Path, file: &Path, ending: &str) -> io::Result<Self> {
        let target = root.seen_inside(file);
        let name = folder.join(file.file_name().unwrap_or_default());
        let (outside, ()) = durable::unique(&name, ending, |path| symlink(&target, path))?;
        Ok(Self {
            inside: root.seen_inside(&outside),
            outside,
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.outside);
    }
}
