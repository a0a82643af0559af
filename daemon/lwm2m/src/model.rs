//! The object definitions of the caller, and the present instances.

use crate::{ObjectId, ObjectInstanceId, Path, ResourceId};

/// The type of a resource's value (TS Core 1.0 Appendix C).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// UTF-8 text.
    String,
    /// A signed number.
    Integer,
    /// A floating point number.
    Float,
    /// True or false.
    Boolean,
    /// Bytes.
    Opaque,
    /// Seconds since 1970.
    Time,
    /// A link to an object's instance.
    Objlnk,
    /// No value: the resource is executable.
    None,
}

/// The operations that a server may use on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

impl Operations {
    /// Read only.
    pub const READ: Self = Self {
        read: true,
        write: false,
        execute: false,
    };
    /// Write only.
    pub const WRITE: Self = Self {
        read: false,
        write: true,
        execute: false,
    };
    /// Read and Write.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
        execute: false,
    };
    /// Execute.
    pub const EXECUTE: Self = Self {
        read: false,
        write: false,
        execute: true,
    };
    /// None: only a bootstrap server or the device itself may use it.
    pub const NONE: Self = Self {
        read: false,
        write: false,
        execute: false,
    };
}

/// A resource of an object.
#[derive(Clone, Copy, Debug)]
pub struct ResourceDefinition {
    pub(crate) id: ResourceId,
    pub(crate) operations: Operations,
    pub(crate) kind: Type,
    pub(crate) multiple: bool,
    pub(crate) mandatory: bool,
    pub(crate) streamed: bool,
    pub(crate) secret: bool,
    pub(crate) never_coalesced: bool,
}

impl ResourceDefinition {
    /// A single, optional resource.
    pub const fn new(id: ResourceId, operations: Operations, kind: Type) -> Self {
        Self {
            id,
            operations,
            kind,
            multiple: false,
            mandatory: false,
            streamed: false,
            secret: false,
            never_coalesced: false,
        }
    }

    /// Makes it a multiple resource.
    pub const fn multiple(self) -> Self {
        Self {
            multiple: true,
            ..self
        }
    }

    /// Makes it mandatory. A Create without it gets 4.00 if it is writable.
    pub const fn mandatory(self) -> Self {
        Self {
            mandatory: true,
            ..self
        }
    }

    /// Passes a Write to the application as [`Request::Block`](crate::Request::Block)s, of any total
    /// length.
    pub const fn streamed(self) -> Self {
        Self {
            streamed: true,
            ..self
        }
    }

    /// Turns a written value into a [`Value::Secret`](crate::Value::Secret).
    pub const fn secret(self) -> Self {
        Self {
            secret: true,
            ..self
        }
    }

    /// Notifies every value in order, not only the newest one (a deviation from RFC 7641 1.3).
    pub const fn never_coalesced(self) -> Self {
        Self {
            never_coalesced: true,
            ..self
        }
    }

    /// Its number.
    pub const fn id(&self) -> ResourceId {
        self.id
    }

    /// Whether a server may read it.
    pub const fn is_readable(&self) -> bool {
        self.operations.read
    }

    /// Whether a server may write it.
    pub const fn is_writable(&self) -> bool {
        self.operations.write
    }

    /// Whether a server may execute it.
    pub const fn is_executable(&self) -> bool {
        self.operations.execute
    }
}

/// The version of an object. A registration omits 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u8, pub u8);

/// An object.
#[derive(Clone, Copy, Debug)]
pub struct ObjectDefinition {
    pub(crate) id: ObjectId,
    pub(crate) version: Version,
    pub(crate) multiple: bool,
    pub(crate) resources: &'static [ResourceDefinition],
}

impl ObjectDefinition {
    /// An object of version 1.0. No server may Create or Delete an instance.
    pub const fn new(id: ObjectId, resources: &'static [ResourceDefinition]) -> Self {
        Self {
            id,
            version: Version(1, 0),
            multiple: false,
            resources,
        }
    }

    /// Lets a server Create and Delete instances, if the application agrees.
    pub const fn multiple(self) -> Self {
        Self {
            multiple: true,
            ..self
        }
    }

    /// Sets the version.
    pub const fn version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Its number.
    pub const fn id(&self) -> ObjectId {
        self.id
    }

    /// Its resources.
    pub const fn resources(&self) -> &'static [ResourceDefinition] {
        self.resources
    }

    /// One of its resources.
    pub fn resource(&self, id: ResourceId) -> Option<&'static ResourceDefinition> {
        self.resources.iter().find(|resource| resource.id == id)
    }
}

/// The defined objects and their present instances.
#[derive(Clone, Debug)]
pub struct Objects {
    definitions: &'static [ObjectDefinition],
    instances: Vec<(ObjectId, ObjectInstanceId)>,
}

impl Objects {
    /// The definitions are fixed. [`Input::ObjectsChanged`](crate::Input::ObjectsChanged) replaces
    /// the instances.
    pub fn new(
        definitions: &'static [ObjectDefinition],
        instances: impl IntoIterator<Item = (ObjectId, ObjectInstanceId)>,
    ) -> Self {
        let mut objects = Self {
            definitions,
            instances: Vec::new(),
        };
        objects.replace_instances(instances.into_iter().collect());
        objects
    }

    pub(crate) fn replace_instances(&mut self, mut instances: Vec<(ObjectId, ObjectInstanceId)>) {
        instances.sort_unstable();
        instances.dedup();
        self.instances = instances;
    }

    pub(crate) fn definitions(&self) -> &'static [ObjectDefinition] {
        self.definitions
    }

    pub(crate) fn instances_of(
        &self,
        object: ObjectId,
    ) -> impl Iterator<Item = ObjectInstanceId> + '_ {
        self.instances
            .iter()
            .filter(move |(of, _)| *of == object)
            .map(|(_, instance)| *instance)
    }

    pub(crate) fn definition(&self, object: ObjectId) -> Option<&'static ObjectDefinition> {
        self.definitions
            .iter()
            .find(|definition| definition.id == object)
    }

    pub(crate) fn resource(&self, path: Path) -> Option<&'static ResourceDefinition> {
        self.definition(path.object())?.resource(path.resource()?)
    }

    /// Whether the object and the resource are defined, and the instance is present.
    pub(crate) fn exists(&self, path: Path) -> bool {
        let Some(definition) = self.definition(path.object()) else {
            return false;
        };
        path.instance()
            .is_none_or(|id| self.instances.contains(&(path.object(), id)))
            && path
                .resource()
                .is_none_or(|id| definition.resource(id).is_some())
    }
}
