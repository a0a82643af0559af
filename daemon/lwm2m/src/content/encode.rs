//! Encodes the application's answer to a Read.

use super::{ContentFormat, binary};
use crate::{
    Content, ErrorCode, ObjectDefinition, Path, ResourceId, ResourceValue, Resources, Value, text,
    tlv::{TlvKind, push},
};

/// Encodes `content`. 5.00 if the application answered for another level, or with a secret.
pub(crate) fn encode(
    definition: &ObjectDefinition,
    path: Path,
    content: &Content,
    format: ContentFormat,
) -> Result<Vec<u8>, ErrorCode> {
    let mut out = Vec::new();
    match (path, content) {
        (Path::Resource(_, _, id), Content::Resource(value)) => match format.meaning() {
            ContentFormat::Tlv => push_resource(&mut out, id, value)?,
            format => out = single(value, format)?,
        },
        (Path::Instance(..), Content::Instance(resources)) => {
            push_resources(&mut out, definition, resources)?;
        }
        (Path::Object(_), Content::Object(instances)) => {
            for (instance, resources) in instances {
                let mut value = Vec::new();
                push_resources(&mut value, definition, resources)?;
                push(&mut out, TlvKind::ObjectInstance, *instance, &value);
            }
        }
        _ => return Err(ErrorCode::InternalServerError),
    }
    Ok(out)
}

fn single(value: &ResourceValue, format: ContentFormat) -> Result<Vec<u8>, ErrorCode> {
    match (value, format) {
        (ResourceValue::Single(Value::Opaque(bytes)), ContentFormat::Opaque) => Ok(bytes.clone()),
        (ResourceValue::Single(value), ContentFormat::Text) => text::encode(value),
        _ => Err(ErrorCode::InternalServerError),
    }
}

/// Encodes the readable resources. A Read of an instance omits all others (TS Core 1.0 5.4.1).
fn push_resources(
    out: &mut Vec<u8>,
    definition: &ObjectDefinition,
    resources: &Resources,
) -> Result<(), ErrorCode> {
    let readable = |id: ResourceId| definition.resource(id).is_some_and(|it| it.is_readable());
    for (id, value) in resources.iter().filter(|(id, _)| readable(*id)) {
        push_resource(out, *id, value)?;
    }
    Ok(())
}

fn push_resource(
    out: &mut Vec<u8>,
    id: ResourceId,
    value: &ResourceValue,
) -> Result<(), ErrorCode> {
    match value {
        ResourceValue::Single(value) => push(out, TlvKind::Resource, id, &binary::encode(value)?),
        ResourceValue::Multiple(values) => {
            let mut instances = Vec::new();
            for (instance, value) in values {
                push(
                    &mut instances,
                    TlvKind::ResourceInstance,
                    *instance,
                    &binary::encode(value)?,
                );
            }
            push(out, TlvKind::MultipleResource, id, &instances);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Operations, ResourceDefinition, Type};

    const fn readable(id: u16, kind: Type) -> ResourceDefinition {
        ResourceDefinition::new(id, Operations::READ, kind)
    }

    static DEVICE: ObjectDefinition = ObjectDefinition::new(
        3,
        &[
            readable(0, Type::String),
            readable(1, Type::String),
            readable(2, Type::String),
            readable(3, Type::String),
            ResourceDefinition::new(4, Operations::EXECUTE, Type::None),
            readable(6, Type::Integer).multiple(),
            readable(7, Type::Integer).multiple(),
            readable(8, Type::Integer).multiple(),
            readable(9, Type::Integer),
            readable(10, Type::Integer),
            readable(11, Type::Integer).multiple(),
            readable(13, Type::Time),
            readable(14, Type::String),
            readable(16, Type::String),
        ],
    );

    fn device() -> Resources {
        let many = |values: &[i64]| {
            let numbered = values.iter().enumerate();
            ResourceValue::Multiple(
                numbered
                    .map(|(at, value)| (at as u16, Value::from(*value)))
                    .collect(),
            )
        };
        vec![
            (0, "Open Mobile Alliance".into()),
            (1, "Lightweight M2M Client".into()),
            (2, "345000123".into()),
            (3, "1.0".into()),
            (4, "must not be encoded".into()),
            (6, many(&[1, 5])),
            (7, many(&[3800, 5000])),
            (8, many(&[125, 900])),
            (9, 100.into()),
            (10, 15.into()),
            (11, many(&[0])),
            (13, ResourceValue::Single(Value::Time(1_367_491_215))),
            (14, "+02:00".into()),
            (16, "U".into()),
        ]
    }

    /// TS Core 1.0 6.4.3.1.
    const RESOURCES: &[u8] = b"\xc8\x00\x14Open Mobile Alliance\xc8\x01\x16Lightweight M2M Client\
        \xc8\x02\x09345000123\xc3\x031.0\x86\x06\x41\x00\x01\x41\x01\x05\x88\x07\x08\x42\x00\x0e\xd8\x42\x01\x13\x88\
        \x87\x08\x41\x00\x7d\x42\x01\x03\x84\xc1\x09\x64\xc1\x0a\x0f\x83\x0b\x41\x00\x00\xc4\x0d\x51\x82\x42\x8f\
        \xc6\x0e+02:00\xc1\x10U";

    #[test]
    fn the_device_object_has_the_bytes_of_the_specification() {
        let instance = encode(
            &DEVICE,
            Path::Instance(3, 0),
            &Content::Instance(device()),
            ContentFormat::Tlv,
        );
        assert_eq!(instance.unwrap(), RESOURCES);
        let content = Content::Object(vec![(0, device())]);
        let object = encode(&DEVICE, Path::Object(3), &content, ContentFormat::Tlv).unwrap();
        assert_eq!(object, [b"\x08\x00\x79", RESOURCES].concat());
    }

    #[test]
    fn an_answer_for_another_level_is_an_internal_error() {
        let content = Content::Instance(device());
        let answer = encode(
            &DEVICE,
            Path::Resource(3, 0, 0),
            &content,
            ContentFormat::Tlv,
        );
        assert_eq!(answer, Err(ErrorCode::InternalServerError));
    }
}
