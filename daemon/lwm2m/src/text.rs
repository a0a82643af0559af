//! The plain text format of single values (TS Core 1.0 6.4.1, Appendix C).

use crate::{ErrorCode, Type, Value};

/// Encodes a value as text. Opaque becomes Base64.
pub(crate) fn encode(value: &Value) -> Result<Vec<u8>, ErrorCode> {
    Ok(match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Integer(number) | Value::Time(number) => number.to_string().into_bytes(),
        Value::Float(number) => number.to_string().into_bytes(),
        Value::Boolean(truth) => vec![b'0' + u8::from(*truth)],
        Value::Objlnk(object, instance) => format!("{object}:{instance}").into_bytes(),
        Value::Opaque(bytes) => base64_encode(bytes),
        Value::Secret(_) => return Err(ErrorCode::InternalServerError),
    })
}

/// Decodes a value of this type; 4.00 if the text is not one.
pub(crate) fn decode(kind: Type, text: &[u8]) -> Result<Value, ErrorCode> {
    if kind == Type::Opaque {
        return base64_decode(text)
            .map(Value::Opaque)
            .ok_or(ErrorCode::BadRequest);
    }
    let text = core::str::from_utf8(text).map_err(|_| ErrorCode::BadRequest)?;
    let value = match kind {
        Type::String => Some(Value::from(text)),
        Type::Integer => text.parse().ok().map(Value::Integer),
        Type::Time => text.parse().ok().map(Value::Time),
        Type::Float => text
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map(Value::Float),
        Type::Boolean => match text {
            "0" => Some(Value::Boolean(false)),
            "1" => Some(Value::Boolean(true)),
            _ => None,
        },
        Type::Objlnk => objlnk(text),
        Type::Opaque | Type::None => None,
    };
    value.ok_or(ErrorCode::BadRequest)
}

fn objlnk(text: &str) -> Option<Value> {
    let (object, instance) = text.split_once(':')?;
    Some(Value::Objlnk(object.parse().ok()?, instance.parse().ok()?))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 4.
fn base64_encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(group.get(at).copied().unwrap_or(0))
        });
        out.extend((0..4).map(|at| {
            let digit = ALPHABET
                .get(bits >> (18 - 6 * at) & 63)
                .filter(|_| at <= group.len());
            digit.copied().unwrap_or(b'=')
        }));
    }
    out
}

/// Accepts whole groups only. The unused bits of the last digit must be zero.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let groups = text.chunks(4);
    let last = groups.len();
    for (at, group) in groups.enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        let digits = group.get(..4 - padding).filter(|_| group.len() == 4)?;
        if padding > 2 || (padding > 0 && at + 1 != last) {
            return None;
        }
        let bits = digits.iter().try_fold(0_u32, |bits, byte| {
            ALPHABET
                .iter()
                .position(|letter| letter == byte)
                .map(|digit| bits << 6 | digit as u32)
        })?;
        let bytes = (bits << (6 * padding)).to_be_bytes();
        let (shown, hidden) = bytes.split_at_checked(4 - padding)?;
        hidden
            .iter()
            .all(|byte| *byte == 0)
            .then(|| out.extend(shown.iter().skip(1)))?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn values_have_the_texts_of_the_specification() {
        for (value, kind, text) in [
            (Value::from("gateway"), Type::String, "gateway"),
            (Value::Integer(-42), Type::Integer, "-42"),
            (Value::Float(-0.5), Type::Float, "-0.5"),
            (Value::Boolean(true), Type::Boolean, "1"),
            (Value::Boolean(false), Type::Boolean, "0"),
            (Value::Time(1_367_491_215), Type::Time, "1367491215"),
            (Value::Objlnk(9, 0), Type::Objlnk, "9:0"),
            (Value::Opaque(b"foobar".to_vec()), Type::Opaque, "Zm9vYmFy"),
            (Value::Opaque(b"fooba".to_vec()), Type::Opaque, "Zm9vYmE="),
            (Value::Opaque(b"foob".to_vec()), Type::Opaque, "Zm9vYg=="),
            (Value::Opaque(Vec::new()), Type::Opaque, ""),
        ] {
            assert_eq!(encode(&value).unwrap(), text.as_bytes());
            assert_eq!(decode(kind, text.as_bytes()), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_text_that_does_not_parse_is_a_bad_request() {
        for (kind, text) in [
            (Type::Integer, ""),
            (Type::Integer, "1.0"),
            (Type::Integer, "9223372036854775808"),
            (Type::Float, "inf"),
            (Type::Boolean, "true"),
            (Type::Boolean, "2"),
            (Type::Objlnk, "9"),
            (Type::Objlnk, "9:65536"),
            (Type::Opaque, "Zm9"),
            (Type::Opaque, "Zm9vYh=="),
            (Type::Opaque, "Zg==Zg=="),
            (Type::Opaque, "===="),
            (Type::None, ""),
        ] {
            assert_eq!(
                decode(kind, text.as_bytes()),
                Err(ErrorCode::BadRequest),
                "{kind:?} {text}"
            );
        }
        assert_eq!(decode(Type::String, b"\xff"), Err(ErrorCode::BadRequest));
    }

    proptest! {
        #[test]
        fn bytes_survive_base64(bytes in vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(base64_decode(&base64_encode(&bytes)), Some(bytes));
        }

        #[test]
        fn a_float_survives_its_text(number in prop::num::f64::NORMAL | prop::num::f64::ZERO) {
            let text = encode(&Value::Float(number)).unwrap();
            prop_assert_eq!(decode(Type::Float, &text), Ok(Value::Float(number)));
        }
    }
}
