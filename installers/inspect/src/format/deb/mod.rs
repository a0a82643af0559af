//! The format .deb (deb(5)): its framing, the signature of debsigs inside it, and its control file, found in control.tar.

use std::io;

use tar::{Archive as Tar, Entry, EntryType};
use wharf_frames::{Cause, Failure, inspect::Described};

use crate::{
    archive::{
        Archive, end, entries,
        unpack::{unpack, unpacked},
    },
    entry::Each,
    format::{Inside, PackageFormat},
    part::{ReadAt, read_range, unreadable},
};

use control::MAX_CONTROL;

pub mod ar;
mod control;

/// The longest control.tar, unpacked: md5sums of a package with 100,000 files has 8 MiB.
const MAX_CONTROL_TAR: usize = 16 * 1024 * 1024;

/// tar(5): everything lies at multiples of this, and two blocks of zeros end it.
const BLOCK: u64 = 512;

/// The format .deb.
pub struct Deb;

impl PackageFormat for Deb {
    fn signature_inside(&self, file: &dyn ReadAt, length: u64) -> Result<Option<Inside>, Failure> {
        let layout = ar::layout(file, length)?;
        let Some(origin) = layout.origin.clone() else {
            return Ok(None);
        };
        Ok(Some(Inside {
            packets: read_range(file, origin).map_err(|error| unreadable(&error))?,
            covers: layout.signed(),
            digests: Vec::new(),
        }))
    }

    fn describe(&self, file: &dyn ReadAt, length: u64) -> Result<Described, Failure> {
        let layout = ar::layout(file, length)?;
        let tar = control_tar(file, &layout.control);
        let tar = tar.map_err(|error| malformed("control.tar", &error))?;
        let control = control_of(&tar).map_err(|error| malformed("control.tar", &error))?;
        let described = control::parse(&control).map_err(|error| malformed("control", &error))?;
        end::check(file, &layout.data).map_err(|error| malformed("data.tar", &error))?;
        Ok(described)
    }

    fn files(&self, file: &dyn ReadAt, length: u64, each: Each<'_>) -> Result<(), Failure> {
        let layout = ar::layout(file, length)?;
        let read = unpacked(file, &layout.data, |tar| entries::each(tar, each));
        read.map_err(|error| malformed("data.tar", &error))
    }
}

fn control_tar(file: &dyn ReadAt, archive: &Archive) -> io::Result<Vec<u8>> {
    let mut tar = Vec::new();
    unpack(file, archive, |bytes| {
        if tar.len() + bytes.len() > MAX_CONTROL_TAR {
            return Err(io::Error::other("it unpacks to more than 16 MiB"));
        }
        tar.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(tar)
}

/// The bytes of the one file `control`. dpkg knows neither pax headers nor folders here, so there are none.
fn control_of(tar: &[u8]) -> io::Result<Vec<u8>> {
    let mut control = None;
    let mut end = 0;
    for entry in Tar::new(tar).entries()?.raw(true) {
        let mut entry = entry?;
        let size = entry.header().entry_size()?;
        end = entry
            .raw_file_position()
            .saturating_add(size.next_multiple_of(BLOCK));
        if is_control(&entry)? && control.replace(bytes_of(&mut entry, size)?).is_some() {
            return Err(io::Error::other("it has two control files"));
        }
    }
    let rest = usize::try_from(end)
        .ok()
        .and_then(|end| tar.get(end..))
        .unwrap_or_default();
    if rest.len() < 2 * BLOCK as usize || rest.iter().any(|&byte| byte != 0) {
        return Err(io::Error::other(
            "it does not end with two blocks of zeros and nothing else",
        ));
    }
    control.ok_or_else(|| io::Error::other("it has no control file"))
}

fn is_control(entry: &Entry<'_, &[u8]>) -> io::Result<bool> {
    let path = entry.header().path_bytes();
    let name = path.strip_prefix(b"./").unwrap_or(&path);
    match entry.header().entry_type() {
        EntryType::Directory if matches!(name, b"" | b".") => Ok(false),
        EntryType::Regular if !name.is_empty() && !name.contains(&b'/') => Ok(name == b"control"),
        _ => Err(io::Error::other("it has an entry that is not a plain file")),
    }
}

fn bytes_of(entry: &mut impl io::Read, size: u64) -> io::Result<Vec<u8>> {
    if size > MAX_CONTROL as u64 {
        return Err(io::Error::other("its control file is too long"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn malformed(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Cause::Malformed,
        format!("the {what} of the package is not valid: {error}"),
    )
}
