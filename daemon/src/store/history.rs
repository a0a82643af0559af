//! What servers could see, and the operations behind it: read, and bounded by count and age.

use rusqlite::{Transaction, params};
use wharf_frames::OperationId;
use wharf_software::InstanceId;

use super::{HistoryEntry, Store, StoreError, rows::Sql};
use crate::clock;

/// So many lines of history are kept.
const LINES: i64 = 1000;

/// So many operations are kept, those that have not ended aside.
pub(super) const OPERATIONS: u32 = 200;

/// Nothing older than two years is kept.
const AGE: u64 = 2 * 366 * 24 * 60 * 60;

impl Store {
    /// What servers could see, oldest first.
    pub fn history(&mut self) -> Result<Vec<HistoryEntry>, StoreError> {
        self.database.run(|connection| {
            connection
                .prepare(
                    "SELECT at, instance, operation, update_state, update_result, reason, name, version \
                     FROM history ORDER BY id",
                )?
                .query_map([], |row| {
                    Ok(HistoryEntry {
                        at: row.get::<_, Sql<u64>>(0)?.0,
                        instance: row.get::<_, Sql<InstanceId>>(1)?.0,
                        operation: row.get::<_, Option<Sql<OperationId>>>(2)?.map(|id| id.0),
                        update_state: row.get(3)?,
                        update_result: row.get(4)?,
                        reason: row.get(5)?,
                        name: row.get(6)?,
                        version: row.get(7)?,
                    })
                })?
                .collect()
        })
    }
}

/// So few lines and operations that are too old are forgotten at once: a clock that jumps far ahead and back takes few with it.
const OLD: i64 = 2;

/// Forgets what is too much, and what is too old at this moment. What was written before the clock was set has no age.
pub(super) fn forget(transaction: &Transaction<'_>, now: u64) -> rusqlite::Result<()> {
    let (oldest, built) = (Sql(now.saturating_sub(AGE)), Sql(clock::BUILT));
    transaction
        .prepare_cached(
            "DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?1 OR id IN (\
             SELECT id FROM history WHERE at >= ?2 AND at < ?3 ORDER BY id LIMIT ?4)",
        )?
        .execute(params![LINES, built, oldest, OLD])?;
    transaction
        .prepare_cached(
            "DELETE FROM operation WHERE sequence IN (SELECT sequence FROM ended_operation) AND (\
             sequence <= (SELECT max(sequence) FROM operation) - ?1 OR sequence IN (\
             SELECT sequence FROM ended_operation WHERE accepted_at >= ?2 AND accepted_at < ?3 \
             ORDER BY sequence LIMIT ?4))",
        )?
        .execute(params![OPERATIONS, built, oldest, OLD])?;
    Ok(())
}
