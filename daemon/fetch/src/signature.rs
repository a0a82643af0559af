//! Recognises an OpenPGP signature, so that a web page with status 200 is not mistaken for one. The installer
//! verifies the signature. Pure.

/// The suffixes of a detached signature, in the order of requests.
pub const SUFFIXES: [&str; 2] = [".asc", ".sig"];

const ARMOR: &[u8] = b"-----BEGIN PGP SIGNATURE-----";

/// The packet types at the start of a detached signature (RFC 9580 5): 2 Signature, 10 Marker.
const TAGS: [u8; 2] = [2, 10];

/// The accepted versions of a signature packet (RFC 9580 5.2).
const VERSIONS: std::ops::RangeInclusive<u8> = 3..=6;

/// Whether the bytes begin like an armored or a binary signature.
pub fn is_plausible(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    text.starts_with(ARMOR) || is_packet(bytes)
}

fn is_packet(bytes: &[u8]) -> bool {
    let Some((&first, rest)) = bytes.split_first() else {
        return false;
    };
    let (tag, body) = match first {
        0xc0.. => (first & 0x3f, new_length(rest)),
        0x80.. => (first >> 2 & 0x0f, old_length(first & 3, rest)),
        _ => return false,
    };
    let sound = |(length, body): (usize, &[u8])| {
        let version = body
            .first()
            .is_some_and(|version| VERSIONS.contains(version));
        length > 0 && length <= body.len() && (tag != 2 || version)
    };
    TAGS.contains(&tag) && body.is_some_and(sound)
}

/// Parses a length in the OpenPGP format (RFC 9580 4.2.1). A signature has no partial length.
fn new_length(rest: &[u8]) -> Option<(usize, &[u8])> {
    match rest {
        [one @ 0..=191, body @ ..] => Some((usize::from(*one), body)),
        [one @ 192..=223, two, body @ ..] => Some((
            (usize::from(*one) - 192) * 256 + usize::from(*two) + 192,
            body,
        )),
        [255, a, b, c, d, body @ ..] => {
            Some((u32::from_be_bytes([*a, *b, *c, *d]).try_into().ok()?, body))
        }
        _ => None,
    }
}

/// Parses a length in the legacy format that GnuPG writes (RFC 9580 4.2.2).
fn old_length(kind: u8, rest: &[u8]) -> Option<(usize, &[u8])> {
    match (kind, rest) {
        (0, [a, body @ ..]) => Some((usize::from(*a), body)),
        (1, [a, b, body @ ..]) => Some((u16::from_be_bytes([*a, *b]).into(), body)),
        (2, [a, b, c, d, body @ ..]) => {
            Some((u32::from_be_bytes([*a, *b, *c, *d]).try_into().ok()?, body))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn recognises_signatures_among_other_responses() {
        let filled = |beginning: &[u8]| [beginning, &[0; 300]].concat();
        for (what, bytes, expected) in [
            (
                "armor",
                b"-----BEGIN PGP SIGNATURE-----\n\niQ".to_vec(),
                true,
            ),
            (
                "armor after blank lines",
                b"\r\n-----BEGIN PGP SIGNATURE-----".to_vec(),
                true,
            ),
            (
                "a key",
                b"-----BEGIN PGP PUBLIC KEY BLOCK-----".to_vec(),
                false,
            ),
            (
                "old format, one length byte (gpg)",
                filled(&[0x88, 0x75, 4]),
                true,
            ),
            (
                "old format, two length bytes (gpg, RSA)",
                filled(&[0x89, 1, 0x20, 4]),
                true,
            ),
            ("new format (sequoia)", filled(&[0xc2, 0x75, 4]), true),
            ("new format, v6", filled(&[0xc2, 0xc0, 0x10, 6]), true),
            ("an unknown version", filled(&[0xc2, 0x75, 0x40]), false),
            ("longer than what follows", vec![0xc2, 0x75, 4, 0], false),
            ("a public key packet", filled(&[0xc6, 0x33, 4]), false),
            ("a web page", b"<!DOCTYPE html><html>".to_vec(), false),
            ("JSON", b"{\"error\":404}".to_vec(), false),
            ("gzip", vec![0x1f, 0x8b, 8, 0], false),
            (
                "UTF-8 text with a byte order mark",
                b"\xef\xbb\xbfnot found".to_vec(),
                false,
            ),
            ("nothing", vec![], false),
        ] {
            assert_eq!(is_plausible(&bytes), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = is_plausible(&bytes);
        }
    }
}
