//! The SQLite file: opens it, checks it, and migrates it to the schema of this version. It knows no table.
//!
//! - WAL and `synchronous=FULL`: a commit is one fsync, and survives a power cut.
//! - Locked exclusively from the first read: a second wharfd gets an error, and no shared memory is mapped.
//! - `secure_delete`: an erased password does not stay in a free page.
//! - The log is emptied before the first read: after a power cut it may have an erased password.
//! - Foreign keys are checked, and every table is STRICT.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{
    older_copy::{self, NotCopied},
    schema::Migration,
};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use wharf_journal::message;

/// The reason why an access to the store failed. It changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file cannot be made.
    #[error("cannot create {file}: {source}. The user wharfd must be allowed to write there")]
    Create {
        /// The database.
        file: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{file} is in use by another process: is another wharfd running?")]
    InUse {
        /// The database.
        file: PathBuf,
    },
    /// The file, its folder or the file system is read-only.
    #[error("{file} cannot be written to: make it, its folder and its file system writable")]
    ReadOnly {
        /// The database.
        file: PathBuf,
    },
    /// The disk is full. The stored data is intact.
    #[error("no room to write {file}: make room on its file system. Nothing was lost")]
    Full {
        /// The database.
        file: PathBuf,
    },
    /// A newer wharfd wrote it, and there is no copy from before.
    #[error(
        "{file} was written by a newer wharfd (schema {found}, this one knows {known}), and there is no copy of an \
         older schema beside it: install that version again"
    )]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this version knows.
        known: u32,
    },
    /// The copy from before a migration cannot be made or used. Without it nothing is migrated.
    #[error("{file}: its copy from before a migration: {source}. Nothing was changed")]
    Copy {
        /// The database.
        file: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// The file is not a database, or damaged.
    #[error("{file} is damaged ({what}). It was not changed: move it away to start without it")]
    Corrupt {
        /// The database.
        file: PathBuf,
        /// The error of SQLite.
        what: String,
    },
    /// A row that no version of wharfd writes.
    #[error("{file}: instance {instance} cannot be read: {what}")]
    Row {
        /// The database.
        file: PathBuf,
        /// The instance.
        instance: u16,
        /// The fault.
        what: String,
    },
    /// Another error of SQLite.
    #[error("{file}: {source}")]
    Sqlite {
        /// The database.
        file: PathBuf,
        /// The error.
        source: rusqlite::Error,
    },
}

/// The open file.
pub(super) struct Database {
    pub(super) file: PathBuf,
    pub(super) connection: Connection,
    /// Erased secrets may still be in the log beside the file.
    pub(super) stale_secrets: bool,
}

