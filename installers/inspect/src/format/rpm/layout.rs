//! The parts of an .rpm: lead, signature header, immutable header, payload. Nothing is decompressed here.

use std::ops::Range;

use wharf_frames::{Cause, Failure};

use super::{
    header::{self, Header, HeaderError, HeaderKind, INTRO},
    lead::{self, LEAD, LeadError},
    tag,
};
use crate::{
    archive::Compression,
    part::{ReadAt, read_range, unreadable},
};

/// The signature header is padded with zeros to a multiple of this.
const PADDING: u64 = 8;

/// The number of SHA-256 in OpenPGP (RFC 9580 9.5).
const SHA256: u32 = 8;

/// The versions of the format that are known. Most packages of version 4 do not say theirs.
const VERSIONS: [u32; 2] = [4, 6];

/// The parts of a binary package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpmLayout {
    /// The signature header, which no signature covers.
    pub signature: Header,
    /// The immutable header, which each signature covers.
    pub header: Header,
    /// The place of the immutable header.
    pub covered: Range<u64>,
    /// The payload: all bytes after the immutable header.
    pub payload: Payload,
}

/// The payload, as the immutable header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Its place.
    pub range: Range<u64>,
    /// Its compression.
    pub compression: Compression,
    /// Its SHA-256, compressed as it is.
    pub sha256: [u8; 32],
}

/// A package that is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Lead(#[from] LeadError),
    #[error("its signature header is invalid: {0}")]
    Signature(HeaderError),
    #[error("its header is invalid: {0}")]
    Header(#[from] HeaderError),
    #[error("the padding after its signature header is not zeros")]
    Padding,
    #[error("it has version {0} of the format; versions 4 and 6 are known")]
    Version(u32),
    #[error("it is a source package")]
    Source,
    #[error("it is a delta package")]
    Delta,
    #[error("its payload is not cpio but {0:?}")]
    PayloadFormat(String),
    #[error("its payload is compressed by {0:?}; gzip, xz and zstd are known")]
    Compressor(String),
    #[error("its header has no SHA-256 of its payload; rpmbuild writes one since rpm 4.14")]
    NoDigest,
    #[error("{0} bytes are missing at its end")]
    Missing(u64),
    #[error("{0} bytes follow its end")]
    Trailing(u64),
}

/// Reads the framing of a file of this length.
pub fn layout(file: &dyn ReadAt, length: u64) -> Result<RpmLayout, Failure> {
    let lead = read(file, 0..length.min(LEAD))?;
    match lead::check(&lead) {
        Ok(()) => {}
        Err(LeadError::Magic) => {
            let detail = "the file is not an rpm package: it does not begin as one";
            return Err(Failure::new(Cause::WrongKind, detail));
        }
        Err(error) => return Err(malformed(&error.into())),
    }
    let (signature, end) = read_header(
        file,
        LEAD,
        length,
        HeaderKind::Signature,
        Refused::Signature,
    )?;
    let start = end.next_multiple_of(PADDING);
    let padding = read(file, end..start.min(length))?;
    if start > length || padding.iter().any(|&byte| byte != 0) {
        return Err(malformed(&Refused::Padding));
    }
    let (header, end) = read_header(file, start, length, HeaderKind::Immutable, Refused::Header)?;
    let layout = check_kind(&header)
        .and_then(|()| payload(&header, end..length))
        .map(|payload| RpmLayout {
            signature,
            header,
            covered: start..end,
            payload,
        });
    let layout = layout.map_err(|why| malformed(&why))?;
    layout.check_sizes().map_err(|why| malformed(&why))?;
    Ok(layout)
}

/// The header that begins here, and its end.
fn read_header(
    file: &dyn ReadAt,
    start: u64,
    length: u64,
    kind: HeaderKind,
    refused: fn(HeaderError) -> Refused,
) -> Result<(Header, u64), Failure> {
    let refuse = |error| malformed(&refused(error));
    let intro = read(file, start..length.min(start + INTRO))?;
    let end = start + header::length(&intro, kind).map_err(refuse)?;
    if end > length {
        return Err(refuse(HeaderError::Short));
    }
    let header = Header::parse(&read(file, start..end)?, kind).map_err(refuse)?;
    Ok((header, end))
}

