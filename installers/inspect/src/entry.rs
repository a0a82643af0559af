//! The entries of a package: the files, links and folders that its package manager would unpack.

use std::io::{self, Read};

/// Takes the entries of a package.
pub type Each<'a> = &'a mut dyn FnMut(Entry<'_>) -> io::Result<()>;

/// An entry of a package.
pub struct Entry<'a> {
    /// Its path, as the package writes it.
    pub path: &'a [u8],
    /// Its kind.
    pub kind: Kind<'a>,
}

/// The kind of an entry of a package.
pub enum Kind<'a> {
    /// A file with this content. Content that is not read is skipped.
    File(&'a mut dyn Read),
    /// A symbolic link to this target, as the package writes it.
    Link(&'a [u8]),
    /// Another name of the file that has this path in the package.
    HardLink(&'a [u8]),
    /// A folder.
    Folder,
    /// A device or a FIFO.
    Special,
}
