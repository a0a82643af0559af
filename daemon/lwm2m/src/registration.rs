//! When to Register, to Update and to Deregister (TS Core 1.0 5.3), and what to do when that fails:
//! try again, for ever. Builds the requests; sends nothing itself.

use core::time::Duration;

use crate::{
    Backoff, Config, Event, Failure, Time,
    coap::{Code, Kind, Message, OptionNumber},
    content::Format,
    random::Random,
};

/// The LwM2M version that is registered.
pub(crate) const VERSION: &str = "1.0";

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Register,
    Update,
    Deregister,
}

/// Each state says what is expected next.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nothing.
    Stopped,
    /// The message layer being free.
    Due(Attempt),
    /// The server's response; after its empty acknowledgement until a moment.
    Sent {
        attempt: Attempt,
        token: [u8; 4],
        respond_by: Option<Time>,
    },
    /// The end of the pause after a failure.
    Pausing { until: Time },
    /// The next Update.
    Registered { update_at: Time },
}

/// How long before the lifetime's end an Update begins: two messages may be given up
/// (MAX_TRANSMIT_WAIT, twice).
const MARGIN: Duration = Duration::from_secs(186);

pub(crate) struct Registration {
    state: State,
    endpoint: String,
    lifetime: u32,
    backoff: Backoff,
    exchange_lifetime: Duration,
    /// Empty as long as the server gave none.
    location: Vec<Vec<u8>>,
    failures: u32,
    /// What the server was told last.
    told: (u32, String),
    /// Something changed while a request was on its way.
    again: bool,
    /// When the server forgets this registration unless it hears of it.
    expires: Time,
    /// The server has not been told yet that the way to it is a new one.
    moving: bool,
    /// The location is another one than was kept.
    unsaved: bool,
}

