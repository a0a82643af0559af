//! Generates docs/dbus.md from the interfaces: `UPDATE_DOCS=1 cargo test -p wharf-bus documentation` writes it.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    path::Path,
};

use zbus::{
    OwnedFd, OwnedObjectPath, OwnedVariant, Type, fdo,
    object_server::Interface,
    wire::{LE, serialized::Context, to_bytes},
};

use crate::{
    AgentObject, AgentProperties, AgentService, Caller, FullReason, HistoryLine, InstanceCall,
    InstanceObject, InstanceProperties, InstanceService, Interfaces, KeptOperation,
    OperationObject, OperationProperties, OperationService,
};

const HEAD: &str = "\
# wharfd on D-Bus

The name on the system bus is `org.wharfd.Agent1`. Every user may read, except wharf-fetch and wharf-inspect, which
handle untrusted bytes. Only root may change something; everybody else gets `org.freedesktop.DBus.Error.AccessDenied`.
This is checked twice: by the policy of the bus (`org.wharfd.Agent1.conf`), and by wharfd, which asks the bus for the
uid of the caller. No property, signal or answer has a secret: Package URI, User Name and Password can only be written.

Status Reason may have the path of a Package URI, the last output of a maintainer script, and lines of a unit. The LwM2M
server and root read all of it. Other users read a public text, made of Update State, Update Result, name, version, and
the origin and file name of a Package URI. `StatusReason`, `Outcome`, `History` and `Operations` have the public text.
Root gets the full texts from `Reasons`, `History` and `Operations`.

| object | meaning |
| --- | --- |
| `/org/wharfd/Agent1` | the agent; `org.freedesktop.DBus.ObjectManager` of all others |
| `/org/wharfd/Agent1/instances/ID` | an instance of Object 9, from its Create to its Delete |
| `/org/wharfd/Agent1/operations/ID` | an operation that has not ended, or one of the last 16 that have; `Operations` has all |

- A method is the same request as a server's, except `Purge` and `Cancel`. It follows the same rules, with the uid of the
  caller as its origin, and the server is notified of the changes. It answers after the request is accepted and stored;
  the work comes later. The answer names the operation for the request. The signals of its changes are sent before it.
- If wharfd ends, the caller gets `NoReply` from wharfd or from the bus. The request was accepted if its operation exists
  when wharfd runs again.
- `PropertiesChanged` is sent after the commit, once for all changed properties of an object. A slow reader sees only the
  newest value; `History` has each step.
- Errors: `InvalidArgs` where a server reads 4.00, `Failed` where it reads 4.05, `UnknownObject` for a deleted instance,
  `IOError` if the database cannot be read or written. The text has the reason.

The introspection below is generated from the code.
";

/// Serves empty properties.
struct Empty;

impl AgentService for Empty {
    fn read<T>(&self, part: impl FnOnce(&AgentProperties) -> T) -> T {
        part(&AgentProperties::default())
    }

    async fn create_instance(&self, _: Caller<'_>) -> fdo::Result<OwnedObjectPath> {
        Ok(OwnedObjectPath::default())
    }

    async fn trace(&self, _: Caller<'_>, _: OwnedFd) -> fdo::Result<()> {
        Ok(())
    }

    async fn reasons(&self, _: Caller<'_>) -> fdo::Result<Vec<FullReason>> {
        Ok(Vec::new())
    }

    async fn history(&self, _: Caller<'_>, _: i32) -> fdo::Result<Vec<HistoryLine>> {
        Ok(Vec::new())
    }

    async fn operations(&self, _: Caller<'_>) -> fdo::Result<Vec<KeptOperation>> {
        Ok(Vec::new())
    }
}

impl InstanceService for Empty {
    fn read<T: Default>(&self, part: impl FnOnce(&InstanceProperties) -> T) -> T {
        part(&InstanceProperties::default())
    }

