//! An open connection to a server, with or without DTLS. It runs the handshake and the timers of the session. The
//! caller decides when to open and close it.

use std::{future::pending, io, net::SocketAddr, time::Instant};

use wharf_secret::Secret;
use zeroize::Zeroize as _;

use crate::{
    Udp,
    dtls::{DtlsClient, DtlsFailure, LONGEST_DATAGRAM, Session, SessionEnd, SessionState},
};

/// An open connection.
#[derive(Debug)]
pub struct Channel {
    udp: Udp,
    session: Option<Session>,
    buffer: Box<[u8; LONGEST_DATAGRAM + 1]>,
}

/// The reason why a connection was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The socket cannot be opened, or there is no route.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// OpenSSL cannot set up a session.
    #[error(transparent)]
    Begin(#[from] DtlsFailure),
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] Lost),
}

/// The reason why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The server ended it.
    #[error("the server ended the session")]
    Ended,
    /// The session failed.
    #[error(transparent)]
    Failed(#[from] DtlsFailure),
}

impl Channel {
    /// Connects to this address, from this port if it is free. With a client, it returns after the handshake.
    pub async fn open(
        server: SocketAddr,
        port: Option<u16>,
        client: Option<&mut DtlsClient>,
    ) -> Result<Self, OpenError> {
        let mut channel = Self {
            udp: Udp::connect(server, port).await?,
            session: None,
            buffer: Box::new([0; LONGEST_DATAGRAM + 1]),
        };
        if let Some(client) = client {
            channel.shake_hands(client).await?;
        }
        Ok(channel)
    }

    /// Waits for a message. It may be longer than [`MAX_DATAGRAM`](crate::udp::MAX_DATAGRAM), and one that is much
    /// longer is cut. This is cancel-safe.
    pub async fn receive(&mut self) -> Result<Secret, Lost> {
        loop {
            if let Some(message) = self.session.as_mut().and_then(Session::poll_plaintext) {
                return Ok(message);
            }
            if let Some(end) = self.end() {
                return Err(end);
            }
            if let Some(datagram) = self.advance().await
                && self.session.is_none()
            {
                return Ok(datagram);
            }
        }
    }

    /// Sends a message. A message that cannot be sent is lost.
    pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match &mut self.session {
            None => self.udp.send(message).await,
            Some(session) => {
                session.send(message);
                self.flush().await
            }
        }
    }

    /// Ends the session with close_notify.
    pub async fn close(&mut self) {
        if let Some(session) = &mut self.session {
            session.close();
            let _ = self.flush().await;
        }
    }

    /// The local address. Behind a NAT, the server sees another one.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.udp.local()
    }

    /// The address of the server.
    pub fn server(&self) -> io::Result<SocketAddr> {
        self.udp.server()
    }

    /// Whether the session resumed an earlier one.
    pub fn is_resumed(&self) -> bool {
        let state = self.session.as_ref().map(Session::state);
        matches!(state, Some(SessionState::Open { resumed: true }))
    }

    async fn shake_hands(&mut self, client: &mut DtlsClient) -> Result<(), OpenError> {
        let offers = client.is_kept();
        self.session = Some(client.begin(Instant::now())?);
        while !self.is_open() {
            if let Some(lost) = self.end() {
                if offers {
                    client.forget(); // the server may fail on the resumption
                }
                return Err(lost.into());
            }
            self.advance().await;
        }
        let _ = self.flush().await;
        if let Some(session) = &self.session {
            client.keep(session);
        }
        Ok(())
    }

    /// Sends queued datagrams, then waits for one datagram or deadline. Returns a datagram without DTLS.
    async fn advance(&mut self) -> Option<Secret> {
        // A failed send counts as a lost datagram. The handshake repeats it.
        let _ = self.flush().await;
        let deadline = self.session.as_ref().and_then(Session::deadline);
        let received = tokio::select! {
            received = self.udp.receive(self.buffer.as_mut_slice()) => received,
            () = until(deadline) => {
                if let Some(session) = &mut self.session {
                    session.timeout(Instant::now());
                }
                return None;
            }
        };
        // An error means a closed port or no route. It is ignored, since the retransmission timers handle it.
        let datagram = self.buffer.get_mut(..received.ok()?)?;
        match &mut self.session {
            Some(session) if datagram.len() <= LONGEST_DATAGRAM => {
                session.receive(Instant::now(), datagram);
                None
            }
            Some(_) => None,
            None => {
                let message = Secret::new(datagram.to_vec());
                datagram.zeroize();
                Some(message)
            }
        }
    }

    /// Sends queued datagrams. Each is removed only after it was sent, which makes this cancel-safe.
    async fn flush(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let mut outcome = Ok(());
        while let Some(datagram) = session.datagram() {
            outcome = outcome.and(self.udp.send(datagram).await);
            session.remove_datagram();
        }
        outcome
    }

    fn is_open(&self) -> bool {
        let state = self.session.as_ref().map(Session::state);
        matches!(state, None | Some(SessionState::Open { .. }))
    }

    fn end(&self) -> Option<Lost> {
        match self.session.as_ref()?.state() {
            SessionState::Closed(SessionEnd::Failed(failure)) => {
                Some(Lost::Failed(failure.clone()))
            }
            SessionState::Closed(_) => Some(Lost::Ended),
            SessionState::Handshaking { .. } | SessionState::Open { .. } => None,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending::<()>().await,
    }
}
