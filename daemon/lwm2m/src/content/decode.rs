//! Decodes the payload of a Write or a Create into typed values that the model allows.

use super::{ContentFormat, binary};
use crate::{
    ErrorCode, ObjectDefinition, ObjectInstanceId, Path, ResourceDefinition, ResourceId,
    ResourceValue, Resources, Secret, Type, Value, text,
    tlv::{TlvEntry, TlvKind, entries},
};

/// Decodes a Write to one resource. Some servers send text as TLV, or TLV as text. Such a payload is
/// accepted if only one format fits it.
pub(crate) fn resource_write(
    resource: &ResourceDefinition,
    format: Option<u32>,
    payload: &[u8],
) -> Result<ResourceValue, ErrorCode> {
    let bad = ErrorCode::BadRequest;
    match format.map(ContentFormat::of_body) {
        Some(Some(ContentFormat::Tlv)) => {
            tlv_resource(resource, payload).or_else(|error| plain(resource, payload).ok_or(error))
        }
        Some(Some(ContentFormat::Opaque)) if resource.kind == Type::Opaque => {
            plain(resource, payload).ok_or(bad)
        }
        Some(Some(ContentFormat::Opaque)) if resource.kind == Type::String => {
            plain(resource, payload).ok_or(bad)
        }
        None if resource.kind == Type::Opaque => plain(resource, payload).ok_or(bad),
        None | Some(Some(ContentFormat::Text)) => {
            text_resource(resource, payload).or_else(|error| match resource.kind {
                Type::String | Type::Opaque => Err(error),
                _ => tlv_resource(resource, payload),
            })
        }
        Some(_) => Err(ErrorCode::UnsupportedContentFormat),
    }
}

fn text_resource(
    resource: &ResourceDefinition,
    payload: &[u8],
) -> Result<ResourceValue, ErrorCode> {
    if resource.multiple {
        return Err(ErrorCode::UnsupportedContentFormat);
    }
    text::decode(resource.kind, payload).map(|value| single(resource, value))
}

/// The payload as the value of a single String or Opaque resource.
fn plain(resource: &ResourceDefinition, payload: &[u8]) -> Option<ResourceValue> {
    let value = match resource.kind {
        _ if resource.multiple => None,
        Type::String => str::from_utf8(payload).ok().map(Value::from),
        Type::Opaque => Some(Value::Opaque(payload.to_vec())),
        _ => None,
    };
    value.map(|value| single(resource, value))
}

fn single(resource: &ResourceDefinition, value: Value) -> ResourceValue {
    ResourceValue::Single(hidden(resource, value))
}

fn hidden(resource: &ResourceDefinition, value: Value) -> Value {
    match value {
        Value::String(text) if resource.secret => Value::Secret(Secret::new(text.into_bytes())),
        Value::Opaque(bytes) if resource.secret => Value::Secret(Secret::new(bytes)),
        value => value,
    }
}

/// Decodes the entry of the resource, or the resource instances of a multiple one.
fn tlv_resource(resource: &ResourceDefinition, payload: &[u8]) -> Result<ResourceValue, ErrorCode> {
    let entries = entries(payload).map_err(|_| ErrorCode::BadRequest)?;
    match *entries.as_slice() {
        [entry] if entry.id == resource.id && entry.kind != TlvKind::ResourceInstance => {
            resource_value(resource, entry)
        }
        _ if resource.multiple => resource_instances(resource, &entries),
        _ => Err(ErrorCode::BadRequest),
    }
}

fn resource_value(
    resource: &ResourceDefinition,
    entry: TlvEntry<'_>,
) -> Result<ResourceValue, ErrorCode> {
    match entry.kind {
        TlvKind::Resource if !resource.multiple => {
            binary::decode(resource.kind, entry.value).map(|value| single(resource, value))
        }
        TlvKind::MultipleResource if resource.multiple => {
            let entries = entries(entry.value).map_err(|_| ErrorCode::BadRequest)?;
            resource_instances(resource, &entries)
        }
        _ => Err(ErrorCode::BadRequest),
    }
}

fn resource_instances(
    resource: &ResourceDefinition,
    entries: &[TlvEntry<'_>],
) -> Result<ResourceValue, ErrorCode> {
    let instance = |entry: &TlvEntry<'_>| {
        let value = binary::decode(resource.kind, entry.value)?;
        let is_instance = entry.kind == TlvKind::ResourceInstance;
        is_instance
            .then_some((entry.id, hidden(resource, value)))
            .ok_or(ErrorCode::BadRequest)
    };
    entries
        .iter()
        .map(instance)
        .collect::<Result<_, _>>()
        .map(ResourceValue::Multiple)
}

/// Decodes a Write to an instance: its resources, or the instance entry with its resources.
pub(crate) fn instance_write(
    definition: &ObjectDefinition,
    path: Path,
    format: Option<u32>,
    payload: &[u8],
) -> Result<Resources, ErrorCode> {
    let top = tlv_level(format, payload)?;
    match *top.as_slice() {
        [entry] if entry.kind == TlvKind::ObjectInstance => {
            let same = path.instance() == Some(entry.id);
            let inner = entries(entry.value)
                .ok()
                .filter(|_| same)
                .ok_or(ErrorCode::BadRequest)?;
            writable(definition, &inner)
        }
        _ => writable(definition, &top),
    }
}

