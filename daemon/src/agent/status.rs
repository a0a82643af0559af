//! The state of wharfd, for its status line and D-Bus.

use super::Agent;
use crate::clock;

impl Agent {
    /// Publishes the registration. The bus has room for one server.
    pub(super) fn show_standing(&self) {
        if let Some(server) = self.servers.values().next() {
            let status = server.status();
            let publisher = &self.context.publisher;
            publisher.registration(status.registered_since(), status.failure());
        }
    }

    pub(super) fn status(&self) -> String {
        let installed = |instance: &&wharf_software::Instance| instance.software().is_some();
        let packages = match self.instances.values().filter(installed).count() {
            1 => "1 package".to_owned(),
            count => format!("{count} packages"),
        };
        let servers = self.servers.values();
        let mut status: Vec<String> = servers
            .map(|server| server.status().line(&server.configured().address))
            .collect();
        if status.is_empty() {
            status.push("no server,".to_owned());
        }
        status.push(packages);
        let mut status = status.join(" ");
        if !clock::is_set() {
            status.push_str("; the clock is not set, and downloads by https wait until it is set");
        }
        status
    }
}
