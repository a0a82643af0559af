//! The TLV format, application/vnd.oma.lwm2m+tlv (TS Core 1.0 6.4.3), as identifiers and bytes
//! without types.

/// The kind of an entry: bits 7 and 6 of its type field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvKind {
    /// An object instance. Its value holds resources.
    ObjectInstance,
    /// A resource instance: one value of a multiple resource.
    ResourceInstance,
    /// A multiple resource. Its value holds resource instances.
    MultipleResource,
    /// A single resource.
    Resource,
}

/// One TLV entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlvEntry<'a> {
    /// The kind.
    pub kind: TlvKind,
    /// The identifier.
    pub id: u16,
    /// The value.
    pub value: &'a [u8],
}

/// The bytes end before the entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the TLV entry is truncated")]
pub struct Truncated;

/// Decodes the entries of one level. The value of an entry holds the level below.
pub fn entries(mut bytes: &[u8]) -> Result<Vec<TlvEntry<'_>>, Truncated> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (entry, rest) = split_entry(bytes)?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

fn split_entry(bytes: &[u8]) -> Result<(TlvEntry<'_>, &[u8]), Truncated> {
    let (&[kind], bytes) = bytes.split_first_chunk().ok_or(Truncated)?;
    let (id, bytes) = split_uint(bytes, if kind & 0x20 == 0 { 1 } else { 2 })?;
    let (length, bytes) = match kind >> 3 & 3 {
        0 => (usize::from(kind & 7), bytes),
        width => split_uint(bytes, usize::from(width))?,
    };
    let (value, rest) = bytes.split_at_checked(length).ok_or(Truncated)?;
    let kind = match kind >> 6 {
        0 => TlvKind::ObjectInstance,
        1 => TlvKind::ResourceInstance,
        2 => TlvKind::MultipleResource,
        _ => TlvKind::Resource,
    };
    Ok((
        TlvEntry {
            kind,
            id: id as u16,
            value,
        },
        rest,
    ))
}

fn split_uint(bytes: &[u8], width: usize) -> Result<(usize, &[u8]), Truncated> {
    let (digits, rest) = bytes.split_at_checked(width).ok_or(Truncated)?;
    Ok((
        digits
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        rest,
    ))
}

/// Appends an entry in its shortest form. A value is cut to the 2^24 - 1 bytes that the format
/// allows.
pub fn push(out: &mut Vec<u8>, kind: TlvKind, id: u16, value: &[u8]) {
    let value = value.get(..0xff_ffff).unwrap_or(value);
    let width = match value.len() {
        0..8 => 0,
        8..0x100 => 1,
        0x100..0x1_0000 => 2,
        _ => 3,
    };
    let length_or_width = if width == 0 {
        value.len() as u8
    } else {
        width << 3
    };
    let wide_id = u8::from(id > 0xff) << 5;
    out.push((kind as u8) << 6 | wide_id | length_or_width);
    out.extend(id.to_be_bytes().into_iter().skip(usize::from(id <= 0xff)));
    out.extend(
        (value.len() as u32)
            .to_be_bytes()
            .into_iter()
            .skip(4 - usize::from(width)),
    );
    out.extend(value);
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const KINDS: [TlvKind; 4] = [
        TlvKind::ObjectInstance,
        TlvKind::ResourceInstance,
        TlvKind::MultipleResource,
        TlvKind::Resource,
    ];

    /// TS Core 1.0 6.4.3.2 B, the Access Control objects.
    const ACCESS_CONTROL: &[u8] =
        b"\x08\x00\x0e\xc1\x00\x01\xc1\x01\x00\x83\x02\x41\x7f\x07\xc1\x03\x7f\
        \x08\x02\x12\xc1\x00\x03\xc1\x01\x00\x87\x02\x41\x7f\x07\x61\x01\x36\x01\xc1\x03\x7f";

    #[test]
    fn the_access_control_objects_have_the_bytes_of_the_specification() {
        let acl = |values: &[(u16, u8)]| {
            let mut out = Vec::new();
            for (id, value) in values {
                push(&mut out, TlvKind::ResourceInstance, *id, &[*value]);
            }
            out
        };
        let mut out = Vec::new();
        for (instance, object, acl) in
            [(0, 1, acl(&[(127, 7)])), (2, 3, acl(&[(127, 7), (310, 1)]))]
        {
            let mut resources = Vec::new();
            push(&mut resources, TlvKind::Resource, 0, &[object]);
            push(&mut resources, TlvKind::Resource, 1, &[0]);
            push(&mut resources, TlvKind::MultipleResource, 2, &acl);
            push(&mut resources, TlvKind::Resource, 3, &[127]);
            push(&mut out, TlvKind::ObjectInstance, instance, &resources);
        }
        assert_eq!(out, ACCESS_CONTROL);
        let instances = entries(&out).unwrap();
        let ids: Vec<_> = instances
            .iter()
            .map(|entry| (entry.kind, entry.id))
            .collect();
        assert_eq!(
            ids,
            [(TlvKind::ObjectInstance, 0), (TlvKind::ObjectInstance, 2)]
        );
    }

    #[test]
    fn a_truncated_entry_is_rejected() {
        for bytes in [
            &b"\xc1"[..],
            b"\xc1\x00",
            b"\xe1\x00",
            b"\xc8\x00",
            b"\xc8\x00\x02a",
            b"\xd0\x00\x01",
        ] {
            assert_eq!(entries(bytes), Err(Truncated), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn entries_survive_their_encoding(
            list in vec((0_usize..4, any::<u16>(), vec(any::<u8>(), 0..300)), 0..8),
        ) {
            let expected: Vec<TlvEntry<'_>> = list.iter()
                .map(|(kind, id, value)| TlvEntry { kind: KINDS[*kind], id: *id, value })
                .collect();
            let mut out = Vec::new();
            for entry in &expected {
                push(&mut out, entry.kind, entry.id, entry.value);
            }
            prop_assert_eq!(entries(&out), Ok(expected));
        }

        #[test]
        fn a_long_value_survives_its_encoding(length in 65_500_usize..65_600) {
            let value = vec![7; length];
            let mut out = Vec::new();
            push(&mut out, TlvKind::Resource, 2, &value);
            let expected = TlvEntry { kind: TlvKind::Resource, id: 2, value: &value };
            prop_assert_eq!(entries(&out), Ok(vec![expected]));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..64)) {
            let _ = entries(&bytes);
        }
    }
}
