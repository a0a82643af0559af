//! One LwM2M server: its engine, connection, account, registration and state. The agent has a map of servers. It
//! answers each request at the server that sent it, and reports changes to all. A server knows neither software nor
//! another server.
//!
//! - `link`: the engine, the channel and the deadline;
//! - `rows`: its rows in the database;
//! - `account`: its Writes and Executes of its own account;
//! - `status`: the registration state; `deregister`: its end.

mod account;
mod deregister;
mod link;
mod rows;
mod status;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    os::fd::OwnedFd,
    rc::Rc,
    task::Poll,
};

use lwm2m::{
    Answer, Answered, Config, Engine, EngineEvent, Input, Objects, Output, Request, RequestId,
    Saved, Transmission,
};
use tokio::sync::watch;
use wharf_software::ShortId;
use wharf_transport::dtls;

use crate::{
    config::{self, Settings},
    objects::{self, Account},
    random::random,
    store::{Store, StoreError},
    trace::Trace,
};
use link::Link;
use rows::AccountRows;

pub use deregister::deregister;
pub use status::RegistrationStatus;

/// The reason why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The database could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The DTLS client cannot be set up.
    #[error(transparent)]
    Dtls(#[from] dtls::DtlsFailure),
    /// The server did not answer the Deregister.
    #[error("the server did not answer: the registration stays until its lifetime expires")]
    NoAnswer,
    /// No server is configured, so there is none to deregister from.
    #[error(
        "no [[server]] is configured: write the one that this gateway is registered with into wharfd.toml, and try again"
    )]
    NoServer,
}

/// The state of one LwM2M server.
pub struct Server {
    configured: config::ServerSettings,
    account: Account,
    link: Link,
    rows: AccountRows,
    status: RegistrationStatus,
    obstacle: watch::Receiver<Option<String>>,
    trace: Trace,
}

/// An input for a server.
pub enum News {
    /// It is for the engine.
    Input(Input),
    /// The reason why no connection to the server is open; none if one is open.
    Obstacle(Option<String>),
}

impl Server {
    /// Restores the stored state of this account. `instances` are those of all objects.
    pub fn start(
        settings: &Settings,
        configured: &config::ServerSettings,
        instances: Vec<(u16, u16)>,
        store: &Rc<RefCell<Store>>,
    ) -> Result<Self, ServerError> {
        let rows = AccountRows::new(store.clone(), configured);
        let left = rows.read(configured.lifetime)?;
        let account = Account::new(configured.id, left.lifetime);
        let objects = Objects::new(&objects::DEFINITIONS, instances);
        let engine = engine(settings, &account, objects, left.registration);
        let mut link = Link::new(engine, configured, settings.timing, left.port)?;
        for message in left.answered {
            link.remember(message);
        }
        Ok(Self {
            obstacle: link.obstacle(),
            link,
            configured: configured.clone(),
            account,
            rows,
            status: RegistrationStatus::default(),
            trace: Trace::default(),
        })
    }

    /// Its configuration.
    pub fn configured(&self) -> &config::ServerSettings {
        &self.configured
    }

    /// Its account (Object 1).
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The registration state.
    pub fn status(&self) -> &RegistrationStatus {
        &self.status
    }

    /// Waits for its next input. Cancel safe.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            input = self.link.next() => News::Input(input),
            Ok(()) = self.obstacle.changed() => {
                News::Obstacle(self.obstacle.borrow_and_update().clone())
            }
        }
    }

    /// Handles a result of [`next`](Self::next).
    pub fn hear(&mut self, news: News) {
        let input = match news {
            News::Input(input) => input,
            News::Obstacle(why) => return self.status.note_obstacle(why),
        };
        // A new connection may have another local port.
        if let (Input::Start | Input::Moved, Some(port)) = (&input, self.link.local_port()) {
            self.rows.keep_port(port);
        }
        if let Input::Datagram(datagram) = &input {
            self.trace.received(datagram.expose());
        }
        self.tell(input);
    }

    /// Passes an input to its engine.
    pub fn tell(&mut self, input: Input) {
        self.link.handle(input);
    }

    /// Answers one of its requests.
    pub fn answer(&mut self, request: RequestId, answer: Answer) {
        self.tell(Input::Answer { request, answer });
    }

    /// The answered message. The caller stores it in one transaction with the change by its request.
    pub fn answered(&self, request: RequestId, answer: &Answer) -> Option<Answered> {
        self.link.answered(request, answer)
    }

    /// Handles the outputs of its engine up to the next request. Returns `None` if no output is left.
    pub async fn next_request(&mut self) -> Option<(RequestId, Request)> {
        while let Some(output) = self.link.poll_output() {
            match output {
                Output::Send(datagram) => self.send(&datagram).await,
                Output::Request { id, request } => return Some((id, request)),
                Output::Save => self.save_registration(),
                Output::Event(event) => self.note(&event),
            }
        }
        None
    }

    async fn send(&mut self, datagram: &[u8]) {
        if self.rows.is_behind() {
            self.save_registration();
        }
        self.trace.sent(datagram);
        self.link.send(datagram).await;
    }

    fn note(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::RegistrationLost => self.rows.forget_answered(),
            EngineEvent::Deregistered => self.rows.let_go(),
            _ => {}
        }
        status::tell(&self.configured.address, event);
        self.status.note(event);
    }

    /// Stores the registration, which outlives wharfd.
    pub fn save_registration(&mut self) {
        self.rows.save_or_log(self.link.saved());
    }

    /// Adds a watcher of its messages.
    pub fn trace(&mut self, watcher: OwnedFd) -> nix::Result<()> {
        self.trace.add(watcher)
    }

    /// Closes its connection. The registration stays.
    pub async fn close(&mut self) {
        self.link.close().await;
    }
}

/// Waits for the next input of any server, for ever if there is none. The server `last` is polled last, so that each
/// has its turn. Cancel safe.
pub async fn next(servers: &mut BTreeMap<ShortId, Server>, last: ShortId) -> (ShortId, News) {
    let waiting = servers.iter_mut();
    let mut waiting: Vec<_> = waiting
        .map(|(id, server)| (*id, Box::pin(server.next())))
        .collect();
    let first = waiting.iter().position(|(id, _)| *id > last);
    waiting.rotate_left(first.unwrap_or(0));
    poll_fn(|context| {
        let mut news = waiting.iter_mut().map(|(id, waiting)| {
            let news = waiting.as_mut().poll(context);
            news.map(|news| (*id, news))
        });
        news.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

fn engine(
    settings: &Settings,
    account: &Account,
    objects: Objects,
    saved: Option<Saved>,
) -> Engine {
    let config = Config {
        lifetime: account.lifetime(),
        transmission: Transmission {
            ack_timeout: settings.timing.ack_timeout,
            ..Transmission::default()
        },
        backoff: settings.timing.retry,
        ..Config::new(settings.endpoint.clone())
    };
    let seed = u64::from_le_bytes(random());
    match saved {
        Some(saved) => Engine::restored(config, objects, seed, saved),
        None => Engine::new(config, objects, seed),
    }
}

#[cfg(test)]
mod tests;
