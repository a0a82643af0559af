//! Base64 (RFC 4648 4), as rpm 6 writes signatures: without line breaks. A text that is not the only one for its bytes
//! is refused.

/// The bytes of the text.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_chunks::<4>();
    let (last, full) = groups.split_last()?;
    let mut bytes = Vec::with_capacity(groups.len() * 3);
    for group in full {
        bytes.extend(three(group)?);
    }
    match last {
        [first, second, b'=', b'='] => {
            let [byte, 0, 0] = three(&[*first, *second, b'A', b'A'])? else {
                return None;
            };
            bytes.push(byte);
        }
        [first, second, third, b'='] => {
            let [one, two, 0] = three(&[*first, *second, *third, b'A'])? else {
                return None;
            };
            bytes.extend([one, two]);
        }
        group => bytes.extend(three(group)?),
    }
    rest.is_empty().then_some(bytes)
}

fn three(group: &[u8; 4]) -> Option<[u8; 3]> {
    let mut bits = 0;
    for &letter in group {
        bits = bits << 6 | u32::from(value(letter)?);
    }
    let [_, bytes @ ..] = bits.to_be_bytes();
    Some(bytes)
}

fn value(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 10.
    #[test]
    fn the_vectors_of_the_standard_are_decoded() {
        for (text, bytes) in [
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text.as_bytes()), Some(bytes.into()), "{text}");
        }
        assert_eq!(decode(b"+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn any_other_text_is_refused() {
        for text in [
            "",
            "Z",
            "Zg",
            "Zg=",
            "Zm9",
            "Zm9v\n",
            "Zm9vYg==\n",
            "Zm 9v",
            "Zg==Zm9v",
            "Zh==",
            "Zm9=",
            "Z===",
            "====",
            "Zm9-",
            "Zm9_",
            "=m9v",
            "Zm=v",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }
}
