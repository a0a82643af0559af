//! Bundles: a tar, plain or compressed, with the manifest first and then the packages that it installs. Its headers have one
//! form (`wharf_bundle::header`), so this module reads them itself.

use std::io::{self, Read, Write};

use wharf_bundle::{
    MANIFEST, MAX_MANIFEST, Manifest,
    header::{BLOCK, BundleHeader, MAX_END},
};
use wharf_frames::{Cause, Failure, packed::Framed};

use crate::{
    archive::{Archive, Compression, unpack::unpacked},
    openpgp::digests::Digests,
    part::{ReadAt, unreadable},
};

/// The archive that a file is as a whole; none if it begins as none. It may be a bundle, or a package in a compressed tar.
pub(crate) fn outer(file: &dyn ReadAt, length: u64) -> Result<Option<Archive>, Failure> {
    use Compression::{Gzip, None as Plain, Xz, Zstd};
    for compression in [Plain, Gzip, Xz, Zstd] {
        let archive = Archive {
            range: 0..length,
            compression,
        };
        if archive
            .begins_as_packed(&file)
            .map_err(|error| unreadable(&error))?
        {
            return Ok(Some(archive));
        }
    }
    Ok(None)
}

/// The name of the first file in an archive; none if it begins with no file. It unpacks the first block alone.
pub(crate) fn first_name(file: &dyn ReadAt, archive: &Archive) -> Option<String> {
    let mut name = None;
    let _ = unpacked(file, archive, |content| {
        let mut block = [0; BLOCK];
        content.read_exact(&mut block)?;
        name = block
            .split(|&byte| byte == 0)
            .next()
            .and_then(|name| str::from_utf8(name).ok())
            .filter(|_| Compression::None.begins(&block))
            .map(ToOwned::to_owned);
        Err(enough())
    });
    name
}

/// The failure of an archive that is no package and no bundle.
pub(crate) fn without_manifest(first: &str) -> Failure {
    invalid(&format!(
        "its first file is {first:?}, and a bundle begins with {MANIFEST}"
    ))
}

/// Writes the manifest of a bundle as a frame, and returns the number of manifests: one.
pub fn write_manifest(file: &dyn ReadAt, length: u64, out: &mut dyn Write) -> Result<u32, Failure> {
    let archive = whole(file, length)?;
    let mut manifest = None;
    let read = unpacked(file, &archive, |content| {
        manifest = Some(Blocks { content }.manifest()?);
        Err(enough())
    });
    let frame = match (manifest, read) {
        (Some(manifest), _) => manifest.to_frame().map_err(|error| error.to_string()),
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(())) => Err("it is empty".to_owned()),
    };
    let frame = frame.map_err(|why| invalid(&why))?;
    out.write_all(&frame).map_err(|error| unreadable(&error))?;
    Ok(1)
}

/// Writes each package of a bundle, with its length before it, and returns their number. It checks all of the archive.
pub fn write_members(file: &dyn ReadAt, length: u64, out: &mut dyn Write) -> Result<u32, Failure> {
    let archive = whole(file, length)?;
    let mut number = 0;
    let mut failure = None;
    let read = unpacked(file, &archive, |content| {
        let mut blocks = Blocks { content };
        let manifest = blocks.manifest()?;
        for (name, stated) in manifest.installs() {
            let header = blocks.member(name.as_str())?;
            out.write_all(&header.length.to_be_bytes())?;
            if blocks.pass_on(&header, out)? != *stated {
                let detail = format!(
                    "the file {name} of the bundle does not have the sha256 of its manifest"
                );
                failure = Some(Failure::new(Cause::WrongDigest, detail));
                return Err(enough());
            }
            number += 1;
        }
        blocks.end()
    });
    match (failure, read) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(invalid(&error.to_string())),
        (None, Ok(())) => Ok(number),
    }
}

fn whole(file: &dyn ReadAt, length: u64) -> Result<Archive, Failure> {
    let outer = outer(file, length)?;
    outer.ok_or_else(|| invalid("it is no tar, and no compressed one"))
}

/// The content of the archive, which is read block by block.
struct Blocks<'a> {
    content: &'a mut dyn Read,
}

