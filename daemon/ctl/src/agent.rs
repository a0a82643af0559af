//! The D-Bus client of wharfd: its methods, its objects at this moment, and the signals of their changes.

use std::{os::fd::OwnedFd, path::Path, time::Duration};

use futures_util::StreamExt as _;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::watch, time::timeout};
use wharf_bus::{
    AGENT_PATH, AgentProxy, FullReason, InstanceCall, InstanceProxy, ManagedObjects, NAME,
    instance_path, operation_name,
};
use zbus::{
    Connection, MessageStream, Type, connection, fdo, message, proxy::CacheProperties,
    wire::DynamicType,
};

use crate::{
    error::CommandError,
    model::{self, PastOperation, ShownHistory, ShownInstance, Snapshot},
};

/// The time limit of an answer, as in libdbus. wharfd answers at once unless something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(25);

/// The variable that sets another time limit, in milliseconds.
const OWN_PATIENCE: &str = "WHARFCTL_PATIENCE";

/// Number of attempts to read the public state and the full reasons at the same moment.
const READINGS: usize = 5;

/// Whether wharfd gives this user the full texts.
pub(crate) fn reads_all() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The connection to wharfd.
pub(crate) struct AgentClient {
    connection: Connection,
    pub(crate) patience: Duration,
}

impl AgentClient {
    /// Connects to the bus of this root.
    pub(crate) async fn connect(root: &Path) -> Result<Self, CommandError> {
        let address = wharf_bus::address(root);
        let patience = std::env::var(OWN_PATIENCE).ok();
        let patience = patience.and_then(|given| given.parse().ok());
        let patience = patience.map_or(PATIENCE, Duration::from_millis);
        let builder = connection::Builder::address(address.as_str());
        match builder.build().await {
            Ok(connection) => Ok(Self {
                connection,
                patience,
            }),
            Err(source) => Err(CommandError::NoBus {
                address,
                source: Box::new(source),
            }),
        }
    }

