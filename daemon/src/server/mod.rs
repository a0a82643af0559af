//! One LwM2M server: its engine and the way there, its account, its registration and the state of that. The agent has a
//! map of servers: it gets their requests, answers each at the server that asked, and tells all of them what changed.
//! A server knows neither software nor another server.
//!
//! - `link`: the engine, the channel and the deadline;
//! - `rows`: what is kept of it in the database;
//! - `account`: what it writes and executes in its own account;
//! - `standing`: the registration state; `goodbye`: its end.

mod account;
mod goodbye;
mod link;
mod rows;
mod standing;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    os::fd::OwnedFd,
    rc::Rc,
    task::Poll,
};

use lwm2m::{
    Answer, Answered, Config, Engine, Event, Input, Objects, Output, Request, RequestId, Saved,
    Transmission,
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

pub use goodbye::deregister;
pub use standing::Standing;

/// Why a server cannot be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server cannot be spoken with over DTLS.
    #[error(transparent)]
    Dtls(#[from] dtls::Failure),
    /// The server did not answer the Deregister.
    #[error("the server did not answer: the registration stays until its lifetime is over")]
    NoAnswer,
    /// No server is configured, so there is none to deregister from.
    #[error(
        "no [[server]] is configured: write the one that this gateway is registered with into wharfd.toml, and try again"
    )]
    NoServer,
}

/// The state of one LwM2M server.
pub struct Server {
    configured: config::Server,
    account: Account,
    link: Link,
    rows: AccountRows,
    standing: Standing,
    obstacle: watch::Receiver<Option<String>>,
    trace: Trace,
}

/// An input for a server.
pub enum News {
    /// It is for the engine.
    Input(Input),
    /// Why no way to the server is open; none if one is.
    Obstacle(Option<String>),
}

impl Server {
    /// Resumes what an earlier run stored of this account. `instances` are those of all objects.
    pub fn start(
        settings: &Settings,
        configured: &config::Server,
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
            standing: Standing::default(),
            trace: Trace::default(),
        })
    }

    /// Its configuration.
    pub fn configured(&self) -> &config::Server {
        &self.configured
    }

    /// Its account, as it reads it.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The registration state.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Waits for its next input. Losing the future loses nothing.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            input = self.link.next() => News::Input(input),
            Ok(()) = self.obstacle.changed() => {
                News::Obstacle(self.obstacle.borrow_and_update().clone())
            }
        }
    }

    /// Takes what [`next`](Self::next) gave.
    pub fn hear(&mut self, news: News) {
        let input = match news {
            News::Input(input) => input,
            News::Obstacle(why) => return self.standing.note_obstacle(why),
        };
        // A way that is open may begin at another port.
        if let (Input::Start | Input::Moved, Some(port)) = (&input, self.link.local_port()) {
            self.rows.keep_port(port);
        }
        if let Input::Datagram(datagram) = &input {
            self.trace.received(datagram.expose());
        }
        self.tell(input);
    }

    /// Tells its engine.
    pub fn tell(&mut self, input: Input) {
        self.link.handle(input);
    }

    /// Answers one of its requests.
    pub fn answer(&mut self, request: RequestId, answer: Answer) {
        self.tell(Input::Answer { request, answer });
    }

    /// The answered message, to be stored in one step with the change that its request makes.
    pub fn answered(&self, request: RequestId, answer: &Answer) -> Option<Answered> {
        self.link.answered(request, answer)
    }

    /// Does what its engine wants, up to its next request. Returns `None` if no output is left.
    pub async fn next_request(&mut self) -> Option<(RequestId, Request)> {
        while let Some(output) = self.link.poll_output() {
            match output {
                Output::Send(datagram) => self.send(&datagram).await,
                Output::Request { id, request } => return Some((id, request)),
                Output::Save => self.keep(),
                Output::Event(event) => self.note(&event),
            }
        }
        None
    }

    async fn send(&mut self, datagram: &[u8]) {
        if self.rows.is_behind() {
            self.keep();
        }
        self.trace.sent(datagram);
        self.link.send(datagram).await;
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::RegistrationLost => self.rows.forget_answered(),
            Event::Deregistered => self.rows.let_go(),
            _ => {}
        }
        standing::tell(&self.configured.address, event);
        self.standing.note(event);
    }

    /// Stores what of the registration outlives wharfd.
    pub fn keep(&mut self) {
        self.rows.keep(self.link.saved());
    }

    /// Adds a watcher of its messages.
    pub fn trace(&mut self, watcher: OwnedFd) -> nix::Result<()> {
        self.trace.add(watcher)
    }

    /// Says goodbye to its transport. The registration stays.
    pub async fn close(&mut self) {
        self.link.close().await;
    }
}

/// Waits for the next input of a server, for ever if there is no server. The server that was heard `last` is polled last.
/// Losing the future loses nothing.
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
