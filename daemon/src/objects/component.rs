//! Object 14, LwM2M Software Component (TS 7): the values of a component, and the links of Object 9 to it.

use lwm2m::{
    ObjectDefinition, Operations, Path, ResourceDefinition, ResourceValue, Resources, Type, Value,
};
use wharf_frames::PackageName;
use wharf_software::{ComponentValues, Instance, InstanceId, UpdateState};

use super::SoftwareObjects;

const IDENTITY: u16 = 0;
const VERSION: u16 = 2;
const ACTIVATION_STATE: u16 = 5;

/// Resources 17 and 18 of Object 9.
const LINK: u16 = 17;
const TREE_LENGTH: u16 = 18;

/// TS table 7.-2, without 1. No server creates or deletes an instance.
pub const DEFINITION: ObjectDefinition = ObjectDefinition::new(
    14,
    &[
        ResourceDefinition::new(IDENTITY, Operations::READ, Type::String),
        ResourceDefinition::new(VERSION, Operations::READ, Type::String),
        ResourceDefinition::new(3, Operations::EXECUTE, Type::None),
        ResourceDefinition::new(4, Operations::EXECUTE, Type::None),
        ResourceDefinition::new(ACTIVATION_STATE, Operations::READ, Type::Boolean),
    ],
);

/// A component with its id in Object 14.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownComponent {
    /// Its id.
    pub id: u16,
    /// Its values.
    pub component: ComponentValues,
}

/// The components of an instance that servers see, in the order of its manifest. A plain package has one only if
/// wharfd.toml says so.
pub fn shown(software: SoftwareObjects<'_>, of: InstanceId) -> Vec<ShownComponent> {
    let Some(instance) = software.instances.get(&of) else {
        return Vec::new();
    };
    if !instance.is_bundle() && !software.plain_components {
        return Vec::new();
    }
    let components = instance.components().into_iter();
    let with_id = components.filter_map(|component| {
        let id = software.ids.id(of, &component.name)?;
        Some(ShownComponent { id, component })
    });
    with_id.collect()
}

/// The instance of Object 9 and the name of a component that servers see.
pub fn find(software: SoftwareObjects<'_>, id: u16) -> Option<(InstanceId, &PackageName)> {
    let (of, name) = software.ids.get(id)?;
    let mut shown = shown(software, of).into_iter();
    shown.any(|one| one.id == id).then_some((of, name))
}

/// The readable resources.
pub fn resources(component: &ComponentValues) -> Resources {
    let ComponentValues {
        name,
        version,
        active,
    } = component;
    vec![
        (IDENTITY, name.as_str().into()),
        (VERSION, version.as_str().into()),
        (ACTIVATION_STATE, (*active).into()),
    ]
}

/// Resources 17 and 18 of an instance, in DELIVERED and INSTALLED of a package with components.
pub fn links(software: SoftwareObjects<'_>, of: InstanceId) -> Resources {
    let state = software.instances.get(&of).map(Instance::update_state);
    let is_there = matches!(state, Some(UpdateState::Delivered | UpdateState::Installed));
    let shown = if is_there {
        shown(software, of)
    } else {
        Vec::new()
    };
    if shown.is_empty() {
        return Vec::new();
    }
    let count = shown.len() as i64;
    let link = |one: &ShownComponent| Value::Objlnk(DEFINITION.id(), one.id);
    let links = (0..).zip(shown.iter().map(link)).collect();
    vec![
        (LINK, ResourceValue::Multiple(links)),
        (TREE_LENGTH, count.into()),
    ]
}

/// The readable resources of an instance of Object 14.
pub fn read(software: SoftwareObjects<'_>, id: u16) -> Option<Resources> {
    let (of, _) = find(software, id)?;
    let mut shown = shown(software, of).into_iter();
    shown
        .find(|one| one.id == id)
        .map(|one| resources(&one.component))
}

/// The paths of the readable resources that an instance of Object 9 has beside its own.
pub fn observable(software: SoftwareObjects<'_>, of: InstanceId) -> Vec<Path> {
    let readable = [IDENTITY, VERSION, ACTIVATION_STATE];
    let components = shown(software, of).into_iter();
    let components = components
        .flat_map(|one| readable.map(|resource| Path::Resource(DEFINITION.id(), one.id, resource)));
    let links = links(software, of).into_iter();
    let links = links.map(|(resource, _)| Path::Resource(9, of.0, resource));
    components.chain(links).collect()
}

/// The paths that a commit of one instance changed, in the order of notifications.
pub fn changed(of: InstanceId, before: &ComponentsOf, after: &ComponentsOf) -> Vec<Path> {
    let object = DEFINITION.id();
    let known = |id: u16| before.shown.iter().find(|one| one.id == id);
    let mut paths = Vec::new();
    for ShownComponent { id, component } in &after.shown {
        let old = known(*id).map(|one| resources(&one.component));
        let new = resources(component).into_iter();
        let differs = |resource: &u16, value: &ResourceValue| {
            let old = old.iter().flatten().find(|(known, _)| known == resource);
            old.is_none_or(|(_, old)| old != value)
        };
        let new = new.filter(|(resource, value)| differs(resource, value));
        paths.extend(new.map(|(resource, _)| Path::Resource(object, *id, resource)));
    }
    if before.ids() != after.ids() {
        paths.push(Path::Object(object));
    }
    if before.links != after.links {
        paths.extend([LINK, TREE_LENGTH].map(|it| Path::Resource(9, of.0, it)));
    }
    paths
}

/// The components of an instance, and its links to them.
#[derive(Debug, Clone)]
pub struct ComponentsOf {
    shown: Vec<ShownComponent>,
    links: Resources,
}

impl ComponentsOf {
    /// Those of this instance.
    pub fn new(software: SoftwareObjects<'_>, of: InstanceId) -> Self {
        Self {
            shown: shown(software, of),
            links: links(software, of),
        }
    }

    /// Their ids, in the order of the manifest.
    pub fn ids(&self) -> Vec<u16> {
        self.shown.iter().map(|one| one.id).collect()
    }

    /// The components.
    pub fn shown(&self) -> &[ShownComponent] {
        &self.shown
    }
}