    async fn perform(&self, _: Caller<'_>, _: InstanceCall) -> fdo::Result<OwnedObjectPath> {
        Ok(OwnedObjectPath::default())
    }
}

impl OperationService for Empty {
    fn read<T: Default>(&self, part: impl FnOnce(&OperationProperties) -> T) -> T {
        part(&OperationProperties::default())
    }
}

fn introspection(interface: &impl Interface) -> String {
    let mut text = String::new();
    interface.introspect_to_writer(&mut text, 0);
    text
}

/// Each property with its signature, as the interface describes them.
fn described(interface: &impl Interface) -> BTreeMap<String, String> {
    let text = introspection(interface);
    let properties = text.split("<property name=\"").skip(1);
    let read = |property: &str| {
        let (name, rest) = property.split_once("\" type=\"").unwrap();
        let (signature, _) = rest.split_once('"').unwrap();
        (name.to_owned(), signature.to_owned())
    };
    properties.map(read).collect()
}

/// Each field with its signature, as the struct is written into a dictionary.
fn written(properties: &(impl serde::Serialize + Type)) -> BTreeMap<String, String> {
    let read = |(name, value): (String, OwnedVariant)| (name, value.value_signature().to_string());
    dictionary(properties).into_iter().map(read).collect()
}

#[test]
fn the_fields_of_a_struct_are_the_properties_of_its_interface() {
    let all = [
        (
            described(&AgentObject(Empty)),
            written(&AgentProperties::default()),
        ),
        (
            described(&InstanceObject(Empty)),
            written(&InstanceProperties::default()),
        ),
        (
            described(&OperationObject(Empty)),
            written(&OperationProperties::default()),
        ),
    ];
    for (described, written) in all {
        assert!(!described.is_empty());
        assert_eq!(written, described);
    }
}

#[test]
fn an_object_has_its_interface_and_may_have_others() {
    let instance: HashMap<String, OwnedVariant> = HashMap::new();
    let interfaces = HashMap::from([
        (
            InstanceObject::<Empty>::name().to_string(),
            dictionary(&InstanceProperties::default()),
        ),
        (
            OperationObject::<Empty>::name().to_string(),
            dictionary(&OperationProperties::default()),
        ),
        ("org.freedesktop.DBus.Peer".to_owned(), instance),
    ]);
    let read: Interfaces = reread(&interfaces);
    assert_eq!(read.instance, Some(InstanceProperties::default()));
    assert_eq!(read.operation, Some(OperationProperties::default()));
}

#[test]
fn a_property_of_a_newer_wharfd_is_ignored_and_a_missing_one_is_named() {
    let mut properties = dictionary(&OperationProperties::default());
    properties.insert("New".to_owned(), OwnedVariant::from(1_u8));
    assert_eq!(
        reread::<OperationProperties>(&properties),
        OperationProperties::default()
    );
    properties.remove("Kind");
    let bytes = to_bytes(Context::new(LE, 0), &properties).unwrap();
    let error = bytes
        .deserialize::<OperationProperties>()
        .unwrap_err()
        .to_string();
    assert!(error.contains("Kind"), "{error}");
}

fn dictionary(properties: &(impl serde::Serialize + Type)) -> HashMap<String, OwnedVariant> {
    reread(properties)
}

fn reread<T: serde::de::DeserializeOwned + Type>(value: &(impl serde::Serialize + Type)) -> T {
    let bytes = to_bytes(Context::new(LE, 0), value).unwrap();
    bytes.deserialize().unwrap().0
}

#[test]
fn docs_dbus_md_is_the_introspection() {
    let interfaces = [
        introspection(&AgentObject(Empty)),
        introspection(&InstanceObject(Empty)),
        introspection(&OperationObject(Empty)),
    ];
    let expected = format!("{HEAD}\n```xml\n{}```\n", interfaces.join("\n"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dbus.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &expected).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == expected,
        "docs/dbus.md is out of date: run UPDATE_DOCS=1 cargo test -p wharf-bus documentation"
    );
}
