//! A client and an OpenSSL server in one thread. Each test says which datagrams are lost, doubled, delayed or damaged.

use std::{
    collections::VecDeque,
    mem, thread,
    time::{Duration, Instant},
};

use openssl::ssl::{Ssl, SslContext, SslMethod, SslSessionCacheMode};
use wharf_secret::Secret;

use super::{
    Alert, DtlsClient, DtlsFailure, Psk, Session, SessionEnd, SessionState,
    client::{MTU, profile},
    libssl,
};

const IDENTITY: &str = "gateway-17";
const KEY: [u8; 16] = *b"0123456789abcdef";
// OpenSSL treats a timer with less than 15 ms left as expired, so that a shorter one would not show a wait.
const WAIT: Duration = Duration::from_millis(40);

/// The server. Sessions can be resumed within one context.
struct Server(SslContext);

impl Server {
    fn new() -> Self {
        let mut builder = SslContext::builder(SslMethod::dtls_server()).unwrap();
        profile(&mut builder).unwrap();
        builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
        builder.set_session_id_context(b"wharf").unwrap();
        builder.set_psk_server_callback(|_, identity, key| {
            if identity != Some(IDENTITY.as_bytes()) {
                return Ok(0);
            }
            key[..KEY.len()].copy_from_slice(&KEY);
            Ok(KEY.len())
        });
        Self(builder.build())
    }

    fn with_suites(suites: &str) -> Self {
        let mut builder = SslContext::builder(SslMethod::dtls_server()).unwrap();
        builder.set_security_level(0);
        builder.set_cipher_list(suites).unwrap();
        builder.set_psk_server_callback(|_, _, key| {
            key[..KEY.len()].copy_from_slice(&KEY);
            Ok(KEY.len())
        });
        Self(builder.build())
    }

    fn accept(&self) -> Session {
        let mut ssl = Ssl::new(&self.0).unwrap();
        ssl.set_mtu(MTU).unwrap();
        libssl::set_timer(&mut ssl, WAIT).unwrap();
        ssl.set_accept_state();
        Session::on(ssl, String::new(), Instant::now()).unwrap()
    }
}

fn client(key: &[u8]) -> DtlsClient {
    let psk = Psk::new(IDENTITY, Secret::new(key.to_vec())).unwrap();
    DtlsClient::new(psk, WAIT).unwrap()
}

/// The fate of the nth datagram of a test. Both directions count together.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Lost,
    Doubled,
    Late,
    Garbled,
}

/// Both sides and the network between them.
struct Pair {
    sides: [Session; 2],
    ways: [VecDeque<Vec<u8>>; 2],
    held: [Option<Vec<u8>>; 2],
    fates: Vec<(usize, Fate)>,
    carried: usize,
    longest: usize,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

impl Pair {
    fn new(client: &DtlsClient, server: &Server, fates: &[(usize, Fate)]) -> Self {
        Self {
            sides: [client.begin(Instant::now()).unwrap(), server.accept()],
            ways: Default::default(),
            held: Default::default(),
            fates: fates.to_vec(),
            carried: 0,
            longest: 0,
        }
    }

    /// Runs until no datagram moves and `done` holds, or the client gives up.
    fn run(&mut self, done: impl Fn(&Self) -> bool) {
        while !matches!(self.sides[CLIENT].state(), SessionState::Closed(_)) {
            if self.carry() {
                continue;
            }
            if done(self) {
                return;
            }
            self.settle();
        }
        while self.carry() {}
    }

    fn shake_hands(&mut self) {
        self.run(|pair| {
            let open = |side: &Session| matches!(side.state(), SessionState::Open { .. });
            pair.sides.iter().all(open)
        });
    }

    /// Carries the datagrams of one round. Returns whether any moved.
    fn carry(&mut self) -> bool {
        for from in [CLIENT, SERVER] {
            while let Some(datagram) = self.sides[from].datagram().map(<[u8]>::to_vec) {
                self.sides[from].remove_datagram();
                self.post(from, datagram);
            }
        }
        let mut moved = false;
        for from in [CLIENT, SERVER] {
            for datagram in mem::take(&mut self.ways[from]) {
                self.sides[1 - from].receive(Instant::now(), &datagram);
                moved = true;
            }
        }
        moved
    }