/// Checks that the header is one of a binary package of a known version.
fn check_kind(header: &Header) -> Result<(), Refused> {
    match header.int32(tag::FORMAT)? {
        Some(version) if !VERSIONS.contains(&version) => Err(Refused::Version(version)),
        _ if header.has(tag::SOURCE_PACKAGE) || !header.has(tag::SOURCE_RPM) => {
            Err(Refused::Source)
        }
        _ => Ok(()),
    }
}

/// The payload in this range.
fn payload(header: &Header, range: Range<u64>) -> Result<Payload, Refused> {
    match header.text(tag::PAYLOAD_FORMAT)? {
        Some(b"cpio") => {}
        Some(b"drpm") => return Err(Refused::Delta),
        other => return Err(Refused::PayloadFormat(shown(other.unwrap_or_default()))),
    }
    let compression = match header.text(tag::PAYLOAD_COMPRESSOR)? {
        None => Compression::None,
        Some(b"gzip") => Compression::Gzip,
        Some(b"xz") => Compression::Xz,
        Some(b"zstd") => Compression::Zstd,
        Some(other) => return Err(Refused::Compressor(shown(other))),
    };
    let algorithm = header.int32(tag::PAYLOAD_DIGEST_ALGORITHM)?;
    let digests = header.texts(tag::PAYLOAD_SHA256)?.unwrap_or_default();
    let digest = match (algorithm, &digests[..]) {
        (None | Some(SHA256), [digest]) => sha256_of_hex(digest),
        _ => None,
    };
    Ok(Payload {
        range,
        compression,
        sha256: digest.ok_or(Refused::NoDigest)?,
    })
}

