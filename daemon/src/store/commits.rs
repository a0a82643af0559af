//! One transition of one instance in one transaction: the instance, its operation, new and ended effects, and a line of
//! history.

use lwm2m::Answered;
use rusqlite::{Transaction, params};
use wharf_frames::{Action, OperationId, PackageName};
use wharf_software::{
    ComponentIds, Effect, Instance, InstanceId, Operation, OperationKind, Requester, ShortId,
    UpdateState, instance::Flow, operation::Phase,
};

use super::{
    EffectId, Pending, Store, StoreError, Stored, answered, components, database, effects, history,
    instances, rows::Sql,
};
use wharf_fault as fault;

/// The reason in the last line of a deleted instance, beside its last state.
pub const DELETED: &str = "deleted";

/// A transition to store.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The instance.
    pub instance: InstanceId,
    /// Its state before; none for a new one.
    pub old: Option<&'a Instance>,
    /// Its new state; none if it is deleted.
    pub new: Option<&'a Instance>,
    /// The effects that are no longer due.
    pub over: &'a [EffectId],
    /// The new effects.
    pub effects: &'a [Effect],
    /// The ids of all components afterwards.
    pub components: &'a ComponentIds,
    /// The answered message of the request, with the account of its server.
    pub answered: Option<(ShortId, &'a Answered)>,
    /// Seconds since 1970, by the wall clock.
    pub at: u64,
}

impl Store {
    /// Makes the instances from the factory, once for each database. The administrator may still change their number
    /// until a server is configured or an instance is used.
    pub fn make_factory_instances(
        &mut self,
        count: u16,
        has_server: bool,
    ) -> Result<(), StoreError> {
        self.database.transaction(|transaction| {
            let exists = |table| {
                let query = format!("SELECT EXISTS (SELECT 1 FROM {table})");
                transaction.query_row(&query, [], |row| row.get::<_, bool>(0))
            };
            let (made, used) = (exists("factory")?, exists("history")?);
            if !made && (has_server || used) {
                transaction.execute("INSERT INTO factory VALUES (1)", [])?;
            }
            if !made && !used {
                for id in 0..count {
                    instances::put(transaction, InstanceId(id), &Instance::default())?;
                }
            }
            Ok(())
        })?;
        fault::point("store.factory");
        Ok(())
    }

    /// The state that the agent resumes at its start.
    pub fn load(&mut self) -> Result<Stored, StoreError> {
        let (instances, pending, accepted, components) =
            self.database.transaction(|transaction| {
                let instances = instances::all(transaction)?;
                Ok((
                    instances,
                    effects::pending(transaction)?,
                    accepted(transaction)?,
                    components::ids(transaction)?,
                ))
            })?;
        let mut stored = Stored {
            pending,
            accepted,
            components,
            ..Stored::default()
        };
        for (id, instance) in instances {
            let instance = instance.map_err(|what| StoreError::Row {
                file: self.database.file.clone(),
                instance: id.0,
                what,
            })?;
            stored.instances.insert(id, instance);
        }
        Ok(stored)
    }

    /// Stores a transition. Returns its stored effects, in order.
    pub fn commit(&mut self, commit: &Commit<'_>) -> Result<Vec<Pending>, StoreError> {
        fault::point("store.commit");
        let pending = self.write(commit)?;
        fault::point("store.committed");
        self.database.stale_secrets |= erases_a_secret(commit);
        self.truncate_log();
        fault::point("store.erased");
        Ok(pending)
    }

