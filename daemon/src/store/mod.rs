//! The state of wharfd on disk: instances, operations, pending effects, the progress of downloads, history. A commit is
//! atomic. The store makes no decision.
//!
//! - [`database`](self): the file, and the errors of its access; `schema`: its tables.
//! - `kept`: the copy from before a migration, for an older wharfd.
//! - `commits`: one transition in one transaction; `instances` and `components`: its rows; `history`: its history; `rows`: our types as
//!   SQLite values.
//! - [`Download`]: the progress of a download; `registration`: the registration of each server.

mod account;
mod answered;
mod commits;
mod components;
mod database;
mod downloads;
mod effects;
mod history;
mod instances;
mod older_copy;
mod operations;
mod registration;
mod rows;
mod schema;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use wharf_frames::OperationId;
use wharf_software::{ComponentIds, Effect, Instance, InstanceId, OperationKind};

pub use commits::{Commit, DELETED};
pub use database::StoreError;
pub use downloads::Download;
pub use operations::{OperationRow, StoredOperation};

use database::Database;

/// The open database. Only one process can have it open.
pub struct Store {
    database: Database,
}

/// The id of a stored effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(i64);

/// An effect that is not done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: EffectId,
    /// Its instance.
    pub instance: InstanceId,
    /// The effect.
    pub effect: Effect,
}

/// The state that the agent resumes at its start.
#[derive(Debug, Default)]
pub struct Stored {
    /// The instances of Object 9.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// The pending effects, in the order in which they were stored.
    pub pending: Vec<Pending>,
    /// The operations that are accepted and have not ended, in the order of acceptance.
    pub accepted: Vec<(OperationId, OperationKind)>,
    /// The ids of components in Object 14.
    pub components: ComponentIds,
}

/// A change that a server could see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Seconds since 1970, by the wall clock.
    pub at: u64,
    /// The instance.
    pub instance: InstanceId,
    /// Its operation.
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

    /// Opens the database. Creates it if there is none, and migrates an older one.
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
