//! The digest and the OpenPGP signatures of the immutable header, from the signature header. Versions 4 and 6 have the
//! signatures in different tags, and a package may have both.

use super::{
    base64,
    header::{Header, HeaderError},
    layout::sha256_of_hex,
    tag,
};

/// The most signatures. Fewer are tried.
const MAX_SIGNATURES: usize = 16;

/// The most bytes of all signatures, as beside a package.
const MAX_LENGTH: usize = 64 * 1024;

/// The OpenPGP packets of the signatures, one after the other and each once; empty if there are none. Those over header
/// and payload together (rpm before 4.14) are passed over.
pub(super) fn packets(signature: &Header) -> Result<Vec<u8>, HeaderError> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let texts = signature.texts(tag::SIGNATURE_OPENPGP)?.unwrap_or_default();
    if texts.len() > MAX_SIGNATURES {
        return Err(HeaderError::Signatures);
    }
    for text in texts {
        all.push(base64::decode(text).ok_or(HeaderError::Wrong(tag::SIGNATURE_OPENPGP))?);
    }
    for tag in [tag::SIGNATURE_RSA, tag::SIGNATURE_DSA] {
        all.extend(signature.binary(tag)?.map(<[u8]>::to_vec));
    }
    let mut packets = Vec::new();
    for (at, one) in all.iter().enumerate() {
        if !all.iter().take(at).any(|other| other == one) {
            packets.extend_from_slice(one);
        }
    }
    match packets.len() > MAX_LENGTH {
        true => Err(HeaderError::Signatures),
        false => Ok(packets),
    }
}

/// The SHA-256 of the immutable header; none if that is not written as one.
pub(super) fn header_sha256(signature: &Header) -> Result<Option<[u8; 32]>, HeaderError> {
    let tag = tag::SIGNATURE_HEADER_SHA256;
    let digest = signature.text(tag)?.ok_or(HeaderError::Missing(tag))?;
    Ok(sha256_of_hex(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::rpm::{
        header::HeaderKind,
        made::{self, Made},
    };

    fn packets_of(entries: &[Made]) -> Result<Vec<u8>, HeaderError> {
        let header = Header::parse(
            &made::bytes(HeaderKind::Signature, entries),
            HeaderKind::Signature,
        );
        packets(&header.unwrap())
    }

    #[test]
    fn the_signatures_of_all_tags_follow_each_other_and_none_occurs_twice() {
        let (dsa, rsa) = (made::binary(267, b"dsa"), made::binary(268, b"rsa"));
        let openpgp = |texts: &[&str]| made::texts(278, texts);
        for (entries, expected) in [
            (vec![], ""),
            (
                vec![made::binary(1002, b"v3"), made::binary(1005, b"v3")],
                "",
            ),
            (vec![dsa.clone()], "dsa"),
            (vec![dsa.clone(), rsa.clone()], "rsadsa"),
            (vec![openpgp(&["Zm9v", "YmFy"])], "foobar"),
            (vec![rsa.clone(), openpgp(&["Zm9v"])], "foorsa"),
            (
                vec![made::binary(267, b"foo"), openpgp(&["Zm9v", "Zm9v"])],
                "foo",
            ),
        ] {
            assert_eq!(packets_of(&entries), Ok(expected.into()), "{entries:?}");
        }
    }

    #[test]
    fn signatures_that_are_wrong_or_too_many_are_refused() {
        let (long, many) = ("A".repeat(90_000), ["Zm9v"; 17]);
        for (entry, expected) in [
            (made::binary(278, b"Zm9v"), HeaderError::Wrong(278)),
            (made::text(278, "Zm9v"), HeaderError::Wrong(278)),
            (made::texts(278, &["Zm9"]), HeaderError::Wrong(278)),
            (made::texts(278, &["Zm9v", ""]), HeaderError::Wrong(278)),
            (made::text(267, "dsa"), HeaderError::Wrong(267)),
            (made::texts(268, &["rsa"]), HeaderError::Wrong(268)),
            (made::texts(278, &many), HeaderError::Signatures),
            (made::texts(278, &[&long]), HeaderError::Signatures),
            (made::binary(268, &[0; 65537]), HeaderError::Signatures),
        ] {
            assert_eq!(packets_of(&[entry]), Err(expected));
        }
        packets_of(&[made::binary(268, &[0; 65536])]).unwrap();
    }
}
