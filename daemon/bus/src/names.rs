//! The name on the bus, the paths of objects, the address of the bus.

use std::path::Path;

use zbus::{ObjectPath, OwnedObjectPath};

/// The name on the bus.
pub const NAME: &str = "org.wharfd.Agent1";

/// The path of the agent. The paths of all other objects are below it.
pub const AGENT_PATH: &str = "/org/wharfd/Agent1";

const INSTANCES: &str = "instances";
const OPERATIONS: &str = "operations";

/// The path of an instance of Object 9.
pub fn instance_path(id: u16) -> OwnedObjectPath {
    path(INSTANCES, &id.to_string())
}

/// The path of an operation, by its name of digits and letters.
pub fn operation_path(name: &str) -> OwnedObjectPath {
    path(OPERATIONS, name)
}

/// The id of the instance at this path.
pub fn instance_id(path: &ObjectPath<'_>) -> Option<u16> {
    last(path, INSTANCES)?.parse().ok()
}

/// The name of the operation at this path; none at `/`.
pub fn operation_name<'a>(path: &'a ObjectPath<'_>) -> Option<&'a str> {
    last(path, OPERATIONS)
}

fn path(folder: &str, last: &str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(format!("{AGENT_PATH}/{folder}/{last}")).unwrap_or_default()
}

fn last<'a>(path: &'a ObjectPath<'_>, folder: &str) -> Option<&'a str> {
    let below = path.as_str().strip_prefix(AGENT_PATH)?.strip_prefix('/')?;
    below.strip_prefix(folder)?.strip_prefix('/')
}

/// The address of the bus of the system in `root`, as libdbus finds it.
pub fn address(root: &Path) -> String {
    let given = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
    given.unwrap_or_else(|| {
        let socket = root.join("run/dbus/system_bus_socket");
        format!("unix:path={}", socket.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_instance_or_its_operation_and_no_other_kind() {
        let (instance, operation) = (instance_path(7), operation_path("0a"));
        assert_eq!(instance.as_str(), "/org/wharfd/Agent1/instances/7");
        assert_eq!(operation.as_str(), "/org/wharfd/Agent1/operations/0a");
        assert_eq!(instance_id(&instance), Some(7));
        assert_eq!(operation_name(&operation), Some("0a"));
        for other in [
            OwnedObjectPath::default(),
            OwnedObjectPath::try_from(AGENT_PATH).unwrap(),
            OwnedObjectPath::try_from("/org/other/instances/7").unwrap(),
        ] {
            assert_eq!(instance_id(&other), None, "{other}");
            assert_eq!(operation_name(&other), None, "{other}");
        }
        assert_eq!(instance_id(&operation), None);
        assert_eq!(operation_name(&instance), None);
    }
}
