//! A LwM2M server driven by a test, which keeps all that it received. Its CoAP is coap-lite's and its own, independent
//! of wharfd's engine.

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
    message::{Response, ResponseCode, format},
    registration::{RegisteredClient, RegistrationEvent},
};
use self::{exchange::Exchanges, registration::Registrations};
use crate::waiting::{LIMIT, Watched};

/// A running server. A drop ends it.
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    receives: Option<JoinHandle<()>>,
}

/// The value of an observed path, in the order of arrival.
#[derive(Debug, Clone)]
pub struct ReceivedNotification {
    /// The observed path.
    pub path: String,
    /// The value as received.
    pub response: Response,
}

/// The memory of a server: clients, exchanges, notifications. Another server can start with it.
#[derive(Debug, Default, Clone)]
pub struct Memory(State);

impl Memory {
    /// All notifications so far.
    pub fn notifications(&self) -> &[ReceivedNotification] {
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
    notifications: Vec<ReceivedNotification>,
}

impl TestServer {
    /// Starts a server at a free port of 127.0.0.1, without security.
    pub fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST)
    }

    /// Starts a server at a free port of this address, without security.
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

    /// Ends this server, and starts one without any state at another address.
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

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a client's configuration has it.
    pub fn uri(&self) -> String {
        format!("coap://{}", self.address)
    }

    /// Waits until a client is registered, and returns the newest.
    #[track_caller]
    pub fn wait_for_client(&self) -> Client<'_> {
        let endpoint = self.wait_for("a registration", |state| {
            Some(state.registrations.newest()?.endpoint.clone())
        });
        Client::new(self, &endpoint)
    }

    /// A CoAP server that never registered, which is no LwM2M client.
    pub fn client_at(&self, address: SocketAddr) -> Client<'_> {
        let registration = RegisteredClient::unasked(address);
        let endpoint = registration.endpoint.clone();
        self.shared
            .state
            .with(|state| state.registrations.insert(registration));
        Client::new(self, &endpoint)
    }

    /// The current registration of `endpoint`.
    pub fn registration(&self, endpoint: &str) -> Option<RegisteredClient> {
        self.shared
            .state
            .with(|state| state.registrations.of(endpoint).cloned())
    }

    /// All registration events so far.
    pub fn events(&self) -> Vec<RegistrationEvent> {
        self.shared
            .state
            .with(|state| state.registrations.events().to_vec())
    }

    /// Waits until `event` has occurred `count` times since the start.
    #[track_caller]
    pub fn wait_for_event(&self, event: &RegistrationEvent, count: usize) {
        self.wait_for(&format!("{event:?}, {count} times"), |state| {
            let events = state.registrations.events();
            let came = events.iter().filter(|came| *came == event).count();
            (came >= count).then_some(())
        });
    }

    /// Drops all clients, like a server that restarts without its state: it answers 4.04 to Update.
    pub fn forget_registrations(&self) {
        self.shared.state.with(|state| state.registrations.forget());
    }

    /// Simulates the end of EXCHANGE_LIFETIME: Message IDs may be used again (RFC 7252 4.4).
    pub fn forget_messages(&self) {
        self.shared
            .state
            .with(|state| state.exchanges.forget_messages());
    }

    /// All notifications so far.
    pub fn notifications(&self) -> Vec<ReceivedNotification> {
        self.shared.state.with(|state| state.notifications.clone())
    }

    /// All notifications so far, as path and text.
    pub fn story(&self) -> Vec<(String, String)> {
        let told = |told: ReceivedNotification| (told.path, told.response.text());
        self.notifications().into_iter().map(told).collect()
    }

    /// Waits until `path` was notified with this text, after the first `since` notifications. Returns the number of
    /// notifications up to it.
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

impl Default for TestServer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Wakes the receiving thread, which then sees the end.
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
        // An ICMP error of an earlier datagram: its sender will time out.
        let Ok((length, from)) = received else {
            continue;
        };
        let Ok(message) = coap_lite::Packet::from_bytes(&buffer[..length]) else {
            continue;
        };
        // A test that sees a message can rely on the sending of its acknowledgement.
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
