//! The way to one LwM2M server: its engine, the channel, the deadline. Datagrams and time go into the engine here.
//! The caller handles other outputs. A way that fails is replaced by a new one.

mod network;
mod opener;

use std::{
    future::{Future, pending},
    mem,
    pin::Pin,
    time::{Duration, Instant},
};

use lwm2m::{
    Answer, Answered, Engine, Event, Failure, Input, Output, RequestId, Saved, Secret, Time,
};
use tokio::sync::watch;
use wharf_transport::{
    Channel,
    dtls::{self, Client},
    udp::MAX_DATAGRAM,
};

use crate::config::{Server, Timing};
use opener::Opener;

const ANOTHER_ADDRESS: &str = "this machine's address is another one now";

/// The engine of one server, with the way there.
pub(super) struct Link {
    engine: Engine,
    way: Way,
    obstacle: watch::Receiver<Option<String>>,
    began: Instant,
    /// A way was open before: the next one is a new one.
    has_started: bool,
}

enum Way {
    Opening(Pin<Box<dyn Future<Output = (Channel, Opener)>>>),
    Open(Box<Open>),
}

/// A way that is open.
struct Open {
    channel: Channel,
    opener: Opener,
    since: Instant,
}

impl Way {
    fn opening(opener: Opener) -> Self {
        Self::Opening(Box::pin(opener.open()))
    }
}

/// What comes by an open way.
enum Coming {
    Message(Secret),
    Deadline,
    /// The way is of no use any more, and why.
    End(String),
}

impl Link {
    /// Goes to the server, and registers once there is a way. It begins at this port if it can: a server that is
    /// spoken with in the clear knows the gateway by it.
    pub(super) fn new(
        engine: Engine,
        server: &Server,
        timing: Timing,
        port: Option<u16>,
    ) -> Result<Self, dtls::Failure> {
        let client = match &server.psk {
            Some(psk) => Some(Client::new(psk.clone(), timing.ack_timeout)?),
            None => None,
        };
        let opener = Opener::new(server.address.clone(), client, timing, port);
        Ok(Self {
            engine,
            obstacle: opener.obstacle(),
            way: Way::opening(opener),
            began: Instant::now(),
            has_started: false,
        })
    }

    /// Waits for what the engine has to know next. Losing the future loses nothing. While no way is open, no
    /// deadline counts: nothing that is sent could arrive.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            let deadline = self.engine.next_deadline().map(|time| self.instant(time));
            let coming = match &mut self.way {
                Way::Opening(opening) => {
                    let open = opening.await;
                    return self.opened(open);
                }
                Way::Open(open) => open.coming(deadline).await,
            };
            match coming {
                Coming::Message(message) if message.expose().len() <= MAX_DATAGRAM => {
                    return Input::Datagram(message);
                }
                Coming::Message(_) => {
                    tracing::debug!("a message of more than {MAX_DATAGRAM} bytes is dropped");
                }
                Coming::Deadline => return Input::Timeout,
                Coming::End(why) => self.open_anew(&why),
            }
        }
    }

    /// Tells the engine.
    pub(super) fn handle(&mut self, input: Input) {
        self.engine.handle(self.now(), input);
    }

    /// Tells the engine what acted in an earlier run.
    pub(super) fn remember(&mut self, answered: Answered) {
        self.engine.remember(self.now(), answered);
    }

    /// Why no way to the server is open; none while one is, or was not tried yet. Each change is seen there.
    pub(super) fn obstacle(&self) -> watch::Receiver<Option<String>> {
        self.obstacle.clone()
    }

    /// The port that the server knows the gateway by, if it does.
    pub(super) fn local_port(&self) -> Option<u16> {
        match &self.way {
            Way::Open(open) => open.opener.port(),
            Way::Opening(_) => None,
        }
    }

    /// The state of the engine that outlives wharfd.
    pub(super) fn saved(&self) -> Saved {
        self.engine.saved()
    }

    /// The answered message, to be stored in one step with the change that its request makes.
    pub(super) fn answered(&self, request: RequestId, answer: &Answer) -> Option<Answered> {
        self.engine.answered(request, answer)
    }

    /// The next output, until no output is left. A server that does not answer may be somewhere else by now,
    /// or have forgotten the session: a new way is opened.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        let output = self.engine.poll_output()?;
        if is_silence(&output) {
            self.open_anew("the server does not answer");
        }
        Some(output)
    }

    /// Sends a datagram. One that cannot be sent is a lost one.
    pub(super) async fn send(&mut self, datagram: &[u8]) {
        let Way::Open(open) = &mut self.way else {
            return;
        };
        if let Err(error) = open.channel.send(datagram).await {
            tracing::debug!("sending to the server: {error}");
            if open.opener.is_stale() {
                self.open_anew(ANOTHER_ADDRESS);
            }
        }
    }

    /// Says goodbye to the server's transport.
    pub(super) async fn close(&mut self) {
        if let Way::Open(open) = &mut self.way {
            open.channel.close().await;
        }
    }

    fn opened(&mut self, (channel, opener): (Channel, Opener)) -> Input {
        let since = Instant::now();
        self.way = Way::Open(Box::new(Open {
            channel,
            opener,
            since,
        }));
        match mem::replace(&mut self.has_started, true) {
            true => Input::Moved,
            false => Input::Start,
        }
    }

    fn open_anew(&mut self, why: &str) {
        let nothing = Way::Opening(Box::pin(pending()));
        self.way = match mem::replace(&mut self.way, nothing) {
            Way::Open(open) => {
                tracing::info!("a new way to the server is opened: {why}");
                Way::opening(open.opener)
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

impl Open {
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

/// The engine gave a message up: none of its repetitions was answered.
fn is_silence(output: &Output) -> bool {
    matches!(
        output,
        Output::Event(
            Event::Unreachable
                | Event::RegistrationFailed {
                    failure: Failure::TimedOut,
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