    /// The transaction of a commit.
    pub(super) fn write(&mut self, commit: &Commit<'_>) -> Result<Vec<Pending>, StoreError> {
        self.database.transaction(|transaction| {
            for id in commit.over {
                effects::delete(transaction, *id)?;
            }
            let (old, new) = (operation_of(commit.old), operation_of(commit.new));
            if let Some(operation) = new.as_ref().filter(|new| old.as_ref() != Some(new)) {
                accept(transaction, commit, operation)?;
            }
            components::put(
                transaction,
                commit.instance,
                commit.components,
                commit.old,
                commit.new,
            )?;
            match commit.new {
                Some(instance) => instances::put(transaction, commit.instance, instance)?,
                None => drop(
                    transaction
                        .execute("DELETE FROM instance WHERE id = ?", [Sql(commit.instance)])?,
                ),
            }
            if let Some(operation) = old.filter(|old| new.as_ref() != Some(old)) {
                end(transaction, &operation, commit)?;
            }
            write_history(transaction, commit)?;
            if let Some((account, message)) = commit.answered {
                answered::insert(transaction, account, message, commit.at)?;
            }
            history::forget(transaction, commit.at)?;
            effects::add(transaction, commit.instance, commit.effects)
        })
    }

    /// Deletes an effect that no event ends.
    pub fn resolve(&mut self, done: &Pending) -> Result<(), StoreError> {
        self.database.transaction(|transaction| {
            effects::delete(transaction, done.id)?;
            if let Effect::Discard { stage } = done.effect {
                transaction.execute("DELETE FROM download WHERE stage = ?", [Sql(stage)])?;
            }
            Ok(())
        })?;
        fault::point("store.resolved");
        Ok(())
    }

    /// Empties the log, which may still have a secret that `secure_delete` wiped from the database. If this fails, the
    /// commit holds nevertheless, and the next one retries.
    fn truncate_log(&mut self) {
        if !self.database.stale_secrets {
            return;
        }
        match self.database.empty_log() {
            Ok(()) => self.database.stale_secrets = false,
            Err(error) => database::tell_left_in_log(&error),
        }
    }
}

fn operation_of(instance: Option<&Instance>) -> Option<Operation> {
    instance.and_then(Instance::operation)
}

/// Whether the new row lacks a secret of the old one: User Name, Password, or a URI that may carry a token.
fn erases_a_secret(commit: &Commit<'_>) -> bool {
    let secrets = |instance: Option<&Instance>| {
        instance.map_or([const { None }; 3], |instance| {
            let uri = instance
                .delivery()
                .and_then(|delivery| match &delivery.flow {
                    Flow::Pull { uri, .. } => Some(uri.as_secret().clone()),
                    Flow::Push => None,
                });
            let settings = instance.settings();
            [settings.user_name.clone(), settings.password.clone(), uri]
        })
    };
    let (old, new) = (secrets(commit.old), secrets(commit.new));
    old.iter()
        .zip(&new)
        .any(|(old, new)| old.is_some() && old != new)
}

fn accept(
    transaction: &Transaction<'_>,
    commit: &Commit<'_>,
    operation: &Operation,
) -> rusqlite::Result<()> {
    let (origin, origin_id) = match operation.requester {
        Requester::Server(id) => ("server", u32::from(id.0)),
        Requester::User(uid) => ("user", uid),
    };
    transaction
        .prepare_cached(
            "INSERT INTO operation (id, kind, origin, origin_id, accepted_at) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            Sql(operation.id),
            Sql(operation.kind),
            origin,
            origin_id,
            Sql(commit.at),
        ])?;
    transaction
        .prepare_cached(
            "INSERT INTO step (operation, ordinal, instance, action, state, package) \
             VALUES (?, 0, ?, ?, 'queued', ?)",
        )?
        .execute(params![
            Sql(operation.id),
            Sql(commit.instance),
            Sql(operation.kind),
            commit.new.and_then(target).map(Sql),
        ])?;
    Ok(())
}

/// The package that the installer acts on. The server and history may see another one.
fn target(instance: &Instance) -> Option<PackageName> {
    match instance.operation()?.kind {
        OperationKind::Pull | OperationKind::Push | OperationKind::Action(Action::Install) => None,
        OperationKind::Action(_) => instance.subject().cloned(),
    }
}

