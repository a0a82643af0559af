//! The connection to one LwM2M server. It passes datagrams and timeouts to the engine; the caller handles the other
//! outputs. A failed connection is replaced by a new one.

mod network;
mod opener;

use std::{
    future::{Future, pending},
    mem,
    pin::Pin,
    time::{Duration, Instant},
};

use lwm2m::{
    Answer, Answered, Engine, EngineEvent, Input, Output, RegistrationFailure, RequestId, Saved,
    Secret, Time,
};
use tokio::sync::watch;
use wharf_transport::{
    Channel,
    dtls::{self, DtlsClient},
    udp::MAX_DATAGRAM,
};

use crate::config::{ServerSettings, Timing};
use opener::Opener;

const ANOTHER_ADDRESS: &str = "this machine's address has changed";

/// The engine of one server, and the connection to it.
pub(super) struct Link {
    engine: Engine,
    connection: Connection,
    obstacle: watch::Receiver<Option<String>>,
    began: Instant,
    /// A connection was open before, so the next one is a move.
    has_started: bool,
}

enum Connection {
    Opening(Pin<Box<dyn Future<Output = (Channel, Opener)>>>),
    Open(Box<OpenConnection>),
}

/// An open connection.
struct OpenConnection {
    channel: Channel,
    opener: Opener,
    since: Instant,
}

impl Connection {
    fn opening(opener: Opener) -> Self {
        Self::Opening(Box::pin(opener.open()))
    }
}

/// An event of an open connection.
enum Coming {
    Message(Secret),
    Deadline,
    /// The connection failed, with the reason.
    End(String),
}

impl Link {
    /// Connects to the server, and then registers. It binds this port if it can: without DTLS the server knows the
    /// gateway by its port.
    pub(super) fn new(
        engine: Engine,
        server: &ServerSettings,
        timing: Timing,
        port: Option<u16>,
    ) -> Result<Self, dtls::DtlsFailure> {
        let client = match &server.psk {
            Some(psk) => Some(DtlsClient::new(psk.clone(), timing.ack_timeout)?),
            None => None,
        };
        let opener = Opener::new(server.address.clone(), client, timing, port);
        Ok(Self {
            engine,
            obstacle: opener.obstacle(),
            connection: Connection::opening(opener),
            began: Instant::now(),
            has_started: false,
        })
    }

    /// Waits for the next input of the engine. Cancel safe. Without a connection no deadline expires, since nothing
    /// could be sent.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            let deadline = self.engine.next_deadline().map(|time| self.instant(time));
            let coming = match &mut self.connection {
                Connection::Opening(opening) => {
                    let open = opening.await;
                    return self.opened(open);
                }
                Connection::Open(open) => open.coming(deadline).await,
            };
            match coming {
                Coming::Message(message) if message.expose().len() <= MAX_DATAGRAM => {
                    return Input::Datagram(message);
                }
                Coming::Message(_) => {
                    tracing::debug!("a message of more than {MAX_DATAGRAM} bytes is dropped");
                }
                Coming::Deadline => return Input::Timeout,
                Coming::End(why) => self.reconnect(&why),
            }
        }
    }

    /// Passes an input to the engine.
    pub(super) fn handle(&mut self, input: Input) {
        self.engine.handle(self.now(), input);
    }

    /// Restores a message that was answered in an earlier run.
    pub(super) fn remember(&mut self, answered: Answered) {
        self.engine.remember(self.now(), answered);
    }

    /// The reason why no connection is open; none if one is, or before the first attempt. The receiver gets each
    /// change.
    pub(super) fn obstacle(&self) -> watch::Receiver<Option<String>> {
        self.obstacle.clone()
    }

    /// The local port, if the server knows the gateway by it.
    pub(super) fn local_port(&self) -> Option<u16> {
        match &self.connection {
            Connection::Open(open) => open.opener.port(),
            Connection::Opening(_) => None,
        }
    }

    /// The state of the engine that outlives wharfd.
    pub(super) fn saved(&self) -> Saved {
        self.engine.saved()
    }

    /// The answered message. The caller stores it in one transaction with the change by its request.
    pub(super) fn answered(&self, request: RequestId, answer: &Answer) -> Option<Answered> {
        self.engine.answered(request, answer)
    }

    /// The next output; none if none is left. A server that does not answer may have moved or lost the session, so this
    /// reconnects.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        let output = self.engine.poll_output()?;
        if is_silence(&output) {
            self.reconnect("the server does not answer");
        }
        Some(output)
    }

    /// Sends a datagram. One that cannot be sent counts as lost.
    pub(super) async fn send(&mut self, datagram: &[u8]) {
        let Connection::Open(open) = &mut self.connection else {
            return;
        };
        if let Err(error) = open.channel.send(datagram).await {
            tracing::debug!("cannot send to the server: {error}");
            if open.opener.is_stale() {
                self.reconnect(ANOTHER_ADDRESS);
            }
        }
    }

    /// Closes the connection.
    pub(super) async fn close(&mut self) {
        if let Connection::Open(open) = &mut self.connection {
            open.channel.close().await;
        }
    }

    fn opened(&mut self, (channel, opener): (Channel, Opener)) -> Input {
        let since = Instant::now();
        self.connection = Connection::Open(Box::new(OpenConnection {
            channel,
            opener,
            since,
        }));
        match mem::replace(&mut self.has_started, true) {
            true => Input::Moved,
            false => Input::Start,
        }
    }

    fn reconnect(&mut self, why: &str) {
        let nothing = Connection::Opening(Box::pin(pending()));
        self.connection = match mem::replace(&mut self.connection, nothing) {
            Connection::Open(open) => {
                tracing::info!("reconnecting to the server: {why}");
                Connection::opening(open.opener)
            }
            opening => opening,
        };
    }

    fn now(&self) -> Time {
        Time::from_millis(millis(self.began.elapsed()))
    }

    fn instant(&self, time: Time) -> Instant {
        self.began + Duration::from_millis(time.as_millis())
    }
}

impl OpenConnection {
    async fn coming(&mut self, deadline: Option<Instant>) -> Coming {
        tokio::select! {
            received = self.channel.receive() => match received {
                Ok(message) => {
                    self.opener.heard(self.since);
                    Coming::Message(message)
                }
                Err(lost) => Coming::End(lost.to_string()),
            },
            () = until(deadline) => Coming::Deadline,
            () = self.opener.moved() => Coming::End(ANOTHER_ADDRESS.to_owned()),
        }
    }
}

/// Whether the engine gave up a message after its last retransmission.
fn is_silence(output: &Output) -> bool {
    matches!(
        output,
        Output::Event(
            EngineEvent::Unreachable
                | EngineEvent::RegistrationFailed {
                    failure: RegistrationFailure::TimedOut,
                    ..
                }
        )
    )
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending().await,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
