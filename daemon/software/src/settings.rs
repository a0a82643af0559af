//! The resources that a server writes without a change of the state: 8, 13, 14, 15 (TS table 6.-2). Also the creator of
//! the instance.

use wharf_frames::Secret;

/// The longest User Name or Password, in bytes (TS table 6.-2).
pub const MAX_CREDENTIAL: usize = 255;

/// The settings of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstanceSettings {
    /// Resource 8, Update Supported Objects.
    pub update_supported_objects: bool,
    /// Resource 13, Package Settings.
    pub package_settings: ObjectLink,
    /// Resource 14, User Name, until the next download ends.
    pub user_name: Option<Secret>,
    /// Resource 15, Password, until the next download ends.
    pub password: Option<Secret>,
    /// A local user created the instance. The server or the factory made the others.
    pub local: bool,
}

/// A link to an object instance (data type Objlnk).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectLink {
    /// The object.
    pub object: u16,
    /// Its instance.
    pub instance: u16,
}

impl ObjectLink {
    /// The null link: 65535:65535.
    pub const NULL: Self = Self {
        object: u16::MAX,
        instance: u16::MAX,
    };
}

impl Default for ObjectLink {
    fn default() -> Self {
        Self::NULL
    }
}
