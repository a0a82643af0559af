//! Serves the agent.

use wharf_bus::{AgentProperties, AgentService, Caller, FullReason, HistoryLine, KeptOperation};
use wharf_software::InstanceId;
use zbus::{OwnedFd, OwnedObjectPath, fdo};

use super::{
    access::{Access, ROOT, root},
    command::AgentCommand,
    public,
    views::{Views, operation_path, requester},
};
use crate::store::{self, HistoryEntry};

/// `/org/wharfd/Agent1`.
pub(super) struct ServedAgent(pub(super) Access);

/// The answer to `Reasons`.
pub(super) fn reasons(views: &Views) -> Vec<FullReason> {
    let instances = views.instances.iter().map(|(id, view)| FullReason {
        object: wharf_bus::instance_path(id.0),
        public: view.shown.status_reason.clone(),
        full: view.whole_reason.clone(),
    });
    let operations = views.operations.iter().map(|view| FullReason {
        object: operation_path(view.id),
        public: view.shown.outcome.clone(),
        full: view.whole_outcome.clone(),
    });
    instances.chain(operations).collect()
}

impl AgentService for ServedAgent {
    fn read<T>(&self, part: impl FnOnce(&AgentProperties) -> T) -> T {
        part(&self.0.shown.borrow().agent)
    }

    async fn create_instance(&self, caller: Caller<'_>) -> fdo::Result<OwnedObjectPath> {
        let user = root(caller).await?;
        let made = self.0.ask(|answer| AgentCommand::Create { answer, user });
        Ok(wharf_bus::instance_path(made.await?.0))
    }

    async fn trace(&self, caller: Caller<'_>, writer: OwnedFd) -> fdo::Result<()> {
        root(caller).await?;
        let writer = writer.into();
        self.0
            .ask(|answer| AgentCommand::Trace { writer, answer })
            .await
    }

    async fn reasons(&self, caller: Caller<'_>) -> fdo::Result<Vec<FullReason>> {
        root(caller).await?;
        Ok(reasons(&self.0.shown.borrow()))
    }

    async fn history(&self, caller: Caller<'_>, instance: i32) -> fdo::Result<Vec<HistoryLine>> {
        let user = caller.user().await?;
        let instance = match instance {
            -1 => None,
            id => Some(InstanceId(u16::try_from(id).map_err(|_| {
                fdo::Error::InvalidArgs(format!(
                    "{id} is no instance: expected 0 to 65534, or -1 for all"
                ))
            })?)),
        };
        let lines = self
            .0
            .ask(|answer| AgentCommand::History { instance, answer });
        let mut lines = lines.await?;
        if user != ROOT {
            for line in &mut lines {
                line.reason = public::reason(line);
            }
        }
        Ok(lines.into_iter().map(line).collect())
    }

    async fn operations(&self, caller: Caller<'_>) -> fdo::Result<Vec<KeptOperation>> {
        let user = caller.user().await?;
        let operations = self.0.ask(|answer| AgentCommand::Operations { answer });
        let mut operations = operations.await?;
        if user != ROOT {
            for operation in &mut operations {
                operation.row.outcome = public::outcome(&operation.row);
            }
        }
        Ok(operations.into_iter().map(kept).collect())
    }
}

fn line(entry: HistoryEntry) -> HistoryLine {
    HistoryLine {
        at: entry.at,
        instance: entry.instance.0,
        operation: entry.operation.map(|id| id.to_string()).unwrap_or_default(),
        update_state: entry.update_state,
        update_result: entry.update_result,
        status_reason: entry.reason,
        pkg_name: entry.name,
        pkg_version: entry.version,
    }
}

fn kept(store::StoredOperation { row, package }: store::StoredOperation) -> KeptOperation {
    KeptOperation {
        id: row.id.to_string(),
        sequence: row.sequence,
        kind: row.kind.as_str().to_owned(),
        origin: requester(row.requester),
        instance: row.instance.0,
        state: row.state,
        accepted_at: row.accepted_at,
        outcome: row.outcome,
        package,
    }
}
