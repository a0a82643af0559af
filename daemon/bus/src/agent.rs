//! The agent on the bus.

use serde::{Deserialize, Serialize};
use zbus::{
    Connection, DeserializeDict, OwnedFd, OwnedObjectPath, SerializeDict, Type, fdo, interface,
    message::Header, object_server::SignalEmitter,
};

use crate::Caller;

/// The properties of the agent, as the interface describes them.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict", rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the interface below describes each")]
pub struct AgentProperties {
    pub endpoint_name: String,
    #[zbus(rename = "ServerURI")]
    pub server_uri: String,
    pub registered: bool,
    pub registered_since: u64,
    pub registration_failure: String,
    pub backend: String,
    pub version: String,
}

impl AgentProperties {
    /// Sets the time of the registration, in seconds since 1970; none while it is not registered.
    pub fn set_registered_since(&mut self, since: Option<u64>) {
        self.registered = since.is_some();
        self.registered_since = since.unwrap_or(0);
    }
}

/// A line of `History`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
pub struct HistoryLine {
    /// Seconds since 1970.
    pub at: u64,
    /// The instance.
    pub instance: u16,
    /// The operation; empty if there is none.
    pub operation: String,
    /// Resource 7.
    pub update_state: u8,
    /// Resource 9.
    pub update_result: u8,
    /// Resource 16.
    pub status_reason: String,
    /// Resource 0.
    pub pkg_name: String,
    /// Resource 1.
    pub pkg_version: String,
}

/// A line of `Operations`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[allow(missing_docs, reason = "the interface of an operation describes each")]
pub struct KeptOperation {
    pub id: String,
    pub sequence: u64,
    pub kind: String,
    pub origin: (String, u32),
    pub instance: u16,
    pub state: String,
    pub accepted_at: u64,
    pub outcome: String,
    /// The last package that `History` names for the operation; empty if there is none.
    pub package: String,
}

/// An object with its public and its full text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
pub struct FullReason {
    /// An instance or an operation.
    pub object: OwnedObjectPath,
    /// `StatusReason` or `Outcome`.
    pub public: String,
    /// The text for root.
    pub full: String,
}

/// Serves the agent.
pub trait AgentService: Send + Sync + 'static {
    /// Reads a part of its properties.
    fn read<T>(&self, part: impl FnOnce(&AgentProperties) -> T) -> T;

    /// Serves `CreateInstance`.
    fn create_instance(
        &self,
        caller: Caller<'_>,
    ) -> impl Future<Output = fdo::Result<OwnedObjectPath>> + Send;

    /// Serves `Trace`.
    fn trace(
        &self,
        caller: Caller<'_>,
        writer: OwnedFd,
    ) -> impl Future<Output = fdo::Result<()>> + Send;

    /// Serves `Reasons`.
    fn reasons(
        &self,
        caller: Caller<'_>,
    ) -> impl Future<Output = fdo::Result<Vec<FullReason>>> + Send;

    /// Serves `History`.
    fn history(
        &self,
        caller: Caller<'_>,
        instance: i32,
    ) -> impl Future<Output = fdo::Result<Vec<HistoryLine>>> + Send;

    /// Serves `Operations`.
    fn operations(
        &self,
        caller: Caller<'_>,
    ) -> impl Future<Output = fdo::Result<Vec<KeptOperation>>> + Send;
}

/// `/org/wharfd/Agent1`.
pub struct AgentObject<S>(pub S);

/// The agent of this gateway.
#[interface(
    name = "org.wharfd.Agent1",
    proxy(
        async_name = "AgentProxy",
        default_service = "org.wharfd.Agent1",
        default_path = "/org/wharfd/Agent1"
    )
)]
impl<S: AgentService> AgentObject<S> {
    /// Creates an instance of Object 9 with the highest free id below `max-instances`. A server's Create takes the
    /// lowest. Only root may call it.
    #[zbus(out_args("instance"))]
    async fn create_instance(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        self.0.create_instance(Caller { connection, header }).await
    }

    /// Writes each CoAP message of the server into this pipe, as one line without secrets, until the reader closes it.
    /// A slow reader misses lines. Refused if no server is configured. Only root may call it.
    async fn trace(
        &self,
        writer: OwnedFd,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.0.trace(Caller { connection, header }, writer).await
    }

    /// The full Status Reason of each instance and the full outcome of each operation: the object, its public text, its
    /// full text. Only the full text may have the path of a Package URI, the last output of a maintainer script, or
    /// lines of a unit. Only root may call it.
    #[zbus(out_args("reasons"))]
    async fn reasons(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Vec<FullReason>> {
        self.0.reasons(Caller { connection, header }).await
    }

    /// One of the `Reasons` has changed.
    #[zbus(signal)]
    pub async fn reasons_changed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    /// The states of an instance (-1: of all instances) that a server could see, oldest first: seconds since 1970, the
    /// instance, the operation or an empty text, Update State, Update Result, Status Reason, PkgName, PkgVersion. Users
    /// other than root get the public text of Status Reason.
    #[zbus(out_args("lines"))]
    async fn history(
        &self,
        instance: i32,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Vec<HistoryLine>> {
        let caller = Caller { connection, header };
        self.0.history(caller, instance).await
    }

    /// All stored operations, in the order of acceptance: the last 200 that have ended, and those that have not.
    /// Each has its id, sequence, kind, origin, instance, state, time of acceptance (seconds since 1970), outcome and
    /// package. The package is the last one that `History` names for the operation, else an empty text. Users other
    /// than root get the public text of the outcome.
    #[zbus(out_args("operations"))]
    async fn operations(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Vec<KeptOperation>> {
        self.0.operations(Caller { connection, header }).await
    }

    /// The endpoint name of the gateway.
    #[zbus(property)]
    fn endpoint_name(&self) -> String {
        self.0.read(|agent| agent.endpoint_name.clone())
    }

    /// The LwM2M server that manages the software; empty if none is configured.
    #[zbus(property, name = "ServerURI")]
    fn server_uri(&self) -> String {
        self.0.read(|agent| agent.server_uri.clone())
    }

    /// Whether the server accepted the registration and has not forgotten it.
    #[zbus(property)]
    fn registered(&self) -> bool {
        self.0.read(|agent| agent.registered)
    }

    /// The time at which the registration was confirmed, in seconds since 1970; 0 while it is not registered.
    #[zbus(property)]
    fn registered_since(&self) -> u64 {
        self.0.read(|agent| agent.registered_since)
    }

    /// The reason why the last Register or Update failed; empty after a success.
    #[zbus(property)]
    fn registration_failure(&self) -> String {
        self.0.read(|agent| agent.registration_failure.clone())
    }

    /// The package manager; empty until the installer has answered.
    #[zbus(property)]
    fn backend(&self) -> String {
        self.0.read(|agent| agent.backend.clone())
    }

    /// The version of wharfd.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        self.0.read(|agent| agent.version.clone())
    }
}
