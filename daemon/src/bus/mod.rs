//! The D-Bus service `org.wharfd.Agent1`. Root may read and request the same as a server; other users read public
//! texts. It serves the views that the agent publishes, and checks nothing but the caller.
//!
//! - `views`: the published state; the agent changes it after each commit. Only root reads its full reasons.
//! - `public`: the public texts in place of those that only root reads.
//! - `command`: the commands to the agent, and their answers.
//! - `service`: the connection, its objects and its signals.
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
use wharf_bus::AgentProperties;

pub use command::{AgentCommand, AnswerSender, InstanceCommand, Refused};
pub use views::{InstanceView, OperationView, Publisher, Views};

use crate::{config::Timing, local_changes::LocalChanges};

/// The number of commands that may wait for the agent. Further callers block.
const QUEUE: usize = 16;

/// Starts a task that serves the bus until the runtime ends. The receiver gets the commands of callers.
pub fn start(
    root: &Path,
    timing: Timing,
    changes: LocalChanges,
    agent: AgentProperties,
) -> (Publisher, mpsc::Receiver<AgentCommand>) {
    let (views, shown) = watch::channel(Views::of(agent));
    let (sender, commands) = mpsc::channel(QUEUE);
    let publisher = Publisher::new(views);
    let service = service::BusService::new(wharf_bus::address(root), shown, sender, timing);
    tokio::task::spawn_local(service.run(changes));
    (publisher, commands)
}
