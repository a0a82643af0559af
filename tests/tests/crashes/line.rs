//! A proxy between a server and a gateway whose agent may exit at any moment. If the agent has ended, the proxy answers
//! 5.04 at once (RFC 7252 5.10), so that the server need not wait.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use coap_lite::{MessageClass, MessageType, Packet, ResponseType};

/// The answer in place of an agent that has ended.
pub(crate) const GATEWAY_TIMEOUT: &str = "5.04";

/// The longest delay of the end.
const PATIENCE: Duration = Duration::from_millis(20);

/// A running line. A drop ends it.
pub(crate) struct Line {
    ends: Arc<Ends>,
    carry: Vec<JoinHandle<()>>,
}

struct Ends {
    server: SocketAddr,
    /// The address of the server, for the agent.
    front: UdpSocket,
    /// The address of the agent, for the server, in every run of the agent.
    back: UdpSocket,
    state: Mutex<State>,
    ending: AtomicBool,
}

#[derive(Default)]
struct State {
    agent: Option<SocketAddr>,
    /// Whether the agent has an answer of its server to its Register or Update.
    open: bool,
    unanswered: BTreeSet<Vec<u8>>,
}

impl Line {
    /// A line to the server at `server`. The agent uses [`Self::uri`].
    pub(crate) fn to(server: SocketAddr) -> Self {
        let ends = Arc::new(Ends {
            server,
            front: bind(),
            back: bind(),
            state: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let (to_server, to_agent) = (Arc::clone(&ends), Arc::clone(&ends));
        let carry = vec![
            thread::spawn(move || to_server.carry(&to_server.front, Ends::agent_sends)),
            thread::spawn(move || to_agent.carry(&to_agent.back, Ends::server_sends)),
        ];
        Self { ends, carry }
    }

    /// The URI for the agent's configuration.
    pub(crate) fn uri(&self) -> String {
        format!("coap://{}", self.ends.front.local_addr().unwrap())
    }

    /// Records the end of the agent. Until the next one is registered, all requests are answered 5.04.
    pub(crate) fn agent_ended(&self) {
        let mut state = self.ends.state.lock().unwrap();
        state.open = false;
        state.agent = None;
        for token in std::mem::take(&mut state.unanswered) {
            self.ends.give_up(token);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ends.ending.store(true, Ordering::SeqCst);
        for carry in self.carry.drain(..) {
            let _ = carry.join();
        }
    }
}

impl Ends {
    fn carry(&self, socket: &UdpSocket, take: fn(&Self, &[u8], SocketAddr)) {
        let mut buffer = [0; 64 * 1024];
        while !self.ending.load(Ordering::SeqCst) {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                take(self, &buffer[..length], from);
            }
        }
    }

    fn agent_sends(&self, datagram: &[u8], from: SocketAddr) {
        let Ok(message) = Packet::from_bytes(datagram) else {
            return;
        };
        let mut state = self.state.lock().unwrap();
        match message.header.code {
            // Each run begins with a request, from a new port or the one of the run before it.
            MessageClass::Request(_) => state.agent = Some(from),
            MessageClass::Response(_) => drop(state.unanswered.remove(message.get_token())),
            _ => {}
        }
        let _ = self.back.send_to(datagram, self.server);
    }

    fn server_sends(&self, datagram: &[u8], _: SocketAddr) {
        let Ok(message) = Packet::from_bytes(datagram) else {
            return;
        };
        let mut state = self.state.lock().unwrap();
        if matches!(message.header.code, MessageClass::Request(_)) {
            let token = message.get_token().to_vec();
            if !state.open {
                return self.give_up(token);
            }
            state.unanswered.insert(token);
        }
        if let Some(agent) = state.agent {
            state.open = true;
            let _ = self.front.send_to(datagram, agent);
        }
    }

    fn give_up(&self, token: Vec<u8>) {
        let mut answer = Packet::new();
        answer.header.code = MessageClass::Response(ResponseType::GatewayTimeout);
        answer.header.set_type(MessageType::NonConfirmable);
        answer.set_token(token);
        let _ = self.back.send_to(&answer.to_bytes().unwrap(), self.server);
    }
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}
