//! docs/dbus.md says what the interfaces say: `UPDATE_DOCS=1 cargo test -p wharfd documentation` writes it anew.

use std::{env, fs, path::Path};

use tokio::sync::{mpsc, watch};
use wharf_frames::OperationId;
use wharf_software::InstanceId;
use zbus::object_server::Interface;

use super::{access::Access, agent::Agent, instance::Instance, operation::Operation, views::Views};

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
- `PropertiesChanged` comes after the commit, one signal for all properties of an object that changed. Who is slow
  sees the newest value and not each step; `History` has each step.
- Refusals: `InvalidArgs` where a server reads 4.00, `Failed` where it reads 4.05, `UnknownObject` for an instance that
  is gone, `IOError` when the database does not take it. The text says why.

What follows is the introspection, generated from the code.
";

fn access() -> Access {
    Access {
        views: watch::channel(Views::default()).1,
        shown: watch::channel(Views::default()).1,
        commands: mpsc::channel(1).0,
        announced: watch::channel(0).1,
    }
}

fn introspection(interface: &impl Interface) -> String {
    let mut text = String::new();
    interface.introspect_to_writer(&mut text, 0);
    text
}

#[test]
fn docs_dbus_md_is_the_introspection() {
    let access = access();
    let instance = Instance {
        id: InstanceId(0),
        access: access.clone(),
    };
    let operation = Operation {
        id: OperationId::from_bytes([0; 16]),
        access: access.clone(),
    };
    let interfaces = [
        introspection(&Agent(access)),
        introspection(&instance),
        introspection(&operation),
    ];
    let expected = format!("{HEAD}\n```xml\n{}```\n", interfaces.join("\n"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dbus.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &expected).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == expected,
        "docs/dbus.md is another: UPDATE_DOCS=1 cargo test -p wharfd documentation"
    );
}
