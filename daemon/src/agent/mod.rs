//! The agent: one loop that handles all events of all instances, one after the other.
//!
//! An input is an event of a server, a report of a task, a request of a local user, a change of the clock, or a signal.
//! The agent first stores the new state of the instance, then answers and notifies, then acts:
//!
//! - `requests`: the requests of the servers, by object; `pushes`: the blocks of a Package; `local`: the requests of
//!   local users; `cancel`: their cancels;
//! - `commit`: stores, answers and reports an event;
//! - `effects`: the effects, each in its own task, and the gate before them;
//! - `device`: reads what the device has after another program may have changed it; `leftovers`: files of no instance;
//! - `status`: the state of wharfd in one line and on the bus; `journal`: the journal lines of instances;
//! - `signals`: the signals that end the agent.

mod cancel;
mod commit;
mod device;
mod effects;
mod journal;
mod leftovers;
mod local;
mod pushes;
mod requests;
mod signals;
mod status;

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
use wharf_bus::AgentProperties;
use wharf_frames::{OperationId, PackageName};
use wharf_journal::message;
use wharf_software::{ComponentIds, Effect, Instance, InstanceId, OperationKind, ShortId};

use crate::{
    bus::{self, Publisher},
    clock::{self, ClockWatch},
    config::Settings,
    delivery::{fetcher::Fetcher, room::DownloadRoom},
    installer::Installer,
    local_changes::LocalChanges,
    objects::{self, DeviceObject, SoftwareObjects},
    server::{self, News, Server, ServerError},
    service_manager::ServiceManager,
    store::{EffectId, Pending, Store, StoreError},
    tasks::{RequestKey, TaskContext, TaskReport},
};
use cancel::RunningJob;
use journal::JournalLines;
use pushes::Pushes;
use signals::Signals;

/// The time limit for downloads to become durable at the end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The reason why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The database could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server cannot be used.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// The failed act.
        what: &'static str,
        /// The error.
        source: std::io::Error,
    },
}

/// The surroundings of the agent.
pub struct Surroundings {
    /// Each path is below this folder.
    pub root: PathBuf,
    /// This program. The others are in the same folder.
    pub program: PathBuf,
    /// The package that this program is in.
    pub own_package: PackageName,
}

/// The reason why an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentEnd {
    /// A signal ended it.
    Terminate,
    /// A new configuration is to be used.
    Reload,
}

/// The agent of one gateway.
pub struct Agent {
    settings: Settings,
    surroundings: Surroundings,
    service_manager: ServiceManager,
    journal: JournalLines,
    device: DeviceObject,
    context: TaskContext,
    /// The servers, by account.
    servers: BTreeMap<ShortId, Server>,
    instances: BTreeMap<InstanceId, Instance>,
    /// The ids of components in Object 14.
    components: ComponentIds,
    /// The operations that are accepted and have not ended, in the order of acceptance.
    accepted: Vec<(OperationId, OperationKind)>,
    /// The pending effects, in the order in which they were stored.
    pending: BTreeMap<EffectId, Pending>,
    /// The running tasks.
    tasks: BTreeMap<EffectId, JoinHandle<()>>,
    /// The jobs that have not ended.
    jobs: BTreeMap<OperationId, RunningJob>,
    /// The effects that wait for the next attempt of their download.
    resting: BTreeSet<EffectId>,
    /// The notices that the device may have changed.
    changes: LocalChanges,
    pushes: Pushes,
    reports: UnboundedReceiver<TaskReport>,
    /// The requests of local users.
    commands: mpsc::Receiver<bus::AgentCommand>,
    /// An answer of the gate could not be stored: the gate stays closed for a pause.
    gate_rests: bool,
    end: watch::Sender<bool>,
    clock: ClockWatch,
    signals: Signals,
}

