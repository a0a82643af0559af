//! The entries of the data.tar of a .deb or .ipk (tar(5)), as dpkg reads it (its lib/dpkg/tar.c). An entry is an error if
//! dpkg does not unpack it, or reads it in another way than this module. opkg reads more kinds of tar, and these in the same
//! way.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use tar::{Archive as Tar, Entry as Raw, EntryType, Header};

use crate::entry::{Each, Entry, Kind};

/// The longest path, and the longest target of a link: PATH_MAX of Linux.
const MAX_PATH: u64 = 4096;

/// Hands each entry on. Like dpkg, it ignores bytes after the end of the archive.
pub(crate) fn each(tar: &mut dyn Read, each: Each<'_>) -> io::Result<()> {
    let (mut long_path, mut long_target) = (None, None);
    for entry in Tar::new(tar).entries()?.raw(true) {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        let long = match kind {
            EntryType::GNULongName => &mut long_path,
            EntryType::GNULongLink => &mut long_target,
            _ => {
                pass_on(&mut entry, long_path.take(), long_target.take(), &mut *each)?;
                continue;
            }
        };
        if long.replace(long_name(&mut entry)?).is_some() {
            return Err(io::Error::other("it has an entry with two long names"));
        }
    }
    match (long_path, long_target) {
        (None, None) => Ok(()),
        _ => Err(io::Error::other("it ends after a long name")),
    }
}

fn pass_on<R: Read>(
    entry: &mut Raw<'_, R>,
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    each: Each<'_>,
) -> io::Result<()> {
    let header = entry.header().clone();
    check_kind(&header)?;
    let path = path.map_or_else(|| header.path_bytes(), Cow::Owned);
    let target = target.map_or_else(|| header.link_name_bytes().unwrap_or_default(), Cow::Owned);
    if path.is_empty() {
        return Err(io::Error::other("it has an entry without a name"));
    }
    let kind = match header.entry_type() {
        // By its type byte, dpkg treats it as a file or a folder.
        EntryType::Regular if path.ends_with(b"/") => {
            return Err(io::Error::other(
                "it has a file with a name that ends with '/'",
            ));
        }
        EntryType::Regular => Kind::File(entry),
        // dpkg reads content only of files: it would take this content for the next header.
        _ if header.entry_size()? > 0 => {
            return Err(io::Error::other(
                "it has content of an entry that is not a file",
            ));
        }
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Link(&target),
        EntryType::Link => Kind::HardLink(&target),
        _ => Kind::Special,
    };
    each(Entry { path: &path, kind })
}

/// Whether dpkg unpacks an entry with this header, and finds its path where the crate `tar` finds it.
fn check_kind(header: &Header) -> io::Result<()> {
    let kind = header.entry_type();
    let is_unpacked = matches!(
        kind,
        EntryType::Regular
            | EntryType::Directory
            | EntryType::Symlink
            | EntryType::Link
            | EntryType::Char
            | EntryType::Block
            | EntryType::Fifo
    );
    if !is_unpacked {
        let kind = char::from(kind.as_byte());
        return Err(io::Error::other(format!(
            "it has an entry of the type {kind:?}, which is not allowed in a package"
        )));
    }
    let is_known = header.as_ustar().is_some() || header.as_gnu().is_some();
    match is_known || !header.as_old().pad.starts_with(b"ustar") {
        true => Ok(()),
        false => Err(io::Error::other(
            "it has an entry of an unknown kind of tar",
        )),
    }
}

/// The name in a GNU tar entry of its own, which precedes the entry with this name.
fn long_name(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut name = Vec::new();
    entry.take(MAX_PATH + 1).read_to_end(&mut name)?;
    if name.len() as u64 > MAX_PATH {
        return Err(io::Error::other("a name in it is too long"));
    }
    let end = name.iter().position(|&byte| byte == 0);
    name.truncate(end.unwrap_or(name.len()));
    Ok(name)
}
