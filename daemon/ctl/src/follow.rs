//! Follows a change from its request to the end of its operation, across restarts of wharfd. It follows the id of the
//! operation and not the instance, which a server may have changed, deleted or recreated meanwhile.

use std::{pin::pin, slice, time::Duration};

use nix::unistd::geteuid;
use tokio::time::timeout;
use wharf_bus::{InstanceCall, operation_name};
use wharf_frames::Action;
use wharf_software::OperationKind;

use crate::{
    agent::{AgentClient, Changes},
    error::CommandError,
    model::{INITIAL, ShownInstance, ShownOperation, Snapshot},
    text,
    watch::Screen,
};

/// The longest wait before the next request, if wharfd cannot read its database now.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows the operations of one command.
pub(crate) struct Follower<'a> {
    agent: &'a AgentClient,
    pub(crate) json: bool,
    changes: Changes,
    screen: Screen,
    /// The sequence of the last operation that was accepted before the next request.
    known: u64,
}

/// The end of an operation, with the state of wharfd at that moment.
pub(crate) struct OperationEnd {
    pub(crate) operation: ShownOperation,
    pub(crate) snapshot: Snapshot,
}

impl OperationEnd {
    /// An error with the reason, unless the operation did what was requested.
    pub(crate) fn succeeded(&self) -> Result<(), CommandError> {
        match self.operation.end() {
            Some(true) => Ok(()),
            _ => Err(CommandError::Refused(text::ended(
                &self.operation,
                self.instance(),
            ))),
        }
    }

    /// The instance at that moment; none if it was deleted.
    pub(crate) fn instance(&self) -> Option<&ShownInstance> {
        self.snapshot.by_id(self.operation.instance)
    }
}

impl<'a> Follower<'a> {
    /// Subscribes to changes: no later one is missed.
    pub(crate) async fn new(agent: &'a AgentClient, json: bool) -> Result<Self, CommandError> {
        Ok(Self {
            agent,
            json,
            changes: agent.changes().await?,
            screen: Screen::new(json),
            known: 0,
        })
    }

    /// The state of wharfd before any request. Does not wait if wharfd is away.
    pub(crate) async fn snapshot(&mut self) -> Result<Snapshot, CommandError> {
        let snapshot = self.agent.snapshot().await?;
        self.known = snapshot.sequence();
        Ok(snapshot)
    }

    /// The state of wharfd, as soon as it runs and answers.
    pub(crate) async fn wait_for_wharfd(&mut self) -> Result<Snapshot, CommandError> {
        loop {
            match self.agent.snapshot().await {
                Err(CommandError::Silence) => drop(self.screen.show_away()),
                Err(CommandError::NoAgent) => {
                    let _ = self.screen.show_away();
                    self.changes.next().await?;
                }
                snapshot => return snapshot,
            }
        }
    }

    /// Creates an instance; none if a restart of wharfd lost the answer. The instance may exist then.
    pub(crate) async fn create(&mut self) -> Result<Option<u16>, CommandError> {
        match self.agent.create_instance().await {
            Ok(id) => Ok(Some(id)),
            Err(CommandError::NoAgent) => {
                self.changes.next().await?;
                self.wait_for_wharfd().await.map(|_| None)
            }
            Err(error) => Err(error),
        }
    }

    /// Requests a change of the instance `before`. Returns the id of its operation; none if no work is left. If a
    /// restart of wharfd lost the answer, this looks for it in the stored operations.
    pub(crate) async fn ask(
        &mut self,
        before: &ShownInstance,
        change: &InstanceCall,
    ) -> Result<Option<String>, CommandError> {
        loop {
            match self.answer(before.id, change).await {
                Err(CommandError::NoAgent) => {}
                answered => return answered,
            }
            let _ = self.screen.show_away();
            self.changes.next().await?; // the old wharfd may still own the name on the bus
            let snapshot = self.wait_for_wharfd().await?;
            let begun = kind(change);
            let begun = begun.and_then(|kind| snapshot.begun(before.id, kind, self.known));
            if let Some(operation) = begun.filter(|one| one.is_of_user(geteuid().as_raw())) {
                return Ok(Some(operation.id.clone()));
            }
            if is_done(change, before, snapshot.by_id(before.id)) {
                return Ok(None);
            }
        }
    }

