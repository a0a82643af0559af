//! The LwM2M objects of a gateway: their definitions and values. They make no decision about software.

pub mod component;
pub mod device;
pub mod security;
pub mod server;
pub mod software;

use std::collections::BTreeMap;

use lwm2m::{Answer, Content, ErrorCode, ObjectDefinition, Path, ResourceValue, Resources};
use wharf_software::{ComponentIds, Instance, InstanceId, ObjectLink, Resource};

pub use device::DeviceObject;
pub use server::Account;

/// All objects, in the order of their numbers.
pub static DEFINITIONS: [ObjectDefinition; 5] = [
    security::DEFINITION,
    server::DEFINITION,
    device::DEFINITION,
    software::DEFINITION,
    component::DEFINITION,
];

/// The sources of the values.
pub struct Values<'a> {
    /// Object 1.
    pub account: &'a Account,
    /// Object 3.
    pub device: &'a DeviceObject,
    /// Objects 9 and 14.
    pub software: SoftwareObjects<'a>,
}

/// The sources of Objects 9 and 14.
#[derive(Clone, Copy)]
pub struct SoftwareObjects<'a> {
    /// The instances of Object 9.
    pub instances: &'a BTreeMap<InstanceId, Instance>,
    /// The ids of components in Object 14.
    pub ids: &'a ComponentIds,
    /// Whether a plain package is shown as one component.
    pub plain_components: bool,
}

/// The instances of all objects.
pub fn instances(software: SoftwareObjects<'_>) -> Vec<(u16, u16)> {
    let single = [security::DEFINITION, server::DEFINITION, device::DEFINITION];
    let single = single.iter().map(|object| (object.id(), 0));
    let all = software.instances.keys();
    let multiple = all.clone().map(|id| (software::DEFINITION.id(), id.0));
    let components = all.flat_map(|id| component::shown(software, *id));
    let components = components.map(|one| (component::DEFINITION.id(), one.id));
    single.chain(multiple).chain(components).collect()
}

/// The instances of a gateway without Object 9.
pub fn no_software() -> Vec<(u16, u16)> {
    instances(SoftwareObjects {
        instances: &BTreeMap::new(),
        ids: &ComponentIds::default(),
        plain_components: false,
    })
}

/// Every resource that has a value, those of an instance of Object 9 in the order of notifications.
pub fn observable(software: SoftwareObjects<'_>) -> Vec<Path> {
    let single = [server::DEFINITION, device::DEFINITION];
    let single = single.iter().flat_map(|object| {
        let readable = object.resources().iter().filter(|it| it.is_readable());
        readable.map(|resource| Path::Resource(object.id(), 0, resource.id()))
    });
    let components = software.instances.keys();
    let components = components.flat_map(|id| component::observable(software, *id));
    let multiple = software.instances.keys().flat_map(|id| {
        let in_order = Resource::IN_ORDER.into_iter();
        in_order.map(|resource| software::path(*id, resource))
    });
    single.chain(components).chain(multiple).collect()
}

/// Whether the target of an Objlnk exists.
pub fn exists(software: SoftwareObjects<'_>, link: ObjectLink) -> bool {
    instances(software).contains(&(link.object, link.instance))
}

