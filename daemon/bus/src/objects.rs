//! All objects at one moment, as `GetManagedObjects` gives them.

use std::collections::HashMap;

use zbus::{DeserializeDict, OwnedObjectPath, Type};

use crate::{InstanceProperties, OperationProperties};

/// The objects below the agent.
pub type ManagedObjects = HashMap<OwnedObjectPath, Interfaces>;

/// The interfaces of one object.
#[derive(Debug, Clone, PartialEq, Eq, DeserializeDict, Type)]
#[zbus(signature = "a{sa{sv}}")]
pub struct Interfaces {
    /// An instance of Object 9.
    #[zbus(rename = "org.wharfd.Agent1.Instance")]
    pub instance: Option<InstanceProperties>,
    /// An operation.
    #[zbus(rename = "org.wharfd.Agent1.Operation")]
    pub operation: Option<OperationProperties>,
}
