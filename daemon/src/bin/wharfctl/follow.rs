//! A change from its request to the end of the operation that does it, across restarts of wharfd. An operation has a name:
//! it is followed, and not the look of its instance, which a server may have changed, deleted or created again meanwhile.

use std::{pin::pin, slice, time::Duration};

use nix::unistd::geteuid;
use tokio::time::timeout;

use crate::{
    agent::{Agent, Change, Changes},
    failure::Failure,
    model::{INITIAL, Instance, Operation, Snapshot},
    text,
    watch::Screen,
};

/// wharfd cannot read its database now: it is asked again, at the latest, after this time.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows what is done for one command.
pub(crate) struct Follower<'a> {
    agent: &'a Agent,
    pub(crate) json: bool,
    changes: Changes,
    screen: Screen,
    /// The sequence of the last operation that was accepted before what is asked for next.
    known: u64,
}

/// How an operation ended, and all else at that moment.
pub(crate) struct End {
    pub(crate) operation: Operation,
    pub(crate) snapshot: Snapshot,
}

impl End {
    /// Whether it is what was asked for; if not, why.
    pub(crate) fn succeeded(&self) -> Result<(), Failure> {
        match self.operation.end() {
            Some(true) => Ok(()),
            _ => Err(Failure::Refused(text::ended(
                &self.operation,
                self.instance(),
            ))),
        }
    }

    /// What the instance is then; none where it was deleted.
    pub(crate) fn instance(&self) -> Option<&Instance> {
        self.snapshot.by_id(self.operation.instance)
    }
}

impl<'a> Follower<'a> {
    /// From now on nothing is missed.
    pub(crate) async fn new(agent: &'a Agent, json: bool) -> Result<Self, Failure> {
        Ok(Self {
            agent,
            json,
            changes: agent.changes().await?,
            screen: Screen::new(json),
            known: 0,
        })
    }

    /// What wharfd shows before anything is asked for: one that is away is not waited for.
    pub(crate) async fn look(&mut self) -> Result<Snapshot, Failure> {
        let snapshot = self.agent.snapshot().await?;
        self.known = snapshot.sequence();
        Ok(snapshot)
    }

    /// What wharfd shows, as soon as it is there and answers.
    pub(crate) async fn wait_for_wharfd(&mut self) -> Result<Snapshot, Failure> {
        loop {
            match self.agent.snapshot().await {
                Err(Failure::Silence) => drop(self.screen.show_away()),
                Err(Failure::NoAgent) => {
                    let _ = self.screen.show_away();
                    self.changes.next().await?;
                }
                snapshot => return snapshot,
            }
        }
    }

    /// A new instance; none where a restart of wharfd took the answer. The instance may be there then.
    pub(crate) async fn create(&mut self) -> Result<Option<u16>, Failure> {
        match self.agent.create_instance().await {
            Ok(id) => Ok(Some(id)),
            Err(Failure::NoAgent) => {
                self.changes.next().await?;
                self.wait_for_wharfd().await.map(|_| None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Asks for a change of an instance that was like this, and gives the name of the operation that does it; none where
    /// all is done. An answer that a restart of wharfd took is looked for in what wharfd has stored.
    pub(crate) async fn ask(
        &mut self,
        before: &Instance,
        change: &Change,
    ) -> Result<Option<String>, Failure> {
        loop {
            match self.answer(before.id, change).await {
                Err(Failure::NoAgent) => {}
                answered => return answered,
            }
            let _ = self.screen.show_away();
            self.changes.next().await?; // the name of a wharfd that ends may be there still
            let snapshot = self.wait_for_wharfd().await?;
            let begun = change.kind();
            let begun = begun.and_then(|kind| snapshot.begun(before.id, kind, self.known));
            if let Some(operation) = begun.filter(|one| one.is_of_user(geteuid().as_raw())) {
                return Ok(Some(operation.id.clone()));
            }
            if change.is_done(before, snapshot.by_id(before.id)) {
                return Ok(None);
            }
        }
    }

    async fn answer(&mut self, id: u16, change: &Change) -> Result<Option<String>, Failure> {
        let mut asked = pin!(self.agent.change(id, change));
        loop {
            match timeout(self.agent.patience, &mut asked).await {
                Ok(answered) => return answered,
                Err(_) => drop(self.screen.show_away()),
            }
        }
    }

    /// An operation that ended before the last ones that are shown.
    async fn kept(&self, operation: &str) -> Result<Operation, Failure> {
        let kept = self.agent.operations().await?.into_iter();
        let mut kept = kept.map(|kept| kept.operation);
        let found = kept.find(|kept| kept.id == operation);
        found.ok_or_else(|| Failure::Forgotten(operation.to_owned()))
    }

    /// Shows what became of an instance without an operation.
    pub(crate) fn show(&mut self, instance: Option<&Instance>) {
        let _ = self.screen.show(instance.map_or(&[], slice::from_ref));
        let _ = self.screen.clear();
    }

    /// Shows what becomes of the instance, until this operation has ended. Neither a wharfd that is away nor a terminal
    /// that nobody reads ends it.
    pub(crate) async fn end_of(&mut self, operation: &str) -> Result<End, Failure> {
        loop {
            let snapshot = self.wait_for_wharfd().await?;
            let found = match snapshot.operation(operation) {
                Some(found) => found.clone(),
                None => match self.kept(operation).await {
                    Err(Failure::NoAgent | Failure::Silence) => continue,
                    Err(Failure::NotStored(_)) => {
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
                self.known = snapshot.sequence();
                return Ok(End {
                    operation: found,
                    snapshot,
                });
            }
            self.changes.next().await?;
        }
    }
}

impl Change {
    /// The kind of the operation that does it, where one may.
    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::WritePackageUri { .. } => Some("pull"),
            Self::WritePackage { .. } => Some("push"),
            Self::Install => Some("install"),
            Self::Uninstall { for_update: false } => Some("uninstall"),
            Self::Activate => Some("activate"),
            Self::Deactivate => Some("deactivate"),
            Self::Uninstall { for_update: true } | Self::Cancel { .. } | Self::Delete => None,
        }
    }

    /// Whether it is done at once, without an operation.
    fn is_done(&self, before: &Instance, now: Option<&Instance>) -> bool {
        let Some(now) = now else {
            return matches!(self, Self::Cancel { .. } | Self::Delete);
        };
        match self {
            Self::Uninstall { .. } => before.update_state != INITIAL && now.update_state == INITIAL,
            // How the operation ended is for its own record to say.
            Self::Cancel { operation } => now.operation.as_ref() != Some(operation),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn that_runs(operation: Option<&str>) -> Instance {
        Instance {
            id: 0,
            name: None,
            version: None,
            update_state: INITIAL,
            update_state_name: String::new(),
            update_result: 0,
            status_reason: String::new(),
            active: false,
            in_place: None,
            busy: false,
            operation: operation.map(ToOwned::to_owned),
            percent: None,
        }
    }

    #[test]
    fn a_cancel_is_asked_again_only_while_the_operation_that_it_names_runs() {
        let cancel = Change::Cancel {
            operation: "pull".to_owned(),
        };
        let before = that_runs(Some("pull"));
        for (now, done) in [
            (Some(that_runs(Some("pull"))), false),
            (Some(that_runs(Some("install"))), true),
            (Some(that_runs(None)), true),
            (None, true),
        ] {
            assert_eq!(cancel.is_done(&before, now.as_ref()), done, "{now:?}");
        }
    }
}
