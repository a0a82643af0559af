//! A NAT between one UDP client and a server. It can drop its binding: from then on the server sees another port of the
//! client, and datagrams to the old one are lost.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The longest delay of the end.
const PATIENCE: Duration = Duration::from_millis(20);

/// A running NAT. A drop ends it.
#[derive(Debug)]
pub struct Nat {
    inside: Arc<UdpSocket>,
    server: SocketAddr,
    client: Arc<Mutex<Option<SocketAddr>>>,
    binding: Arc<Mutex<Binding>>,
    ended: Arc<AtomicBool>,
    carries: Option<JoinHandle<()>>,
}

/// The socket that the server sees, and the thread that returns its answers.
#[derive(Debug)]
struct Binding {
    outside: Arc<UdpSocket>,
    ended: Arc<AtomicBool>,
    returns: Option<JoinHandle<()>>,
}

impl Nat {
    /// A NAT before the server at `server`. Its client uses [`Self::address`].
    pub fn to(server: SocketAddr) -> Self {
        let inside = Arc::new(bind());
        let client = Arc::new(Mutex::new(None));
        let binding = Binding::new(server, Arc::clone(&inside), Arc::clone(&client));
        let binding = Arc::new(Mutex::new(binding));
        let ended = Arc::new(AtomicBool::new(false));
        let carries = {
            let (inside, client) = (Arc::clone(&inside), Arc::clone(&client));
            let (binding, ended) = (Arc::clone(&binding), Arc::clone(&ended));
            thread::spawn(move || {
                let mut buffer = [0; 64 * 1024];
                while !ended.load(SeqCst) {
                    let Ok((length, from)) = inside.recv_from(&mut buffer) else {
                        continue;
                    };
                    *client.lock().unwrap() = Some(from);
                    let binding = binding.lock().unwrap();
                    let _ = binding.outside.send_to(&buffer[..length], server);
                }
            })
        };
        Self {
            inside,
            server,
            client,
            binding,
            ended,
            carries: Some(carries),
        }
    }

    /// The address for the client.
    pub fn address(&self) -> SocketAddr {
        self.inside.local_addr().expect("its address")
    }

    /// Drops the binding.
    pub fn rebind(&self) {
        let (inside, client) = (Arc::clone(&self.inside), Arc::clone(&self.client));
        *self.binding.lock().unwrap() = Binding::new(self.server, inside, client);
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.ended.store(true, SeqCst);
        if let Some(carries) = self.carries.take() {
            let _ = carries.join();
        }
    }
}

impl Binding {
    fn new(
        server: SocketAddr,
        inside: Arc<UdpSocket>,
        client: Arc<Mutex<Option<SocketAddr>>>,
    ) -> Self {
        let outside = Arc::new(bind());
        let ended = Arc::new(AtomicBool::new(false));
        let returns = {
            let (outside, ended) = (Arc::clone(&outside), Arc::clone(&ended));
            thread::spawn(move || {
                let mut buffer = [0; 64 * 1024];
                while !ended.load(SeqCst) {
                    let Ok((length, from)) = outside.recv_from(&mut buffer) else {
                        continue;
                    };
                    let client = *client.lock().unwrap();
                    if let (true, Some(client)) = (from == server, client) {
                        let _ = inside.send_to(&buffer[..length], client);
                    }
                }
            })
        };
        Self {
            outside,
            ended,
            returns: Some(returns),
        }
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.ended.store(true, SeqCst);
        if let Some(returns) = self.returns.take() {
            let _ = returns.join();
        }
    }
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port to receive at");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket
}
