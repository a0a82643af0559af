//! The compressed tar archives in a package: compression, content and end of each.

use std::{io, ops::Range};

use tar::Archive as Tar;

use crate::part::{ReadAt, read_range};

pub(crate) mod ar;
pub(crate) mod end;
pub(crate) mod unpack;

/// The first bytes of an archive, which show its compression. The header of tar(5) is the longest of them.
const HEAD: u64 = 512;

/// The first bytes of the stream of each compressor that a package manager knows or once knew.
const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const LZMA: &[u8] = &[0x5d, 0, 0];

/// A tar archive that is a part of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The position of its bytes.
    pub range: Range<u64>,
    /// The compressor. Name and magic bytes must agree.
    pub compression: Compression,
}

/// The compression of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.xz`
    Xz,
    /// `.zst`
    Zstd,
}

impl Archive {
    /// Whether its first bytes are those of its compression.
    pub(crate) fn begins_as_packed<S: ReadAt + ?Sized>(&self, file: &S) -> io::Result<bool> {
        let Range { start, end } = self.range;
        let head = read_range(file, start..end.min(start + HEAD))?;
        Ok(self.compression.begins(&head))
    }
}

impl Compression {
    /// Whether an archive of this kind may begin with these bytes. No bytes fit two kinds, since the name that selects
    /// the kind is not signed.
    pub(crate) fn begins(self, head: &[u8]) -> bool {
        match self {
            Self::None => {
                let compressors = [GZIP, XZ, ZSTD, BZIP2, LZMA];
                is_tar(head) && !compressors.iter().any(|magic| head.starts_with(magic))
            }
            Self::Gzip => head.starts_with(GZIP),
            Self::Xz => head.starts_with(XZ),
            Self::Zstd => head.starts_with(ZSTD),
        }
    }
}

/// Whether a header of POSIX or GNU tar begins here, with its right checksum. An empty archive has none: a package has its
/// top folder at least, and zeros could be the end of the archive before it.
fn is_tar(head: &[u8]) -> bool {
    let mut tar = Tar::new(head);
    let first = tar.entries().map(|entries| entries.raw(true).next());
    let Ok(Some(Ok(first))) = first else {
        return false;
    };
    first.header().as_ustar().is_some() || first.header().as_gnu().is_some()
}

#[cfg(test)]
mod tests {
    use tar::Header;

    use super::*;

    /// The first block of an archive whose first file has this name.
    fn header(mut header: Header, name: &[u8]) -> [u8; 512] {
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(0);
        header.set_cksum();
        *header.as_bytes()
    }

    #[test]
    fn what_claims_no_compression_is_a_tar_and_the_stream_of_no_compressor() {
        let sound = header(Header::new_gnu(), b"./");
        let changed = |position: usize, byte: u8| {
            let mut changed = sound;
            changed[position] = byte;
            changed
        };
        let names: [&[u8]; 5] = [GZIP, XZ, ZSTD, BZIP2, LZMA];
        let named = names.map(|name| header(Header::new_gnu(), name));
        for (what, head, expected) in [
            ("GNU", &sound[..], true),
            ("POSIX", &header(Header::new_ustar(), b"./"), true),
            ("before POSIX", &header(Header::new_old(), b"./"), false),
            ("nothing", b"", false),
            ("cut short", &sound[..511], false),
            ("an empty archive", &[0; 512], false),
            ("another name", &changed(0, b'x'), false),
            ("another magic", &changed(257, b'x'), false),
            ("no checksum", &changed(148, b'x'), false),
            ("named like gzip", &named[0], false),
            ("named like xz", &named[1], false),
            ("named like zstd", &named[2], false),
            ("named like bzip2", &named[3], false),
            ("named like lzma", &named[4], false),
        ] {
            assert_eq!(Compression::None.begins(head), expected, "{what}");
        }
    }

    #[test]
    fn no_bytes_begin_two_kinds_of_archives() {
        use Compression::{Gzip, None, Xz, Zstd};
        let tar = header(Header::new_gnu(), b"./");
        for (head, kind) in [
            (&tar[..], None),
            (b"\x1f\x8b\x08", Gzip),
            (b"\xfd7zXZ\0\0\x04", Xz),
            (b"\x28\xb5\x2f\xfd\x04", Zstd),
        ] {
            for claimed in [None, Gzip, Xz, Zstd] {
                let told = format!("{kind:?} as {claimed:?}");
                assert_eq!(claimed.begins(head), claimed == kind, "{told}");
                assert!(
                    !claimed.begins(&head[1..]),
                    "{told}, its first byte cut off"
                );
            }
        }
    }
}
