//! Values inside TLV (TS Core 1.0 Appendix C).

use crate::{ErrorCode, Type, Value};

/// Encodes a value as bytes.
pub(crate) fn encode(value: &Value) -> Result<Vec<u8>, ErrorCode> {
    Ok(match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Integer(number) | Value::Time(number) => integer(*number),
        Value::Float(number) => float(*number),
        Value::Boolean(truth) => vec![u8::from(*truth)],
        Value::Opaque(bytes) => bytes.clone(),
        Value::Objlnk(object, instance) => [object.to_be_bytes(), instance.to_be_bytes()].concat(),
        Value::Secret(_) => return Err(ErrorCode::InternalServerError),
    })
}

/// Encodes an integer in the shortest of 1, 2, 4 and 8 bytes.
fn integer(number: i64) -> Vec<u8> {
    if let Ok(number) = i8::try_from(number) {
        number.to_be_bytes().to_vec()
    } else if let Ok(number) = i16::try_from(number) {
        number.to_be_bytes().to_vec()
    } else if let Ok(number) = i32::try_from(number) {
        number.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}

/// Encodes a float in four bytes if they hold the same value, else in eight.
fn float(number: f64) -> Vec<u8> {
    let short = number as f32;
    if f64::from(short).to_bits() == number.to_bits() {
        short.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}

/// Decodes a value of this type; 4.00 if the bytes are not one.
pub(crate) fn decode(kind: Type, bytes: &[u8]) -> Result<Value, ErrorCode> {
    let value = match kind {
        Type::String => str::from_utf8(bytes).ok().map(Value::from),
        Type::Opaque => Some(Value::Opaque(bytes.to_vec())),
        Type::Integer => read_integer(bytes).map(Value::Integer),
        Type::Time => read_integer(bytes).map(Value::Time),
        Type::Float => read_float(bytes).map(Value::Float),
        Type::Boolean => match bytes {
            [0] => Some(Value::Boolean(false)),
            [1] => Some(Value::Boolean(true)),
            _ => None,
        },
        Type::Objlnk => match *bytes {
            [a, b, c, d] => Some(Value::Objlnk(
                u16::from_be_bytes([a, b]),
                u16::from_be_bytes([c, d]),
            )),
            _ => None,
        },
        Type::None => None,
    };
    value.ok_or(ErrorCode::BadRequest)
}

fn read_integer(bytes: &[u8]) -> Option<i64> {
    match *bytes {
        [a] => Some(i64::from(i8::from_be_bytes([a]))),
        [a, b] => Some(i64::from(i16::from_be_bytes([a, b]))),
        [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
        _ => bytes.try_into().ok().map(i64::from_be_bytes),
    }
}

fn read_float(bytes: &[u8]) -> Option<f64> {
    let short = bytes
        .try_into()
        .ok()
        .map(|bytes| f64::from(f32::from_be_bytes(bytes)));
    let number = short.or_else(|| bytes.try_into().ok().map(f64::from_be_bytes));
    number.filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_take_the_shortest_form() {
        for (value, expected) in [
            (Value::Integer(-128), &[0x80][..]),
            (Value::Integer(128), &[0, 0x80]),
            (Value::Integer(-32_769), &[0xff, 0xff, 0x7f, 0xff]),
            (Value::Integer(i64::MIN), &[0x80, 0, 0, 0, 0, 0, 0, 0]),
            (Value::Float(0.5), &[0x3f, 0, 0, 0]),
            (
                Value::Float(0.1),
                &[0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a],
            ),
            (Value::Boolean(true), &[1]),
            (Value::Objlnk(9, 0xffff), &[0, 9, 0xff, 0xff]),
        ] {
            assert_eq!(encode(&value).unwrap(), expected, "{value:?}");
        }
    }

    #[test]
    fn bytes_that_do_not_decode_are_a_bad_request() {
        for (kind, bytes) in [
            (Type::Integer, &b""[..]),
            (Type::Integer, b"abc"),
            (Type::Float, b"ab"),
            (Type::Float, b"\x7f\x80\x00\x00"),
            (Type::Boolean, b"\x02"),
            (Type::Objlnk, b"\x00\x09\x00"),
            (Type::String, b"\xff"),
            (Type::None, b""),
        ] {
            assert_eq!(
                decode(kind, bytes),
                Err(ErrorCode::BadRequest),
                "{kind:?} {bytes:x?}"
            );
        }
    }

    proptest! {
        #[test]
        fn numbers_survive_their_encoding(integer: i64, float in prop::num::f64::NORMAL) {
            for (kind, value) in [
                (Type::Integer, Value::Integer(integer)),
                (Type::Time, Value::Time(integer)),
                (Type::Float, Value::Float(float)),
            ] {
                prop_assert_eq!(decode(kind, &encode(&value).unwrap()), Ok(value));
            }
        }
    }
}
