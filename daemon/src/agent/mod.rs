//! The agent: one loop in which everything that happens to an instance happens, one thing after the other.
//!
//! An input is news of a server, a report of a task, a request of a local user, a clock that was set, or a signal.
//! The agent stores the new state of the instance first, then answers and notifies, then acts:
//!
//! - `requests`: requests of the servers, by object; `pushes`: the way of the blocks of a Package; `local`: requests of a local user;
//! - `commit`: an event, stored, answered, told;
//! - `act`: the effects, each in a task of its own, and the gate before them;
//! - `device`: what the device has, asked whenever somebody else may have changed it; `leftovers`: files of no instance;
//! - `standing`: how wharfd stands, in one line and on the bus; `story`: what the journal is told of instances;
//! - `signals`: what ends the agent.

mod act;
mod commit;
mod device;
mod leftovers;
mod local;
mod pushes;
mod requests;
mod signals;
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

use lwm2m::Request;
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver},
        watch,
    },
    task::JoinHandle,
};
use wharf_frames::{OperationId, PackageName};
use wharf_journal::message;
use wharf_software::{Effect, Instance, InstanceId, Kind, ShortId};

use crate::{
    bus::{self, AgentView, Publisher},
    clock::{self, ClockWatch},
    config::Settings,
    delivery::{Fetcher, room::Room},
    installer::Installer,
    jobs::Handovers,
    local_changes::LocalChanges,
    objects::{self, Device},
    server::{self, News, Server, ServerError},
    service_manager::ServiceManager,
    store::{EffectId, Pending, Store, StoreError},
    work::{Context, Report, RequestKey},
};
use local::Cancelled;
use pushes::Pushes;
use signals::Signals;
use story::Story;

/// So long downloads may take to become durable.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server cannot be spoken with.
    #[error(transparent)]
    Server(#[from] ServerError),
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
    surroundings: Surroundings,
    service_manager: ServiceManager,
    story: Story,
    device: Device,
    context: Context,
    /// By their accounts.
    servers: BTreeMap<ShortId, Server>,
    instances: BTreeMap<InstanceId, Instance>,
    /// What is accepted and has not ended, in the order of acceptance.
    accepted: Vec<(OperationId, Kind)>,
    /// What is still to be done, in the order in which it was stored.
    pending: BTreeMap<EffectId, Pending>,
    /// What is being done.
    tasks: BTreeMap<EffectId, JoinHandle<()>>,
    /// The cancels of jobs that have not ended: one for each job.
    cancels: BTreeMap<OperationId, Cancelled>,
    /// The effects that wait for the next attempt of their download.
    resting: BTreeSet<EffectId>,
    /// Where it is noted that the device is to be looked at.
    changes: LocalChanges,
    pushes: Pushes,
    reports: UnboundedReceiver<Report>,
    /// What local users ask for.
    commands: mpsc::Receiver<bus::Command>,
    /// An answer of the gate could not be stored: it is not asked until a while has passed.
    gate_rests: bool,
    end: watch::Sender<bool>,
    clock: ClockWatch,
    signals: Signals,
}

impl Agent {
    /// Opens the database, and takes up what an earlier run left.
    pub fn start(settings: Settings, surroundings: Surroundings) -> Result<Self, AgentError> {
        let root = &surroundings.root;
        let mut store = Store::open(&Store::file(root))?;
        store.make_factory_instances(settings.instances, settings.server.is_some())?;
        let stored = store.load()?;
        let store = Rc::new(RefCell::new(store));
        let servers = start_servers(&settings, &stored.instances, &store)?;
        let (sender, reports) = mpsc::unbounded_channel();
        let (end, ending) = watch::channel(false);
        let installer = Installer::at(root);
        let changes = LocalChanges::default();
        let (publisher, commands) = go_to_bus(root, &settings, &installer, &changes);
        let context = Context {
            installer,
            fetcher: Fetcher::new(root, &surroundings.program),
            room: Room::default(),
            handovers: Handovers::default(),
            store,
            reports: sender,
            publisher,
            timing: settings.timing,
            ending,
        };
        device::watch(root, changes.clone(), context.clone());
        tokio::task::spawn_local(leftovers::discard(context.clone()));
        let mut agent = Self {
            device: Device::of(root, &settings.device),
            service_manager: system("cannot time signs of life", ServiceManager::new())?,
            story: Story::default(),
            context,
            servers,
            instances: stored.instances,
            accepted: stored.accepted,
            pending: BTreeMap::new(),
            tasks: BTreeMap::new(),
            cancels: BTreeMap::new(),
            resting: BTreeSet::new(),
            changes,
            pushes: Pushes::default(),
            reports,
            commands,
            gate_rests: false,
            end,
            clock: system("cannot watch the clock", ClockWatch::new())?,
            signals: Signals::new()?,
            settings,
            surroundings,
        };
        tell_clock();
        agent.tell_what_changed_meanwhile();
        agent.show();
        agent.take_up(stored.pending);
        Ok(agent)
    }

