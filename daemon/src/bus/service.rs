//! The connection to the bus, with its objects and signals. The agent also runs without a bus.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use tokio::sync::{mpsc, watch};
use wharf_bus::{
    AGENT_PATH, AgentObject, FullReason, InstanceObject, NAME, OperationObject, instance_path,
};
use wharf_frames::OperationId;
use wharf_software::InstanceId;
use zbus::{
    Connection, ObjectServer, OwnedObjectPath, OwnedVariant, Variant, connection, fdo,
    object_server::Interface,
};

use super::{
    access::Access,
    agent::{self, ServedAgent},
    command::AgentCommand,
    instance::ServedInstance,
    operation::ServedOperation,
    views::{Views, operation_path},
};
use crate::{config::Timing, local_changes::LocalChanges};

/// Serves the bus, and reconnects after each failure.
pub(super) struct BusService {
    address: String,
    access: Access,
    shown: watch::Sender<Views>,
    announced: watch::Sender<u64>,
    timing: Timing,
}

impl BusService {
    pub(super) fn new(
        address: String,
        views: watch::Receiver<Views>,
        commands: mpsc::Sender<AgentCommand>,
        timing: Timing,
    ) -> Self {
        let (announced, told) = watch::channel(0);
        let (shown, objects) = watch::channel(views.borrow().clone());
        Self {
            address,
            access: Access {
                views,
                shown: objects,
                commands,
                announced: told,
            },
            shown,
            announced,
            timing,
        }
    }

    /// Runs until the runtime ends.
    pub(super) async fn run(self, changes: LocalChanges) {
        let mut failures = 0_u32;
        let mut is_told = false;
        loop {
            match self.connect().await {
                Ok(bus) => {
                    tracing::info!("connected to D-Bus as {NAME}");
                    failures = 0;
                    is_told = false;
                    let listening = listen(bus.connection.clone(), changes.clone());
                    let listening = tokio::task::spawn_local(listening);
                    self.announce(bus).await;
                    listening.abort(); // its clone of the connection would keep our name
                    tracing::warn!("the bus closed the connection");
                }
                Err(error) if !is_told => {
                    is_told = true;
                    tracing::info!(
                        "cannot connect to D-Bus: {error}. Until wharfd is connected, wharfctl does not work; everything \
                         else does"
                    );
                }
                Err(error) => tracing::debug!("still cannot connect to D-Bus: {error}"),
            }
            failures = failures.saturating_add(1);
            tokio::time::sleep(self.timing.pause(failures)).await;
        }
    }

    /// Adds all objects before it requests the name, so that a client sees all of them.
    async fn connect(&self) -> zbus::Result<Bus> {
        let agent = AgentObject(ServedAgent(self.access.clone()));
        let connection = connection::Builder::address(self.address.as_str())
            .serve_at(AGENT_PATH, fdo::ObjectManager)
            .serve_at(AGENT_PATH, agent)
            .build()
            .await?;
        let mut bus = Bus {
            connection,
            access: self.access.clone(),
            shown: self.shown.clone(),
            agent: None,
            instances: BTreeMap::new(),
            operations: BTreeMap::new(),
            reasons: Vec::new(),
        };
        bus.bring_up_to_date().await?;
        bus.connection.request_name(NAME).await?;
        Ok(bus)
    }

    /// Publishes changes until the connection ends.
    async fn announce(&self, mut bus: Bus) {
        let mut views = self.access.views.clone();
        loop {
            let generation = views.borrow_and_update().generation;
            if let Err(error) = bus.bring_up_to_date().await {
                return tracing::warn!("cannot publish a change on D-Bus: {error}");
            }
            self.announced.send_replace(generation);
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return },
                () = bus.connection.closed() => return,
            }
        }
    }
}

/// Listens to the signals of systemd until the connection ends.
async fn listen(connection: Connection, changes: LocalChanges) {
    if let Err(error) = changes.watch_units(&connection).await {
        tracing::info!(
            "cannot watch systemd: {error}. Services that are changed by hand are noticed at the next start"
        );
    }
}

type Properties = HashMap<String, OwnedVariant>;

/// One connection, with the properties that were published last.
struct Bus {
    connection: Connection,
    access: Access,
    shown: watch::Sender<Views>,
    agent: Option<Properties>,
    instances: BTreeMap<InstanceId, Properties>,
    operations: BTreeMap<OperationId, Properties>,
    reasons: Vec<FullReason>,
}

impl Bus {
    /// Adds new objects, updates all of them, then removes old ones. All objects show the same moment. An operation
    /// exists as long as an instance names it.
    async fn bring_up_to_date(&mut self) -> zbus::Result<()> {
        let before = self.shown.borrow().clone();
        let now = self.access.views.borrow().clone();
        self.shown
            .send_replace(before.clone().with_what_is_in(&now));
        self.add_new(&now).await?;
        self.shown
            .send_replace(now.clone().with_what_is_in(&before));
        for operation in &now.operations {
            self.show_operation(operation.id).await?;
        }
        for id in now.instances.keys() {
            self.show_instance(*id).await?;
        }
        self.remove_old(&now).await?;
        self.shown.send_replace(now);
        self.show_agent().await?;
        self.tell_reasons().await
    }

