//! The framing of a .deb (deb(5), ar(5)). A signature inside covers the bytes of three members, but not their names,
//! sizes and boundaries, so the framing must have only one reading. This module does not decompress.

use std::ops::Range;

use wharf_frames::{Cause, Failure};

use crate::{
    archive::{
        Archive,
        ar::{Member, Members, malformed},
    },
    part::ReadAt,
};

/// The most `_gpg*` members: debsigs knows three types.
const MAX_SIGNATURES: usize = 8;

/// The longest `_gpg*` member.
const MAX_SIGNATURE: u64 = 64 * 1024;

/// The positions of the parts of a .deb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `debian-binary`, which says `2.0\n`.
    pub format: Range<u64>,
    /// `control.tar*`.
    pub control: Archive,
    /// `data.tar*`.
    pub data: Archive,
    /// `_gpgorigin`, the signature that debsigs puts in.
    pub origin: Option<Range<u64>>,
}

impl Layout {
    /// The content that debsigs signs: the bytes of the three members, one after the other.
    pub(super) fn signed(&self) -> Vec<Range<u64>> {
        [&self.format, &self.control.range, &self.data.range]
            .map(Clone::clone)
            .into()
    }
}

/// Reads the framing of a file of this length.
pub fn layout<S: ReadAt + ?Sized>(file: &S, length: u64) -> Result<Layout, Failure> {
    let Some(mut members) = Members::of(file, length)? else {
        return Err(Failure::new(
            Cause::WrongKind,
            "the file is not a Debian package: it does not begin as an ar archive",
        ));
    };
    let format = members.expect_debian_binary()?;
    let control = members.expect_archive("control.tar")?;
    let data = members.expect_archive("data.tar")?;
    let origin = signatures(&mut members)?;
    Ok(Layout {
        format,
        control,
        data,
        origin,
    })
}

/// Reads different `_gpg*` members up to the end of the file. Any other member is an error.
fn signatures<S: ReadAt + ?Sized>(
    members: &mut Members<'_, S>,
) -> Result<Option<Range<u64>>, Failure> {
    let mut seen: Vec<Member> = Vec::new();
    while let Some(member) = members.next()? {
        let signature = member.name.strip_prefix("_gpg").unwrap_or_default();
        if signature.is_empty() || !signature.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(malformed(&format!(
                "the member {:?} after data.tar is no signature",
                member.name
            )));
        }
        if member.range.end - member.range.start > MAX_SIGNATURE {
            return Err(malformed("a signature in it is too long"));
        }
        if seen.len() == MAX_SIGNATURES || seen.iter().any(|other| other.name == member.name) {
            return Err(malformed(
                "too many signatures in it, or the same one twice",
            ));
        }
        seen.push(member);
    }
    let origin = seen.into_iter().find(|member| member.name == "_gpgorigin");
    Ok(origin.map(|member| member.range))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        archive::{
            Compression,
            ar::{HEADER, MAGIC},
        },
        part::Parts,
    };

    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let size = content.len();
        let header = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
            1_700_000_000, 0, 0, 100_644
        );
        let padding = &b"\n"[..size % 2];
        [header.as_bytes(), content, padding].concat()
    }

    fn sound() -> Vec<u8> {
        [
            MAGIC.to_vec(),
            member("debian-binary", b"2.0\n"),
            member("control.tar.gz", b"\x1f\x8bcontrol"),
            member("data.tar.xz", b"\xfd7zXZ\0data"),
            member("_gpgorigin", b"signature"),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Result<Layout, Failure> {
        layout(bytes, bytes.len() as u64)
    }

    #[test]
    fn tells_where_the_members_lie() {
        let bytes = sound();
        let layout = read(&bytes).unwrap();
        let part = |range: &Range<u64>| &bytes[range.start as usize..range.end as usize];
        assert_eq!(part(&layout.control.range), b"\x1f\x8bcontrol");
        assert_eq!(part(&layout.data.range), b"\xfd7zXZ\0data");
        assert_eq!(part(&layout.origin.clone().unwrap()), b"signature");
        assert_eq!(layout.control.compression, Compression::Gzip);
        let mut signed = Vec::new();
        let content = &mut Parts::new(&bytes[..], layout.signed());
        content.read_to_end(&mut signed).unwrap();
        assert_eq!(signed, b"2.0\n\x1f\x8bcontrol\xfd7zXZ\0data");
    }

    #[test]
    fn takes_the_slash_that_gnu_ar_ends_names_with() {
        let mut bytes = sound();
        bytes[8 + "debian-binary".len()] = b'/';
        read(&bytes).unwrap();
    }

    /// Columns of the first member's header, which begins at the eighth byte.
    #[test]
    fn numbers_that_could_be_read_in_two_ways_are_malformed() {
        for (field, column, width) in [
            ("time", 16, 12),
            ("uid", 28, 6),
            ("gid", 34, 6),
            ("mode", 40, 8),
            ("size", 48, 10),
        ] {
            for number in ["", "-4", "+4", " 4", "04", "4 4", "0x4", "4\0", "4\t", "4k"] {
                let mut bytes = sound();
                bytes[8 + column..][..width]
                    .copy_from_slice(format!("{number:<width$}").as_bytes());
                let got = read(&bytes);
                assert!(
                    got.as_ref()
                        .is_err_and(|failure| failure.cause == Cause::Malformed),
                    "{field} {number:?}: got {got:?}"
                );
            }
        }
        let mut bytes = sound();
        bytes[8 + 40] = b'8';
        assert!(read(&bytes).is_err(), "a mode is octal");
    }

    #[test]
    fn padding_is_one_new_line() {
        let odd = sound();
        assert_eq!(odd.last(), Some(&b'\n'));
        for padding in [&b""[..], b"\0", b"\n\n", b" "] {
            let bytes = [&odd[..odd.len() - 1], padding].concat();
            assert_eq!(
                read(&bytes).unwrap_err().cause,
                Cause::Malformed,
                "{padding:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_package_cut_anywhere_but_before_its_signature_is_none(cut in 0usize..1000) {
            let bytes = sound();
            let unsigned = bytes.len() - member("_gpgorigin", b"signature").len();
            let cut = cut % bytes.len();
            prop_assert_eq!(read(&bytes[..cut]).is_ok(), cut == unsigned);
        }

        /// The bytes before, between and after the parts are fixed, so the parts and their headers are the whole file.
        #[test]
        fn whatever_is_taken_is_covered_to_its_last_byte(changes in vec((0usize..1000, any::<u8>()), 0..4)) {
            let mut bytes = sound();
            for (position, byte) in changes {
                let position = position % bytes.len();
                bytes[position] = byte;
            }
            if let Ok(Layout { format, control, data, origin }) = read(&bytes) {
                let parts = [Some(format), Some(control.range), Some(data.range), origin];
                let parts: Vec<_> = parts.into_iter().flatten().collect();
                let mut position = MAGIC.len() as u64;
                for part in parts {
                    prop_assert_eq!(part.start, position + HEADER);
                    position = part.end.next_multiple_of(2);
                }
                prop_assert!(position <= bytes.len() as u64);
            }
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_refused(rest: Vec<u8>) {
            let _ = read(&rest);
            let _ = read(&[MAGIC, &rest].concat());
        }
    }
}
