//! How it stands with the server, in the one line that an administrator sees first.

use lwm2m::Event;

use super::Agent;
use crate::clock;

/// What became of the registration last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// No answer has come yet.
    Registering,
    /// The server knows this gateway.
    Registered,
    /// It does not, and why.
    Not(String),
    /// It cannot be reached, and why.
    Unreached(String),
}

impl Standing {
    /// What happened to the registration.
    pub(super) fn note(&mut self, event: &Event) {
        *self = match event {
            Event::Registered { .. } | Event::StillRegistered { .. } | Event::Updated => {
                Self::Registered
            }
            Event::RegistrationFailed { failure, .. } => Self::Not(failure.to_string()),
            Event::RegistrationLost => Self::Not("the server forgot the registration".to_owned()),
            Event::Unreachable => Self::Not("the server does not answer".to_owned()),
            _ => return,
        };
    }
}

impl Agent {
    /// What stands between this gateway and its server. That nothing does any more says nothing of the registration.
    pub(super) fn show_obstacle(&mut self, why: Option<String>) {
        if let Some(why) = why {
            let shown = why.clone();
            self.context
                .publisher
                .agent(|agent| agent.registration_failure = shown);
            self.standing = Standing::Unreached(why);
        }
    }

    pub(super) fn status(&self) -> String {
        let installed = |instance: &&wharf_software::Instance| instance.software().is_some();
        let packages = match self.instances.values().filter(installed).count() {
            1 => "1 package".to_owned(),
            count => format!("{count} packages"),
        };
        let mut status = match (&self.settings.server, &self.standing) {
            (None, _) => format!("no server, {packages}"),
            (Some(server), standing) => {
                let server = &server.address;
                match standing {
                    Standing::Registering => format!("registering with {server}, {packages}"),
                    Standing::Registered => format!("registered with {server}, {packages}"),
                    Standing::Unreached(why) => format!("{why}; {packages}"),
                    Standing::Not(why) => {
                        format!("not registered with {server}: {why}; {packages}")
                    }
                }
            }
        };
        if !clock::is_set() {
            status.push_str("; the clock is not set, and downloads by https wait until it is");
        }
        status
    }
}
