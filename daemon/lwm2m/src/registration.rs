//! Register, Update and Deregister (TS Core 1.0 5.3), with endless retries. Builds the requests but
//! does not send them.

use core::time::Duration;

use crate::{
    Backoff, Config, EngineEvent, RegistrationFailure, Time,
    coap::{CoapType, Code, Message, OptionNumber},
    content::ContentFormat,
    random::Random,
};

/// The registered LwM2M version.
pub(crate) const VERSION: &str = "1.0";

/// The request to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegistrationRequest {
    Register,
    Update,
    Deregister,
}

/// Each state waits for one thing, which its comment names.
#[derive(Debug, PartialEq, Eq)]
enum RegistrationState {
    /// Nothing.
    Stopped,
    /// The end of the message in flight.
    Due(RegistrationRequest),
    /// The server's response. An empty acknowledgement sets the timeout.
    Sent {
        attempt: RegistrationRequest,
        token: [u8; 4],
        respond_by: Option<Time>,
    },
    /// The end of the back-off after a failure.
    BackingOff { until: Time },
    /// The next Update.
    Registered { update_at: Time },
}

/// The time between an Update and the end of the lifetime. Two attempts fit into it: twice
/// MAX_TRANSMIT_WAIT (RFC 7252 4.8.2).
const MARGIN: Duration = Duration::from_secs(186);

pub(crate) struct Registration {
    state: RegistrationState,
    endpoint: String,
    lifetime: u32,
    backoff: Backoff,
    exchange_lifetime: Duration,
    /// Empty if there is no registration.
    location: Vec<Vec<u8>>,
    failures: u32,
    /// The lifetime and the links of the last request.
    sent: (u32, String),
    /// Something changed while a request was in flight, so that an Update follows it.
    update_again: bool,
    /// When the registration expires at the server without an Update.
    expires: Time,
    /// The server has not yet accepted an Update over the new connection.
    moving: bool,
    /// The location has changed since it was saved.
    unsaved: bool,
}

