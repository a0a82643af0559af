//! The stored operations, and those of them that D-Bus shows.

use std::collections::HashMap;

use wharf_frames::{OperationId, PackageName, Text};
use wharf_software::{InstanceId, OperationKind, Requester};

use super::{HistoryEntry, Store, StoreError, history, rows::Sql};

/// An operation, with the outcome of its first step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRow {
    /// Its id.
    pub id: OperationId,
    /// Rises with each accepted operation.
    pub sequence: u64,
    /// Its kind.
    pub kind: OperationKind,
    /// Its requester.
    pub requester: Requester,
    /// Its instance.
    pub instance: InstanceId,
    /// `queued`, `running`, `done`, `failed`.
    pub state: String,
    /// Seconds since 1970.
    pub accepted_at: u64,
    /// The Status Reason at its end; empty before.
    pub outcome: String,
    /// The package that the installer acts on, if it is known.
    pub target: Option<PackageName>,
}

/// A stored operation with its package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOperation {
    /// The operation.
    pub row: OperationRow,
    /// The package that the installer acts on, else the last one that history names for it. Empty if there is none.
    pub package: String,
}

impl Store {
    /// All stored operations, in the order of acceptance.
    pub fn kept_operations(&mut self) -> Result<Vec<StoredOperation>, StoreError> {
        let mut packages = packages(&self.history()?);
        let rows = self.operations(history::OPERATIONS)?.into_iter();
        let kept = rows.map(|row| {
            let target = row.target.as_ref().map(ToString::to_string);
            StoredOperation {
                package: target
                    .or_else(|| packages.remove(&row.id))
                    .unwrap_or_default(),
                row,
            }
        });
        Ok(kept.collect())
    }

    /// Stores the local user who cancelled this job, until the installer has answered; then none.
    pub fn keep_cancel(
        &mut self,
        operation: OperationId,
        by: Option<u32>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE operation SET cancelled_by = ? WHERE id = ?";
        self.change(sql, (by, Sql(operation)))
    }

    /// The local user who cancelled this job, while the installer has not answered.
    pub fn kept_cancel(&mut self, operation: OperationId) -> Result<Option<u32>, StoreError> {
        let sql = "SELECT cancelled_by FROM operation WHERE id = ?";
        self.database
            .run(|connection| connection.query_row(sql, [Sql(operation)], |row| row.get(0)))
    }

    /// Keeps the changes of a job beside its package, for the outcome of its operation.
    pub fn keep_beside(&mut self, operation: OperationId, beside: &Text) -> Result<(), StoreError> {
        let sql =
            "UPDATE step SET outcome = ? WHERE operation = ? AND state NOT IN ('done', 'failed')";
        self.change(sql, (beside.as_str(), Sql(operation)))
    }

    /// All that have not ended, and `ended` of those that have, in the order of acceptance.
    pub fn operations(&mut self, ended: u32) -> Result<Vec<OperationRow>, StoreError> {
        self.database.run(|connection| {
            connection
                .prepare_cached(
                    "SELECT operation.id, kind, origin, origin_id, instance, state, accepted_at, outcome, sequence, package \
                     FROM operation JOIN step ON step.operation = operation.id AND ordinal = 0 \
                     WHERE sequence NOT IN (SELECT sequence FROM ended_operation) \
                     OR sequence IN (SELECT sequence FROM ended_operation ORDER BY sequence DESC LIMIT ?) \
                     ORDER BY sequence",
                )?
                .query_map([ended], read)?
                .collect()
        })
    }
}

/// The last package that history names for each operation. A line without an operation, such as the verdict of a
/// download, belongs to the operation before it.
fn packages(lines: &[HistoryEntry]) -> HashMap<OperationId, String> {
    let (mut packages, mut before) = (HashMap::new(), HashMap::new());
    for line in lines {
        let last = before.remove(&line.instance);
        let Some(operation) = line.operation.or(last) else {
            continue;
        };
        if line.operation.is_some() {
            before.insert(line.instance, operation);
        }
        if !line.name.is_empty() && (line.operation.is_some() || !packages.contains_key(&operation))
        {
            packages.insert(operation, line.name.clone());
        }
    }
    packages
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<OperationRow> {
    let origin: String = row.get(2)?;
    Ok(OperationRow {
        id: row.get::<_, Sql<_>>(0)?.0,
        kind: row.get::<_, Sql<_>>(1)?.0,
        requester: match origin.as_str() {
            "server" => Requester::Server(row.get::<_, Sql<_>>(3)?.0),
            _ => Requester::User(row.get(3)?),
        },
        instance: row.get::<_, Sql<_>>(4)?.0,
        state: row.get(5)?,
        accepted_at: row.get::<_, Sql<_>>(6)?.0,
        outcome: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
        sequence: row.get::<_, Sql<_>>(8)?.0,
        target: row.get::<_, Option<Sql<_>>>(9)?.map(|name| name.0),
    })
}
