//! One DTLS session. It takes datagrams and the time, and returns datagrams, plaintext and its next deadline.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use openssl::ssl::{ErrorCode, Ssl, SslStream};
use wharf_secret::Secret;
use zeroize::Zeroize as _;

use super::{DtlsFailure, LONGEST_DATAGRAM, datagrams::Datagrams, libssl};

/// The number of retransmissions of a flight. With waits of 2, 4, 8 and 16 seconds a handshake times out after half a
/// minute, and the next address of the server is tried.
const REPEATS: u32 = 3;

/// A session with a server.
pub struct Session {
    stream: SslStream<Datagrams>,
    identity: String,
    state: SessionState,
    plaintext: VecDeque<Secret>,
    /// The buffer for a message of OpenSSL. It is wiped once the message is in the queue.
    buffer: Box<[u8; LONGEST_DATAGRAM]>,
}

/// The state of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// The session waits for the server's next flight.
    Handshaking {
        /// The time of the next retransmission.
        repeat_at: Instant,
        /// The current retransmission timeout.
        wait: Duration,
        /// The retransmissions that are left.
        repeats_left: u32,
    },
    /// The handshake is complete.
    Open {
        /// Whether an earlier session was resumed.
        resumed: bool,
    },
    /// The session has ended.
    Closed(SessionEnd),
}

/// The way in which a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEnd {
    /// The server sent close_notify.
    ByServer,
    /// This side sent close_notify.
    Here,
    /// The session failed.
    Failed(DtlsFailure),
}

impl Session {
    pub(super) fn begin(mut ssl: Ssl, identity: String, now: Instant) -> Result<Self, DtlsFailure> {
        ssl.set_connect_state();
        Self::on(ssl, identity, now)
    }

    pub(super) fn on(ssl: Ssl, identity: String, now: Instant) -> Result<Self, DtlsFailure> {
        let mut session = Self {
            stream: SslStream::new(ssl, Datagrams::default())?,
            identity,
            state: SessionState::Handshaking {
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

    /// The state.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// Handles a datagram of the server. An invalid one is ignored (RFC 6347 4.1.2.7).
    pub fn receive(&mut self, now: Instant, datagram: &[u8]) {
        if datagram.is_empty() {
            return; // OpenSSL would treat it as the end of a stream
        }
        self.stream.get_mut().put(datagram);
        if matches!(self.state, SessionState::Handshaking { .. }) {
            self.shake_hands(now);
        }
        if matches!(self.state, SessionState::Open { .. }) {
            self.read();
        }
    }

    /// Encrypts a message. It is lost if the session is not open.
    pub fn send(&mut self, plaintext: &[u8]) {
        if !matches!(self.state, SessionState::Open { .. }) || plaintext.is_empty() {
            return;
        }
        if let Err(error) = self.stream.ssl_write(plaintext) {
            self.state =
                SessionState::Closed(SessionEnd::Failed(DtlsFailure::of(&error, &self.identity)));
        }
    }

    /// OpenSSL's name of the negotiated suite.
    pub fn suite(&self) -> Option<&'static str> {
        let cipher = self.stream.ssl().current_cipher()?;
        Some(cipher.name())
    }

    /// The time to call [`timeout`](Self::timeout). Any other call may change it.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            SessionState::Handshaking { repeat_at, .. } => Some(repeat_at),
            SessionState::Open { .. } | SessionState::Closed(_) => None,
        }
    }

    /// Handles a passed deadline. An early call does nothing.
    pub fn timeout(&mut self, now: Instant) {
        let SessionState::Handshaking {
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
            self.state = SessionState::Closed(SessionEnd::Failed(self.silence()));
            return;
        };
        let sent = libssl::handle_timeout(self.stream.ssl());
        // OpenSSL sends nothing if the wall clock was set back meanwhile. The session then waits once more.
        let wait = libssl::take_wait(self.stream.ssl()).unwrap_or(wait);
        self.state = match sent {
            Ok(()) => SessionState::Handshaking {
                repeat_at: now + wait,
                wait,
                repeats_left,
            },
            Err(errors) => SessionState::Closed(SessionEnd::Failed(DtlsFailure::of_errors(
                &errors,
                &self.identity,
            ))),
        };
    }

    /// The next datagram to send. It stays until it is [removed](Self::remove_datagram).
    pub fn datagram(&self) -> Option<&[u8]> {
        self.stream.get_ref().first()
    }

    /// Removes the datagram that was sent.
    pub fn remove_datagram(&mut self) {
        self.stream.get_mut().remove_first();
    }

    /// The next received message.
    pub fn poll_plaintext(&mut self) -> Option<Secret> {
        self.plaintext.pop_front()
    }

    /// Ends the session. An open one sends close_notify.
    pub fn close(&mut self) {
        if matches!(self.state, SessionState::Open { .. }) {
            let _ = self.stream.shutdown(); // without waiting for the server's close_notify
        }
        self.state = SessionState::Closed(SessionEnd::Here);
    }

    /// The session as DER, for resumption.
    pub(super) fn der(&self) -> Option<Secret> {
        let session = self.stream.ssl().session()?;
        session.to_der().ok().map(Secret::new)
    }

    fn shake_hands(&mut self, now: Instant) {
        match self.stream.do_handshake() {
            Ok(()) => {
                let resumed = self.stream.ssl().session_reused();
                self.state = SessionState::Open { resumed };
            }
            Err(error) if error.code() == ErrorCode::WANT_READ => self.wait_for_answer(now),
            Err(error) => {
                self.state = SessionState::Closed(SessionEnd::Failed(DtlsFailure::of(
                    &error,
                    &self.identity,
                )));
            }
        }
    }

    /// Starts the retransmission timer of a new flight.
    fn wait_for_answer(&mut self, now: Instant) {
        if let Some(wait) = libssl::take_wait(self.stream.ssl()) {
            self.state = SessionState::Handshaking {
                repeat_at: now + wait,
                wait,
                repeats_left: REPEATS,
            };
        }
    }

    /// Decrypts all records of a datagram (RFC 6347 4.1.1).
    fn read(&mut self) {
        loop {
            match self.stream.ssl_read(self.buffer.as_mut_slice()) {
                Ok(length) => {
                    let message = self.buffer.get_mut(..length).unwrap_or_default();
                    self.plaintext.push_back(Secret::new(message.to_vec()));
                    message.zeroize();
                }
                Err(error) if error.code() == ErrorCode::WANT_READ => return,
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    self.state = SessionState::Closed(SessionEnd::ByServer);
                    return;
                }
                Err(error) => {
                    let failure = DtlsFailure::of(&error, &self.identity);
                    self.state = SessionState::Closed(SessionEnd::Failed(failure));
                    return;
                }
            }
        }
    }

    fn silence(&self) -> DtlsFailure {
        match libssl::is_key_asked(self.stream.ssl()) {
            true => DtlsFailure::Unconfirmed {
                identity: self.identity.clone(),
            },
            false => DtlsFailure::Unanswered,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.state)
    }
}
