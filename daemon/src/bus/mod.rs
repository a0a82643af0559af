//! The D-Bus service `org.wharfd.Agent1`: root reads and orders what a server does, other users read public texts.
//! Knows the views that the agent publishes, and judges nothing but who asks.
//!
//! - `views`: what is shown; the agent changes it after each commit. Only root is given the whole reasons in it.
//! - `public`: the texts that everybody reads in place of those that only root reads.
//! - `command`: what is asked of the agent, and how it answers.
//! - `service`: the connection, the objects that come and go, the signals.
//! - `agent`, `instance`, `operation`: serve one interface of `wharf_bus` each.

mod access;
mod agent;
mod command;
mod instance;
mod operation;
mod public;
mod service;
mod views;

use std::path::Path;

use tokio::sync::{mpsc, watch};

pub use command::{Answer, Command, Refused, Request};
pub use views::{AgentView, InstanceView, OperationView, Publisher, Views};

use crate::{config::Timing, installer::Installer, local_changes::LocalChanges};

/// So many questions wait for the agent; who asks more waits.
const QUEUE: usize = 16;

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
    let service = service::Service::new(wharf_bus::address(root), shown, sender, timing);
    tokio::task::spawn_local(service.run(publisher.clone(), installer, changes));
    (publisher, commands)
}