impl Database {
    /// Opens or creates the file, and migrates it to the newest of these schemas. If its schema is newer than that,
    /// opens the copy from before that migration.
    pub(super) fn open(file: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        create(file)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags);
        let mut database = Self {
            file: file.to_owned(),
            connection: connection.map_err(|source| explain(file, source))?,
            stale_secrets: true,
        };
        let known = migrations.len() as u32;
        let found = database.schema()?;
        if found > known {
            drop(database); // this deletes its log
            return Self::open_copy(file, migrations, found);
        }
        database.erase_leftovers(known)?;
        database.run(prepare)?;
        if 0 < found && found < known {
            database.keep(found)?;
        }
        database.run(|connection| migrate(connection, migrations, found as usize))?;
        Ok(database)
    }

    fn open_copy(file: &Path, migrations: &[Migration], found: u32) -> Result<Self, StoreError> {
        let known = migrations.len() as u32;
        let taken = older_copy::restore(file, known).map_err(|source| StoreError::Copy {
            file: file.to_owned(),
            source,
        })?;
        let Some(schema) = taken else {
            let file = file.to_owned();
            return Err(StoreError::Newer { file, found, known });
        };
        tracing::warn!(
            MESSAGE_ID = message::OLDER_COPY_TAKEN,
            "{} was written by a newer wharfd (schema {found}) and was moved to {}. This wharfd continues with the copy \
             from before (schema {schema}). It reads the state of the device, and has no record of other changes \
             since then. Write User Name and Password again",
            file.display(),
            older_copy::set_aside(file).display(),
        );
        Self::open(file, migrations)
    }

    /// Erases secrets that a power cut left on disk. A full or failing disk does not stop the start: the first commit
    /// retries.
    fn erase_leftovers(&mut self, known: u32) -> Result<(), StoreError> {
        older_copy::remove_interrupted(&self.file, known).map_err(|source| StoreError::Copy {
            file: self.file.clone(),
            source,
        })?;
        match self.empty_log() {
            Err(error @ (StoreError::Full { .. } | StoreError::Sqlite { .. })) => {
                tell_left_in_log(&error);
            }
            emptied => {
                emptied?;
                self.stale_secrets = false;
            }
        }
        Ok(())
    }

    /// Writes the whole log into the file and truncates it. `secure_delete` does not cover the log.
    pub(super) fn empty_log(&mut self) -> Result<(), StoreError> {
        let (is_busy, frames): (bool, i64) = self.run(|connection| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
        })?;
        if is_busy || frames > 0 {
            let file = self.file.clone();
            return Err(StoreError::InUse { file });
        }
        Ok(())
    }

    fn keep(&self, schema: u32) -> Result<(), StoreError> {
        let file = &self.file;
        older_copy::make(&self.connection, file, schema).map_err(|error| match error {
            NotCopied::Sqlite(source) => explain(file, source),
            NotCopied::Io(source) => StoreError::Copy {
                file: file.clone(),
                source,
            },
        })
    }

    /// Reads the schema of the file without changing it.
    fn schema(&mut self) -> Result<u32, StoreError> {
        let verdict: String = self.run(|connection| {
            // Not `Connection::busy_timeout`, which asks for an SQLite newer than Debian 12's.
            connection.pragma_update_and_check(None, "busy_timeout", 0, |_| Ok(()))?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        })?;
        if verdict != "ok" {
            return Err(StoreError::Corrupt {
                file: self.file.clone(),
                what: verdict,
            });
        }
        self.run(|connection| connection.query_row("PRAGMA user_version", [], |row| row.get(0)))
    }

    /// Runs `act` on the database, and explains its failure.
    pub(super) fn run<T>(
        &mut self,
        act: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        act(&mut self.connection).map_err(|source| explain(&self.file, source))
    }

    /// Runs `act` in one transaction: afterwards all of it is on disk, or nothing.
    pub(super) fn transaction<T>(
        &mut self,
        act: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.run(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = act(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }
}

/// Warns that the log could not be emptied.
pub(super) fn tell_left_in_log(error: &StoreError) {
    tracing::warn!(
        MESSAGE_ID = message::NOT_STORED,
        "an erased password may still be in the database's log: {error}"
    );
}

/// Creates an empty file that only its owner can read, since it will have passwords. Checks that an existing one is
/// writable: SQLite would report only an I/O error.
fn create(file: &Path) -> Result<(), StoreError> {
    let create = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut options = fs::OpenOptions::new();
        options.append(true).create(true).mode(0o600).open(file)
    };
    let file = file.to_owned();
    match create() {
        Ok(_) => Ok(()),
        Err(source) if file.exists() => {
            tracing::debug!("cannot open the database for writing: {source}");
            Err(StoreError::ReadOnly { file })
        }
        Err(source) => Err(StoreError::Create { file, source }),
    }
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -64)?; // kB: the whole database fits
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 256, |_| Ok(()))
}

fn migrate(
    connection: &mut Connection,
    migrations: &[Migration],
    found: usize,
) -> rusqlite::Result<()> {
    if found == migrations.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in migrations.iter().skip(found) {
        migration(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", migrations.len() as u32)?;
    transaction.commit()
}

fn explain(file: &Path, source: rusqlite::Error) -> StoreError {
    let file = file.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { file },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            StoreError::ReadOnly { file }
        }
        Some(ErrorCode::DiskFull) => StoreError::Full { file },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt {
            file,
            what: source.to_string(),
        },
        _ => StoreError::Sqlite { file, source },
    }
}