    /// Its state, for root with the full reasons. wharfd may change both between the two calls, so this repeats them.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, CommandError> {
        let mut snapshot = self.shown().await?;
        if !reads_all() {
            return Ok(snapshot);
        }
        for _ in 0..READINGS {
            if snapshot.complete(&self.reasons().await?) {
                break;
            }
            snapshot = self.shown().await?;
        }
        Ok(snapshot)
    }

    /// The full reasons, for root only. An older wharfd has no such method: its public texts are full.
    async fn reasons(&self) -> Result<Vec<FullReason>, CommandError> {
        let wharfd = self.wharfd().await?;
        let asked = timeout(self.patience, wharfd.reasons()).await;
        match asked.map_err(|_| CommandError::Silence)? {
            Err(fdo::Error::UnknownMethod(_)) => Ok(Vec::new()),
            answered => Ok(answered?),
        }
    }

    /// The public state.
    async fn shown(&self) -> Result<Snapshot, CommandError> {
        let wharfd = self.wharfd().await?;
        let interface = wharfd.inner().interface();
        let agent = self.read("org.freedesktop.DBus.Properties", "GetAll", interface);
        let agent: wharf_bus::AgentProperties = agent.await?;
        let objects = self.read(
            "org.freedesktop.DBus.ObjectManager",
            "GetManagedObjects",
            &(),
        );
        let objects: ManagedObjects = objects.await?;
        let mut snapshot = Snapshot {
            agent: agent.into(),
            instances: Vec::new(),
            operations: Vec::new(),
        };
        for object in objects.into_values() {
            snapshot
                .instances
                .extend(object.instance.map(ShownInstance::from));
            if let Some(operation) = object.operation {
                snapshot.operations.push(operation.try_into()?);
            }
        }
        snapshot.instances.sort_by_key(|instance| instance.id);
        snapshot
            .operations
            .sort_by_key(|operation| operation.sequence);
        Ok(snapshot)
    }

    /// The states that servers could see, oldest first, of one instance or of all.
    pub(crate) async fn history(
        &self,
        instance: Option<u16>,
    ) -> Result<Vec<ShownHistory>, CommandError> {
        let instance = instance.map_or(-1, i32::from);
        let wharfd = self.wharfd().await?;
        let lines = self.in_time(wharfd.history(instance)).await?;
        Ok(lines.into_iter().map(ShownHistory::from).collect())
    }

    /// All operations that wharfd keeps, in the order of acceptance.
    pub(crate) async fn operations(&self) -> Result<Vec<PastOperation>, CommandError> {
        let wharfd = self.wharfd().await?;
        let operations = self.in_time(wharfd.operations()).await?;
        Ok(operations.into_iter().map(PastOperation::from).collect())
    }

    /// Requests a trace: wharfd writes each CoAP message into this pipe until its reader closes it.
    pub(crate) async fn trace(&self, writer: OwnedFd) -> Result<(), CommandError> {
        let wharfd = self.wharfd().await?;
        match self.in_time(wharfd.trace(writer.into())).await {
            Err(CommandError::NotRoot(_)) => Err(CommandError::NotRoot(
                "only root may trace messages: try sudo".to_owned(),
            )),
            called => called,
        }
    }

    /// Creates an instance. Waits without a time limit, until wharfd answers or ends.
    pub(crate) async fn create_instance(&self) -> Result<u16, CommandError> {
        let path = self.wharfd().await?.create_instance().await?;
        model::instance_of(&path)
    }

    /// Requests a change. When this returns, the change is accepted but not done. Returns the name of its operation, or
    /// none if no work is left to do. It waits without a time limit until wharfd answers or ends: a change that is not
    /// stored by then never happens.
    pub(crate) async fn change(
        &self,
        instance: u16,
        change: &InstanceCall,
    ) -> Result<Option<String>, CommandError> {
        let operation = self.instance(instance).await?.send(change).await?;
        Ok(operation_name(&operation).map(str::to_owned))
    }

    /// Subscribes to changes.
    pub(crate) async fn changes(&self) -> Result<Changes, CommandError> {
        let bus = fdo::DBusProxy::new(&self.connection).await?;
        let shown = format!("type='signal',path_namespace='{AGENT_PATH}'");
        let owner = format!(
            "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{NAME}'"
        );
        let mut messages = MessageStream::from(&self.connection);
        for rule in [shown, owner] {
            bus.add_match_rule(rule.as_str().try_into()?)
                .await
                .map_err(|error| CommandError::from(zbus::Error::from(error)))?;
        }
        // The connection stops reading, answers included, while too many messages are unread.
        let (noted, seen) = watch::channel(());
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if message.is_ok_and(|message| message.message_type() == message::Type::Signal) {
                    noted.send_replace(());
                }
            }
        });
        Ok(Changes { seen })
    }

    async fn wharfd(&self) -> Result<AgentProxy<'_>, CommandError> {
        let wharfd = AgentProxy::builder(&self.connection);
        Ok(wharfd.cache_properties(CacheProperties::No).build().await?)
    }

    async fn instance(&self, id: u16) -> Result<InstanceProxy<'_>, CommandError> {
        let instance = InstanceProxy::builder(&self.connection).path(instance_path(id));
        Ok(instance
            .cache_properties(CacheProperties::No)
            .build()
            .await?)
    }

    /// Waits for an answer, with a time limit.
    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, fdo::Error>>,
    ) -> Result<T, CommandError> {
        let answered = timeout(self.patience, asked).await;
        Ok(answered.map_err(|_| CommandError::Silence)??)
    }

    /// Calls a method of the agent's object, with a time limit.
    async fn read<T, B>(&self, interface: &str, method: &str, body: &B) -> Result<T, CommandError>
    where
        T: DeserializeOwned + Type,
        B: Serialize + DynamicType,
    {
        let asked = async {
            let (path, interface) = (AGENT_PATH, Some(interface));
            self.connection
                .call_method(Some(NAME), path, interface, method, body)
                .await
                .map_err(fdo::Error::from)
        };
        let reply = self.in_time(asked).await?;
        let read = reply.body().deserialize();
        read.map_err(|error| CommandError::NotUnderstood(error.to_string()))
    }
}

/// The signals of wharfd, of its start and of its end.
pub(crate) struct Changes {
    seen: watch::Receiver<()>,
}

impl Changes {
    /// Waits until something may have changed since the last call.
    pub(crate) async fn next(&mut self) -> Result<(), CommandError> {
        self.seen
            .changed()
            .await
            .map_err(|_| CommandError::BusClosed)
    }

    /// The same, with this time limit.
    pub(crate) async fn next_within(&mut self, time: Duration) -> Result<(), CommandError> {
        timeout(time, self.next()).await.unwrap_or(Ok(()))
    }
}