impl Blocks<'_> {
    /// The manifest, which is the first file.
    fn manifest(&mut self) -> io::Result<Manifest> {
        let header = match self.header()? {
            Some(header) if header.name == MANIFEST => header,
            Some(header) => {
                let why = format!(
                    "its first file is {:?}, and a bundle begins with {MANIFEST}",
                    header.name
                );
                return Err(unsound(why));
            }
            None => return Err(unsound("it has no file".to_owned())),
        };
        if header.length > MAX_MANIFEST {
            let why = format!(
                "its {MANIFEST} has {} bytes: at most {MAX_MANIFEST} are allowed",
                header.length
            );
            return Err(unsound(why));
        }
        let mut text = Vec::new();
        self.copy(&header, &mut |bytes| text.write_all(bytes))?;
        let text =
            String::from_utf8(text).map_err(|_| unsound(format!("its {MANIFEST} is not UTF-8")))?;
        Manifest::parse(&text).map_err(|error| unsound(format!("its {MANIFEST}: {error}")))
    }

    /// The header of the file of this name, which is the next one.
    fn member(&mut self, name: &str) -> io::Result<BundleHeader> {
        match self.header()? {
            Some(header) if header.name == name => Ok(header),
            Some(BundleHeader { name: other, .. }) if other == MANIFEST => {
                Err(unsound(format!("it has {MANIFEST} twice")))
            }
            Some(BundleHeader { name: other, .. }) => Err(unsound(format!(
                "its file {other:?} is in the place of {name}: the files come in the order of the steps"
            ))),
            None => Err(unsound(format!("it ends before {name}"))),
        }
    }

    /// None at the end of the archive.
    fn header(&mut self) -> io::Result<Option<BundleHeader>> {
        let mut block = [0; BLOCK];
        self.content.read_exact(&mut block).map_err(early)?;
        BundleHeader::from_block(&block).map_err(|error| unsound(error.to_string()))
    }

    /// Passes the content of a file on, and returns its SHA-256.
    fn pass_on(&mut self, header: &BundleHeader, out: &mut dyn Write) -> io::Result<[u8; 32]> {
        let mut digests = Digests::default();
        digests.add_sha256().map_err(io::Error::other)?;
        self.copy(header, &mut |bytes| {
            digests.update(bytes);
            out.write_all(bytes)
        })?;
        digests.sha256().map_err(io::Error::other)
    }

    fn copy(
        &mut self,
        header: &BundleHeader,
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let mut left = header.length;
        while left > 0 {
            let most = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let (buffer, _) = buffer.split_at_mut(most);
            let length = self.content.read(buffer)?;
            match buffer.get(..length) {
                Some([]) | None => return Err(early(io::ErrorKind::UnexpectedEof.into())),
                Some(bytes) => each(bytes)?,
            }
            left -= length as u64;
        }
        let mut padding = [0; BLOCK];
        let length = usize::try_from(header.padding()).map_err(io::Error::other)?;
        let padding = padding.get_mut(..length).unwrap_or_default();
        self.content.read_exact(padding).map_err(early)?;
        match padding.iter().all(|&byte| byte == 0) {
            true => Ok(()),
            false => Err(unsound(format!(
                "bytes follow the content of its {:?}",
                header.name
            ))),
        }
    }

    /// Two blocks of zeros, and zeros up to the end.
    fn end(&mut self) -> io::Result<()> {
        if let Some(header) = self.header()? {
            return Err(unsound(match header.name == MANIFEST {
                true => format!("it has {MANIFEST} twice"),
                false => format!("it has {:?}, which no step installs", header.name),
            }));
        }
        let mut block = [0; BLOCK];
        self.content.read_exact(&mut block).map_err(early)?;
        let mut rest = Vec::new();
        (&mut *self.content)
            .take(MAX_END + 1)
            .read_to_end(&mut rest)?;
        let is_end = block.iter().chain(&rest).all(|&byte| byte == 0);
        match is_end && rest.len() as u64 <= MAX_END {
            true => Ok(()),
            false => Err(unsound("bytes follow its end".to_owned())),
        }
    }
}

/// Ends the reading of an archive of which no more is needed.
fn enough() -> io::Error {
    io::Error::other("no more is needed")
}

fn early(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => unsound("it ends too early".to_owned()),
        _ => error,
    }
}

fn unsound(why: String) -> io::Error {
    io::Error::other(why)
}

fn invalid(why: &str) -> Failure {
    let detail = format!("the bundle is not valid: {why}");
    Failure::new(Cause::Malformed, detail)
}
