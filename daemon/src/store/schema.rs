//! The tables, as a list of migrations from the empty file to this version. A released migration never changes.

use rusqlite::Transaction;

/// One step from a schema to the next.
pub(super) type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// The migrations. `user_version` counts those that were applied.
pub(super) const MIGRATIONS: &[Migration] = &[first, second, third, fourth, fifth, sixth, seventh];

/// The deletions in a copy of this schema: User Name and Password, which nothing else would erase there, and the
/// registration, whose Message IDs and Observe numbers an older wharfd would repeat.
pub(super) const fn forget(schema: u32) -> &'static str {
    match schema {
        1 => "UPDATE instance SET user_name = NULL, password = NULL",
        _ => {
            "UPDATE instance SET user_name = NULL, password = NULL; DELETE FROM location; DELETE FROM observation; \
             DELETE FROM registration; DELETE FROM answered"
        }
    }
}

fn first(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("schema_1.sql"))
}

fn second(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("schema_2.sql"))
}

fn third(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("schema_3.sql"))
}

fn fourth(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("schema_4.sql"))
}

fn fifth(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("schema_5.sql"))
}

fn sixth(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("schema_6.sql"))
}

fn seventh(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("schema_7.sql"))
}
