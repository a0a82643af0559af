//! The agent: one loop in which everything that happens to an instance happens, one thing after the other.
//!
//! What comes in is a request of the server (by the engine), a report of a task, a clock that was set, a signal.
//! What it makes of the instance is stored first, then answered and told, then done:
//!
//! - `serve`: requests of the server, by object; `local`: those of a local user;
//! - `commit`: an event, stored, answered, told;
//! - `act`: the effects, each in a task of its own, and the gate before them;
//! - `device`: what the device has, asked whenever somebody else may have changed it; `leftovers`: files of no instance;
//! - `goodbye`: the end of the registration, which no end of the agent is;
//! - `standing`: how it stands with the server, in one line; `story`: what the journal is told.

mod act;
mod commit;
mod device;
mod goodbye;
mod leftovers;
mod local;
mod serve;
mod standing;
mod story;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    mem,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use lwm2m::{Backoff, Config, Engine, Input, Objects, Output, RequestId, Saved, Transmission};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{
        mpsc::{self, UnboundedReceiver},
        watch,
    },
    task::JoinHandle,
};
use wharf_frames::{OperationId, PackageName};
use wharf_journal::message;
use wharf_software::{Effect, Instance, InstanceId, Kind};
use wharf_transport::dtls;

pub use goodbye::deregister;

use crate::{
    bus::{self, AgentView},
    clock::{self, ClockWatch},
    config::Settings,
    delivery::{Fetcher, copy::LocalFile, push::Block, room::Room},
    installer::Installer,
    jobs::Handovers,
    link::Link,
    local_changes::LocalChanges,
    objects::{self, Account, Device},
    service_manager::ServiceManager,
    store::{EffectId, Pending, Store, StoreError},
    trace::Trace,
    work::{Context, Report, random},
};
use standing::Standing;
use story::Story;

/// So long downloads may take to become durable.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server cannot be spoken with over DTLS.
    #[error(transparent)]
    Dtls(#[from] dtls::Failure),
    /// The server was told goodbye, and said nothing.
    #[error("the server did not answer: the registration stays until its lifetime is over")]
    NoAnswer,
    /// No server is configured, so there is none to deregister from.
    #[error(
        "no [[server]] is configured: write the one that this gateway is registered with into wharfd.toml, and try again"
    )]
    NoServer,
    /// A service of the kernel is not there.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// What the agent needs to know of its surroundings.
pub struct Surroundings {
    /// Every path is below this folder.
    pub root: PathBuf,
    /// This program, beside which the others lie.
    pub program: PathBuf,
    /// The package that this program is in.
    pub own_package: PackageName,
}

/// Why an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Terminate,
    /// There is another configuration to go on with.
    Reload,
}

