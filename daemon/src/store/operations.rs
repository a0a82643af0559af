//! Operations as they are shown: what is accepted and has not ended, and what ended last.

use wharf_frames::OperationId;
use wharf_software::{InstanceId, Kind, Origin};

use super::{Store, StoreError, rows::Sql};

/// An operation, with the outcome of its one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRow {
    /// Its name.
    pub id: OperationId,
    /// Rises from one to the next.
    pub sequence: u64,
    /// What is done.
    pub kind: Kind,
    /// For whom.
    pub origin: Origin,
    /// To which instance.
    pub instance: InstanceId,
    /// `queued`, `running`, `done`, `failed`.
    pub state: String,
    /// Seconds since 1970.
    pub accepted_at: u64,
    /// What Status Reason read at its end; empty before.
    pub outcome: String,
}

impl Store {
    /// All that have not ended, and `ended` of those that have, in the order of acceptance.
    pub fn operations(&mut self, ended: u32) -> Result<Vec<OperationRow>, StoreError> {
        self.database.run(|connection| {
            connection
                .prepare_cached(
                    "SELECT operation.id, kind, origin, origin_id, instance, state, accepted_at, outcome, sequence \
                     FROM operation JOIN step ON step.operation = operation.id \
                     WHERE phase NOT IN ('after', 'abort') OR sequence IN (SELECT sequence FROM operation \
                     WHERE phase IN ('after', 'abort') ORDER BY sequence DESC LIMIT ?) ORDER BY sequence",
                )?
                .query_map([ended], read)?
                .collect()
        })
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<OperationRow> {
    let origin: String = row.get(2)?;
    Ok(OperationRow {
        id: row.get::<_, Sql<_>>(0)?.0,
        kind: row.get::<_, Sql<_>>(1)?.0,
        origin: match origin.as_str() {
            "server" => Origin::Server(row.get(3)?),
            _ => Origin::User(row.get(3)?),
        },
        instance: row.get::<_, Sql<_>>(4)?.0,
        state: row.get(5)?,
        accepted_at: row.get::<_, Sql<_>>(6)?.0,
        outcome: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
        sequence: row.get::<_, Sql<_>>(8)?.0,
    })
}
