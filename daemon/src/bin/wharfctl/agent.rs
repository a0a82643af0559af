//! The way to wharfd: one connection to the bus, its objects as they are now, and the signals that they changed.

use std::{collections::HashMap, fs::File, os::fd::OwnedFd, path::Path, time::Duration};

use futures_util::StreamExt as _;
use wharfd::bus;
use zbus::{
    Connection, Fd, Message, MessageStream, OwnedObjectPath, OwnedVariant, connection, fdo,
    message::Type,
};

use crate::{
    failure::Failure,
    model::{self, HistoryLine, Instance, Kept, Operation, Snapshot, Words},
};

/// wharfd answers at once, or something is wrong with it: libdbus' own patience.
const PATIENCE: Duration = Duration::from_secs(25);

/// Number of attempts to read the public state and the full reasons at the same moment.
const READINGS: usize = 5;

/// Whether wharfd tells this user everything.
pub(crate) fn reads_all() -> bool {
    nix::unistd::geteuid().is_root()
}

/// wharfd, as it is reached.
pub(crate) struct Agent {
    connection: Connection,
}

/// A change of an instance that is asked for.
pub(crate) enum Change {
    WritePackageUri {
        uri: String,
        user_name: String,
        password: String,
    },
    WritePackage {
        package: File,
        signature: Vec<u8>,
    },
    Install,
    Uninstall {
        for_update: bool,
    },
    Activate,
    Deactivate,
    Cancel,
    Delete,
}

impl Agent {
    /// Connects to the bus of this root.
    pub(crate) async fn connect(root: &Path) -> Result<Self, Failure> {
        let address = bus::address(root);
        let builder = connection::Builder::address(address.as_str());
        match builder.method_timeout(PATIENCE).build().await {
            Ok(connection) => Ok(Self { connection }),
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
    async fn reasons(&self) -> Result<Vec<Words>, Failure> {
        let (path, interface) = (bus::AGENT_PATH, bus::AGENT_INTERFACE);
        let asked = self
            .connection
            .call_method(Some(bus::NAME), path, Some(interface), "Reasons", &())
            .await;
        match asked.map_err(fdo::Error::from) {
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
        let lines: Vec<model::HistoryTuple> = lines.body().deserialize()?;
        Ok(lines.into_iter().map(HistoryLine::from).collect())
    }

    /// All operations that wharfd keeps, in the order of acceptance.
    pub(crate) async fn operations(&self) -> Result<Vec<Kept>, Failure> {
        let (path, interface) = (bus::AGENT_PATH, bus::AGENT_INTERFACE);
        let operations = self.call(path, interface, "Operations", &()).await?;
        let operations: Vec<model::KeptTuple> = operations.body().deserialize()?;
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

    /// A new instance.
    pub(crate) async fn create_instance(&self) -> Result<u16, Failure> {
        let made = self
            .call(bus::AGENT_PATH, bus::AGENT_INTERFACE, "CreateInstance", &())
            .await?;
        let path: OwnedObjectPath = made.body().deserialize()?;
        model::instance_of(&path)
    }

    /// Asks for a change. It is accepted when this returns, not done.
    pub(crate) async fn change(&self, instance: u16, change: Change) -> Result<(), Failure> {
        let path = format!("{}/instances/{instance}", bus::AGENT_PATH);
        let interface = bus::INSTANCE_INTERFACE;
        match change {
            Change::WritePackageUri {
                uri,
                user_name,
                password,
            } => {
                let values = (uri, user_name, password);
                self.call(&path, interface, "WritePackageURI", &values)
                    .await
            }
            Change::WritePackage { package, signature } => {
                let values = (Fd::from(OwnedFd::from(package)), signature);
                self.call(&path, interface, "WritePackage", &values).await
            }
            Change::Install => self.call(&path, interface, "Install", &()).await,
            Change::Uninstall { for_update } => {
                self.call(&path, interface, "Uninstall", &for_update).await
            }
            Change::Activate => self.call(&path, interface, "Activate", &()).await,
            Change::Deactivate => self.call(&path, interface, "Deactivate", &()).await,
            Change::Cancel => self.call(&path, interface, "Cancel", &()).await,
            Change::Delete => self.call(&path, interface, "Delete", &()).await,
        }
        .map(drop)
    }

    /// From now on, what changes can be waited for.
    pub(crate) async fn changes(&self) -> Result<Changes, Failure> {
        let bus = fdo::DBusProxy::new(&self.connection).await?;
        let shown = format!("type='signal',path_namespace='{}'", bus::AGENT_PATH);
        let owner = format!(
            "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{}'",
            bus::NAME
        );
        let signals = MessageStream::from(&self.connection);
        for rule in [shown, owner] {
            bus.add_match_rule(rule.as_str().try_into()?)
                .await
                .map_err(|error| Failure::from(zbus::Error::from(error)))?;
        }
        Ok(Changes { signals })
    }

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
        let reply = self
            .connection
            .call_method(Some(bus::NAME), path, Some(interface), method, body)
            .await;
        Ok(reply?)
    }
}

/// The signals of wharfd, and of its coming and going.
pub(crate) struct Changes {
    signals: MessageStream,
}

impl Changes {
    /// Waits until something may be another than it was.
    pub(crate) async fn next(&mut self) -> Result<(), Failure> {
        while let Some(message) = self.signals.next().await {
            if message?.message_type() == Type::Signal {
                return Ok(());
            }
        }
        Err(Failure::NoAgent)
    }
}
