//! A package inside an OpenPGP message (RFC 9580 10.3): signed in one pass, compressed once or not at all. This module
//! separates the package from its signatures. They are judged like signatures beside a package.

use std::io::{Read, Write};

use flate2::read::{DeflateDecoder, ZlibDecoder};
use sequoia_openpgp::{
    anyhow,
    packet::Packet,
    parse::{Dearmor, PacketParser, PacketParserBuilder, PacketParserResult, Parse},
    serialize::MarshalInto,
    types::CompressionAlgorithm,
};
use wharf_frames::{
    Cause, Failure,
    inspect::{MAX_SIGNATURES_AROUND, Unwrapped},
};

use crate::{
    archive::unpack::pass_on,
    part::{Part, ReadAt},
};

/// [`is_one`] needs this many first bytes of a file.
pub(crate) const HEAD: u64 = 32;

/// Whether a file with these first bytes is a message that can be taken apart. An error for any other message.
pub(crate) fn is_one(head: &[u8]) -> Result<bool, Failure> {
    let refused = |why: &str| Err(Failure::new(Cause::WrongKind, why));
    if head.starts_with(b"-----BEGIN PGP ") {
        return refused("the file is an OpenPGP message in ASCII armor: sign it without --armor");
    }
    match head.first().copied().and_then(tag) {
        Some(COMPRESSED | ONE_PASS_SIGNATURE) => Ok(true),
        Some(TO_A_KEY | BY_A_PASSPHRASE | LITERAL) => refused(
            "the file is an OpenPGP message that is not signed in the clear: use gpg --sign",
        ),
        _ => Ok(false),
    }
}

const TO_A_KEY: u8 = 1;
const BY_A_PASSPHRASE: u8 = 3;
const ONE_PASS_SIGNATURE: u8 = 4;
const COMPRESSED: u8 = 8;
const LITERAL: u8 = 11;

/// The type of the packet with this first byte (RFC 9580 4.2).
fn tag(first: u8) -> Option<u8> {
    match first >> 6 {
        0b11 => Some(first & 0x3f),
        0b10 => Some(first >> 2 & 0xf),
        _ => None,
    }
}

/// Takes a message apart: writes the package as it comes, and returns its signatures.
pub(crate) fn unwrap<S: ReadAt + Sync + ?Sized>(
    file: &S,
    length: u64,
    package: impl Write,
) -> Result<Unwrapped, Failure> {
    let mut packet = match parse(Part::new(file, 0..length))? {
        PacketParserResult::Some(packet) => packet,
        PacketParserResult::EOF(_) => return Pieces::default().whole(),
    };
    let Packet::CompressedData(data) = &packet.packet else {
        return signed(PacketParserResult::Some(packet), package);
    };
    let unwrapped = match data.algo() {
        CompressionAlgorithm::Zip => signed(parse(DeflateDecoder::new(&mut packet))?, package),
        CompressionAlgorithm::Zlib => signed(parse(ZlibDecoder::new(&mut packet))?, package),
        other => Err(unsound(&anyhow::anyhow!(
            "it is compressed by {other}: sign with --compress-algo zip, zlib or none"
        ))),
    }?;
    match packet.next().map_err(|error| unsound(&error))?.1 {
        PacketParserResult::EOF(_) => Ok(unwrapped),
        PacketParserResult::Some(_) => Err(unsound(&anyhow::anyhow!("something follows it"))),
    }
}

fn parse<'a>(message: impl Read + Send + Sync + 'a) -> Result<PacketParserResult<'a>, Failure> {
    let builder = PacketParserBuilder::from_reader(message).map_err(|error| unsound(&error))?;
    let builder = builder
        .dearmor(Dearmor::Disabled)
        .max_recursion_depth(0)
        .automatic_hashing(false);
    builder.build().map_err(|error| unsound(&error))
}

/// Takes apart a message without compression.
fn signed(mut rest: PacketParserResult<'_>, mut package: impl Write) -> Result<Unwrapped, Failure> {
    let mut pieces = Pieces::default();
    loop {
        match rest {
            PacketParserResult::Some(mut packet) => {
                pieces.take(&mut packet, &mut package)?;
                rest = packet.next().map_err(|error| unsound(&error))?.1;
            }
            PacketParserResult::EOF(end) => {
                end.is_message().map_err(|error| unsound(&error))?;
                return pieces.whole();
            }
        }
    }
}

