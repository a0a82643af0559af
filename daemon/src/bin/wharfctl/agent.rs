//! The way to wharfd: one connection to the bus, its objects as they are now, and the signals that they changed.

use std::{
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use futures_util::StreamExt as _;
use tokio::{sync::watch, time::timeout};
use wharfd::bus;
use zbus::{
    Connection, Fd, Message, MessageStream, OwnedObjectPath, OwnedVariant, connection, fdo,
    message::Type,
};

use crate::{
    failure::Failure,
    model::{self, HistoryLine, Instance, Kept, Operation, Snapshot},
};

/// wharfd answers at once, or something is wrong with it: libdbus' own patience.
const PATIENCE: Duration = Duration::from_secs(25);

/// The variable that sets another time limit, in milliseconds.
const OWN_PATIENCE: &str = "WHARFCTL_PATIENCE";

/// Number of attempts to read the public state and the full reasons at the same moment.
const READINGS: usize = 5;

/// Whether wharfd tells this user everything.
pub(crate) fn reads_all() -> bool {
    nix::unistd::geteuid().is_root()
}

/// wharfd, as it is reached.
pub(crate) struct Agent {
    connection: Connection,
    pub(crate) patience: Duration,
}

/// A change of an instance that is asked for.
#[derive(Debug)]
pub(crate) enum Change {
    WritePackageUri {
        uri: String,
        user_name: String,
        password: String,
    },
    WritePackage {
        package: OwnedFd,
        signature: Vec<u8>,
    },
    Install,
    Uninstall {
        for_update: bool,
    },
    Purge,
    Activate,
    Deactivate,
    Cancel {
        operation: String,
    },
    Delete,
}

impl Agent {
    /// Connects to the bus of this root.
    pub(crate) async fn connect(root: &Path) -> Result<Self, Failure> {
        let address = bus::address(root);
        let patience = std::env::var(OWN_PATIENCE).ok();
        let patience = patience.and_then(|given| given.parse().ok());
        let patience = patience.map_or(PATIENCE, Duration::from_millis);
        let builder = connection::Builder::address(address.as_str());
        match builder.build().await {
            Ok(connection) => Ok(Self {
                connection,
                patience,
            }),
            Err(source) => Err(Failure::NoBus {
                address,
                source: Box::new(source),
            }),
        }
    }

    /// Its public state; for root with the full reasons. wharfd may change both between the two calls.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Failure> {
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

    /// The full reasons, for root alone. An older wharfd that still runs has no such method: its public state is full.
    async fn reasons(&self) -> Result<Vec<bus::Words>, Failure> {
        let (path, interface) = (bus::AGENT_PATH, bus::AGENT_INTERFACE);
        let asked =
            self.connection
                .call_method(Some(bus::NAME), path, Some(interface), "Reasons", &());
        let asked = timeout(self.patience, asked).await;
        match asked
            .map_err(|_| Failure::Silence)?
            .map_err(fdo::Error::from)
        {
            Ok(reply) => Ok(reply.body().deserialize()?),
            Err(fdo::Error::UnknownMethod(_)) => Ok(Vec::new()),
            Err(error) => Err(zbus::Error::from(error).into()),
        }
    }

    /// All that everybody may see.
    async fn shown(&self) -> Result<Snapshot, Failure> {
        let agent: HashMap<String, OwnedVariant> = self
            .call(
                bus::AGENT_PATH,
                "org.freedesktop.DBus.Properties",
                "GetAll",
                &bus::AGENT_INTERFACE,
            )
            .await?
            .body()
            .deserialize()?;
        let objects: fdo::ManagedObjects = self
            .call(
                bus::AGENT_PATH,
                "org.freedesktop.DBus.ObjectManager",
                "GetManagedObjects",
                &(),
            )
            .await?
            .body()
            .deserialize()?;
        let mut snapshot = Snapshot {
            agent: model::Agent::read(&agent)?,
            instances: Vec::new(),
            operations: Vec::new(),
        };
        for interfaces in objects.values() {
            for (name, properties) in interfaces {
                match name.as_str() {
                    bus::INSTANCE_INTERFACE => {
                        snapshot.instances.push(Instance::read(properties)?);
                    }
                    bus::OPERATION_INTERFACE => {
                        snapshot.operations.push(Operation::read(properties)?);
                    }
                    _ => {}
                }
            }
        }
        snapshot.instances.sort_by_key(|instance| instance.id);
        snapshot
            .operations
            .sort_by_key(|operation| operation.sequence);
        Ok(snapshot)
    }

    /// What servers could see, oldest first; of all instances where none is named.
    pub(crate) async fn history(&self, instance: Option<u16>) -> Result<Vec<HistoryLine>, Failure> {
        let instance = instance.map_or(-1, i32::from);
        let lines = self
            .call(bus::AGENT_PATH, bus::AGENT_INTERFACE, "History", &instance)
            .await?;
        let lines: Vec<bus::Line> = lines.body().deserialize()?;
        Ok(lines.into_iter().map(HistoryLine::from).collect())
    }

    /// All operations that wharfd keeps, in the order of acceptance.
    pub(crate) async fn operations(&self) -> Result<Vec<Kept>, Failure> {
        let (path, interface) = (bus::AGENT_PATH, bus::AGENT_INTERFACE);
        let operations = self.call(path, interface, "Operations", &()).await?;
        let operations: Vec<bus::Kept> = operations.body().deserialize()?;
        Ok(operations.into_iter().map(Kept::from).collect())
    }

    /// Has each CoAP message written there, as long as somebody reads it.
    pub(crate) async fn trace(&self, writer: OwnedFd) -> Result<(), Failure> {
        let writer = Fd::from(writer);
        let called = self.call(bus::AGENT_PATH, bus::AGENT_INTERFACE, "Trace", &writer);
        match called.await {
            Err(Failure::NotRoot(_)) => Err(Failure::NotRoot(
                "only root sees what goes by: try sudo".to_owned(),
            )),
            called => called.map(drop),
        }
    }

    /// Creates an instance. Waits without a time limit, until wharfd answers or ends.
    pub(crate) async fn create_instance(&self) -> Result<u16, Failure> {
        let made = self
            .ask(bus::AGENT_PATH, bus::AGENT_INTERFACE, "CreateInstance", &())
            .await?;
        let path: OwnedObjectPath = made.body().deserialize()?;
        model::instance_of(&path)
    }

    /// Requests a change. When this returns, the change is accepted but not done. Returns the name of its operation, or
    /// none if no work is left to do. It waits without a time limit until wharfd answers or ends: a change that is not
    /// stored by then never happens.
    pub(crate) async fn change(
        &self,
        instance: u16,
        change: &Change,
    ) -> Result<Option<String>, Failure> {
        let path = format!("{}/instances/{instance}", bus::AGENT_PATH);
        let interface = bus::INSTANCE_INTERFACE;
        let reply = match change {
            Change::WritePackageUri {
                uri,
                user_name,
                password,
            } => {
                let values = (uri, user_name, password);
                self.ask(&path, interface, "WritePackageURI", &values).await
            }
            Change::WritePackage { package, signature } => {
                let values = (Fd::from(package.as_fd()), signature);
                self.ask(&path, interface, "WritePackage", &values).await
            }
            Change::Install => self.ask(&path, interface, "Install", &()).await,
            Change::Uninstall { for_update } => {
                self.ask(&path, interface, "Uninstall", for_update).await
            }
            Change::Purge => self.ask(&path, interface, "Purge", &()).await,
            Change::Activate => self.ask(&path, interface, "Activate", &()).await,
            Change::Deactivate => self.ask(&path, interface, "Deactivate", &()).await,
            Change::Cancel { operation } => {
                let operation = model::path_of(operation)?;
                self.ask(&path, interface, "Cancel", &operation).await?;
                return Ok(None);
            }
            Change::Delete => {
                self.ask(&path, interface, "Delete", &()).await?;
                return Ok(None);
            }
        }?;
        let operation: Result<OwnedObjectPath, _> = reply.body().deserialize();
        let operation = operation.map_err(|_| Failure::NotUnderstood("operation".to_owned()))?;
        Ok(model::operation_of(&operation))
    }

    /// From now on, what changes can be waited for.
    pub(crate) async fn changes(&self) -> Result<Changes, Failure> {
        let bus = fdo::DBusProxy::new(&self.connection).await?;
        let shown = format!("type='signal',path_namespace='{}'", bus::AGENT_PATH);
        let owner = format!(
            "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{}'",
            bus::NAME
        );
        let mut messages = MessageStream::from(&self.connection);
        for rule in [shown, owner] {
            bus.add_match_rule(rule.as_str().try_into()?)
                .await
                .map_err(|error| Failure::from(zbus::Error::from(error)))?;
        }
        // The connection stops reading, answers included, while too many messages are unread.
        let (noted, seen) = watch::channel(());
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if message.is_ok_and(|message| message.message_type() == Type::Signal) {
                    noted.send_replace(());
                }
            }
        });
        Ok(Changes { seen })
    }

    /// Reads something, with a time limit.
    async fn call<B>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Message, Failure>
    where
        B: serde::ser::Serialize + zbus::wire::DynamicType,
    {
        let answered = timeout(self.patience, self.ask(path, interface, method, body));
        answered.await.map_err(|_| Failure::Silence)?
    }

    /// Asks without a time limit.
    async fn ask<B>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Message, Failure>
    where
        B: serde::ser::Serialize + zbus::wire::DynamicType,
    {
        let reply = self
            .connection
            .call_method(Some(bus::NAME), path, Some(interface), method, body)
            .await;
        Ok(reply?)
    }
}

/// The signals of wharfd, and of its coming and going.
pub(crate) struct Changes {
    seen: watch::Receiver<()>,
}

impl Changes {
    /// Waits until something may have changed since the last call.
    pub(crate) async fn next(&mut self) -> Result<(), Failure> {
        self.seen.changed().await.map_err(|_| Failure::BusClosed)
    }

    /// The same, with this time limit.
    pub(crate) async fn next_within(&mut self, time: Duration) -> Result<(), Failure> {
        timeout(time, self.next()).await.unwrap_or(Ok(()))
    }
}