impl Agent {
    /// Opens the database, and resumes the work of an earlier run.
    pub fn start(settings: Settings, surroundings: Surroundings) -> Result<Self, AgentError> {
        let root = &surroundings.root;
        let mut store = Store::open(&Store::file(root))?;
        store.make_factory_instances(settings.instances, settings.server.is_some())?;
        let stored = store.load()?;
        let store = Rc::new(RefCell::new(store));
        let software = SoftwareObjects {
            instances: &stored.instances,
            ids: &stored.components,
            plain_components: settings.components,
        };
        let servers = start_servers(&settings, software, &store)?;
        let (sender, reports) = mpsc::unbounded_channel();
        let (end, ending) = watch::channel(false);
        let installer = Installer::at(root);
        let changes = LocalChanges::default();
        let (publisher, commands) = go_to_bus(root, &settings, &changes);
        let context = TaskContext {
            installer,
            fetcher: Fetcher::new(root, &surroundings.program),
            room: DownloadRoom::default(),
            store,
            reports: sender,
            publisher,
            timing: settings.timing,
            ending,
        };
        device::watch(root, changes.clone(), context.clone());
        tokio::task::spawn_local(leftovers::discard(context.clone()));
        let mut agent = Self {
            device: DeviceObject::of(root, &settings.device),
            service_manager: system("cannot set the watchdog timer", ServiceManager::new())?,
            journal: JournalLines::default(),
            context,
            servers,
            instances: stored.instances,
            components: stored.components,
            accepted: stored.accepted,
            pending: BTreeMap::new(),
            tasks: BTreeMap::new(),
            jobs: BTreeMap::new(),
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
        agent.resume(stored.pending);
        Ok(agent)
    }

    /// Runs until a signal ends it or requests a reload.
    pub async fn run(mut self) -> AgentEnd {
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
                Some(report) = self.reports.recv() => self.handle_report(report),
                Some(command) = self.commands.recv() => self.answer_local(command),
                set = self.clock.changed() => note_clock(set),
                () = self.service_manager.stay_alive() => {}
                end = self.signals.next() => if self.may_end(end) { break end },
            }
        };
        if end == AgentEnd::Terminate {
            self.service_manager.end();
        }
        self.end().await;
        end
    }

    /// Whether to end. A reload with an invalid configuration changes nothing.
    fn may_end(&self, end: AgentEnd) -> bool {
        if end == AgentEnd::Terminate {
            return true;
        }
        let settings = Settings::read(&self.surroundings.root);
        if let Err(error) = &settings {
            tracing::error!(
                MESSAGE_ID = message::CONFIGURATION_REFUSED,
                "cannot reload: {error}. The old configuration stays"
            );
        }
        settings.is_ok()
    }

    fn hear(&mut self, id: ShortId, news: News) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.hear(news);
        }
    }

    /// Handles all consequences of an input: a request may put an operation into the gate, and the servers are notified
    /// of an operation that starts.
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

    /// Ends the agent. Registrations stay, and the next start resumes pending effects. Downloads first make their bytes
    /// durable.
    async fn end(mut self) {
        tracing::info!("ending: the next start resumes pending work");
        self.end.send_replace(true);
        self.servers
            .values_mut()
            .for_each(Server::save_registration);
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

/// Starts the configured servers.
fn start_servers(
    settings: &Settings,
    software: SoftwareObjects<'_>,
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
    changes: &LocalChanges,
) -> (Publisher, mpsc::Receiver<bus::AgentCommand>) {
    let shown = AgentProperties {
        endpoint_name: settings.endpoint.clone(),
        server_uri: settings.server_uri(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..AgentProperties::default()
    };
    bus::start(root, settings.timing, changes.clone(), shown)
}

fn system<T>(what: &'static str, result: std::io::Result<T>) -> Result<T, AgentError> {
    result.map_err(|source| AgentError::System { what, source })
}

fn tell_clock() {
    if !clock::is_set() {
        tracing::warn!(
            MESSAGE_ID = message::CLOCK_NOT_SET,
            "the clock of this machine is not set: it is before the day that this wharfd was built on. Downloads by \
             https wait until it is set"
        );
    }
}

fn note_clock(set: std::io::Result<()>) {
    match set {
        Ok(()) => tracing::info!("the clock was set"),
        Err(error) => tracing::warn!("cannot watch the clock: {error}"),
    }
}
