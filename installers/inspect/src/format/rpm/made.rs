//! Headers for unit tests, made of entries. Each entry is placed as rpm places it.

use super::header::{Header, HeaderKind};

/// Tag, type, number of elements, data.
pub(super) type Made = (u32, u32, u32, Vec<u8>);

pub(super) fn text(tag: u32, text: &str) -> Made {
    (tag, 6, 1, [text.as_bytes(), &[0]].concat())
}

pub(super) fn texts(tag: u32, texts: &[&str]) -> Made {
    let data = texts
        .iter()
        .flat_map(|text| [text.as_bytes(), &[0]].concat());
    (tag, 8, texts.len() as u32, data.collect())
}

pub(super) fn binary(tag: u32, bytes: &[u8]) -> Made {
    (tag, 7, bytes.len() as u32, bytes.to_vec())
}

pub(super) fn int16s(tag: u32, numbers: &[u16]) -> Made {
    let data = numbers.iter().flat_map(|number| number.to_be_bytes());
    (tag, 3, numbers.len() as u32, data.collect())
}

pub(super) fn int32s(tag: u32, numbers: &[u32]) -> Made {
    let data = numbers.iter().flat_map(|number| number.to_be_bytes());
    (tag, 4, numbers.len() as u32, data.collect())
}

pub(super) fn int64s(tag: u32, numbers: &[u64]) -> Made {
    let data = numbers.iter().flat_map(|number| number.to_be_bytes());
    (tag, 5, numbers.len() as u32, data.collect())
}

/// The bytes of a header with these entries, in this order.
pub(super) fn bytes(kind: HeaderKind, entries: &[Made]) -> Vec<u8> {
    let region = match kind {
        HeaderKind::Signature => 62,
        HeaderKind::Immutable => 63_u32,
    };
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, of_type, count, content) in entries {
        let size = [1, 1, 1, 2, 4, 8].get(*of_type as usize).copied();
        data.resize(data.len().next_multiple_of(size.unwrap_or(1)), 0);
        index.push([*tag, *of_type, data.len() as u32, *count]);
        data.extend_from_slice(content);
    }
    index.insert(0, [region, 7, data.len() as u32, 16]);
    let extent = (index.len() as u32 * 16).wrapping_neg();
    data.extend([region, 7, extent, 16].map(u32::to_be_bytes).concat());
    let numbers = [index.len() as u32, data.len() as u32];
    let numbers = numbers.iter().chain(index.iter().flatten());
    let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    bytes.extend(numbers.flat_map(|number| number.to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// A header with these entries.
pub(super) fn header(entries: &[Made]) -> Header {
    Header::parse(
        &bytes(HeaderKind::Immutable, entries),
        HeaderKind::Immutable,
    )
    .unwrap()
}
