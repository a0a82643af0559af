//! Object 9, LwM2M Software Management (TS 6): the values of an instance, and the Write of a server as an event.

use lwm2m::{
    ErrorCode, ObjectDefinition, Operations, Path, ResourceDefinition, ResourceValue, Resources,
    Type, Value,
};
use wharf_software::{
    Instance, InstanceId, ObjectLink, PackageSource, RefusalCode, Resource, Write,
};

/// Package.
pub const PACKAGE: u16 = 2;
const PACKAGE_URI: u16 = 3;
const UPDATE_SUPPORTED_OBJECTS: u16 = 8;
const PACKAGE_SETTINGS: u16 = 13;
const USER_NAME: u16 = 14;
const PASSWORD: u16 = 15;

/// TS table 6.-2, without 5.
pub const DEFINITION: ObjectDefinition = ObjectDefinition::new(
    9,
    &[
        ResourceDefinition::new(0, Operations::READ, Type::String).mandatory(),
        ResourceDefinition::new(1, Operations::READ, Type::String).mandatory(),
        ResourceDefinition::new(PACKAGE, Operations::WRITE, Type::Opaque).streamed(),
        ResourceDefinition::new(PACKAGE_URI, Operations::WRITE, Type::String).secret(),
        ResourceDefinition::new(4, Operations::EXECUTE, Type::None).mandatory(),
        ResourceDefinition::new(6, Operations::EXECUTE, Type::None).mandatory(),
        ResourceDefinition::new(7, Operations::READ, Type::Integer)
            .mandatory()
            .never_coalesced(),
        ResourceDefinition::new(
            UPDATE_SUPPORTED_OBJECTS,
            Operations::READ_WRITE,
            Type::Boolean,
        ),
        ResourceDefinition::new(9, Operations::READ, Type::Integer)
            .mandatory()
            .never_coalesced(),
        ResourceDefinition::new(10, Operations::EXECUTE, Type::None).mandatory(),
        ResourceDefinition::new(11, Operations::EXECUTE, Type::None).mandatory(),
        ResourceDefinition::new(12, Operations::READ, Type::Boolean).mandatory(),
        ResourceDefinition::new(PACKAGE_SETTINGS, Operations::READ_WRITE, Type::Objlnk),
        ResourceDefinition::new(USER_NAME, Operations::WRITE, Type::String).secret(),
        ResourceDefinition::new(PASSWORD, Operations::WRITE, Type::String).secret(),
        ResourceDefinition::new(16, Operations::READ, Type::String),
        ResourceDefinition::new(17, Operations::READ, Type::Objlnk).multiple(),
        ResourceDefinition::new(18, Operations::READ, Type::Integer),
    ],
)
.multiple();

/// The path of a readable resource.
pub fn path(instance: InstanceId, resource: Resource) -> Path {
    Path::Resource(DEFINITION.id(), instance.0, resource.id())
}

/// The readable resources of an instance, without its links to components.
pub fn resources(instance: &Instance) -> Resources {
    let mut all: Resources = Resource::IN_ORDER
        .into_iter()
        .map(|resource| (resource.id(), value(instance, resource)))
        .collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    all
}

fn value(instance: &Instance, resource: Resource) -> ResourceValue {
    match resource {
        Resource::PkgName => instance.pkg_name().into(),
        Resource::PkgVersion => instance.pkg_version().into(),
        Resource::UpdateState => i64::from(instance.update_state().value()).into(),
        Resource::UpdateSupportedObjects => instance.update_supported_objects().into(),
        Resource::UpdateResult => i64::from(instance.update_result().value()).into(),
        Resource::ActivationState => instance.activation_state().into(),
        Resource::PackageSettings => {
            let link = instance.package_settings();
            ResourceValue::Single(Value::Objlnk(link.object, link.instance))
        }
        Resource::StatusReason => instance.status_reason().to_string().into(),
    }
}

/// Converts a Write. Returns the bytes of Package separately, if they are part of it.
pub fn write(values: Resources) -> Result<(Write, Option<Vec<u8>>), ErrorCode> {
    let mut write = Write::default();
    let mut package = None;
    for (id, value) in values {
        let ResourceValue::Single(value) = value else {
            return Err(ErrorCode::BadRequest);
        };
        match (id, value) {
            (PACKAGE, Value::Opaque(bytes)) => {
                let empty = bytes.is_empty();
                put(&mut write.source, PackageSource::Package { empty })?;
                package = Some(bytes);
            }
            (PACKAGE_URI, Value::Secret(uri)) => {
                put(&mut write.source, PackageSource::Uri(uri))?;
            }
            (UPDATE_SUPPORTED_OBJECTS, Value::Boolean(value)) => {
                put(&mut write.update_supported_objects, value)?;
            }
            (PACKAGE_SETTINGS, Value::Objlnk(object, instance)) => {
                put(&mut write.package_settings, ObjectLink { object, instance })?;
            }
            (USER_NAME, Value::Secret(name)) => put(&mut write.user_name, name)?,
            (PASSWORD, Value::Secret(password)) => put(&mut write.password, password)?,
            (id, _) => return Err(not_writable(id)),
        }
    }
    Ok((write, package))
}

/// Rejects a second value of one resource, and a second source of the package.
fn put<T>(place: &mut Option<T>, value: T) -> Result<(), ErrorCode> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ErrorCode::BadRequest),
    }
}

fn not_writable(id: u16) -> ErrorCode {
    match DEFINITION.resource(id) {
        Some(known) if known.is_writable() => ErrorCode::BadRequest,
        Some(_) => ErrorCode::MethodNotAllowed,
        None => ErrorCode::NotFound,
    }
}

/// The response code of a refusal.
pub const fn error_code(code: RefusalCode) -> ErrorCode {
    match code {
        RefusalCode::BadRequest => ErrorCode::BadRequest,
        RefusalCode::MethodNotAllowed => ErrorCode::MethodNotAllowed,
    }
}

#[cfg(test)]
mod tests {
    use wharf_frames::Secret;

    use super::*;

    fn text(value: &str) -> ResourceValue {
        ResourceValue::Single(Value::Secret(Secret::new(value.into())))
    }

    #[test]
    fn write_only_resources_are_not_in_a_read() {
        let ids: Vec<u16> = resources(&Instance::default())
            .iter()
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(ids, [0, 1, 7, 8, 9, 12, 13, 16]);
    }

    #[test]
    fn a_write_of_a_whole_instance_is_one_event() {
        let values = vec![
            (14, text("fleet")),
            (3, text("http://o/p.deb")),
            (8, true.into()),
        ];
        let (write, package) = write(values).unwrap();
        assert_eq!(
            write.source,
            Some(PackageSource::Uri(Secret::new(b"http://o/p.deb".to_vec())))
        );
        assert_eq!(write.user_name, Some(Secret::new(b"fleet".to_vec())));
        assert_eq!(write.update_supported_objects, Some(true));
        assert_eq!(package, None);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let package = || ResourceValue::Single(Value::Opaque(vec![1]));
        let table: Vec<(Resources, ErrorCode)> = vec![
            (vec![(7, 1_i64.into())], ErrorCode::MethodNotAllowed),
            (
                vec![(2, package()), (3, text("http://o/p"))],
                ErrorCode::BadRequest,
            ),
            (vec![(8, 1_i64.into())], ErrorCode::BadRequest),
            (vec![(4, "".into())], ErrorCode::MethodNotAllowed),
            (vec![(99, "".into())], ErrorCode::NotFound),
        ];
        for (values, expected) in table {
            assert_eq!(write(values.clone()), Err(expected), "{values:?}");
        }
    }
}