/// Decodes a Create: the resources, or an instance entry with the ID that the server requests.
pub(crate) fn created(
    definition: &ObjectDefinition,
    format: Option<u32>,
    payload: &[u8],
) -> Result<(Option<ObjectInstanceId>, Resources), ErrorCode> {
    if payload.is_empty() {
        return complete(definition, Vec::new()).map(|values| (None, values));
    }
    let top = tlv_level(format, payload)?;
    let (instance, values) = match *top.as_slice() {
        [entry] if entry.kind == TlvKind::ObjectInstance && entry.id != u16::MAX => {
            let inner = entries(entry.value).map_err(|_| ErrorCode::BadRequest)?;
            (Some(entry.id), writable_or_none(definition, &inner)?)
        }
        _ => (None, writable(definition, &top)?),
    };
    complete(definition, values).map(|values| (instance, values))
}

fn writable_or_none(
    definition: &ObjectDefinition,
    entries: &[TlvEntry<'_>],
) -> Result<Resources, ErrorCode> {
    if entries.is_empty() {
        Ok(Vec::new())
    } else {
        writable(definition, entries)
    }
}

fn tlv_level(format: Option<u32>, payload: &[u8]) -> Result<Vec<TlvEntry<'_>>, ErrorCode> {
    match format.map(ContentFormat::of_body) {
        // An instance has no text format, so that the payload can only be TLV.
        Some(Some(ContentFormat::Tlv | ContentFormat::Text)) | None => {
            entries(payload).map_err(|_| ErrorCode::BadRequest)
        }
        Some(_) => Err(ErrorCode::UnsupportedContentFormat),
    }
}