impl Registration {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            state: RegistrationState::Stopped,
            endpoint: config.endpoint.clone(),
            lifetime: config.lifetime,
            backoff: config.backoff,
            exchange_lifetime: config.transmission.exchange_lifetime,
            location: Vec::new(),
            failures: 0,
            sent: (0, String::new()),
            update_again: false,
            expires: Time::from_millis(0),
            moving: false,
            unsaved: false,
        }
    }

    /// Continues the registration of an earlier run.
    pub(crate) fn restore(&mut self, location: Vec<Vec<u8>>) {
        self.location = location;
    }

    /// Registers, or updates a restored registration. Does nothing if already started.
    pub(crate) fn start(&mut self, now: Time) {
        if self.state != RegistrationState::Stopped {
            return;
        }
        // The time of the last Update is not known.
        self.expires = now + Duration::from_secs(self.lifetime.into());
        self.state = RegistrationState::Due(self.attempt(now));
        self.moving = !self.location.is_empty();
    }

    fn register_again(&mut self) {
        self.forget_location();
        self.failures = 0;
        self.state = RegistrationState::Due(RegistrationRequest::Register);
    }

    fn forget_location(&mut self) {
        self.unsaved |= !self.location.is_empty();
        self.location.clear();
    }

    pub(crate) fn location(&self) -> &[Vec<u8>] {
        &self.location
    }

    /// Whether the location has changed since the last call.
    pub(crate) fn take_unsaved(&mut self) -> bool {
        core::mem::take(&mut self.unsaved)
    }

    /// Deregisters. Returns `Deregistered` at once if there is no registration.
    pub(crate) fn stop(&mut self) -> Option<EngineEvent> {
        if self.location.is_empty() {
            self.state = RegistrationState::Stopped;
            return Some(EngineEvent::Deregistered);
        }
        self.state = RegistrationState::Due(RegistrationRequest::Deregister);
        None
    }

    /// Repeats the request in flight over the new connection, or else sends an Update.
    pub(crate) fn moved(&mut self, now: Time) {
        self.state = match self.state {
            RegistrationState::Stopped => return,
            RegistrationState::Due(attempt) | RegistrationState::Sent { attempt, .. } => {
                RegistrationState::Due(attempt)
            }
            RegistrationState::BackingOff { .. } | RegistrationState::Registered { .. } => {
                RegistrationState::Due(self.attempt(now))
            }
        };
        self.forget_sent();
        self.moving = true;
    }

    /// The next attempt: an Update until the registration expires, since a Register would end its
    /// observations.
    fn attempt(&self, now: Time) -> RegistrationRequest {
        match !self.location.is_empty() && now < self.expires {
            true => RegistrationRequest::Update,
            false => RegistrationRequest::Register,
        }
    }

    /// Makes the next Update carry everything, since the server may have missed the last request.
    fn forget_sent(&mut self) {
        self.sent = (0, String::new());
    }

    /// Whether the server has not yet accepted an Update over the new connection.
    pub(crate) fn is_moving(&self) -> bool {
        self.moving
    }

    /// Whether the last Register or Update succeeded. Notifications are sent only then.
    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.state, RegistrationState::Registered { .. })
    }

    pub(crate) fn change_lifetime(&mut self, lifetime: u32) {
        self.lifetime = lifetime;
    }

    /// Whether the last request carried these links.
    pub(crate) fn knows(&self, links: &str) -> bool {
        self.sent.1 == links
    }

    /// Sends an Update now, or after the request in flight.
    pub(crate) fn update(&mut self) {
        match self.state {
            RegistrationState::Registered { .. } => {
                self.state = RegistrationState::Due(RegistrationRequest::Update)
            }
            RegistrationState::Sent { .. } => self.update_again = true,
            RegistrationState::BackingOff { .. } if !self.location.is_empty() => {
                self.state = RegistrationState::Due(RegistrationRequest::Update);
            }
            _ => {}
        }
    }

    pub(crate) fn due(&self) -> Option<RegistrationRequest> {
        if let RegistrationState::Due(attempt) = self.state {
            Some(attempt)
        } else {
            None
        }
    }

    /// Builds the message of the due attempt. The caller sends it now.
    pub(crate) fn request(
        &mut self,
        attempt: RegistrationRequest,
        id: u16,
        token: [u8; 4],
        links: String,
    ) -> Message {
        self.state = RegistrationState::Sent {
            attempt,
            token,
            respond_by: None,
        };
        self.update_again = false;
        match attempt {
            RegistrationRequest::Register => self.register(id, token, links),
            RegistrationRequest::Update => self.update_request(id, token, links),
            RegistrationRequest::Deregister => self.located(Code::DELETE, id, token),
        }
    }

    fn register(&mut self, id: u16, token: [u8; 4], links: String) -> Message {
        self.forget_location();
        self.sent = (self.lifetime, links.clone());
        Message::new(CoapType::Confirmable, Code::POST, id, &token)
            .with(OptionNumber::URI_PATH, "rd")
            .with_uint(OptionNumber::CONTENT_FORMAT, ContentFormat::Link.number())
            .with(OptionNumber::URI_QUERY, format!("ep={}", self.endpoint))
            .with(OptionNumber::URI_QUERY, format!("lt={}", self.lifetime))
            .with(OptionNumber::URI_QUERY, format!("lwm2m={VERSION}"))
            .with(OptionNumber::URI_QUERY, "b=U")
            .with_payload(links.into_bytes())
    }

    /// An Update carries only changed parameters (TS Core 1.0 5.3.2).
    fn update_request(&mut self, id: u16, token: [u8; 4], links: String) -> Message {
        let mut message = self.located(Code::POST, id, token);
        if self.sent.0 != self.lifetime {
            message = message.with(OptionNumber::URI_QUERY, format!("lt={}", self.lifetime));
        }
        if self.sent.1 != links {
            message = message
                .with_uint(OptionNumber::CONTENT_FORMAT, ContentFormat::Link.number())
                .with_payload(links.clone().into_bytes());
        }
        self.sent = (self.lifetime, links);
        message
    }

    fn located(&self, code: Code, id: u16, token: [u8; 4]) -> Message {
        let message = Message::new(CoapType::Confirmable, code, id, &token);
        self.location.iter().fold(message, |message, segment| {
            message.with(OptionNumber::URI_PATH, segment.as_slice())
        })
    }

    /// Whether this is the token of the request in flight.
    pub(crate) fn expects(&self, token: &[u8]) -> bool {
        matches!(&self.state, RegistrationState::Sent { token: sent, .. } if sent == token)
    }

    /// Waits for a separate response (RFC 7252 5.2.2).
    pub(crate) fn acknowledged(&mut self, now: Time) {
        if let RegistrationState::Sent { respond_by, .. } = &mut self.state {
            *respond_by = Some(now + self.exchange_lifetime);
        }
    }

    /// Handles the response to the request in flight.
    pub(crate) fn responded(
        &mut self,
        now: Time,
        random: &mut Random,
        response: &Message,
    ) -> Option<EngineEvent> {
        let RegistrationState::Sent { attempt, .. } = self.state else {
            return None;
        };
        let code = response.code();
        let refused = RegistrationFailure::Refused(code.class(), code.detail());
        match attempt {
            RegistrationRequest::Deregister => Some(self.deregistered()),
            RegistrationRequest::Register if code == Code::CREATED => {
                self.location = response
                    .options(OptionNumber::LOCATION_PATH)
                    .map(<[u8]>::to_vec)
                    .collect();
                if self.location.is_empty() {
                    return self.failed(now, random, RegistrationFailure::Malformed);
                }
                self.unsaved = true;
                self.succeeded(now);
                Some(EngineEvent::Registered {
                    location: shown(&self.location),
                })
            }
            RegistrationRequest::Update if code == Code::CHANGED => {
                let moved = self.moving;
                self.succeeded(now);
                let location = shown(&self.location);
                Some(match moved {
                    true => EngineEvent::StillRegistered { location },
                    false => EngineEvent::Updated,
                })
            }
            // 4.04, or another 4.xx: the server does not accept this registration.
            RegistrationRequest::Update if code.class() == 4 => {
                self.register_again();
                Some(EngineEvent::RegistrationLost)
            }
            _ => self.failed(now, random, refused),
        }
    }

    fn succeeded(&mut self, now: Time) {
        self.failures = 0;
        self.moving = false;
        let lifetime = Duration::from_secs(u64::from(self.lifetime.max(2)));
        let pause = if lifetime > 2 * MARGIN {
            lifetime - MARGIN
        } else {
            lifetime / 2
        };
        self.expires = now + lifetime;
        self.state = match self.update_again {
            true => RegistrationState::Due(RegistrationRequest::Update),
            false => RegistrationState::Registered {
                update_at: now + pause,
            },
        };
    }

    fn deregistered(&mut self) -> EngineEvent {
        self.forget_location();
        self.state = RegistrationState::Stopped;
        EngineEvent::Deregistered
    }

    /// Backs off after a failed request.
    pub(crate) fn failed(
        &mut self,
        now: Time,
        random: &mut Random,
        failure: RegistrationFailure,
    ) -> Option<EngineEvent> {
        let RegistrationState::Sent { attempt, .. } = self.state else {
            return None;
        };
        if attempt == RegistrationRequest::Deregister {
            return Some(self.deregistered());
        }
        self.forget_sent();
        self.failures = self.failures.saturating_add(1);
        let retry_at = now + self.backoff.pause(self.failures, random.next() as u16);
        self.state = RegistrationState::BackingOff { until: retry_at };
        Some(EngineEvent::RegistrationFailed { failure, retry_at })
    }

    /// Call this when [`deadline`](Self::deadline) has passed.
    pub(crate) fn tick(&mut self, now: Time, random: &mut Random) -> Option<EngineEvent> {
        match self.state {
            RegistrationState::Registered { update_at } if update_at <= now => {
                self.state = RegistrationState::Due(RegistrationRequest::Update);
            }
            RegistrationState::BackingOff { until } if until <= now => {
                self.state = RegistrationState::Due(self.attempt(now));
            }
            RegistrationState::Sent {
                respond_by: Some(moment),
                ..
            } if moment <= now => {
                return self.failed(now, random, RegistrationFailure::TimedOut);
            }
            _ => {}
        }
        None
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.state {
            RegistrationState::Registered { update_at: at }
            | RegistrationState::BackingOff { until: at } => Some(at),
            RegistrationState::Sent { respond_by, .. } => respond_by,
            RegistrationState::Stopped | RegistrationState::Due(_) => None,
        }
    }
}

/// The location as a path, with bytes that a terminal could interpret escaped.
fn shown(location: &[Vec<u8>]) -> String {
    let segments = location
        .iter()
        .map(|segment| format!("/{}", segment.escape_ascii()));
    segments.collect()
}
