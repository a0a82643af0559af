//! The registration state, for the journal and D-Bus.

use std::fmt;

use lwm2m::EngineEvent;
use wharf_frames::Text;
use wharf_journal::message;
use wharf_transport::ServerAddress;

use crate::clock;

/// The registration state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistrationStatus {
    last: Last,
    registered_since: Option<u64>,
}

/// The last event of the registration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Last {
    /// No answer has come yet.
    #[default]
    Registering,
    /// The server knows this gateway.
    Registered,
    /// The server does not know it, with the reason.
    Not(String),
    /// The server cannot be reached, with the reason.
    Unreached(String),
}

impl RegistrationStatus {
    /// The time at which the registration was confirmed, in seconds since 1970; none while there is none.
    pub fn registered_since(&self) -> Option<u64> {
        self.registered_since
    }

    /// The reason why the last Register or Update failed; empty after a success.
    pub fn failure(&self) -> &str {
        match &self.last {
            Last::Registering | Last::Registered => "",
            Last::Not(why) | Last::Unreached(why) => why,
        }
    }

    /// The state for the server at this address, as the beginning of a status line.
    pub fn line(&self, server: &ServerAddress) -> String {
        match &self.last {
            Last::Registering => format!("registering with {server},"),
            Last::Registered => format!("registered with {server},"),
            Last::Not(why) => format!("not registered with {server}: {why};"),
            Last::Unreached(why) => format!("{why};"),
        }
    }

    /// Records an event of the registration.
    pub(super) fn note(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::Registered { .. } | EngineEvent::StillRegistered { .. } => {
                self.registered_since = Some(clock::now());
            }
            EngineEvent::RegistrationLost | EngineEvent::Deregistered => {
                self.registered_since = None
            }
            _ => {}
        }
        self.last = match event {
            EngineEvent::Registered { .. }
            | EngineEvent::StillRegistered { .. }
            | EngineEvent::Updated => Last::Registered,
            EngineEvent::RegistrationFailed { failure, .. } => Last::Not(failure.to_string()),
            EngineEvent::RegistrationLost => {
                Last::Not("the server forgot the registration".to_owned())
            }
            EngineEvent::Unreachable => Last::Not("the server does not answer".to_owned()),
            EngineEvent::Deregistered
            | EngineEvent::Observed(_)
            | EngineEvent::ObservationEnded(_) => return,
        };
    }

    /// Records the reason why no connection is open. A cleared obstacle does not mean that the gateway is registered.
    pub(super) fn note_obstacle(&mut self, why: Option<String>) {
        if let Some(why) = why {
            self.last = Last::Unreached(why);
        }
    }
}

/// Writes an event of the registration into the journal.
pub(super) fn tell(server: &ServerAddress, event: &EngineEvent) {
    let not_registered = |why: &dyn fmt::Display| {
        tracing::warn!(
            MESSAGE_ID = message::NOT_REGISTERED,
            "not registered with {server}: {why}"
        );
    };
    match event {
        EngineEvent::Registered { location } => {
            let location = Text::new(location);
            tracing::info!(
                MESSAGE_ID = message::REGISTERED,
                "registered with {server} at {location}"
            );
        }
        EngineEvent::StillRegistered { location } => {
            let location = Text::new(location);
            tracing::info!(
                MESSAGE_ID = message::REGISTERED,
                "still registered with {server} at {location}"
            );
        }
        EngineEvent::RegistrationFailed { failure, .. } => {
            not_registered(&format_args!("{failure}. wharfd keeps retrying"));
        }
        EngineEvent::RegistrationLost => {
            not_registered(&"the server forgot the registration, and wharfd registers again");
        }
        EngineEvent::Unreachable => not_registered(&"the server does not answer"),
        EngineEvent::Deregistered => tracing::info!("deregistered from {server}"),
        EngineEvent::Updated => tracing::debug!("the registration is updated"),
        EngineEvent::Observed(path) => tracing::debug!("observed: {path}"),
        EngineEvent::ObservationEnded(path) => tracing::debug!("no longer observed: {path}"),
    }
}
