//! The pending effects. The transaction of an effect for the installer is in the steps of its operation.

use rusqlite::{Row, Transaction, params};
use wharf_frames::{Action, OperationId, PackageName, StageId, Step};
use wharf_software::{
    Effect, InstanceId,
    effect::{EffectKind, EffectRecord},
};

use super::{EffectId, Pending, rows::Sql};

/// The format of stored effects. A release reads this one and the one before.
const FORMAT: i64 = 1;

/// Adds the effects of an instance that are stored.
pub(super) fn add(
    transaction: &Transaction<'_>,
    instance: InstanceId,
    effects: &[Effect],
) -> rusqlite::Result<Vec<Pending>> {
    let mut added = Vec::new();
    for effect in effects.iter().filter(|effect| lasts(effect.kind())) {
        let record = EffectRecord::from(effect);
        if let (Some(operation), Some(steps)) = (record.operation, &record.transaction) {
            put_steps(transaction, instance, operation, &steps.steps)?;
        }
        transaction
            .prepare_cached(
                "INSERT INTO effect (instance, format, kind, operation, stage) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![
                Sql(instance),
                FORMAT,
                Sql(record.kind),
                record.operation.map(Sql),
                record.stage.map(Sql),
            ])?;
        added.push(Pending {
            id: EffectId(transaction.last_insert_rowid()),
            instance,
            effect: effect.clone(),
        });
    }
    Ok(added)
}

pub(super) fn delete(transaction: &Transaction<'_>, id: EffectId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM effect WHERE id = ?")?
        .execute([id.0])?;
    Ok(())
}

/// All effects, in the order in which they were added.
pub(super) fn pending(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Pending>> {
    transaction
        .prepare("SELECT id, instance, kind, operation, stage, format FROM effect ORDER BY id")?
        .query_map([], |row| {
            let format = row.get(5)?;
            if format != FORMAT {
                return Err(rusqlite::Error::IntegralValueOutOfRange(5, format));
            }
            Ok(Pending {
                id: EffectId(row.get(0)?),
                instance: row.get::<_, Sql<InstanceId>>(1)?.0,
                effect: effect(transaction, row)?,
            })
        })?
        .collect()
}

fn effect(transaction: &Transaction<'_>, row: &Row<'_>) -> rusqlite::Result<Effect> {
    let kind: EffectKind = row.get::<_, Sql<_>>(2)?.0;
    let operation = row.get::<_, Option<Sql<OperationId>>>(3)?.map(|id| id.0);
    let steps = match operation.filter(|_| kind == EffectKind::Perform) {
        Some(operation) => Some(steps(transaction, operation)?),
        None => None,
    };
    let record = EffectRecord {
        kind,
        operation,
        stage: row.get::<_, Option<Sql<_>>>(4)?.map(|id| id.0),
        transaction: steps.map(|steps| wharf_frames::Transaction { steps }),
    };
    Effect::try_from(record).map_err(|error| damaged(2, error))
}

/// Whether an effect is stored. A restart ends every writer and registers again, so those effects are not.
const fn lasts(kind: EffectKind) -> bool {
    !matches!(
        kind,
        EffectKind::StopDelivery | EffectKind::UpdateRegistration
    )
}

fn put_steps(
    transaction: &Transaction<'_>,
    instance: InstanceId,
    operation: OperationId,
    steps: &[Step],
) -> rusqlite::Result<()> {
    for (ordinal, step) in steps.iter().enumerate() {
        transaction
            .prepare_cached(
                "INSERT INTO step (operation, ordinal, instance, action, state, stage, package) \
                 VALUES (?, ?, ?, ?, 'running', ?, ?) ON CONFLICT (operation, ordinal) \
                 DO UPDATE SET stage = excluded.stage, package = excluded.package",
            )?
            .execute(params![
                Sql(operation),
                Sql(ordinal as u64),
                Sql(instance),
                Sql(step.action()),
                step.file().copied().map(Sql),
                step.package().cloned().map(Sql),
            ])?;
    }
    Ok(())
}

fn steps(transaction: &Transaction<'_>, operation: OperationId) -> rusqlite::Result<Vec<Step>> {
    transaction
        .prepare_cached(
            "SELECT action, stage, package FROM step WHERE operation = ? ORDER BY ordinal",
        )?
        .query_map([Sql(operation)], |row| {
            let action: Action = row.get::<_, Sql<_>>(0)?.0;
            let stage = row.get::<_, Option<Sql<StageId>>>(1)?;
            let package = row.get::<_, Option<Sql<PackageName>>>(2)?;
            let step = match action {
                Action::Install => stage.map(|id| Step::Install(id.0)),
                _ => package.and_then(|name| Step::on(action, name.0)),
            };
            step.ok_or_else(|| damaged(0, "a stored step has no target"))
        })?
        .collect()
}

fn damaged(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    let kind = rusqlite::types::Type::Text;
    rusqlite::Error::FromSqlConversionFailure(column, kind, error.into())
}
