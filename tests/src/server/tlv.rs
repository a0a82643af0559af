//! TLV (LwM2M Core 1.0, 6.4.3), as far as a server needs it for instances.

const INSTANCE: u8 = 0b00;
const RESOURCE: u8 = 0b11;

/// Resources with their values.
pub fn resources(resources: &[(u16, &[u8])]) -> Vec<u8> {
    let entries = resources.iter();
    entries
        .flat_map(|(id, value)| entry(RESOURCE, *id, value))
        .collect()
}

/// An object instance with its resources.
pub fn instance(id: u16, resources: &[u8]) -> Vec<u8> {
    entry(INSTANCE, id, resources)
}

fn entry(kind: u8, id: u16, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("a length of 24 bits");
    let length_bytes = match length {
        0..8 => 0,
        8..0x100 => 1,
        0x100..0x1_0000 => 2,
        _ => 3,
    };
    let long_id = id > 0xff;
    let mut head = kind << 6 | u8::from(long_id) << 5 | length_bytes << 3;
    if length_bytes == 0 {
        head |= length as u8;
    }
    let mut entry = vec![head];
    entry.extend(&id.to_be_bytes()[usize::from(!long_id)..]);
    entry.extend(&length.to_be_bytes()[4 - usize::from(length_bytes)..]);
    entry.extend(value);
    entry
}

/// The entries of one level in `bytes`: ids and values, in their order.
///
/// # Panics
///
/// If `bytes` are not valid TLV.
pub fn entries(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut entries = Vec::new();
    while let Some((head, rest)) = bytes.split_first() {
        let (id, rest) = number(rest, if head & 0x20 == 0 { 1 } else { 2 });
        let (length, rest) = match head >> 3 & 3 {
            0 => (usize::from(head & 7), rest),
            bytes => number(rest, usize::from(bytes)),
        };
        assert!(
            rest.len() >= length,
            "TLV of {length} bytes has only {}",
            rest.len()
        );
        let (value, rest) = rest.split_at(length);
        entries.push((id as u16, value.to_vec()));
        bytes = rest;
    }
    entries
}

fn number(bytes: &[u8], length: usize) -> (usize, &[u8]) {
    assert!(bytes.len() >= length, "TLV ends within a number");
    let (number, rest) = bytes.split_at(length);
    let number = number
        .iter()
        .fold(0, |value, byte| value << 8 | usize::from(*byte));
    (number, rest)
}
