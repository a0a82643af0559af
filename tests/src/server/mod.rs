//! A LwM2M server that does what a test tells it, and keeps all that came. Its CoAP is coap-lite's
//! and its own: independent of the engine that it judges.

mod client;
mod exchange;
mod message;
mod registration;
pub mod tlv;

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

pub use self::{
    client::Client,
    message::{Code, Response, format},
    registration::{Event, Registration},
};
use self::{exchange::Exchanges, registration::Registrations};
use crate::waiting::{LIMIT, Watched};

/// A running server; ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    receives: Option<JoinHandle<()>>,
}

/// A value that an observed path got, in the order in which they came.
#[derive(Debug, Clone)]
pub struct Notification {
    /// What was observed.
    pub path: String,
    /// The value as it came.
    pub response: Response,
}

/// The memory of a server: clients, exchanges, notifications. Another server can start with it.
#[derive(Debug, Default, Clone)]
pub struct Memory(State);

impl Memory {
    /// All notifications so far.
    pub fn notifications(&self) -> &[Notification] {
        &self.0.notifications
    }
}

/// Gets the memory of the server after each message, before the answer to it is sent.
type Remember = Box<dyn Fn(Memory) + Send>;

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    state: Watched<State>,
    ending: AtomicBool,
}

#[derive(Debug, Default, Clone)]
struct State {
    registrations: Registrations,
    exchanges: Exchanges,
    notifications: Vec<Notification>,
}

impl Server {
    /// Starts one at a free port of 127.0.0.1, without security.
    pub fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST)
    }

    /// Starts one at a free port of this address, without security.
    pub fn at(address: Ipv4Addr) -> Self {
        Self::receiving_at((address, 0))
    }

    /// Starts one at this port of 127.0.0.1, without security, with the memory of another one. `remember` gets its memory
    /// after each message, before the answer to it is sent.
    pub fn remembering(
        port: u16,
        memory: Memory,
        remember: impl Fn(Memory) + Send + 'static,
    ) -> Self {
        let address = (Ipv4Addr::LOCALHOST, port);
        Self::receiving(address, memory, Some(Box::new(remember)))
    }

    /// Ends this one and starts one at another address, which knows nobody.
    #[must_use]
    pub fn moved_to(self, address: Ipv4Addr) -> Self {
        let port = self.address.port();
        drop(self);
        Self::receiving_at((address, port))
    }

    fn receiving_at(address: (Ipv4Addr, u16)) -> Self {
        Self::receiving(address, Memory::default(), None)
    }

    fn receiving(
        address: (Ipv4Addr, u16),
        Memory(state): Memory,
        remember: Option<Remember>,
    ) -> Self {
        let socket = UdpSocket::bind(address).expect("a port to receive at");
        let address = socket.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            socket,
            state: Watched::new(state),
            ending: AtomicBool::new(false),
        });
        let receiving = Arc::clone(&shared);
        let receives = thread::spawn(move || receive(&receiving, remember.as_deref()));
        Self {
            address,
            shared,
            receives: Some(receives),
        }
    }

    /// Where it receives.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a client is configured with it.
    pub fn uri(&self) -> String {
        format!("coap://{}", self.address)
    }

    /// Waits until a client is registered, and speaks to the newest.
    #[track_caller]
    pub fn wait_for_client(&self) -> Client<'_> {
        let endpoint = self.wait_for("a registration", |state| {
            Some(state.registrations.newest()?.endpoint.clone())
        });
        Client::new(self, &endpoint)
    }

    /// Speaks to a CoAP server that never registered: one that is no LwM2M client.
    pub fn client_at(&self, address: SocketAddr) -> Client<'_> {
        let registration = Registration::unasked(address);
        let endpoint = registration.endpoint.clone();
        self.shared
            .state
            .with(|state| state.registrations.insert(registration));
        Client::new(self, &endpoint)
    }

    /// The registration of `endpoint` as it is now.
    pub fn registration(&self, endpoint: &str) -> Option<Registration> {
        self.shared
            .state
            .with(|state| state.registrations.of(endpoint).cloned())
    }

    /// What clients did to their registrations so far.
    pub fn events(&self) -> Vec<Event> {
        self.shared
            .state
            .with(|state| state.registrations.events().to_vec())
    }

    /// Waits until `event` has come `count` times since the start.
    #[track_caller]
    pub fn wait_for_event(&self, event: &Event, count: usize) {
        self.wait_for(&format!("{event:?}, {count} times"), |state| {
            let events = state.registrations.events();
            let came = events.iter().filter(|came| *came == event).count();
            (came >= count).then_some(())
        });
    }

    /// Forgets all clients, as a server does that was started anew without its state: 4.04 to Update.
    pub fn forget_registrations(&self) {
        self.shared.state.with(|state| state.registrations.forget());
    }

    /// EXCHANGE_LIFETIME has passed: Message IDs may be used again (RFC 7252 4.4).
    pub fn forget_messages(&self) {
        self.shared
            .state
            .with(|state| state.exchanges.forget_messages());
    }

    /// All notifications so far.
    pub fn notifications(&self) -> Vec<Notification> {
        self.shared.state.with(|state| state.notifications.clone())
    }

    /// All notifications so far, as path and text.
    pub fn story(&self) -> Vec<(String, String)> {
        let told = |told: Notification| (told.path, told.response.text());
        self.notifications().into_iter().map(told).collect()
    }

    /// Waits until `path` was notified with this text, after the first `since` notifications; gives
    /// how many notifications there were with it.
    #[track_caller]
    pub fn wait_for_notification(&self, path: &str, text: &str, since: usize) -> usize {
        self.wait_for(&format!("notification {path} = {text}"), |state| {
            let later = state.notifications.iter().enumerate().skip(since);
            later
                .filter(|(_, told)| told.path == path && told.response.payload == text.as_bytes())
                .map(|(index, _)| index + 1)
                .next()
        })
    }

    #[track_caller]
    fn wait_for<T>(&self, what: &str, condition: impl FnMut(&mut State) -> Option<T>) -> T {
        let found = self.shared.state.wait_for(LIMIT, condition);
        found.unwrap_or_else(|| {
            panic!(
                "{what}: not within {LIMIT:?}; came: {:#?} {:#?}",
                self.events(),
                self.notifications()
            )
        })
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Lets the receiving thread look at what was just stored.
        let _ = self.shared.socket.send_to(&[], self.address);
        if let Some(receives) = self.receives.take() {
            let _ = receives.join();
        }
    }
}

fn receive(shared: &Shared, remember: Option<&(dyn Fn(Memory) + Send)>) {
    let mut buffer = [0; 64 * 1024];
    loop {
        let received = shared.socket.recv_from(&mut buffer);
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        // An ICMP error of an earlier datagram: its sender will see that no answer comes.
        let Ok((length, from)) = received else {
            continue;
        };
        let Ok(message) = coap_lite::Packet::from_bytes(&buffer[..length]) else {
            continue;
        };
        // Who sees what came can rely on its acknowledgement being under way.
        shared.state.with(|state| {
            let answers = exchange::received(state, from, message);
            if let Some(remember) = remember {
                remember(Memory(state.clone()));
            }
            for answer in answers {
                let _ = shared.socket.send_to(&answer, from);
            }
        });
    }
}
