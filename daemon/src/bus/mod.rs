//! The D-Bus service `org.wharfd.Agent1`: root reads and orders what a server does, other users read public texts.
//! Knows the views that the agent publishes, and judges nothing but who asks.
//!
//! - `views`: what is shown; the agent changes it after each commit. Only root is given the whole reasons in it.
//! - `public`: the texts that everybody reads in place of those that only root reads.
//! - `command`: what is asked of the agent, and how it answers.
//! - `service`: the connection, the objects that come and go, the signals.
//! - `agent`, `instance`, `operation`: one interface each. docs/dbus.md is generated from them.

mod access;
mod agent;
mod command;
mod instance;
mod operation;
mod public;
mod service;
mod views;

#[cfg(test)]
mod documentation;

use std::path::Path;

use tokio::sync::{mpsc, watch};

pub use agent::{Kept, Line, Words};
pub use command::{Answer, Command, Refused, Request};
pub use views::{AgentView, InstanceView, Publisher, Views};

use crate::{config::Timing, installer::Installer, local_changes::LocalChanges};

/// The name on the bus.
pub const NAME: &str = "org.wharfd.Agent1";
/// The agent's object, below which all others lie.
pub const AGENT_PATH: &str = "/org/wharfd/Agent1";
/// The interface of the agent.
pub const AGENT_INTERFACE: &str = "org.wharfd.Agent1";
/// The interface of an instance of Object 9.
pub const INSTANCE_INTERFACE: &str = "org.wharfd.Agent1.Instance";
/// The interface of an operation.
pub const OPERATION_INTERFACE: &str = "org.wharfd.Agent1.Operation";

/// So many questions wait for the agent; who asks more waits.
const QUEUE: usize = 16;

/// The address of the bus of the system in `root`, as libdbus finds it.
pub fn address(root: &Path) -> String {
    let given = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
    given.unwrap_or_else(|| {
        let socket = root.join("run/dbus/system_bus_socket");
        format!("unix:path={}", socket.display())
    })
}

/// Goes to the bus, for as long as the runtime lives. What is asked there comes out of the receiver.
pub fn start(
    root: &Path,
    timing: Timing,
    installer: Installer,
    changes: LocalChanges,
    agent: AgentView,
) -> (Publisher, mpsc::Receiver<Command>) {
    let (views, shown) = watch::channel(Views::of(agent));
    let (sender, commands) = mpsc::channel(QUEUE);
    let publisher = Publisher::new(views);
    let service = service::Service::new(address(root), shown, sender, timing);
    tokio::task::spawn_local(service.run(publisher.clone(), installer, changes));
    (publisher, commands)
}

/// An object below the agent's.
fn object_path(below: &str) -> zbus::OwnedObjectPath {
    // Digits and letters alone come here.
    zbus::OwnedObjectPath::try_from(format!("{AGENT_PATH}/{below}")).unwrap_or_default()
}