impl Values<'_> {
    /// Answers a Read.
    pub fn read(&self, path: Path) -> Answer {
        let content = match path {
            Path::Object(object) => self.object(object).map(Content::Object),
            Path::Instance(object, instance) => {
                self.instance(object, instance).map(Content::Instance)
            }
            Path::Resource(object, instance, resource) => {
                self.instance(object, instance).and_then(|resources| {
                    let found = resources.into_iter().find(|(id, _)| *id == resource);
                    found.map(|(_, value)| Content::Resource(value))
                })
            }
        };
        content.map_or(Answer::Error(ErrorCode::NotFound), Answer::Content)
    }

    /// Answers a Discover: the readable resources that have a value, and those that take one.
    pub fn discover(&self, path: Path) -> Answer {
        let definition = DEFINITIONS.iter().find(|known| known.id() == path.object());
        let Some(definition) = definition else {
            return Answer::Error(ErrorCode::NotFound);
        };
        let there = |instance| {
            let values = self.instance(path.object(), instance).unwrap_or_default();
            let resources = definition.resources().iter();
            let wanted =
                resources.filter(|known| path.resource().is_none_or(|id| id == known.id()));
            let present = wanted.filter_map(|known| {
                let value = values.iter().find(|(id, _)| *id == known.id());
                let dimension = value.and_then(|(_, value)| dimension(value));
                (value.is_some() || !known.is_readable()).then_some((known.id(), dimension))
            });
            (instance, present.collect())
        };
        let found = instances(self.software)
            .into_iter()
            .filter(|(object, _)| *object == path.object())
            .filter(|(_, instance)| path.instance().is_none_or(|wanted| wanted == *instance));
        Answer::Discovered(found.map(|(_, instance)| there(instance)).collect())
    }

    fn object(&self, object: u16) -> Option<Vec<(u16, Resources)>> {
        instances(self.software)
            .into_iter()
            .filter(|(of, _)| *of == object)
            .map(|(_, id)| Some((id, self.instance(object, id)?)))
            .collect()
    }

    fn instance(&self, object: u16, instance: u16) -> Option<Resources> {
        match object {
            1 => Some(self.account.resources()),
            3 => Some(self.device.resources()),
            9 => self.software_instance(InstanceId(instance)),
            14 => component::read(self.software, instance),
            _ => None,
        }
    }

    fn software_instance(&self, id: InstanceId) -> Option<Resources> {
        let mut resources = software::resources(self.software.instances.get(&id)?);
        resources.extend(component::links(self.software, id));
        resources.sort_unstable_by_key(|(id, _)| *id);
        Some(resources)
    }
}

/// Number of resource instances of a multiple resource.
fn dimension(value: &ResourceValue) -> Option<u16> {
    match value {
        ResourceValue::Single(_) => None,
        ResourceValue::Multiple(values) => u16::try_from(values.len()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use wharf_software::ShortId;

    use super::*;
    use crate::config;

    fn ask(asked: impl FnOnce(&Values<'_>) -> Answer) -> Answer {
        let account = Account::new(ShortId(1), 86_400);
        let device = DeviceObject::of(
            std::path::Path::new("/nonexistent"),
            &config::DeviceSettings::default(),
        );
        let software = BTreeMap::from([(InstanceId(3), Instance::default())]);
        asked(&Values {
            account: &account,
            device: &device,
            software: SoftwareObjects {
                instances: &software,
                ids: &ComponentIds::default(),
                plain_components: false,
            },
        })
    }

    fn read(path: Path) -> Answer {
        ask(|values| values.read(path))
    }

    #[test]
    fn a_discover_names_the_dimension_of_a_multiple_resource() {
        let discover = |path| ask(|values| values.discover(path));
        let errors = Path::Resource(3, 0, 11);
        let expected = vec![(0, vec![(11, Some(1))])];
        assert_eq!(discover(errors), Answer::Discovered(expected));
        let Answer::Discovered(device) = discover(Path::Object(3)) else {
            panic!("no answer to a Discover");
        };
        // This root has no file with Manufacturer, Model Number or Firmware Version.
        let expected = [
            (11, Some(1)),
            (13, None),
            (16, None),
            (17, None),
            (19, None),
        ];
        assert_eq!(device, [(0, expected.to_vec())]);
    }

    #[test]
    fn a_fresh_instance_reads_initial_with_result_0() {
        assert_eq!(
            read(Path::Resource(9, 3, 7)),
            Answer::Content(Content::from(0_i64))
        );
        assert_eq!(
            read(Path::Resource(9, 3, 9)),
            Answer::Content(Content::from(0_i64))
        );
        assert_eq!(
            read(Path::Resource(9, 3, 0)),
            Answer::Content(Content::from(""))
        );
        assert_eq!(
            read(Path::Resource(9, 3, 12)),
            Answer::Content(Content::from(false))
        );
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for path in [Path::Instance(9, 0), Path::Resource(9, 3, 5)] {
            assert_eq!(read(path), Answer::Error(ErrorCode::NotFound), "{path}");
        }
    }

    #[test]
    fn the_software_version_of_the_device_is_never_empty() {
        let Answer::Content(Content::Resource(value)) = read(Path::Resource(3, 0, 19)) else {
            panic!("3/0/19 cannot be read");
        };
        assert_ne!(value, "".into());
    }
}