/// The pieces of a message that have been read.
#[derive(Default)]
struct Pieces {
    /// Number of announced signatures.
    announced: usize,
    /// Number of signatures read.
    came: usize,
    /// The packets of the signatures.
    signatures: Vec<u8>,
    /// The length of the package, once it is read.
    length: Option<u64>,
}

impl Pieces {
    fn take(&mut self, parser: &mut PacketParser<'_>, package: impl Write) -> Result<(), Failure> {
        match (&parser.packet, self.length) {
            (Packet::OnePassSig(_), None) => {
                self.announced += 1;
                Ok(())
            }
            (Packet::Literal(_), None) if self.announced > 0 => self.hand_on(parser, package),
            (Packet::Literal(_), None) => Err(Failure::new(
                Cause::Unsigned,
                "the message around the package is not signed",
            )),
            (Packet::Signature(_), Some(_)) => self.sign(&parser.packet),
            (other, _) => Err(unsound(&anyhow::anyhow!(
                "a packet of type {} is in a wrong place",
                other.tag()
            ))),
        }
    }

    fn hand_on(
        &mut self,
        parser: &mut PacketParser<'_>,
        mut package: impl Write,
    ) -> Result<(), Failure> {
        let mut length = 0;
        let handed_on = pass_on(parser, |bytes| {
            length += bytes.len() as u64;
            package.write_all(bytes)
        });
        handed_on.map_err(|error| unsound(&error.into()))?;
        self.length = Some(length);
        Ok(())
    }

    fn sign(&mut self, packet: &Packet) -> Result<(), Failure> {
        self.came += 1;
        let bytes = packet.to_vec().map_err(|error| unsound(&error))?;
        self.signatures.extend(bytes);
        match self.signatures.len() <= MAX_SIGNATURES_AROUND {
            true => Ok(()),
            false => Err(unsound(&anyhow::anyhow!(
                "its signatures are longer than {MAX_SIGNATURES_AROUND} bytes"
            ))),
        }
    }

    fn whole(self) -> Result<Unwrapped, Failure> {
        match self.length {
            Some(length) if self.came == self.announced => Ok(Unwrapped {
                signatures: self.signatures.into(),
                length,
            }),
            _ => Err(unsound(&anyhow::anyhow!("it ends before its signatures"))),
        }
    }
}

fn unsound(error: &anyhow::Error) -> Failure {
    Failure::new(
        Cause::Malformed,
        format!("the file is not a valid OpenPGP message: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_by_its_first_byte() {
        for (head, expected) in [
            (&b"\xa3\x01"[..], Ok(true)), // compressed, by gpg
            (b"\xc8\xff\x01", Ok(true)),
            (b"\x90\x0d\x03", Ok(true)), // signed in one pass, by gpg
            (b"\xc4\x0d\x03", Ok(true)),
            (b"!<arch>\ndebian-binary", Ok(false)),
            (b"\x1f\x8b\x08", Ok(false)),
            (b"\xed\xab\xee\xdb", Ok(false)), // an .rpm
            (b"\x88\x75\x04", Ok(false)),     // a signature alone
            (b"", Ok(false)),
            (b"-----BEGIN PGP MESSAGE-----", Err(Cause::WrongKind)),
            (b"-----BEGIN PGP SIGNED MESSAGE-----", Err(Cause::WrongKind)),
            (b"\x85\x01\x0c\x03", Err(Cause::WrongKind)), // encrypted
            (b"\x8c\x0d\x04", Err(Cause::WrongKind)),
            (b"\xcb\x0d\x62", Err(Cause::WrongKind)), // neither signed nor compressed
        ] {
            let told = is_one(head).map_err(|failure| failure.cause);
            assert_eq!(told, expected, "{head:x?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_refused(rest: Vec<u8>) {
            for head in [&b""[..], b"\xa3\x01", b"\x90\x0d\x03\x00\x08\x16", b"\xc4\x0d"] {
                let bytes = [head, &rest].concat();
                let _ = unwrap(&bytes[..], bytes.len() as u64, std::io::sink());
            }
        }
    }
}
