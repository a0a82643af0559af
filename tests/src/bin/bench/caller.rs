//! A CoAP caller with as little work of its own as possible, so that the answering program is measured. It is the LwM2M
//! server of the wharfd that it calls, since wharfd answers only its server.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use openssl::ssl::SslStream;

use crate::dtls::{self, Datagrams};

const GIVE_UP: Duration = Duration::from_secs(30);

const CON: u8 = 0;
const ACK: u8 = 2;

const EMPTY: u8 = 0;
const GET: u8 = 1;
const PUT: u8 = 3;
const CREATED: u8 = 0x41;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;
const CONTINUE: u8 = 0x5f;

const LOCATION_PATH: u16 = 8;
const URI_PATH: u16 = 11;
const CONTENT_FORMAT: u16 = 12;
const ACCEPT: u16 = 17;
const BLOCK1: u16 = 27;

const TEXT_PLAIN: &[u8] = &[];
const OCTET_STREAM: &[u8] = &[42];

/// The exponent in a Block option for blocks of 1,024 bytes (RFC 7959 2.2).
const SZX: u32 = 6;
/// The block size in bytes.
pub(crate) const BLOCK: usize = 1024;

/// The peer of a caller.
pub(crate) struct CoapCaller {
    socket: UdpSocket,
    session: Option<SslStream<Datagrams>>,
    last_id: u16,
}