/// The values of all entries. One bad entry rejects them all: 4.04 for an undefined resource, 4.05
/// for one that a server may not write.
fn writable(
    definition: &ObjectDefinition,
    entries: &[TlvEntry<'_>],
) -> Result<Resources, ErrorCode> {
    let mut values = Resources::new();
    for entry in entries {
        let is_resource = matches!(entry.kind, TlvKind::Resource | TlvKind::MultipleResource);
        let repeated = values
            .iter()
            .any(|(id, _): &(ResourceId, _)| *id == entry.id);
        if !is_resource || repeated {
            return Err(ErrorCode::BadRequest);
        }
        let resource = definition.resource(entry.id).ok_or(ErrorCode::NotFound)?;
        if !resource.is_writable() {
            return Err(ErrorCode::MethodNotAllowed);
        }
        values.push((entry.id, resource_value(resource, *entry)?));
    }
    if values.is_empty() {
        Err(ErrorCode::BadRequest)
    } else {
        Ok(values)
    }
}

/// Checks that a Create has all mandatory resources that a server can write.
fn complete(definition: &ObjectDefinition, values: Resources) -> Result<Resources, ErrorCode> {
    let named = |id| values.iter().any(|(named, _)| *named == id);
    let mut required = definition
        .resources
        .iter()
        .filter(|it| it.mandatory && it.is_writable());
    if required.all(|resource| named(resource.id)) {
        Ok(values)
    } else {
        Err(ErrorCode::BadRequest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operations;

    const fn resource(id: u16, operations: Operations, kind: Type) -> ResourceDefinition {
        ResourceDefinition::new(id, operations, kind)
    }

    static SOFTWARE: ObjectDefinition = ObjectDefinition::new(
        9,
        &[
            resource(2, Operations::WRITE, Type::Opaque),
            resource(3, Operations::WRITE, Type::String),
            resource(7, Operations::READ, Type::Integer),
            resource(8, Operations::READ_WRITE, Type::Boolean),
            resource(13, Operations::READ_WRITE, Type::Objlnk),
            resource(15, Operations::WRITE, Type::String).secret(),
            resource(20, Operations::READ_WRITE, Type::Integer).multiple(),
        ],
    )
    .multiple();

    fn write(id: u16, format: Option<u32>, payload: &[u8]) -> Result<ResourceValue, ErrorCode> {
        resource_write(SOFTWARE.resource(id).unwrap(), format, payload)
    }

    #[test]
    fn a_resource_is_written_in_any_format_that_is_unambiguous() {
        let link = Value::Objlnk(65535, 65535);
        for (id, format, payload, expected, why) in [
            (
                3,
                Some(0),
                &b"http://a"[..],
                Value::from("http://a"),
                "text",
            ),
            (
                3,
                None,
                b"http://a",
                Value::from("http://a"),
                "no format: text",
            ),
            (
                3,
                Some(11542),
                b"\xc8\x03\x08http://a",
                Value::from("http://a"),
                "TLV",
            ),
            (
                3,
                Some(11542),
                b"http://a",
                Value::from("http://a"),
                "text announced as TLV",
            ),
            (
                3,
                Some(42),
                b"http://a",
                Value::from("http://a"),
                "text announced as opaque",
            ),
            (8, Some(0), b"1", Value::Boolean(true), "text"),
            (
                8,
                Some(0),
                b"\xc1\x08\x01",
                Value::Boolean(true),
                "TLV announced as text",
            ),
            (13, Some(0), b"65535:65535", link.clone(), "text"),
            (13, Some(11542), b"\xc4\x0d\xff\xff\xff\xff", link, "TLV"),
            (
                2,
                Some(42),
                b"\xc1\x02\x00",
                Value::Opaque(b"\xc1\x02\x00".to_vec()),
                "opaque",
            ),
            (
                2,
                None,
                b"!",
                Value::Opaque(b"!".to_vec()),
                "no format: its bytes",
            ),
            (
                2,
                Some(0),
                b"IQ==",
                Value::Opaque(b"!".to_vec()),
                "text: Base64",
            ),
            (
                3,
                Some(1541),
                b"http://a",
                Value::from("http://a"),
                "the old number of text",
            ),
            (
                8,
                Some(1542),
                b"\xc1\x08\x01",
                Value::Boolean(true),
                "the old number of TLV",
            ),
        ] {
            assert_eq!(
                write(id, format, payload),
                Ok(ResourceValue::Single(expected)),
                "{why}"
            );
        }
    }

    #[test]
    fn an_invalid_resource_write_is_rejected() {
        let (bad, unsupported) = (ErrorCode::BadRequest, ErrorCode::UnsupportedContentFormat);
        for (id, format, payload, expected) in [
            (8, Some(0), &b"yes"[..], bad),
            (8, Some(11542), b"\xc1\x09\x01", bad),
            (8, Some(42), b"\x01", unsupported),
            (8, Some(40), b"1", unsupported),
            (3, Some(110), b"[]", unsupported),
            (3, Some(11543), b"{}", unsupported),
            (3, Some(1543), b"{}", unsupported), // the old number of JSON
            (3, Some(0), b"\xff", bad),
            (20, Some(0), b"1", bad),
            (20, Some(11542), b"\xc1\x14\x01", bad),
        ] {
            assert_eq!(
                write(id, format, payload),
                Err(expected),
                "/9/0/{id} {format:?} {payload:x?}"
            );
        }
    }

    #[test]
    fn a_multiple_resource_is_written_with_or_without_the_resource_entry() {
        let expected =
            ResourceValue::Multiple(vec![(0, Value::Integer(1)), (1, Value::Integer(5))]);
        assert_eq!(
            write(20, Some(11542), b"\x86\x14\x41\x00\x01\x41\x01\x05").as_ref(),
            Ok(&expected)
        );
        assert_eq!(
            write(20, Some(11542), b"\x41\x00\x01\x41\x01\x05").as_ref(),
            Ok(&expected)
        );
    }

    #[test]
    fn a_secret_resource_is_not_shown() {
        let value = write(15, None, b"hunter2").unwrap();
        assert!(!format!("{value:?}").contains("hunter"), "{value:?}");
        let ResourceValue::Single(Value::Secret(secret)) = value else {
            panic!("{value:?}")
        };
        assert_eq!(secret.expose(), b"hunter2");
    }

    #[test]
    fn an_instance_is_written_whole_or_not_at_all() {
        let write = |payload| instance_write(&SOFTWARE, Path::Instance(9, 0), Some(11542), payload);
        let one = Ok(vec![(8, ResourceValue::from(true))]);
        assert_eq!(write(b"\xc1\x08\x01"), one);
        assert_eq!(
            write(b"\x03\x00\xc1\x08\x01"),
            one,
            "with the instance around it"
        );
        for (payload, expected) in [
            (&b"\x03\x01\xc1\x08\x01"[..], ErrorCode::BadRequest),
            (b"\xc1\x08\x01\xc1\x08\x00", ErrorCode::BadRequest),
            (b"\xc1\x08\x01\xc1\x07\x01", ErrorCode::MethodNotAllowed),
            (b"\xc1\x08\x01\xc1\x63\x01", ErrorCode::NotFound),
            (b"\xc1\x08", ErrorCode::BadRequest),
            (b"", ErrorCode::BadRequest),
        ] {
            assert_eq!(write(payload), Err(expected), "{payload:x?}");
        }
    }

    #[test]
    fn a_create_has_an_instance_id_or_leaves_it_to_the_device() {
        let create = |payload| created(&SOFTWARE, Some(11542), payload);
        let values = vec![(8, ResourceValue::from(true))];
        assert_eq!(
            create(b"\x03\x05\xc1\x08\x01"),
            Ok((Some(5), values.clone()))
        );
        assert_eq!(create(b"\xc1\x08\x01"), Ok((None, values)));
        assert_eq!(create(b"\x00\x05"), Ok((Some(5), vec![])));
        assert_eq!(create(b""), Ok((None, vec![])));
        assert_eq!(create(b"\x20\xff\xff"), Err(ErrorCode::BadRequest));
        assert_eq!(create(b"\x00\x05\x00\x06"), Err(ErrorCode::BadRequest));
    }
}