impl RpmLayout {
    /// Checks the lengths that the headers say. Version 4 has the length of header and payload in the signature header,
    /// version 6 the length of the payload in the immutable one.
    fn check_sizes(&self) -> Result<(), Refused> {
        let Range { start, end } = self.payload.range;
        let of_both = self.signature.int32(tag::SIGNATURE_SIZE);
        let of_both = of_both.map_err(Refused::Signature)?.map(u64::from);
        let long = self.signature.int64(tag::SIGNATURE_LONG_SIZE);
        let long = long.map_err(Refused::Signature)?;
        for (said, start) in [
            (of_both, self.covered.start),
            (long, self.covered.start),
            (self.header.int64(tag::PAYLOAD_SIZE)?, start),
        ] {
            let found = end - start;
            match said {
                Some(said) if said > found => return Err(Refused::Missing(said - found)),
                Some(said) if said < found => return Err(Refused::Trailing(found - said)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The digest that this text writes in hexadecimal digits.
pub(super) fn sha256_of_hex(text: &[u8]) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let byte = |&[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
    let bytes = pairs.iter().map(byte).collect::<Option<Vec<_>>>()?;
    bytes.try_into().ok().filter(|_| rest.is_empty())
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(64).collect()
}

fn read(file: &dyn ReadAt, range: Range<u64>) -> Result<Vec<u8>, Failure> {
    read_range(file, range).map_err(|error| unreadable(&error))
}

fn malformed(why: &Refused) -> Failure {
    Failure::new(
        Cause::Malformed,
        format!("the file is not a valid rpm package: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::format::rpm::made::{self, Made};

    const DIGEST: &str = "00ff0102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E";

    /// The entries of an immutable header of version 4.
    fn entries() -> Vec<Made> {
        vec![
            made::text(tag::NAME, "hello"),
            made::text(tag::SOURCE_RPM, "hello-1-1.src.rpm"),
            made::text(tag::PAYLOAD_FORMAT, "cpio"),
            made::text(tag::PAYLOAD_COMPRESSOR, "zstd"),
            made::texts(tag::PAYLOAD_SHA256, &[DIGEST]),
            made::int32s(tag::PAYLOAD_DIGEST_ALGORITHM, &[8]),
        ]
    }

    fn package(signature: &[Made], header: &[Made]) -> Vec<u8> {
        let mut bytes = vec![0; LEAD as usize];
        bytes[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
        bytes[79] = 5;
        bytes.extend(made::bytes(HeaderKind::Signature, signature));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(made::bytes(HeaderKind::Immutable, header));
        bytes.extend(b"payload");
        bytes
    }

    fn read(bytes: &[u8]) -> Result<RpmLayout, Failure> {
        layout(&bytes, bytes.len() as u64)
    }

    #[track_caller]
    fn refused(bytes: &[u8], why: &str) {
        let failure = read(bytes).unwrap_err();
        assert_eq!(failure.cause, Cause::Malformed);
        assert!(failure.detail.as_str().contains(why), "{why}: {failure}");
    }

    #[test]
    fn the_parts_follow_each_other_to_the_end_of_the_file() {
        let bytes = package(&[made::binary(268, b"x")], &entries());
        let layout = read(&bytes).unwrap();
        let part = |range: &Range<u64>| &bytes[range.start as usize..range.end as usize];
        assert_eq!(part(&layout.payload.range), b"payload");
        assert_eq!(
            part(&layout.covered),
            made::bytes(HeaderKind::Immutable, &entries())
        );
        assert_eq!(layout.covered.end, layout.payload.range.start);
        assert_eq!(layout.signature.binary(268), Ok(Some(&b"x"[..])));
        assert_eq!(layout.payload.compression, Compression::Zstd);
        assert_eq!(layout.payload.sha256[..3], [0, 0xff, 1]);
        assert_eq!(layout.payload.sha256[31], 0x1e);
    }

    #[test]
    fn a_file_that_ends_before_its_payload_is_malformed() {
        let bytes = package(&[made::binary(268, b"x")], &entries());
        for length in LEAD as usize..bytes.len() - 7 {
            let cut = read(&bytes[..length]).unwrap_err();
            assert_eq!(cut.cause, Cause::Malformed, "{length}: {cut}");
        }
        for length in 0..LEAD as usize {
            let cut = read(&bytes[..length]).unwrap_err();
            assert_eq!(cut.cause, Cause::WrongKind, "{length}: {cut}");
        }
    }

    #[test]
    fn padding_after_the_signature_header_is_zeros() {
        let mut bytes = package(&[made::binary(268, b"x")], &entries());
        let end =
            LEAD as usize + made::bytes(HeaderKind::Signature, &[made::binary(268, b"x")]).len();
        assert_eq!(end % 8, 1);
        for at in end..end.next_multiple_of(8) {
            bytes[at] = 1;
            refused(&bytes, "padding");
            bytes[at] = 0;
        }
        read(&bytes).unwrap();
    }

    #[test]
    fn a_length_that_the_headers_state_is_the_one_of_the_file() {
        let header = made::bytes(HeaderKind::Immutable, &entries()).len() as u32;
        for (size, why) in [
            (header + 6, Some("1 bytes follow its end")),
            (header + 7, None),
            (header + 8, Some("1 bytes are missing at its end")),
            (u32::MAX, Some("bytes are missing")),
        ] {
            for entry in [
                made::int32s(tag::SIGNATURE_SIZE, &[size]),
                made::int64s(tag::SIGNATURE_LONG_SIZE, &[size.into()]),
            ] {
                let bytes = package(&[entry], &entries());
                match why {
                    Some(why) => refused(&bytes, why),
                    None => drop(read(&bytes).unwrap()),
                }
            }
        }
        for (size, why) in [
            (6, Some("1 bytes follow")),
            (7, None),
            (9, Some("2 bytes are missing")),
        ] {
            let mut entries = entries();
            entries.extend([
                made::int64s(tag::PAYLOAD_SIZE, &[size]),
                made::int32s(tag::FORMAT, &[6]),
            ]);
            let bytes = package(&[], &entries);
            match why {
                Some(why) => refused(&bytes, why),
                None => drop(read(&bytes).unwrap()),
            }
        }
    }

    /// With this entry in the place of the one with its tag, or in front of the next higher one.
    fn with(entry: Made) -> Vec<u8> {
        let mut entries = entries();
        entries.retain(|other| other.0 != entry.0);
        let at = entries.partition_point(|other| other.0 < entry.0);
        entries.insert(at, entry);
        package(&[], &entries)
    }

    fn without(tag: u32) -> Vec<u8> {
        let mut entries = entries();
        entries.retain(|other| other.0 != tag);
        package(&[], &entries)
    }

    #[test]
    fn a_file_that_is_no_binary_package_of_a_known_kind_is_malformed() {
        let (short, long) = (&DIGEST[1..], format!("{DIGEST}00"));
        let digits = DIGEST.replace("ff", "fg");
        for (bytes, why) in [
            (
                with(made::int32s(tag::FORMAT, &[5])),
                "version 5 of the format",
            ),
            (
                with(made::int32s(tag::FORMAT, &[7])),
                "version 7 of the format",
            ),
            (with(made::int32s(tag::FORMAT, &[6, 6])), "tag 5114"),
            (
                with(made::int32s(tag::SOURCE_PACKAGE, &[1])),
                "source package",
            ),
            (without(tag::SOURCE_RPM), "source package"),
            (
                with(made::text(tag::PAYLOAD_FORMAT, "drpm")),
                "delta package",
            ),
            (
                with(made::text(tag::PAYLOAD_FORMAT, "ustar")),
                "not cpio but \"ustar\"",
            ),
            (without(tag::PAYLOAD_FORMAT), "not cpio but \"\""),
            (
                with(made::text(tag::PAYLOAD_COMPRESSOR, "bzip2")),
                "compressed by \"bzip2\"",
            ),
            (
                with(made::text(tag::PAYLOAD_COMPRESSOR, "")),
                "compressed by \"\"",
            ),
            (without(tag::PAYLOAD_SHA256), "no SHA-256"),
            (
                with(made::texts(tag::PAYLOAD_SHA256, &[DIGEST, DIGEST])),
                "no SHA-256",
            ),
            (with(made::texts(tag::PAYLOAD_SHA256, &[""])), "no SHA-256"),
            (
                with(made::texts(tag::PAYLOAD_SHA256, &[short])),
                "no SHA-256",
            ),
            (
                with(made::texts(tag::PAYLOAD_SHA256, &[&long])),
                "no SHA-256",
            ),
            (
                with(made::texts(tag::PAYLOAD_SHA256, &[&digits])),
                "no SHA-256",
            ),
            (with(made::text(tag::PAYLOAD_SHA256, DIGEST)), "tag 5092"),
            (
                with(made::int32s(tag::PAYLOAD_DIGEST_ALGORITHM, &[10])),
                "no SHA-256",
            ),
        ] {
            refused(&bytes, why);
        }
        read(&without(tag::PAYLOAD_DIGEST_ALGORITHM)).unwrap();
        read(&with(made::int32s(tag::FORMAT, &[4]))).unwrap();
        read(&with(made::int32s(tag::FORMAT, &[6]))).unwrap();
        let plain = read(&without(tag::PAYLOAD_COMPRESSOR)).unwrap();
        assert_eq!(plain.payload.compression, Compression::None);
    }

    proptest! {
        /// No byte after the signature header is outside of what a signature covers, directly or by a digest.
        #[test]
        fn a_changed_file_is_refused_or_covered_to_its_last_byte(
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut bytes = package(&[made::binary(268, b"x")], &entries());
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(layout) = read(&bytes) {
                let end = layout.covered.start;
                prop_assert_eq!(layout.covered.end, layout.payload.range.start);
                prop_assert_eq!(layout.payload.range.end, bytes.len() as u64);
                prop_assert!(end >= LEAD + INTRO && end % PADDING == 0);
            }
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_refused(rest: Vec<u8>) {
            let _ = read(&rest);
            let bytes = package(&[], &[]);
            let _ = read(&[&bytes[..LEAD as usize], &rest].concat());
        }
    }
}