fn end(
    transaction: &Transaction<'_>,
    operation: &Operation,
    commit: &Commit<'_>,
) -> rusqlite::Result<()> {
    let new = commit.new;
    let component = commit.old.and_then(Instance::switching);
    let done = new.is_some_and(|instance| match component {
        Some(_) => instance.last_failure().is_none(),
        None => reached(operation.kind, instance),
    });
    let state = if done { "done" } else { "failed" };
    let outcome = new.map_or_else(
        || "the instance was deleted".to_owned(),
        |instance| instance.status_reason().to_string(),
    );
    transaction
        .prepare_cached(
            // The changes beside the package are there already.
            "UPDATE step SET state = ?, outcome = ? || ifnull('; ' || outcome, '') WHERE operation = ?",
        )?
        .execute(params![state, outcome, Sql(operation.id)])?;
    Ok(())
}

/// Whether the instance is in the state that an operation of this kind requests.
fn reached(kind: OperationKind, instance: &Instance) -> bool {
    let state = instance.update_state();
    match kind {
        OperationKind::Pull | OperationKind::Push => state == UpdateState::Delivered,
        OperationKind::Action(Action::Install) => state == UpdateState::Installed,
        OperationKind::Action(Action::Uninstall) => instance.software().is_none(),
        // A purge that left configuration has a note.
        OperationKind::Action(Action::Purge) => {
            instance.software().is_none() && instance.note().is_none()
        }
        OperationKind::Action(action @ (Action::Activate | Action::Deactivate)) => {
            let is_as_asked = instance.all_run(action == Action::Activate);
            let is_there = instance.software().is_some();
            is_there && is_as_asked && instance.last_failure().is_none()
        }
        OperationKind::Action(Action::Back) => {
            state == UpdateState::Installed && instance.last_failure().is_none()
        }
    }
}

/// The state of an operation that has not ended.
fn follow(transaction: &Transaction<'_>, instance: &Instance) -> rusqlite::Result<()> {
    let (Some(operation), Some(phase)) = (instance.operation(), instance.phase()) else {
        return Ok(());
    };
    let state = if phase == Phase::Gate {
        "queued"
    } else {
        "running"
    };
    transaction
        .prepare_cached("UPDATE step SET state = ?1 WHERE operation = ?2 AND state <> ?1")?
        .execute(params![state, Sql(operation.id)])?;
    Ok(())
}

fn write_history(transaction: &Transaction<'_>, commit: &Commit<'_>) -> rusqlite::Result<()> {
    let (instance, reason) = match (commit.old, commit.new) {
        (None, None) => return Ok(()),
        (Some(last), None) => (last, DELETED.to_owned()),
        (old, Some(instance)) => {
            follow(transaction, instance)?;
            if old.is_some_and(|old| wharf_software::changes(old, instance).is_empty()) {
                return Ok(());
            }
            (instance, instance.status_reason().to_string())
        }
    };
    let operation = instance.operation().or(operation_of(commit.old));
    transaction
        .prepare_cached(
            "INSERT INTO history (at, instance, operation, update_state, update_result, reason, name, version) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            Sql(commit.at),
            Sql(commit.instance),
            operation.map(|operation| Sql(operation.id)),
            Sql(instance.update_state()),
            Sql(instance.update_result()),
            reason,
            instance.pkg_name(),
            instance.pkg_version(),
        ])?;
    Ok(())
}

fn accepted(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(OperationId, OperationKind)>> {
    transaction
        .prepare(
            "SELECT id, kind FROM operation WHERE sequence NOT IN (SELECT sequence FROM ended_operation) ORDER BY sequence",
        )?
        .query_map([], |row| {
            Ok((
                row.get::<_, Sql<OperationId>>(0)?.0,
                row.get::<_, Sql<OperationKind>>(1)?.0,
            ))
        })?
        .collect()
}