    /// Runs until it is told to end, or to read its configuration again.
    pub async fn run(mut self) -> End {
        let mut last = ShortId(0);
        let end = loop {
            self.settle().await;
            self.show_standing();
            self.service_manager.tell(self.status());
            tokio::select! {
                (server, news) = server::next(&mut self.servers, last) => {
                    last = server;
                    self.hear(server, news);
                }
                Some(report) = self.reports.recv() => self.take(report),
                Some(command) = self.commands.recv() => self.answer_local(command),
                set = self.clock.changed() => note_clock(set),
                () = self.service_manager.stay_alive() => {}
                end = self.signals.next() => if self.may_end(end) { break end },
            }
        };
        if end == End::Terminate {
            self.service_manager.end();
        }
        self.end().await;
        end
    }

    /// A configuration that cannot be used ends nothing that runs.
    fn may_end(&self, end: End) -> bool {
        if end == End::Terminate {
            return true;
        }
        let settings = Settings::read(&self.surroundings.root);
        if let Err(error) = &settings {
            tracing::error!(
                MESSAGE_ID = message::CONFIGURATION_REFUSED,
                "the old configuration stays: {error}"
            );
        }
        settings.is_ok()
    }

    fn hear(&mut self, id: ShortId, news: News) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.hear(news);
        }
    }

    /// Does all that follows from what happened, before it waits again: a request may put an operation into the
    /// gate, and what the gate lets through is told to the servers.
    async fn settle(&mut self) {
        self.answer_requests().await;
        while self.ask_gate() {
            self.answer_requests().await;
        }
    }

    /// Answers requests until no server has one.
    async fn answer_requests(&mut self) {
        while let Some((key, request)) = self.next_request().await {
            self.answer(key, request);
        }
    }

    async fn next_request(&mut self) -> Option<(RequestKey, Request)> {
        for (id, server) in &mut self.servers {
            if let Some((request, wanted)) = server.next_request().await {
                let server = *id;
                return Some((RequestKey { server, request }, wanted));
            }
        }
        None
    }

    /// The registrations and their observations stay, and effects stay pending: the next start takes them up. Downloads
    /// say first how far they are.
    async fn end(mut self) {
        tracing::info!("ending: what is pending is taken up at the next start");
        self.end.send_replace(true);
        self.servers.values_mut().for_each(Server::keep);
        let _ = tokio::time::timeout(END_LIMIT, self.downloads_ended()).await;
        for server in self.servers.values_mut() {
            server.close().await;
        }
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

/// The servers that are configured.
fn start_servers(
    settings: &Settings,
    software: &BTreeMap<InstanceId, Instance>,
    store: &Rc<RefCell<Store>>,
) -> Result<BTreeMap<ShortId, Server>, ServerError> {
    let started = settings.server.iter().map(|configured| {
        let instances = objects::instances(software);
        let server = Server::start(settings, configured, instances, store)?;
        Ok((configured.id, server))
    });
    started.collect()
}

fn go_to_bus(
    root: &Path,
    settings: &Settings,
    installer: &Installer,
    changes: &LocalChanges,
) -> (Publisher, mpsc::Receiver<bus::Command>) {
    let shown = AgentView {
        endpoint_name: settings.endpoint.clone(),
        server_uri: settings.server_uri(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..AgentView::default()
    };
    let (installer, changes) = (installer.clone(), changes.clone());
    bus::start(root, settings.timing, installer, changes, shown)
}

fn system<T>(what: &'static str, result: std::io::Result<T>) -> Result<T, AgentError> {
    result.map_err(|source| AgentError::System { what, source })
}

fn tell_clock() {
    if !clock::is_set() {
        tracing::warn!(
            MESSAGE_ID = message::CLOCK_NOT_SET,
            "the clock of this machine is not set: it is before the day that this wharfd was built on. Downloads by \
             https wait until it is"
        );
    }
}

fn note_clock(set: std::io::Result<()>) {
    match set {
        Ok(()) => tracing::info!("the clock was set"),
        Err(error) => tracing::warn!("the clock is not watched: {error}"),
    }
}
