//! The history: the states that servers could see, and their operations, bounded by count and age.

use rusqlite::{Transaction, params};
use wharf_frames::OperationId;
use wharf_software::InstanceId;

use super::{HistoryEntry, Store, StoreError, rows::Sql};
use crate::clock;

/// The number of stored lines.
const LINES: i64 = 1000;

/// The number of stored operations, besides those that have not ended.
pub(super) const OPERATIONS: u32 = 200;

/// The largest age: two years.
const AGE: u64 = 2 * 366 * 24 * 60 * 60;

impl Store {
    /// The states that servers could see, oldest first.
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

/// The number of old lines and operations that are deleted at once: a clock that jumps far ahead and back deletes only
/// a few.
const OLD: i64 = 2;

/// Deletes lines and operations that are too many or too old. Those from before the clock was set have no age.
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
