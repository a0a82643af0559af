//! docs/dbus.md says what the interfaces say: `UPDATE_DOCS=1 cargo test -p wharf-bus documentation` writes it anew.

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
    Agent, AgentObject, AgentService, Caller, HistoryLine, Instance, InstanceObject,
    InstanceService, Interfaces, KeptOperation, Operation, OperationObject, OperationService,
    Reason, Request,
};

const HEAD: &str = "\
# wharfd on D-Bus

The name on the system bus is `org.wharfd.Agent1`. Everybody reads, but for the users wharf-fetch and wharf-inspect,
who handle bytes of strangers; what changes something answers `org.freedesktop.DBus.Error.AccessDenied` to everybody
but root, twice over: by the policy of the bus (`org.wharfd.Agent1.conf`), and by wharfd, which asks the bus who
calls. No secret is in any property, signal or answer: Package URI, User Name and Password can be written and not
read.

Status Reason may hold the path of a Package URI, the last words of a maintainer script, and lines of a unit. The LwM2M
server and root read all of it. Everybody else reads other words, made of Update State, Update Result, name, version,
and of a Package URI its origin and file name: in `StatusReason`, in `Outcome`, and in what `History` and
`Operations` answer. Root calls `Reasons` for the rest, and `History` and `Operations` answer root in full.

| object | what it is |
| --- | --- |
| `/org/wharfd/Agent1` | the agent; `org.freedesktop.DBus.ObjectManager` of all others |
| `/org/wharfd/Agent1/instances/ID` | an instance of Object 9; comes with Create, goes with Delete |
| `/org/wharfd/Agent1/operations/ID` | an operation that has not ended, or one of the last 16 that have; `Operations` has all |

- A method is a server's request, but for `Purge` and `Cancel`: it goes through the same machine, under the same rules, with the
  caller's uid as its origin; the server is notified as of its own. It answers when the request is accepted and stored;
  the work comes afterwards. The answer names the operation for the request. The signals of its changes are sent
  before its answer.
- A wharfd that ends answers `NoReply`, or the bus does. The request was accepted if its operation is there when wharfd
  is back.
- `PropertiesChanged` comes after the commit, one signal for all changed properties of an object. A slow reader sees
  the newest value and not each step; `History` has each step.
- Refusals: `InvalidArgs` where a server reads 4.00, `Failed` where it reads 4.05, `UnknownObject` for an instance that
  is gone, `IOError` when the database does not take it. The text says why.

The introspection below is generated from the code.
";

/// Serves empty properties.
struct Empty;

impl AgentService for Empty {
    fn read<T>(&self, part: impl FnOnce(&Agent) -> T) -> T {
        part(&Agent::default())
    }

    async fn create_instance(&self, _: Caller<'_>) -> fdo::Result<OwnedObjectPath> {
        Ok(OwnedObjectPath::default())
    }

    async fn trace(&self, _: Caller<'_>, _: OwnedFd) -> fdo::Result<()> {
        Ok(())
    }

    async fn reasons(&self, _: Caller<'_>) -> fdo::Result<Vec<Reason>> {
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
    fn read<T: Default>(&self, part: impl FnOnce(&Instance) -> T) -> T {
        part(&Instance::default())
    }

    async fn request(&self, _: Caller<'_>, _: Request) -> fdo::Result<OwnedObjectPath> {
        Ok(OwnedObjectPath::default())
    }
}

impl OperationService for Empty {
    fn read<T: Default>(&self, part: impl FnOnce(&Operation) -> T) -> T {
        part(&Operation::default())
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
        (described(&AgentObject(Empty)), written(&Agent::default())),
        (
            described(&InstanceObject(Empty)),
            written(&Instance::default()),
        ),
        (
            described(&OperationObject(Empty)),
            written(&Operation::default()),
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
            dictionary(&Instance::default()),
        ),
        (
            OperationObject::<Empty>::name().to_string(),
            dictionary(&Operation::default()),
        ),
        ("org.freedesktop.DBus.Peer".to_owned(), instance),
    ]);
    let read: Interfaces = reread(&interfaces);
    assert_eq!(read.instance, Some(Instance::default()));
    assert_eq!(read.operation, Some(Operation::default()));
}

#[test]
fn a_property_of_a_newer_wharfd_is_ignored_and_a_missing_one_is_named() {
    let mut properties = dictionary(&Operation::default());
    properties.insert("New".to_owned(), OwnedVariant::from(1_u8));
    assert_eq!(reread::<Operation>(&properties), Operation::default());
    properties.remove("Kind");
    let bytes = to_bytes(Context::new(LE, 0), &properties).unwrap();
    let error = bytes.deserialize::<Operation>().unwrap_err().to_string();
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
        "docs/dbus.md is another: UPDATE_DOCS=1 cargo test -p wharf-bus documentation"
    );
}