impl Registration {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            state: State::Stopped,
            endpoint: config.endpoint.clone(),
            lifetime: config.lifetime,
            backoff: config.backoff,
            exchange_lifetime: config.transmission.exchange_lifetime,
            location: Vec::new(),
            failures: 0,
            told: (0, String::new()),
            again: false,
            expires: Time::from_millis(0),
            moving: false,
            unsaved: false,
        }
    }

    /// Goes on with what an earlier run registered.
    pub(crate) fn restore(&mut self, location: Vec<Vec<u8>>) {
        self.location = location;
    }

    /// What is running goes on.
    pub(crate) fn start(&mut self, now: Time) {
        if self.state != State::Stopped {
            return;
        }
        // When the server heard of an earlier run is not known.
        self.expires = now + Duration::from_secs(self.lifetime.into());
        self.state = State::Due(self.attempt(now));
        self.moving = !self.location.is_empty();
    }

    fn register_anew(&mut self) {
        self.forget_location();
        self.failures = 0;
        self.state = State::Due(Attempt::Register);
    }

    fn forget_location(&mut self) {
        self.unsaved |= !self.location.is_empty();
        self.location.clear();
    }

    pub(crate) fn location(&self) -> &[Vec<u8>] {
        &self.location
    }

    /// Whether the location has become another one since this was asked last.
    pub(crate) fn take_unsaved(&mut self) -> bool {
        core::mem::take(&mut self.unsaved)
    }

    /// `Deregistered` at once if there is nothing to deregister.
    pub(crate) fn stop(&mut self) -> Option<Event> {
        if self.location.is_empty() {
            self.state = State::Stopped;
            return Some(Event::Deregistered);
        }
        self.state = State::Due(Attempt::Deregister);
        None
    }

    /// The way to the server is a new one.
    pub(crate) fn moved(&mut self, now: Time) {
        self.state = match self.state {
            State::Stopped => return,
            State::Due(attempt) | State::Sent { attempt, .. } => State::Due(attempt),
            State::Pausing { .. } | State::Registered { .. } => State::Due(self.attempt(now)),
        };
        self.unheard();
        self.moving = true;
    }

    /// As long as the server may know this registration, only a 4.04 ends it, and its observations with it.
    fn attempt(&self, now: Time) -> Attempt {
        match !self.location.is_empty() && now < self.expires {
            true => Attempt::Update,
            false => Attempt::Register,
        }
    }

    /// Nobody knows what the server heard last.
    fn unheard(&mut self) {
        self.told = (0, String::new());
    }

    /// The server has not answered since the way to it is a new one.
    pub(crate) fn is_moving(&self) -> bool {
        self.moving
    }

    /// Whether the server is known to be there and to know us, so that notifications make sense.
    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.state, State::Registered { .. })
    }

    pub(crate) fn change_lifetime(&mut self, lifetime: u32) {
        self.lifetime = lifetime;
    }

    /// The server has been told these links.
    pub(crate) fn knows(&self, links: &str) -> bool {
        self.told.1 == links
    }

    /// An Update is wanted at once: something changed, or nobody answered.
    pub(crate) fn update(&mut self) {
        match self.state {
            State::Registered { .. } => self.state = State::Due(Attempt::Update),
            State::Sent { .. } => self.again = true,
            State::Pausing { .. } if !self.location.is_empty() => {
                self.state = State::Due(Attempt::Update);
            }
            _ => {}
        }
    }

    pub(crate) fn due(&self) -> Option<Attempt> {
        if let State::Due(attempt) = self.state {
            Some(attempt)
        } else {
            None
        }
    }

    /// The request that is due, as a message that is sent now.
    pub(crate) fn request(
        &mut self,
        attempt: Attempt,
        id: u16,
        token: [u8; 4],
        links: String,
    ) -> Message {
        self.state = State::Sent {
            attempt,
            token,
            respond_by: None,
        };
        self.again = false;
        match attempt {
            Attempt::Register => self.register(id, token, links),
            Attempt::Update => self.update_request(id, token, links),
            Attempt::Deregister => self.located(Code::DELETE, id, token),
        }
    }

    fn register(&mut self, id: u16, token: [u8; 4], links: String) -> Message {
        self.forget_location();
        self.told = (self.lifetime, links.clone());
        Message::new(Kind::Confirmable, Code::POST, id, &token)
            .with(OptionNumber::URI_PATH, "rd")
            .with_uint(OptionNumber::CONTENT_FORMAT, Format::Link.number())
            .with(OptionNumber::URI_QUERY, format!("ep={}", self.endpoint))
            .with(OptionNumber::URI_QUERY, format!("lt={}", self.lifetime))
            .with(OptionNumber::URI_QUERY, format!("lwm2m={VERSION}"))
            .with(OptionNumber::URI_QUERY, "b=U")
            .with_payload(links.into_bytes())
    }

    /// Only what changed (TS Core 1.0 5.3.2).
    fn update_request(&mut self, id: u16, token: [u8; 4], links: String) -> Message {
        let mut message = self.located(Code::POST, id, token);
        if self.told.0 != self.lifetime {
            message = message.with(OptionNumber::URI_QUERY, format!("lt={}", self.lifetime));
        }
        if self.told.1 != links {
            message = message
                .with_uint(OptionNumber::CONTENT_FORMAT, Format::Link.number())
                .with_payload(links.clone().into_bytes());
        }
        self.told = (self.lifetime, links);
        message
    }

    fn located(&self, code: Code, id: u16, token: [u8; 4]) -> Message {
        let message = Message::new(Kind::Confirmable, code, id, &token);
        self.location.iter().fold(message, |message, segment| {
            message.with(OptionNumber::URI_PATH, segment.as_slice())
        })
    }

    /// Whether a response with this token is the one that is expected.
    pub(crate) fn expects(&self, token: &[u8]) -> bool {
        matches!(&self.state, State::Sent { token: sent, .. } if sent == token)
    }

    /// The server acknowledged the request; its response comes later.
    pub(crate) fn acknowledged(&mut self, now: Time) {
        if let State::Sent { respond_by, .. } = &mut self.state {
            *respond_by = Some(now + self.exchange_lifetime);
        }
    }

    /// The server's response to the request on its way.
    pub(crate) fn responded(
        &mut self,
        now: Time,
        random: &mut Random,
        response: &Message,
    ) -> Option<Event> {
        let State::Sent { attempt, .. } = self.state else {
            return None;
        };
        let code = response.code();
        let refused = Failure::Refused(code.class(), code.detail());
        match attempt {
            Attempt::Deregister => Some(self.deregistered()),
            Attempt::Register if code == Code::CREATED => {
                self.location = response
                    .options(OptionNumber::LOCATION_PATH)
                    .map(<[u8]>::to_vec)
                    .collect();
                if self.location.is_empty() {
                    return self.failed(now, random, Failure::Malformed);
                }
                self.unsaved = true;
                self.succeeded(now);
                Some(Event::Registered {
                    location: shown(&self.location),
                })
            }
            Attempt::Update if code == Code::CHANGED => {
                let moved = self.moving;
                self.succeeded(now);
                let location = shown(&self.location);
                Some(match moved {
                    true => Event::StillRegistered { location },
                    false => Event::Updated,
                })
            }
            // 4.04, or whatever else says that this registration is of no use.
            Attempt::Update if code.class() == 4 => {
                self.register_anew();
                Some(Event::RegistrationLost)
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
        self.state = match self.again {
            true => State::Due(Attempt::Update),
            false => State::Registered {
                update_at: now + pause,
            },
        };
    }

    fn deregistered(&mut self) -> Event {
        self.forget_location();
        self.state = State::Stopped;
        Event::Deregistered
    }

    /// The request on its way came to nothing.
    pub(crate) fn failed(
        &mut self,
        now: Time,
        random: &mut Random,
        failure: Failure,
    ) -> Option<Event> {
        let State::Sent { attempt, .. } = self.state else {
            return None;
        };
        if attempt == Attempt::Deregister {
            return Some(self.deregistered());
        }
        self.unheard();
        let doubled = self
            .backoff
            .first
            .saturating_mul(1 << self.failures.min(20));
        let longest = doubled.min(self.backoff.longest);
        self.failures = self.failures.saturating_add(1);
        let retry_at = now + random.between(longest / 2, longest);
        self.state = State::Pausing { until: retry_at };
        Some(Event::RegistrationFailed { failure, retry_at })
    }

    /// To be called when [`deadline`](Self::deadline) has come.
    pub(crate) fn tick(&mut self, now: Time, random: &mut Random) -> Option<Event> {
        match self.state {
            State::Registered { update_at } if update_at <= now => {
                self.state = State::Due(Attempt::Update);
            }
            State::Pausing { until } if until <= now => {
                self.state = State::Due(self.attempt(now));
            }
            State::Sent {
                respond_by: Some(moment),
                ..
            } if moment <= now => {
                return self.failed(now, random, Failure::TimedOut);
            }
            _ => {}
        }
        None
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Registered { update_at: at } | State::Pausing { until: at } => Some(at),
            State::Sent { respond_by, .. } => respond_by,
            State::Stopped | State::Due(_) => None,
        }
    }
}

/// As a path; what a terminal could misread is escaped.
fn shown(location: &[Vec<u8>]) -> String {
    let segments = location
        .iter()
        .map(|segment| format!("/{}", segment.escape_ascii()));
    segments.collect()
}
