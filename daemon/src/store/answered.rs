//! Messages that acted, with the answers that they got. They are stored in one step with what they did, since the server may
//! repeat them to the next wharfd.

use lwm2m::Answered;
use rusqlite::{Transaction, params};

use super::{Store, StoreError, rows::Sql};

/// EXCHANGE_LIFETIME (RFC 7252 4.8.2), in seconds: nothing is repeated later.
const LIFETIME: u64 = 247;

/// So many are kept.
const COUNT: i64 = 64;

impl Store {
    /// Those that the server may repeat still, oldest first.
    pub fn answered(&mut self, now: u64) -> Result<Vec<Answered>, StoreError> {
        self.database.run(|connection| {
            connection
                .prepare(
                    "SELECT message_id, digest, reply FROM answered WHERE at >= ? ORDER BY id",
                )?
                .query_map([Sql(now.saturating_sub(LIFETIME))], |row| {
                    Ok(Answered {
                        message_id: row.get(0)?,
                        digest: row.get::<_, i64>(1)?.cast_unsigned(),
                        reply: row.get(2)?,
                    })
                })?
                .collect()
        })
    }

    /// The server lost its state: its next messages are none of those, even if they look like one.
    pub fn forget_answered(&mut self) -> Result<(), StoreError> {
        self.change("DELETE FROM answered", [])
    }
}

/// Keeps one more, and none that is too old or too much.
pub(super) fn keep(
    transaction: &Transaction<'_>,
    answered: &Answered,
    now: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO answered (message_id, digest, reply, at) VALUES (?, ?, ?, ?)")?
        .execute(params![
            answered.message_id,
            answered.digest.cast_signed(),
            answered.reply,
            Sql(now)
        ])?;
    transaction
        .prepare_cached(
            "DELETE FROM answered WHERE at < ? OR id <= (SELECT max(id) FROM answered) - ?",
        )?
        .execute(params![Sql(now.saturating_sub(LIFETIME)), COUNT])?;
    Ok(())
}