impl CoapCaller {
    /// At a free port.
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_read_timeout(Some(GIVE_UP)).expect("a limit");
        Self {
            socket,
            session: None,
            last_id: 0,
        }
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// Waits for the first datagram from any sender.
    pub(crate) fn wait_for_datagram(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut buffer).expect("a datagram");
        (buffer[..length].to_vec(), from)
    }

    /// Waits for a Register, accepts it, and from now on calls its sender.
    pub(crate) fn accept_registration(&mut self) {
        self.call(self.first_to_send());
        self.answer_registration();
    }

    /// The same over DTLS.
    pub(crate) fn accept_secured_registration(&mut self) {
        self.call(self.first_to_send());
        self.session = Some(dtls::accept(&self.socket));
        self.answer_registration();
    }

    fn first_to_send(&self) -> SocketAddr {
        self.socket.peek_from(&mut [0; 1]).expect("a datagram").1
    }

    fn answer_registration(&mut self) {
        let mut buffer = [0; 2048];
        let register = self.receive(&mut buffer);
        let mut accepted = Message::new(ACK, CREATED, id_of(register), token_of(register));
        accepted.option(LOCATION_PATH, b"rd");
        accepted.option(LOCATION_PATH, b"1");
        self.send(&accepted.bytes);
    }

    /// Whether the peer answers.
    pub(crate) fn is_answered(&mut self, path: &str) -> bool {
        let request = self.get(path);
        let sent = self.socket.send(&request.bytes);
        sent.and_then(|_| self.socket.recv(&mut [0; 2048])).is_ok()
    }

    /// From now on calls `to`.
    pub(crate) fn call(&self, to: SocketAddr) {
        self.socket.connect(to).expect("an address to call");
    }

    /// From now on calls `to` over DTLS.
    pub(crate) fn call_secured(&mut self, to: SocketAddr) {
        self.call(to);
        self.session = Some(dtls::connect(&self.socket));
    }

    /// Reads `path` `count` times, at most `in_flight` at once. Returns the duration of each read.
    pub(crate) fn read(&mut self, path: &str, count: u16, in_flight: u16) -> Vec<Duration> {
        let mut request = self.get(path);
        let first = self.last_id.wrapping_add(1);
        let (mut sent, mut took) = (Vec::new(), Vec::new());
        let mut buffer = [0; 2048];
        while took.len() < count.into() {
            while sent.len() < count.into() && sent.len() - took.len() < in_flight.into() {
                self.last_id = self.last_id.wrapping_add(1);
                request.bytes[2..4].copy_from_slice(&self.last_id.to_be_bytes());
                sent.push(Instant::now());
                self.send(&request.bytes);
            }
            let answer = self.receive(&mut buffer);
            let began = sent.get(usize::from(id_of(answer).wrapping_sub(first)));
            if let Some(began) = began.filter(|_| answer[1] == CONTENT) {
                took.push(began.elapsed());
            }
        }
        took
    }

    /// Reads the text of `path`.
    pub(crate) fn read_text(&mut self, path: &str) -> String {
        let request = self.get(path);
        let answer = self.exchange(&request);
        assert_eq!(answer[1], CONTENT, "{path}: {answer:?}");
        let payload = answer.iter().position(|byte| *byte == 0xff);
        let payload = payload.map_or(&[][..], |marker| &answer[marker + 1..]);
        String::from_utf8_lossy(payload).into_owned()
    }

    /// Writes `body` to `path` block by block.
    pub(crate) fn push(&mut self, path: &str, body: &[u8]) {
        let last = body.len().div_ceil(BLOCK) - 1;
        for (number, block) in body.chunks(BLOCK).enumerate() {
            let request = self.put(path, number, number < last, block);
            let answer = self.exchange(&request);
            let accepted: &[u8] = match number < last {
                true => &[CONTINUE],
                false => &[CHANGED, CREATED],
            };
            assert!(accepted.contains(&answer[1]), "block {number}: {answer:?}");
        }
    }

    fn get(&mut self, path: &str) -> Message {
        let mut request = self.request(GET, path);
        request.option(ACCEPT, TEXT_PLAIN);
        request
    }

    fn put(&mut self, path: &str, number: usize, more: bool, block: &[u8]) -> Message {
        let number = u32::try_from(number).expect("a block number");
        let option = number << 4 | u32::from(more) << 3 | SZX;
        let mut request = self.request(PUT, path);
        request.option(CONTENT_FORMAT, OCTET_STREAM);
        request.option(BLOCK1, &option.to_be_bytes()[1..]);
        request.bytes.push(0xff);
        request.bytes.extend_from_slice(block);
        request
    }

    fn request(&mut self, code: u8, path: &str) -> Message {
        self.last_id = self.last_id.wrapping_add(1);
        let token = self.last_id.to_be_bytes();
        let mut request = Message::new(CON, code, self.last_id, &token);
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            request.option(URI_PATH, segment.as_bytes());
        }
        request
    }

    /// Returns the response, in the acknowledgement or after it (RFC 7252 5.2).
    fn exchange(&mut self, request: &Message) -> Vec<u8> {
        self.send(&request.bytes);
        let mut buffer = [0; 2048];
        loop {
            let answer = self.receive(&mut buffer);
            if answer[1] == EMPTY || token_of(answer) != token_of(&request.bytes) {
                continue;
            }
            if kind_of(answer) == CON {
                self.send(&Message::new(ACK, EMPTY, id_of(answer), &[]).bytes);
            }
            return answer.to_vec();
        }
    }

    fn send(&mut self, message: &[u8]) {
        let sent = match &mut self.session {
            None => self.socket.send(message),
            Some(session) => session.write(message),
        };
        sent.expect("somebody who receives");
    }

    fn receive<'a>(&mut self, buffer: &'a mut [u8]) -> &'a [u8] {
        let received = match &mut self.session {
            None => self.socket.recv(buffer),
            Some(session) => session.read(buffer),
        };
        let length = received.expect("an answer");
        assert!(length >= 4, "a message has a header");
        &buffer[..length]
    }
}

/// A message being written (RFC 7252 3).
struct Message {
    bytes: Vec<u8>,
    last_option: u16,
}

impl Message {
    fn new(kind: u8, code: u8, id: u16, token: &[u8]) -> Self {
        let length = u8::try_from(token.len()).expect("a token");
        let mut bytes = vec![0x40 | kind << 4 | length, code];
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(token);
        Self {
            bytes,
            last_option: 0,
        }
    }

    /// Adds an option; none here is 13 bytes long, or 13 after the one before, but for Accept and Block1.
    fn option(&mut self, number: u16, value: &[u8]) {
        let delta = u8::try_from(number - self.last_option).expect("a near option");
        let length = u8::try_from(value.len()).expect("a short option");
        assert!(length < 13, "a short option");
        match delta.checked_sub(13) {
            None => self.bytes.push(delta << 4 | length),
            Some(rest) => self.bytes.extend([13 << 4 | length, rest]),
        }
        self.bytes.extend_from_slice(value);
        self.last_option = number;
    }
}

fn kind_of(message: &[u8]) -> u8 {
    message[0] >> 4 & 3
}

fn id_of(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[2], message[3]])
}

fn token_of(message: &[u8]) -> &[u8] {
    &message[4..][..usize::from(message[0] & 0xf)]
}
