//! The digest of each file of a package, written as a frame as soon as it is read. A package manager that keeps none itself
//! compares the device with them.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use sequoia_openpgp::anyhow;
use wharf_frames::{
    Failure,
    packed::{ContentDigest, FileDigest, Framed, MAX_DIGESTS},
};

use crate::{
    entry::{Entry, Kind},
    files::{bounded, check_utf8, path_of, unsound},
    format::PackageFormat,
    openpgp::digests::Digests,
    part::ReadAt,
};

/// Writes the digests of all files, links and folders, and returns their number. Devices and FIFOs have none.
pub(crate) fn write(
    package: &dyn ReadAt,
    length: u64,
    format: &dyn PackageFormat,
    out: &mut dyn Write,
) -> Result<u32, Failure> {
    let mut seen = BTreeMap::new();
    let mut number = 0;
    format.files(package, length, &mut |entry| {
        let Some(digest) = digest_of(entry, &mut seen)? else {
            return Ok(());
        };
        number = one_more(number)?;
        let frame = digest.to_frame().map_err(io::Error::other)?;
        out.write_all(&frame)
    })?;
    Ok(number)
}

/// The digest of an entry. A hard link has that of the file that it leads to, which comes before it: nothing could unpack
/// the link otherwise.
fn digest_of(
    entry: Entry<'_>,
    seen: &mut BTreeMap<String, ContentDigest>,
) -> io::Result<Option<FileDigest>> {
    let content = match entry.kind {
        Kind::File(content) => file(content)?,
        Kind::Link(target) => {
            check_utf8(target)?;
            ContentDigest::Link(bounded(target)?)
        }
        Kind::HardLink(target) => {
            let target = path_of(target)?;
            match seen.get(&target) {
                Some(content @ ContentDigest::File { .. }) => content.clone(),
                _ => {
                    return unsound(&format!(
                        "it has a hard link to {target}, and no such file before it"
                    ));
                }
            }
        }
        Kind::Folder => return folder(entry.path),
        Kind::Special => return Ok(None),
    };
    check_utf8(entry.path)?;
    let path = path_of(entry.path)?;
    if seen.insert(path.clone(), content.clone()).is_some() {
        return unsound(&format!("it has two files {path}"));
    }
    Ok(Some(FileDigest { path, content }))
}

fn one_more(number: u32) -> io::Result<u32> {
    match number < MAX_DIGESTS {
        true => Ok(number + 1),
        false => unsound(&format!("it has more than {MAX_DIGESTS} files and folders")),
    }
}

/// A package may name a folder often. The folder of all, `./`, says nothing.
fn folder(path: &[u8]) -> io::Result<Option<FileDigest>> {
    check_utf8(path)?;
    let path = bounded(path)?;
    let is_root = path.split('/').all(|part| matches!(part, "" | "."));
    if is_root {
        return Ok(None);
    }
    Ok(Some(FileDigest {
        path: path_of(path.as_bytes())?,
        content: ContentDigest::Folder,
    }))
}

fn file(content: &mut dyn Read) -> io::Result<ContentDigest> {
    let mut digests = Digests::default();
    digests.add_sha256().map_err(unhashed)?;
    let length = digests.read(content)?;
    let sha256 = digests.sha256().map_err(unhashed)?;
    Ok(ContentDigest::File { length, sha256 })
}

fn unhashed(error: anyhow::Error) -> io::Error {
    io::Error::other(format!("it cannot be hashed: {error}"))
}