    fn post(&mut self, from: usize, mut datagram: Vec<u8>) {
        let fate = self.fates.iter().find(|(nth, _)| *nth == self.carried);
        let fate = fate.map(|(_, fate)| *fate);
        self.carried += 1;
        self.longest = self.longest.max(datagram.len());
        match fate {
            Some(Fate::Lost) => return,
            Some(Fate::Late) => {
                self.held[from] = Some(datagram);
                return;
            }
            Some(Fate::Doubled) => self.ways[from].push_back(datagram.clone()),
            Some(Fate::Garbled) => *datagram.last_mut().unwrap() ^= 1,
            None => {}
        }
        self.ways[from].push_back(datagram);
        self.ways[from].extend(self.held[from].take());
    }

    /// Delivers the delayed datagrams, or else waits for the next deadline.
    fn settle(&mut self) {
        let held = mem::take(&mut self.held);
        let mut came = false;
        for (way, datagram) in self.ways.iter_mut().zip(held) {
            came |= datagram.is_some();
            way.extend(datagram);
        }
        if came {
            return;
        }
        let deadline = self.sides.iter().filter_map(Session::deadline).min();
        let deadline = deadline.expect("neither side waits for anything");
        // OpenSSL's timer uses the wall clock, so that the test must wait in real time.
        thread::sleep(deadline.saturating_duration_since(Instant::now()));
        for side in &mut self.sides {
            side.timeout(Instant::now());
        }
    }

    fn transfer(&mut self, from: usize, message: &[u8]) -> Option<Vec<u8>> {
        self.sides[from].send(message);
        while self.carry() {}
        let heard = self.sides[1 - from].poll_plaintext();
        heard.map(|message| message.expose().to_vec())
    }

