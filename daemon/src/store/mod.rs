//! What wharfd knows, on disk: instances, operations, effects that are still to be done, the progress of
//! downloads, history. A commit is whole or not at all. It judges no event and does no effect.
//!
//! - [`database`](self): the file, and why it cannot be used; `schema`: its tables.
//! - `kept`: the copy from before a migration, which an older wharfd takes.
//! - `commits`: one transition, in one transaction; `instances`, `effects`: its rows; `history`: what is kept of it; `rows`: our types as SQLite values.
//! - [`Download`]: how far downloads are; `registration`: what the server knows of wharfd.

mod account;
mod answered;
mod commits;
mod database;
mod downloads;
mod effects;
mod history;
mod instances;
mod kept;
mod operations;
mod registration;
mod rows;
mod schema;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use wharf_frames::OperationId;
use wharf_software::{Effect, Instance, InstanceId, Kind};

pub use commits::{Commit, DELETED};
pub use database::StoreError;
pub use downloads::Download;
pub use operations::{KeptOperation, OperationRow};

use database::Database;

/// The open database. Only one process has it.
pub struct Store {
    database: Database,
}

/// Names a stored effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(i64);

/// An effect that is still to be done, or being done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its name.
    pub id: EffectId,
    /// The instance that it is done for.
    pub instance: InstanceId,
    /// What is to be done.
    pub effect: Effect,
}

/// All that the agent takes up at its start.
#[derive(Debug, Default)]
pub struct Stored {
    /// The instances of Object 9.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// What is still to be done, in the order in which it was stored.
    pub pending: Vec<Pending>,
    /// What is accepted and has not ended, in the order of acceptance.
    pub accepted: Vec<(OperationId, Kind)>,
}

/// A change that a server could see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Seconds since 1970, as the wall clock said.
    pub at: u64,
    /// The instance.
    pub instance: InstanceId,
    /// The operation that it belongs to.
    pub operation: Option<OperationId>,
    /// Resource 7 afterwards.
    pub update_state: u8,
    /// Resource 9 afterwards.
    pub update_result: u8,
    /// Resource 16 afterwards.
    pub reason: String,
    /// Resource 0 afterwards.
    pub name: String,
    /// Resource 1 afterwards.
    pub version: String,
}

impl Store {
    /// The path of the database.
    pub fn file(root: &Path) -> PathBuf {
        root.join("var/lib/wharfd/wharfd.db")
    }

    /// Opens the database, makes it if there is none, and brings an older one to today's schema.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let database = Database::open(file, schema::MIGRATIONS)?;
        Ok(Self { database })
    }

    fn change(&mut self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        self.database.run(|connection| {
            connection.prepare_cached(sql)?.execute(values)?;
            Ok(())
        })?;
        wharf_fault::point("store.changed");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