/// The agent of one gateway.
pub struct Agent {
    settings: Settings,
    root: PathBuf,
    own_package: PackageName,
    service_manager: ServiceManager,
    standing: Standing,
    story: Story,
    trace: Trace,
    device: Device,
    account: Account,
    context: Context,
    link: Link,
    /// It could not be stored when it had to be.
    registration_not_kept: bool,
    instances: BTreeMap<InstanceId, Instance>,
    /// What is accepted and has not ended, in the order of acceptance.
    accepted: Vec<(OperationId, Kind)>,
    /// What is still to be done, in the order in which it was stored.
    pending: BTreeMap<EffectId, Pending>,
    /// What is being done.
    tasks: BTreeMap<EffectId, JoinHandle<()>>,
    /// The effects that wait for the next attempt of their download.
    resting: BTreeSet<EffectId>,
    /// Where it is noted that the device is to be looked at.
    changes: LocalChanges,
    /// Where the blocks of a push go.
    pushes: BTreeMap<InstanceId, Blocks>,
    /// A push that the machine is being asked about.
    expected: Option<Expected>,
    reports: UnboundedReceiver<Report>,
    /// What local users ask for.
    commands: mpsc::Receiver<bus::Command>,
    /// An answer of the gate could not be stored: it is not asked until a while has passed.
    gate_rests: bool,
    end: watch::Sender<bool>,
    clock: ClockWatch,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Agent {
    /// Opens the database, and takes up what an earlier run left.
    pub fn start(settings: Settings, surroundings: Surroundings) -> Result<Self, AgentError> {
        let root = &surroundings.root;
        let mut store = Store::open(&database(root))?;
        store.make_factory_instances(settings.instances, settings.server.is_some())?;
        let stored = store.load()?;
        let id = settings.account();
        let account = Account::new(id, store.lifetime(id, settings.lifetime())?);
        let saved = match &settings.server {
            Some(server) => {
                let saved = store.registration(id, &server.address.to_string())?;
                if saved.is_none() {
                    store.forget_answered(id)?; // these answers went to another server
                }
                saved
            }
            None => None,
        };
        let port = store.local_port(id)?;
        let mut link = link(&settings, &account, &stored.instances, saved, port)?;
        for message in store.answered(id, clock::now())? {
            link.remember(message);
        }
        let (sender, reports) = mpsc::unbounded_channel();
        let (end, ending) = watch::channel(false);
        let installer = Installer::at(root);
        let shown = AgentView {
            endpoint: settings.endpoint.clone(),
            server_uri: settings.server_uri(),
            ..AgentView::default()
        };
        let changes = LocalChanges::default();
        let (publisher, commands) = bus::start(
            root,
            settings.timing,
            installer.clone(),
            changes.clone(),
            shown,
        );
        let context = Context {
            installer,
            fetcher: Fetcher::new(root, &surroundings.program),
            room: Room::default(),
            handovers: Handovers::default(),
            store: Rc::new(RefCell::new(store)),
            reports: sender,
            publisher,
            timing: settings.timing,
            ending,
        };
        device::watch(root, changes.clone(), context.clone());
        tokio::task::spawn_local(leftovers::discard(context.clone()));
        let mut agent = Self {
            link,
            registration_not_kept: false,
            device: Device::of(root, &settings.device),
            own_package: surroundings.own_package,
            service_manager: system("cannot time signs of life", ServiceManager::new())?,
            standing: Standing::Registering,
            story: Story::default(),
            trace: Trace::default(),
            account,
            context,
            instances: stored.instances,
            accepted: stored.accepted,
            pending: BTreeMap::new(),
            tasks: BTreeMap::new(),
            resting: BTreeSet::new(),
            changes,
            pushes: BTreeMap::new(),
            expected: None,
            reports,
            commands,
            gate_rests: false,
            end,
            clock: system("cannot watch the clock", ClockWatch::new())?,
            terminate: system("cannot wait for SIGTERM", signal(SignalKind::terminate()))?,
            interrupt: system("cannot wait for SIGINT", signal(SignalKind::interrupt()))?,
            hangup: system("cannot wait for SIGHUP", signal(SignalKind::hangup()))?,
            settings,
            root: surroundings.root,
        };
        if !clock::is_set() {
            tracing::warn!(
                MESSAGE_ID = message::CLOCK_NOT_SET,
                "the clock of this machine is not set: it is before the day that this wharfd was built on. Downloads by \
                 https wait until it is"
            );
        }
        agent.tell_what_changed_meanwhile();
        agent.show();
        agent.take_up(stored.pending);
        Ok(agent)
    }

    /// Runs until it is told to end, or to read its configuration again.
    pub async fn run(mut self) -> End {
        let mut obstacle = self.link.obstacle();
        let end = loop {
            self.settle().await;
            self.service_manager.tell(self.status());
            tokio::select! {
                input = self.link.next() => self.hear(input),
                Some(report) = self.reports.recv() => self.take(report),
                Some(command) = self.commands.recv() => self.answer_local(command),
                Ok(()) = obstacle.changed() => self.show_obstacle(obstacle.borrow_and_update().clone()),
                set = self.clock.changed() => note_clock(set),
                () = self.service_manager.stay_alive() => {}
                _ = self.terminate.recv() => break End::Terminate,
                _ = self.interrupt.recv() => break End::Terminate,
                _ = self.hangup.recv() => if self.may_reload() { break End::Reload },
            }
        };
        if end == End::Terminate {
            self.service_manager.end();
        }
        self.end().await;
        end
    }

    /// A configuration that cannot be used ends nothing that runs.
    fn may_reload(&self) -> bool {
        let settings = Settings::read(&self.root);
        if let Err(error) = &settings {
            tracing::error!(
                MESSAGE_ID = message::CONFIGURATION_REFUSED,
                "the old configuration stays: {error}"
            );
        }
        settings.is_ok()
    }

    /// Tells the engine what came by the link, where a way that is open may begin at another port.
    fn hear(&mut self, input: Input) {
        if let (Input::Start | Input::Moved, Some(port)) = (&input, self.link.local_port()) {
            let stored = self
                .context
                .store
                .borrow_mut()
                .set_local_port(self.settings.account(), port);
            if let Err(error) = stored {
                tracing::error!(
                    MESSAGE_ID = message::NOT_STORED,
                    "after a restart the server will see another port: {error}"
                );
            }
        }
        if let Input::Datagram(datagram) = &input {
            self.trace.received(datagram);
        }
        self.link.handle(input);
    }

    /// Does all that follows from what happened, before it waits again: a request may put an operation into the
    /// gate, and what the gate lets through is told to the server.
    async fn settle(&mut self) {
        self.serve().await;
        while self.ask_gate() {
            self.serve().await;
        }
    }

    /// Does what the engine wants, until it wants nothing more.
    async fn serve(&mut self) {
        while let Some(output) = self.link.poll_output() {
            match output {
                Output::Send(datagram) => {
                    if self.registration_not_kept {
                        self.keep_registration();
                    }
                    self.trace.sent(&datagram);
                    self.link.send(&datagram).await;
                }
                Output::Request { id, request } => self.answer(id, request),
                Output::Save => self.keep_registration(),
                Output::Event(event) => {
                    if event == lwm2m::Event::RegistrationLost {
                        self.forget_answered();
                    }
                    if let Some(server) = &self.settings.server {
                        story::tell_registration(&server.address, &event);
                    }
                    self.show_registration(&event);
                    self.standing.note(&event);
                }
            }
        }
    }

    /// What cannot be forgotten now is too old in four minutes.
    fn forget_answered(&mut self) {
        if let Err(error) = self
            .context
            .store
            .borrow_mut()
            .forget_answered(self.settings.account())
        {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "messages that were answered are not forgotten: {error}"
            );
        }
    }