    async fn answer(
        &mut self,
        id: u16,
        change: &InstanceCall,
    ) -> Result<Option<String>, CommandError> {
        let mut asked = pin!(self.agent.change(id, change));
        loop {
            match timeout(self.agent.patience, &mut asked).await {
                Ok(answered) => return answered,
                Err(_) => drop(self.screen.show_away()),
            }
        }
    }

    /// Reads an ended operation that the bus no longer shows.
    async fn kept(&self, operation: &str) -> Result<ShownOperation, CommandError> {
        let kept = self.agent.operations().await?.into_iter();
        let mut kept = kept.map(|kept| kept.operation);
        let found = kept.find(|kept| kept.id == operation);
        found.ok_or_else(|| CommandError::Forgotten(operation.to_owned()))
    }

    /// Shows the result for the instance without an operation.
    pub(crate) fn show(&mut self, instance: Option<&ShownInstance>) {
        let _ = self.screen.show(instance.map_or(&[], slice::from_ref));
        let _ = self.screen.clear();
    }

    /// Shows the changes of the instance until this operation ends, also across restarts of wharfd or without a reader
    /// of the output.
    pub(crate) async fn end_of(&mut self, operation: &str) -> Result<OperationEnd, CommandError> {
        loop {
            let snapshot = self.wait_for_wharfd().await?;
            let found = match snapshot.operation(operation) {
                Some(found) => found.clone(),
                None => match self.kept(operation).await {
                    Err(CommandError::NoAgent | CommandError::Silence) => continue,
                    Err(CommandError::NotStored(_)) => {
                        self.changes.next_within(AGAIN).await?;
                        continue;
                    }
                    kept => kept?,
                },
            };
            let instance = snapshot.by_id(found.instance);
            let _ = self.screen.show(instance.map_or(&[], slice::from_ref));
            if found.end().is_some() {
                let _ = self.screen.clear();
                if let Some(beside) = text::beside(&found, instance) {
                    let _ = self.screen.show_beside(found.instance, beside);
                }
                self.known = snapshot.sequence();
                return Ok(OperationEnd {
                    operation: found,
                    snapshot,
                });
            }
            self.changes.next().await?;
        }
    }
}

/// The kind of the operation for this change, if it may need one.
const fn kind(change: &InstanceCall) -> Option<&'static str> {
    match change {
        InstanceCall::WritePackageUri { .. } => Some(OperationKind::Pull.as_str()),
        InstanceCall::WritePackage { .. } => Some(OperationKind::Push.as_str()),
        InstanceCall::Perform(action) => Some(action.as_str()),
        _ => None,
    }
}

/// Whether the change was done at once, without an operation.
fn is_done(change: &InstanceCall, before: &ShownInstance, now: Option<&ShownInstance>) -> bool {
    let Some(now) = now else {
        return matches!(change, InstanceCall::Cancel(_) | InstanceCall::Delete);
    };
    match change {
        InstanceCall::Perform(Action::Uninstall) | InstanceCall::UninstallForUpdate => {
            before.update_state != INITIAL && now.update_state == INITIAL
        }
        // The record of the operation has its end.
        InstanceCall::Cancel(operation) => now.operation.as_deref() != operation_name(operation),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use wharf_bus::operation_path;

    use super::*;

    fn that_runs(operation: Option<&str>) -> ShownInstance {
        ShownInstance {
            operation: operation.map(ToOwned::to_owned),
            ..ShownInstance::empty()
        }
    }

    #[test]
    fn a_cancel_is_asked_again_only_while_the_operation_that_it_names_runs() {
        let cancel = InstanceCall::Cancel(operation_path("pull"));
        let before = that_runs(Some("pull"));
        for (now, done) in [
            (Some(that_runs(Some("pull"))), false),
            (Some(that_runs(Some("install"))), true),
            (Some(that_runs(None)), true),
            (None, true),
        ] {
            assert_eq!(is_done(&cancel, &before, now.as_ref()), done, "{now:?}");
        }
    }
}
