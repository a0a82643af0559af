//! The registration interface (LwM2M Core 1.0, 5.3), on the server's side.

use std::{collections::BTreeMap, net::SocketAddr};

use coap_lite::{CoapOption, MessageClass, Packet, RequestType, ResponseType};

use super::message::texts;

/// A registered client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredClient {
    /// Its endpoint name; empty if it gave none.
    pub endpoint: String,
    /// `lt`, in seconds.
    pub lifetime: Option<u32>,
    /// `lwm2m`.
    pub version: Option<String>,
    /// `b`.
    pub binding: Option<String>,
    /// The objects and instances, as received.
    pub links: String,
    /// The address of the client.
    pub address: SocketAddr,
    /// The last part of its location `/rd/N`.
    pub location: u32,
}

impl RegisteredClient {
    pub(super) fn unasked(address: SocketAddr) -> Self {
        Self {
            endpoint: address.to_string(),
            lifetime: None,
            version: None,
            binding: None,
            links: String::new(),
            address,
            location: 0,
        }
    }
}

/// A registration event of a client, with its endpoint name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationEvent {
    /// Register.
    Registered(String),
    /// Update.
    Updated(String),
    /// De-register.
    Deregistered(String),
}

#[derive(Debug, Default, Clone)]
pub(super) struct Registrations {
    last_location: u32,
    by_location: BTreeMap<u32, RegisteredClient>,
    events: Vec<RegistrationEvent>,
}

impl Registrations {
    pub(super) fn newest(&self) -> Option<&RegisteredClient> {
        self.by_location.values().next_back()
    }

    pub(super) fn of(&self, endpoint: &str) -> Option<&RegisteredClient> {
        let mut all = self.by_location.values();
        all.find(|registration| registration.endpoint == endpoint)
    }

    pub(super) fn events(&self) -> &[RegistrationEvent] {
        &self.events
    }

    pub(super) fn forget(&mut self) {
        self.by_location.clear();
    }

    pub(super) fn insert(&mut self, mut registration: RegisteredClient) -> u32 {
        self.last_location += 1;
        let location = self.last_location;
        registration.location = location;
        self.by_location
            .retain(|_, known| known.endpoint != registration.endpoint);
        self.by_location.insert(location, registration);
        location
    }

    fn register(&mut self, from: SocketAddr, request: &Packet) -> Packet {
        let mut registration = RegisteredClient::unasked(from);
        registration.endpoint = String::new();
        apply(&mut registration, request);
        self.events
            .push(RegistrationEvent::Registered(registration.endpoint.clone()));
        let location = self.insert(registration);
        let mut answer = answer(ResponseType::Created);
        for segment in ["rd".to_owned(), location.to_string()] {
            answer.add_option(CoapOption::LocationPath, segment.into_bytes());
        }
        answer
    }

    fn update(&mut self, location: &str, from: SocketAddr, request: &Packet) -> Packet {
        let known = location
            .parse()
            .ok()
            .and_then(|location: u32| self.by_location.get_mut(&location));
        let Some(registration) = known else {
            return answer(ResponseType::NotFound);
        };
        registration.address = from;
        apply(registration, request);
        self.events
            .push(RegistrationEvent::Updated(registration.endpoint.clone()));
        answer(ResponseType::Changed)
    }

    fn deregister(&mut self, location: &str) -> Packet {
        let known = location
            .parse()
            .ok()
            .and_then(|location: u32| self.by_location.remove(&location));
        let Some(registration) = known else {
            return answer(ResponseType::NotFound);
        };
        self.events
            .push(RegistrationEvent::Deregistered(registration.endpoint));
        answer(ResponseType::Deleted)
    }
}

/// The answer to a request of a client.
pub(super) fn requested(
    registrations: &mut Registrations,
    from: SocketAddr,
    request: &Packet,
) -> Packet {
    let path = texts(request, CoapOption::UriPath);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (request.header.code, path.as_slice()) {
        (MessageClass::Request(RequestType::Post), ["rd"]) => registrations.register(from, request),
        (MessageClass::Request(RequestType::Post), ["rd", location]) => {
            registrations.update(location, from, request)
        }
        (MessageClass::Request(RequestType::Delete), ["rd", location]) => {
            registrations.deregister(location)
        }
        _ => answer(ResponseType::NotFound),
    }
}

fn apply(registration: &mut RegisteredClient, request: &Packet) {
    for query in texts(request, CoapOption::UriQuery) {
        match query.split_once('=') {
            Some(("ep", endpoint)) => registration.endpoint = endpoint.to_owned(),
            Some(("lt", lifetime)) => registration.lifetime = lifetime.parse().ok(),
            Some(("lwm2m", version)) => registration.version = Some(version.to_owned()),
            Some(("b", binding)) => registration.binding = Some(binding.to_owned()),
            _ => {}
        }
    }
    if !request.payload.is_empty() {
        registration.links = String::from_utf8_lossy(&request.payload).into_owned();
    }
}

fn answer(code: ResponseType) -> Packet {
    let mut answer = Packet::new();
    answer.header.code = MessageClass::Response(code);
    answer
}
