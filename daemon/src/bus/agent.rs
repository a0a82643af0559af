//! The agent on the bus.

use wharf_software::InstanceId;
use zbus::{
    Connection, OwnedFd, OwnedObjectPath, fdo, interface, message::Header,
    object_server::SignalEmitter,
};

use super::{
    access::{Access, Call, ROOT},
    command::Command,
    instance, operation, public,
    views::{AgentView, Views},
};
use crate::store::{HistoryEntry, KeptOperation};

/// `/org/wharfd/Agent1`.
pub(super) struct Agent(pub(super) Access);

/// A line of `History`: at, instance, operation, update state, update result, status reason, name, version.
pub type Line = (u64, u16, String, u8, u8, String, String, String);

/// A line of `Operations`: id, sequence, kind, origin, instance, state, accepted at, outcome, package.
pub type Kept = (
    String,
    u64,
    String,
    (String, u32),
    u16,
    String,
    u64,
    String,
    String,
);

/// An object, its public text and its full text.
pub type Words = (OwnedObjectPath, String, String);

/// All that [`Agent::reasons`] gives.
pub(super) fn reasons(views: &Views) -> Vec<Words> {
    let instances = views.instances.iter().map(|(id, view)| {
        (
            instance::path(*id),
            view.status_reason.clone(),
            view.whole_reason.clone(),
        )
    });
    let operations = views.operations.iter().map(|row| {
        (
            operation::path(row.id),
            public::outcome(row),
            row.outcome.clone(),
        )
    });
    instances.chain(operations).collect()
}

impl Agent {
    fn view<T>(&self, part: impl FnOnce(&AgentView) -> T) -> T {
        part(&self.0.shown.borrow().agent)
    }
}

/// The agent of this gateway.
#[interface(name = "org.wharfd.Agent1")]
impl Agent {
    /// Creates an instance of Object 9 with the highest free id below `max-instances`. A server's Create takes the
    /// lowest. Root alone.
    #[zbus(out_args("instance"))]
    async fn create_instance(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let header = &header;
        let user = Call { connection, header }.root().await?;
        let made = self.0.ask(|answer| Command::Create { answer, user });
        Ok(instance::path(made.await?))
    }

    /// Writes each CoAP message of the server, as one line without secrets, into this pipe as long as somebody reads
    /// there; who reads too slowly misses lines. Refused where no server is configured. Root alone.
    async fn trace(
        &self,
        writer: OwnedFd,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let header = &header;
        Call { connection, header }.root().await?;
        let writer = writer.into();
        self.0.ask(|answer| Command::Trace { writer, answer }).await
    }

    /// The full Status Reason of each instance and the full outcome of each operation: the object, its public text, its
    /// full text. Only the full text may hold the path of a Package URI, the last words of a maintainer script, or lines
    /// of a unit. Root alone.
    #[zbus(out_args("reasons"))]
    async fn reasons(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Vec<Words>> {
        let header = &header;
        Call { connection, header }.root().await?;
        Ok(reasons(&self.0.shown.borrow()))
    }

    /// One of the `Reasons` has changed.
    #[zbus(signal)]
    pub(super) async fn reasons_changed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    /// What a server could see of an instance (-1: of all), oldest first: seconds since 1970, the instance, the
    /// operation or an empty text, Update State, Update Result, Status Reason, PkgName, PkgVersion. Users other
    /// than root get the public text of Status Reason.
    #[zbus(out_args("lines"))]
    async fn history(
        &self,
        instance: i32,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Vec<Line>> {
        let header = &header;
        let user = Call { connection, header }.user().await?;
        let instance = match instance {
            -1 => None,
            id => Some(InstanceId(u16::try_from(id).map_err(|_| {
                fdo::Error::InvalidArgs(format!(
                    "{id} is no instance: expected 0 to 65534, or -1 for all"
                ))
            })?)),
        };
        let lines = self.0.ask(|answer| Command::History { instance, answer });
        let mut lines = lines.await?;
        if user != ROOT {
            for line in &mut lines {
                line.reason = public::reason(line);
            }
        }
        Ok(lines.into_iter().map(line).collect())
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
    ) -> fdo::Result<Vec<Kept>> {
        let header = &header;
        let user = Call { connection, header }.user().await?;
        let operations = self.0.ask(|answer| Command::Operations { answer });
        let mut operations = operations.await?;
        if user != ROOT {
            for operation in &mut operations {
                operation.row.outcome = public::outcome(&operation.row);
            }
        }
        Ok(operations.into_iter().map(kept).collect())
    }

    /// The name that the gateway registers under.
    #[zbus(property)]
    fn endpoint_name(&self) -> String {
        self.view(|agent| agent.endpoint.clone())
    }

    /// The LwM2M server that manages the software; empty if none is configured.
    #[zbus(property, name = "ServerURI")]
    fn server_uri(&self) -> String {
        self.view(|agent| agent.server_uri.clone())
    }

    /// Whether the server accepted the registration and has not forgotten it.
    #[zbus(property)]
    fn registered(&self) -> bool {
        self.view(|agent| agent.registered_since.is_some())
    }

    /// Since when wharfd knows that, in seconds since 1970; 0 while it is not registered.
    #[zbus(property)]
    fn registered_since(&self) -> u64 {
        self.view(|agent| agent.registered_since.unwrap_or(0))
    }

    /// Why the last Register or Update failed; empty once one succeeded.
    #[zbus(property)]
    fn registration_failure(&self) -> String {
        self.view(|agent| agent.registration_failure.clone())
    }

    /// The package manager; empty until the installer has told.
    #[zbus(property)]
    fn backend(&self) -> String {
        self.view(|agent| agent.backend.clone())
    }

    /// The version of wharfd.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }
}

fn line(entry: HistoryEntry) -> Line {
    (
        entry.at,
        entry.instance.0,
        entry.operation.map(|id| id.to_string()).unwrap_or_default(),
        entry.update_state,
        entry.update_result,
        entry.reason,
        entry.name,
        entry.version,
    )
}

fn kept(KeptOperation { row, package }: KeptOperation) -> Kept {
    (
        row.id.to_string(),
        row.sequence,
        row.kind.as_str().to_owned(),
        operation::origin(row.origin),
        row.instance.0,
        row.state,
        row.accepted_at,
        row.outcome,
        package,
    )
}
