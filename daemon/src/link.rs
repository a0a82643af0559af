//! The way to one LwM2M server: its engine, the socket, the deadline. Datagrams and time go into the engine here;
//! what the engine asks of the application is for the agent.

use std::{
    future::Future,
    io,
    pin::Pin,
    time::{Duration, Instant},
};

use lwm2m::{Engine, Input, Output, Saved, Time};
use wharf_transport::{ServerAddress, Udp, udp::MAX_DATAGRAM};

use crate::config::Timing;

/// The engine of one server, with its socket.
pub struct Link {
    engine: Engine,
    way: Way,
    began: Instant,
    buffer: Box<[u8; MAX_DATAGRAM + 1]>,
}

enum Way {
    Connecting(Pin<Box<dyn Future<Output = Udp>>>),
    Open(Udp),
}

impl Link {
    /// Goes to the server, and registers once its name is resolved. It begins at this port if it can: the server
    /// knows the gateway by it.
    pub fn new(engine: Engine, server: ServerAddress, timing: Timing, port: Option<u16>) -> Self {
        Self {
            engine,
            way: Way::Connecting(Box::pin(connect(server, timing, port))),
            began: Instant::now(),
            buffer: Box::new([0; MAX_DATAGRAM + 1]),
        }
    }

    /// Waits for what the engine has to know next. Losing the future loses nothing.
    pub async fn next(&mut self) -> Input {
        loop {
            let udp = match &mut self.way {
                Way::Connecting(connecting) => {
                    self.way = Way::Open(connecting.await);
                    return Input::Start;
                }
                Way::Open(udp) => udp,
            };
            let deadline = self.engine.next_deadline();
            let received = tokio::select! {
                received = udp.receive(self.buffer.as_mut_slice()) => received,
                () = until(self.began, deadline) => return Input::Timeout,
            };
            match received {
                Ok(length) if length <= MAX_DATAGRAM => {
                    return Input::Datagram(self.buffer.get(..length).unwrap_or_default().to_vec());
                }
                Ok(_) => tracing::debug!("a datagram of more than {MAX_DATAGRAM} bytes is dropped"),
                // A closed port on the other side: the engine's retransmission decides what that means.
                Err(error) => tracing::debug!(%error, "receiving from the server"),
            }
        }
    }

    /// Tells the engine.
    pub fn handle(&mut self, input: Input) {
        let now = Time::from_millis(millis(self.began.elapsed()));
        self.engine.handle(now, input);
    }

    /// The port that the server knows the gateway by.
    pub fn local_port(&self) -> Option<u16> {
        match &self.way {
            Way::Open(udp) => udp.local().ok().map(|local| local.port()),
            Way::Connecting(_) => None,
        }
    }

    /// What of the engine is to outlive wharfd.
    pub fn saved(&self) -> Saved {
        self.engine.saved()
    }

    /// What is to be done, until there is nothing more.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.engine.poll_output()
    }

    /// Sends a datagram. One that cannot be sent is a lost one.
    pub async fn send(&self, datagram: &[u8]) {
        if let Way::Open(udp) = &self.way
            && let Err(error) = udp.send(datagram).await
        {
            tracing::debug!(%error, "sending to the server");
        }
    }
}

async fn until(began: Instant, deadline: Option<Time>) {
    match deadline {
        Some(time) => {
            let instant = began + Duration::from_millis(time.as_millis());
            tokio::time::sleep_until(instant.into()).await;
        }
        None => std::future::pending().await,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tries until the server's name has an address.
async fn connect(server: ServerAddress, timing: Timing, port: Option<u16>) -> Udp {
    let mut wait = timing.retry_first;
    loop {
        match try_connect(&server, port).await {
            Ok(udp) => return udp,
            Err(error) => {
                tracing::warn!(%server, %error, ?wait, "cannot reach the server: is its name right, and DNS up?");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(timing.retry_longest);
    }
}

async fn try_connect(server: &ServerAddress, port: Option<u16>) -> io::Result<Udp> {
    let udp = Udp::connect(server, port).await?;
    tracing::info!(%server, address = %udp.server()?, local = %udp.local()?, "speaking with the server");
    Ok(udp)
}
