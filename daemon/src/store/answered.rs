//! Messages that changed something, with their answers. They are stored in one transaction with the change, since the
//! server may repeat them after a restart of wharfd.

use lwm2m::Answered;
use rusqlite::{Transaction, params};
use wharf_software::ShortId;

use super::{Store, StoreError, rows::Sql};

/// EXCHANGE_LIFETIME (RFC 7252 4.8.2), in seconds: a server repeats nothing later.
const LIFETIME: u64 = 247;

/// The number of stored messages of each server.
const COUNT: i64 = 64;

impl Store {
    /// The messages that this server may repeat, oldest first.
    pub fn answered(&mut self, account: ShortId, now: u64) -> Result<Vec<Answered>, StoreError> {
        self.database.run(|connection| {
            connection
                .prepare(
                    "SELECT message_id, digest, reply FROM answered \
                     WHERE account = ? AND at >= ? ORDER BY id",
                )?
                .query_map(
                    params![Sql(account), Sql(now.saturating_sub(LIFETIME))],
                    |row| {
                        Ok(Answered {
                            message_id: row.get(0)?,
                            digest: row.get::<_, i64>(1)?.cast_unsigned(),
                            reply: row.get(2)?,
                        })
                    },
                )?
                .collect()
        })
    }

    /// Deletes the messages of an account. Its server lost its state, so its next messages are new, even with the same
    /// id.
    pub fn forget_answered(&mut self, account: ShortId) -> Result<(), StoreError> {
        self.change("DELETE FROM answered WHERE account = ?", [Sql(account)])
    }
}

/// Stores a message, and deletes those that are too old or too many.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    account: ShortId,
    answered: &Answered,
    now: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO answered (account, message_id, digest, reply, at) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            Sql(account),
            answered.message_id,
            answered.digest.cast_signed(),
            answered.reply,
            Sql(now)
        ])?;
    transaction
        .prepare_cached(
            "DELETE FROM answered WHERE at < ?1 OR account = ?2 AND id <= \
             (SELECT id FROM answered WHERE account = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
        )?
        .execute(params![
            Sql(now.saturating_sub(LIFETIME)),
            Sql(account),
            COUNT
        ])?;
    Ok(())
}
