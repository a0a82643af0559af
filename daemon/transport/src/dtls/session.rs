//! One handshake and what follows it. Takes datagrams and the time, gives datagrams, plaintext and its next
//! deadline; the same for every network.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use openssl::ssl::{ErrorCode, Ssl, SslStream};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Failure, LONGEST_DATAGRAM, datagrams::Datagrams, libssl};

/// How often a flight is sent again before the handshake is given up. With waits of 2, 4, 8 and 16 seconds that is
/// half a minute: then the server's next address has its turn.
const REPEATS: u32 = 3;

/// A session with a server.
pub struct Session {
    stream: SslStream<Datagrams>,
    identity: String,
    state: State,
    plaintext: VecDeque<Zeroizing<Vec<u8>>>,
    /// Where OpenSSL writes a message, which is wiped from there once it is in the queue.
    buffer: Box<[u8; LONGEST_DATAGRAM]>,
}

/// How far a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The server's next flight is expected.
    Handshaking {
        /// When the own one is sent again.
        repeat_at: Instant,
        /// How long the server was given for its answer.
        wait: Duration,
        /// How often it may be sent again still.
        repeats_left: u32,
    },
    /// Plaintext can be sent and comes.
    Open {
        /// An earlier session was taken up again.
        resumed: bool,
    },
    /// Nothing passes any more.
    Closed(End),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server said goodbye (close_notify).
    ByServer,
    /// This side did.
    Here,
    /// Something went wrong.
    Failed(Failure),
}

impl Session {
    pub(super) fn begin(mut ssl: Ssl, identity: String, now: Instant) -> Result<Self, Failure> {
        ssl.set_connect_state();
        Self::on(ssl, identity, now)
    }

    pub(super) fn on(ssl: Ssl, identity: String, now: Instant) -> Result<Self, Failure> {
        let mut session = Self {
            stream: SslStream::new(ssl, Datagrams::default())?,
            identity,
            state: State::Handshaking {
                repeat_at: now + libssl::LONGEST_WAIT,
                wait: libssl::LONGEST_WAIT,
                repeats_left: REPEATS,
            },
            plaintext: VecDeque::new(),
            buffer: Box::new([0; LONGEST_DATAGRAM]),
        };
        session.shake_hands(now);
        Ok(session)
    }

    /// How far it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes a datagram of the server. What is not one of this session is passed over (RFC 6347 4.1.2.7).
    pub fn receive(&mut self, now: Instant, datagram: &[u8]) {
        if datagram.is_empty() {
            return; // OpenSSL would take it for the end of a stream
        }
        self.stream.get_mut().put(datagram);
        if matches!(self.state, State::Handshaking { .. }) {
            self.shake_hands(now);
        }
        if matches!(self.state, State::Open { .. }) {
            self.read();
        }
    }

    /// Protects a message. What cannot be sent yet, or not any more, is lost like a datagram.
    pub fn send(&mut self, plaintext: &[u8]) {
        if !matches!(self.state, State::Open { .. }) || plaintext.is_empty() {
            return;
        }
        if let Err(error) = self.stream.ssl_write(plaintext) {
            self.state = State::Closed(End::Failed(Failure::of(&error, &self.identity)));
        }
    }

    /// The suite, by OpenSSL's name, once there is one.
    pub fn suite(&self) -> Option<&'static str> {
        let cipher = self.stream.ssl().current_cipher()?;
        Some(cipher.name())
    }

    /// When [`timeout`](Self::timeout) is to be called. To be asked after every other call.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Handshaking { repeat_at, .. } => Some(repeat_at),
            State::Open { .. } | State::Closed(_) => None,
        }
    }

    /// The deadline has come. Early or without need does no harm.
    pub fn timeout(&mut self, now: Instant) {
        let State::Handshaking {
            repeat_at,
            wait,
            repeats_left,
        } = self.state
        else {
            return;
        };
        if now < repeat_at {
            return;
        }
        let Some(repeats_left) = repeats_left.checked_sub(1) else {
            self.state = State::Closed(End::Failed(self.silence()));
            return;
        };
        let sent = libssl::handle_timeout(self.stream.ssl());
        // None was sent where the wall clock was set back meanwhile, which OpenSSL goes by: another wait as long.
        let wait = libssl::take_wait(self.stream.ssl()).unwrap_or(wait);
        self.state = match sent {
            Ok(()) => State::Handshaking {
                repeat_at: now + wait,
                wait,
                repeats_left,
            },
            Err(errors) => State::Closed(End::Failed(Failure::of_errors(&errors, &self.identity))),
        };
    }

    /// The next datagram to be sent, until it is [removed](Self::remove_datagram).
    pub fn datagram(&self) -> Option<&[u8]> {
        self.stream.get_ref().first()
    }

    /// It was sent.
    pub fn remove_datagram(&mut self) {
        self.stream.get_mut().remove_first();
    }

    /// The next message that came.
    pub fn poll_plaintext(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        self.plaintext.pop_front()
    }

    /// Says goodbye: one more datagram, if the session was open.
    pub fn close(&mut self) {
        if matches!(self.state, State::Open { .. }) {
            let _ = self.stream.shutdown(); // it does not wait for the server's
        }
        self.state = State::Closed(End::Here);
    }

    /// All that a server needs to know it again.
    pub(super) fn der(&self) -> Option<Zeroizing<Vec<u8>>> {
        let session = self.stream.ssl().session()?;
        session.to_der().ok().map(Zeroizing::new)
    }

    fn shake_hands(&mut self, now: Instant) {
        match self.stream.do_handshake() {
            Ok(()) => {
                let resumed = self.stream.ssl().session_reused();
                self.state = State::Open { resumed };
            }
            Err(error) if error.code() == ErrorCode::WANT_READ => self.wait_for_answer(now),
            Err(error) => {
                self.state = State::Closed(End::Failed(Failure::of(&error, &self.identity)));
            }
        }
    }

    /// A new flight has all its repetitions before it.
    fn wait_for_answer(&mut self, now: Instant) {
        if let Some(wait) = libssl::take_wait(self.stream.ssl()) {
            self.state = State::Handshaking {
                repeat_at: now + wait,
                wait,
                repeats_left: REPEATS,
            };
        }
    }

    /// A datagram may hold several records (RFC 6347 4.1.1).
    fn read(&mut self) {
        loop {
            match self.stream.ssl_read(self.buffer.as_mut_slice()) {
                Ok(length) => {
                    let message = self.buffer.get_mut(..length).unwrap_or_default();
                    self.plaintext.push_back(message.to_vec().into());
                    message.zeroize();
                }
                Err(error) if error.code() == ErrorCode::WANT_READ => return,
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    self.state = State::Closed(End::ByServer);
                    return;
                }
                Err(error) => {
                    let failure = Failure::of(&error, &self.identity);
                    self.state = State::Closed(End::Failed(failure));
                    return;
                }
            }
        }
    }

    fn silence(&self) -> Failure {
        match libssl::is_key_asked(self.stream.ssl()) {
            true => Failure::Unconfirmed {
                identity: self.identity.clone(),
            },
            false => Failure::Unanswered,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.state)
    }
}