    /// Stores what of the registration outlives wharfd. What cannot be stored is told all the same, and stored before
    /// the next message if that is possible.
    fn keep_registration(&mut self) {
        let Some(server) = &self.settings.server else {
            return; // the next server may be the same one
        };
        let server = server.address.to_string();
        let saved = self.link.saved();
        let kept = self.context.store.borrow_mut().save_registration(
            self.settings.account(),
            &server,
            &saved,
        );
        let was_kept = !mem::replace(&mut self.registration_not_kept, kept.is_err());
        if let (Err(error), true) = (kept, was_kept) {
            tracing::error!(
                MESSAGE_ID = message::NOT_STORED,
                "after a restart the server may have to observe again, or take a message for one that it had: {error}"
            );
        }
    }

    /// The registration and its observations stay, and effects stay pending: the next start takes them up. Downloads
    /// say first how far they are.
    async fn end(mut self) {
        tracing::info!("ending: what is pending is taken up at the next start");
        self.end.send_replace(true);
        self.keep_registration();
        let _ = tokio::time::timeout(END_LIMIT, self.downloads_ended()).await;
        self.link.close().await;
    }

    async fn downloads_ended(&mut self) {
        for (effect, task) in mem::take(&mut self.tasks) {
            let is_pull = |pending: &Pending| matches!(pending.effect, Effect::StartPull { .. });
            if self.pending.get(&effect).is_some_and(is_pull) {
                let _ = task.await;
            }
        }
    }
}

/// What a push will need if the machine accepts it.
enum Expected {
    /// From a server.
    Blocks {
        blocks: mpsc::Receiver<Block>,
        /// The whole length, as the server announced it.
        size: Option<u64>,
    },
    /// From a local user.
    File(LocalFile),
}

/// The way of a server's blocks to the task that writes them.
struct Blocks {
    sender: mpsc::Sender<Block>,
    /// The block that is being written, and not answered yet.
    open: Option<RequestId>,
}

fn database(root: &Path) -> PathBuf {
    root.join("var/lib/wharfd/wharfd.db")
}

fn link(
    settings: &Settings,
    account: &Account,
    software: &BTreeMap<InstanceId, Instance>,
    saved: Option<Saved>,
    port: Option<u16>,
) -> Result<Link, AgentError> {
    let config = Config {
        lifetime: account.lifetime(),
        transmission: Transmission {
            ack_timeout: settings.timing.ack_timeout,
            ..Transmission::default()
        },
        backoff: Backoff {
            first: settings.timing.retry_first,
            longest: settings.timing.retry_longest,
        },
        ..Config::new(settings.endpoint.clone())
    };
    let objects = Objects::new(&objects::DEFINITIONS, objects::instances(software));
    let seed = u64::from_le_bytes(random());
    let engine = match saved {
        Some(saved) => Engine::restored(config, objects, seed, saved),
        None => Engine::new(config, objects, seed),
    };
    let server = settings.server.as_ref();
    Ok(Link::new(engine, server, settings.timing, port)?)
}

fn system<T>(what: &'static str, result: std::io::Result<T>) -> Result<T, AgentError> {
    result.map_err(|source| AgentError::System { what, source })
}

fn note_clock(set: std::io::Result<()>) {
    match set {
        Ok(()) => tracing::info!("the clock was set"),
        Err(error) => tracing::warn!("the clock is not watched: {error}"),
    }
}