    #[track_caller]
    fn expect_open(&mut self, resumed: bool, case: &str) {
        let state = self.sides[CLIENT].state();
        assert_eq!(*state, SessionState::Open { resumed }, "{case}");
        assert_eq!(
            self.transfer(CLIENT, b"ping").as_deref(),
            Some(&b"ping"[..]),
            "{case}"
        );
        assert_eq!(
            self.transfer(SERVER, b"pong").as_deref(),
            Some(&b"pong"[..]),
            "{case}"
        );
    }
}

fn end(pair: &Pair) -> Option<&SessionEnd> {
    match pair.sides[CLIENT].state() {
        SessionState::Closed(end) => Some(end),
        _ => None,
    }
}

/// The number of datagrams of a session without faults.
fn datagrams_of(client: &DtlsClient, server: &Server) -> usize {
    let mut pair = Pair::new(client, server, &[]);
    pair.shake_hands();
    pair.carried
}

fn resumable(server: &Server) -> DtlsClient {
    let mut client = client(&KEY);
    let mut pair = Pair::new(&client, server, &[]);
    pair.shake_hands();
    client.keep(&pair.sides[CLIENT]);
    client
}

#[test]
fn messages_pass_both_ways_under_the_mandatory_suite() {
    let mut pair = Pair::new(&client(&KEY), &Server::new(), &[]);
    pair.shake_hands();
    pair.expect_open(false, "the first session");
    assert_eq!(pair.sides[CLIENT].suite(), Some("PSK-AES128-CCM8"));
}

#[test]
fn a_server_without_ccm_8_is_spoken_with_by_the_other_suite_and_by_no_weaker_one() {
    let table = [
        ("PSK-AES128-CBC-SHA256", Some("PSK-AES128-CBC-SHA256")),
        ("PSK-AES128-CBC-SHA", None),
        ("PSK-NULL-SHA256", None),
    ];
    for (suites, expected) in table {
        let mut pair = Pair::new(&client(&KEY), &Server::with_suites(suites), &[]);
        pair.run(|pair| pair.sides[SERVER].deadline().is_none());
        match expected {
            Some(suite) => assert_eq!(pair.sides[CLIENT].suite(), Some(suite)),
            None => {
                let alert = Alert(40);
                let identity = IDENTITY.to_owned();
                let refused = SessionEnd::Failed(DtlsFailure::Refused { alert, identity });
                assert_eq!(end(&pair), Some(&refused), "{suites}");
            }
        }
    }
}

#[test]
fn a_session_is_resumed() {
    let server = Server::new();
    let client = resumable(&server);
    let mut pair = Pair::new(&client, &server, &[]);
    pair.shake_hands();
    pair.expect_open(true, "the second session");
}

#[test]
fn a_server_that_forgot_the_session_gets_a_whole_handshake() {
    let client = resumable(&Server::new());
    let mut pair = Pair::new(&client, &Server::new(), &[]);
    pair.shake_hands();
    pair.expect_open(false, "after the server's restart");
}

#[test]
fn whatever_datagram_is_lost_doubled_or_late_the_handshake_heals() {
    let server = Server::new();
    for client in [client(&KEY), resumable(&server)] {
        let resumed = client.is_kept();
        for nth in 0..datagrams_of(&client, &server) {
            for fate in [Fate::Lost, Fate::Doubled, Fate::Late] {
                let mut pair = Pair::new(&client, &server, &[(nth, fate)]);
                pair.shake_hands();
                pair.expect_open(
                    resumed,
                    &format!("datagram {nth} {fate:?}, resumed: {resumed}"),
                );
            }
        }
    }
}

#[test]
fn a_handshake_heals_when_every_flight_is_lost_once() {
    let lost = [0, 2, 4].map(|nth| (nth, Fate::Lost));
    let mut pair = Pair::new(&client(&KEY), &Server::new(), &lost);
    pair.shake_hands();
    pair.expect_open(false, "every other datagram lost");
}

#[test]
fn no_datagram_is_longer_than_every_network_carries() {
    let longest_message = [7; 1152]; // RFC 7252 4.6
    for suites in ["PSK-AES128-CCM8", "PSK-AES128-CBC-SHA256"] {
        let mut pair = Pair::new(&client(&KEY), &Server::with_suites(suites), &[]);
        pair.shake_hands();
        let heard = pair.transfer(CLIENT, &longest_message);
        assert_eq!(heard.as_deref(), Some(&longest_message[..]), "{suites}");
        let limit = 1280 - 40 - 8;
        assert!(pair.longest <= limit, "{suites}: {} bytes", pair.longest);
    }
}

#[test]
fn a_wrong_key_is_distinguished_from_a_missing_server() {
    let mut pair = Pair::new(&client(b"fedcba9876543210"), &Server::new(), &[]);
    pair.shake_hands();
    let identity = IDENTITY.to_owned();
    let unconfirmed = SessionEnd::Failed(DtlsFailure::Unconfirmed { identity });
    assert_eq!(end(&pair), Some(&unconfirmed));

    let all_lost: Vec<_> = (0..100).map(|nth| (nth, Fate::Lost)).collect();
    let mut pair = Pair::new(&client(&KEY), &Server::new(), &all_lost);
    pair.shake_hands();
    assert_eq!(
        end(&pair),
        Some(&SessionEnd::Failed(DtlsFailure::Unanswered))
    );
    assert_eq!(pair.carried, 4, "a flight and its retransmissions");
}

#[test]
fn an_unknown_identity_is_named_in_the_failure() {
    let psk = Psk::new("stranger", Secret::new(KEY.to_vec())).unwrap();
    let client = DtlsClient::new(psk, WAIT).unwrap();
    let mut pair = Pair::new(&client, &Server::new(), &[]);
    pair.shake_hands();
    let SessionEnd::Failed(failure) = end(&pair).expect("an end") else {
        panic!("{:?}", end(&pair));
    };
    let words = failure.to_string();
    assert!(
        words.contains("unknown_psk_identity") && words.contains("\"stranger\""),
        "{words}"
    );
}

#[test]
fn a_close_notify_ends_the_session() {
    let mut pair = Pair::new(&client(&KEY), &Server::new(), &[]);
    pair.shake_hands();
    pair.sides[SERVER].close();
    pair.run(|_| true);
    assert_eq!(end(&pair), Some(&SessionEnd::ByServer));
}

#[test]
fn what_is_not_of_the_session_is_passed_over() {
    let mut pair = Pair::new(&client(&KEY), &Server::new(), &[]);
    pair.shake_hands();
    let fatal_in_the_clear = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40];
    let coap_in_the_clear = [0x40, 0x01, 0, 1];
    for stranger in [&fatal_in_the_clear[..], &coap_in_the_clear, &[], &[0; 4000]] {
        pair.sides[CLIENT].receive(Instant::now(), stranger);
        assert!(
            pair.sides[CLIENT].poll_plaintext().is_none(),
            "{stranger:?}"
        );
    }
    pair.expect_open(false, "after strange datagrams");
}

#[test]
fn a_message_that_came_twice_is_heard_once_and_a_garbled_one_never() {
    let mut pair = Pair::new(&client(&KEY), &Server::new(), &[]);
    pair.shake_hands();
    let next = pair.carried;
    pair.fates = vec![(next, Fate::Garbled), (next + 1, Fate::Doubled)];
    assert_eq!(pair.transfer(SERVER, b"garbled"), None);
    assert_eq!(
        pair.transfer(SERVER, b"once").as_deref(),
        Some(&b"once"[..])
    );
    assert_eq!(pair.sides[CLIENT].poll_plaintext(), None);
}
