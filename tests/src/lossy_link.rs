//! A link between UDP peers that drops, duplicates and reorders datagrams, repeatable by a seed.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The faults of a link, for each 100 datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// The number of dropped datagrams.
    pub lost: u64,
    /// The number of duplicated datagrams.
    pub doubled: u64,
    /// The number of datagrams that arrive after the next one.
    pub late: u64,
}

/// A running link. A drop ends it.
#[derive(Debug)]
pub struct LossyLink {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    carries: Option<JoinHandle<()>>,
}

// The time for which a late datagram waits for another one to overtake it, and the longest delay of the end.
const PATIENCE: Duration = Duration::from_millis(20);

impl LossyLink {
    /// A link to the server at `server`. Its clients use [`Self::address`].
    pub fn to(server: SocketAddr, seed: u64, faults: Faults) -> Self {
        let socket = bind();
        let address = socket.local_addr().expect("its address");
        let ending = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&ending);
        let carries = thread::spawn(move || carry_to(server, socket, seed, faults, &ends));
        Self {
            address,
            ending,
            carries: Some(carries),
        }
    }

    /// The address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LossyLink {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        if let Some(carries) = self.carries.take() {
            let _ = carries.join();
        }
    }
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port to receive at");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket
}

/// One side for a client: the server sees a peer of its own for each, and answers return there.
struct Side {
    socket: Arc<UdpSocket>,
    weather: Weather,
    returns: JoinHandle<()>,
}

fn carry_to(
    server: SocketAddr,
    socket: UdpSocket,
    seed: u64,
    faults: Faults,
    ends: &Arc<AtomicBool>,
) {
    let socket = Arc::new(socket);
    let mut sides: HashMap<SocketAddr, Side> = HashMap::new();
    let mut buffer = [0; 64 * 1024];
    while !ends.load(Ordering::SeqCst) {
        match socket.recv_from(&mut buffer) {
            Ok((length, client)) => {
                let side = sides.entry(client).or_insert_with(|| {
                    side(
                        Arc::clone(&socket),
                        client,
                        server,
                        seed,
                        faults,
                        Arc::clone(ends),
                    )
                });
                for datagram in side.weather.pass(&buffer[..length]) {
                    let _ = side.socket.send_to(&datagram, server);
                }
            }
            Err(_nothing_came) => {
                for side in sides.values_mut() {
                    for datagram in side.weather.settle() {
                        let _ = side.socket.send_to(&datagram, server);
                    }
                }
            }
        }
    }
    for side in sides.into_values() {
        let _ = side.returns.join();
    }
}

fn side(
    front: Arc<UdpSocket>,
    client: SocketAddr,
    server: SocketAddr,
    seed: u64,
    faults: Faults,
    ends: Arc<AtomicBool>,
) -> Side {
    let socket = Arc::new(bind());
    let back = Arc::clone(&socket);
    let returns = thread::spawn(move || {
        let mut weather = Weather::new(!seed, faults);
        let mut buffer = [0; 64 * 1024];
        while !ends.load(Ordering::SeqCst) {
            let passing = match back.recv_from(&mut buffer) {
                Ok((length, from)) if from == server => weather.pass(&buffer[..length]),
                Ok(_stranger) => Vec::new(),
                Err(_nothing_came) => weather.settle(),
            };
            for datagram in passing {
                let _ = front.send_to(&datagram, client);
            }
        }
    });
    Side {
        socket,
        weather: Weather::new(seed, faults),
        returns,
    }
}

/// The fate of the datagrams of one direction. It has no socket: the same seed gives the same sequence.
#[derive(Debug)]
pub struct Weather {
    state: u64,
    faults: Faults,
    held: Option<Vec<u8>>,
}

impl Weather {
    /// The beginning of the sequence of `seed`.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            state: seed,
            faults,
            held: None,
        }
    }

    /// The output for the input `datagram`.
    pub fn pass(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let Faults {
            lost,
            doubled,
            late,
        } = self.faults;
        let lot = self.lot();
        let mut out = Vec::new();
        if lot >= lost + doubled + late {
            out.push(datagram.to_vec());
        } else if lot >= lost + doubled {
            let earlier = self.held.replace(datagram.to_vec());
            return earlier.into_iter().collect();
        } else if lot >= lost {
            out.extend([datagram.to_vec(), datagram.to_vec()]);
        }
        out.extend(self.held.take());
        out
    }

    /// The datagram that waited for another one, which did not arrive.
    pub fn settle(&mut self) -> Vec<Vec<u8>> {
        self.held.take().into_iter().collect()
    }

    /// A number below 100, by splitmix64.
    fn lot(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % 100
    }
}