    async fn add_new(&mut self, now: &Views) -> zbus::Result<()> {
        for operation in &now.operations {
            if !self.operations.contains_key(&operation.id) {
                self.show_operation(operation.id).await?;
            }
        }
        for id in now.instances.keys() {
            if !self.instances.contains_key(id) {
                self.show_instance(*id).await?;
            }
        }
        Ok(())
    }

    async fn remove_old(&mut self, now: &Views) -> zbus::Result<()> {
        let instances = now.instances.keys().copied().collect();
        let operations = now.operations.iter().map(|operation| operation.id);
        let operations = operations.collect();
        let server = self.connection.object_server();
        for id in gone(&mut self.instances, &instances) {
            server
                .remove::<InstanceObject<ServedInstance>, _>(instance_path(id.0))
                .await?;
        }
        for id in gone(&mut self.operations, &operations) {
            server
                .remove::<OperationObject<ServedOperation>, _>(operation_path(id))
                .await?;
        }
        Ok(())
    }

    async fn show_agent(&mut self) -> zbus::Result<()> {
        let server = self.connection.object_server();
        let agent = OwnedObjectPath::try_from(AGENT_PATH).unwrap_or_default();
        let now = properties::<AgentObject<ServedAgent>>(server, &self.connection, &agent).await?;
        if let Some(before) = &self.agent {
            tell::<AgentObject<ServedAgent>>(server, &agent, before, &now).await?;
        }
        self.agent = Some(now);
        Ok(())
    }

    /// Sends `ReasonsChanged`. A full reason may change without any property.
    async fn tell_reasons(&mut self) -> zbus::Result<()> {
        let now = agent::reasons(&self.shown.borrow());
        if now != self.reasons {
            self.reasons = now;
            let server = self.connection.object_server();
            let object = server
                .interface::<_, AgentObject<ServedAgent>>(AGENT_PATH)
                .await?;
            AgentObject::<ServedAgent>::reasons_changed(object.signal_emitter()).await?;
        }
        Ok(())
    }

    async fn show_operation(&mut self, id: OperationId) -> zbus::Result<()> {
        let path = operation_path(id);
        let server = self.connection.object_server();
        if !self.operations.contains_key(&id) {
            let access = self.access.clone();
            server
                .at(&path, OperationObject(ServedOperation { id, access }))
                .await?;
        }
        let now =
            properties::<OperationObject<ServedOperation>>(server, &self.connection, &path).await?;
        if let Some(before) = self.operations.get(&id) {
            tell::<OperationObject<ServedOperation>>(server, &path, before, &now).await?;
        }
        self.operations.insert(id, now);
        Ok(())
    }

    async fn show_instance(&mut self, id: InstanceId) -> zbus::Result<()> {
        let path = instance_path(id.0);
        let server = self.connection.object_server();
        if !self.instances.contains_key(&id) {
            let access = self.access.clone();
            server
                .at(&path, InstanceObject(ServedInstance { id, access }))
                .await?;
        }
        let now =
            properties::<InstanceObject<ServedInstance>>(server, &self.connection, &path).await?;
        if let Some(before) = self.instances.get(&id) {
            tell::<InstanceObject<ServedInstance>>(server, &path, before, &now).await?;
        }
        self.instances.insert(id, now);
        Ok(())
    }
}

/// Forgets the objects that no longer exist, and returns their ids.
fn gone<K: Copy + Ord>(shown: &mut BTreeMap<K, Properties>, there: &BTreeSet<K>) -> Vec<K> {
    let gone = shown.keys().filter(|id| !there.contains(id));
    let gone: Vec<K> = gone.copied().collect();
    shown.retain(|id, _| there.contains(id));
    gone
}

async fn properties<I: Interface>(
    server: &ObjectServer,
    connection: &Connection,
    path: &OwnedObjectPath,
) -> zbus::Result<Properties> {
    let object = server.interface::<_, I>(path).await?;
    let emitter = object.signal_emitter();
    let interface = object.get().await;
    Ok(interface.get_all(server, connection, None, emitter).await?)
}

/// Sends one signal with all changed properties, so that a client sees a commit as a whole.
async fn tell<I: Interface>(
    server: &ObjectServer,
    path: &OwnedObjectPath,
    before: &Properties,
    now: &Properties,
) -> zbus::Result<()> {
    let changed = now
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value));
    let changed: HashMap<&str, Variant<'_>> = changed
        .map(|(name, value)| (name.as_str(), Variant::from(value.clone())))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let object = server.interface::<_, I>(path).await?;
    fdo::Properties::properties_changed(
        object.signal_emitter(),
        I::name(),
        changed,
        Cow::Borrowed(&[]),
    )
    .await
}
