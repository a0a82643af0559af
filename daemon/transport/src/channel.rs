//! A way to a server that is open: messages go in and come out, protected or not. Drives a session's handshake and
//! its times; decides nothing about when to go which way.

use std::{future::pending, io, net::SocketAddr, time::Instant};

use zeroize::Zeroizing;

use crate::{
    Udp,
    dtls::{Client, End, Failure, LONGEST_DATAGRAM, Session, State},
};

/// An open way.
#[derive(Debug)]
pub struct Channel {
    udp: Udp,
    session: Option<Session>,
    buffer: Box<[u8; LONGEST_DATAGRAM + 1]>,
}

/// Why no way was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No socket, or no route.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// No session, for want of what OpenSSL needs.
    #[error(transparent)]
    Begin(#[from] Failure),
    /// No session: the handshake came to nothing.
    #[error(transparent)]
    Handshake(#[from] Lost),
}

/// The session is over: nothing passes this way any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The server ended it.
    #[error("the server ended the session")]
    Ended,
    /// It broke.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Channel {
    /// Opens a way to this address, from this port if it is free. With a client, the handshake is over when this
    /// returns.
    pub async fn open(
        server: SocketAddr,
        port: Option<u16>,
        client: Option<&mut Client>,
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

    /// Waits for a message. One that is longer than [`MAX_DATAGRAM`](crate::udp::MAX_DATAGRAM) may come, or come cut
    /// to more than that. Losing the future loses nothing.
    pub async fn receive(&mut self) -> Result<Zeroizing<Vec<u8>>, Lost> {
        loop {
            if let Some(message) = self.session.as_mut().and_then(Session::poll_plaintext) {
                return Ok(message);
            }
            if let Some(end) = self.end() {
                return Err(end);
            }
            if let Some(datagram) = self.step().await
                && self.session.is_none()
            {
                return Ok(datagram);
            }
        }
    }

    /// Sends a message. One that cannot be sent is a lost one.
    pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match &mut self.session {
            None => self.udp.send(message).await,
            Some(session) => {
                session.send(message);
                self.flush().await
            }
        }
    }

    /// Says goodbye.
    pub async fn close(&mut self) {
        if let Some(session) = &mut self.session {
            session.close();
            let _ = self.flush().await;
        }
    }

    /// The address that the server sees, unless a NAT stands between.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.udp.local()
    }

    /// The address of the server.
    pub fn server(&self) -> io::Result<SocketAddr> {
        self.udp.server()
    }

    /// An earlier session was taken up again.
    pub fn is_resumed(&self) -> bool {
        let state = self.session.as_ref().map(Session::state);
        matches!(state, Some(State::Open { resumed: true }))
    }

    async fn shake_hands(&mut self, client: &mut Client) -> Result<(), OpenError> {
        let offers = client.is_kept();
        self.session = Some(client.begin(Instant::now())?);
        while !self.is_open() {
            if let Some(lost) = self.end() {
                if offers {
                    client.forget(); // it may be the offer that the server cannot bear
                }
                return Err(lost.into());
            }
            self.step().await;
        }
        let _ = self.flush().await;
        if let Some(session) = &self.session {
            client.keep(session);
        }
        Ok(())
    }

    /// Sends what is to be sent, then waits for one datagram or deadline; gives the datagram.
    async fn step(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        // A socket that cannot send now may do so later: the handshake's own repetitions see to it.
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
        // An error is a closed port on the other side, or no route: whoever waits for an answer decides what that means.
        let datagram = self.buffer.get(..received.ok()?)?;
        match &mut self.session {
            Some(session) if datagram.len() <= LONGEST_DATAGRAM => {
                session.receive(Instant::now(), datagram);
                None
            }
            Some(_) => None,
            None => Some(datagram.to_vec().into()),
        }
    }

    /// A datagram is forgotten once it was sent, so that losing the future loses none.
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
        matches!(state, None | Some(State::Open { .. }))
    }

    fn end(&self) -> Option<Lost> {
        match self.session.as_ref()?.state() {
            State::Closed(End::Failed(failure)) => Some(Lost::Failed(failure.clone())),
            State::Closed(_) => Some(Lost::Ended),
            State::Handshaking { .. } | State::Open { .. } => None,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending::<()>().await,
    }
}
