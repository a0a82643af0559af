//! The copy of the database from before a migration, for an older wharfd that does not know the newer schema. It has no
//! User Name, no Password and no registration.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::schema::forget;

/// The reason why no copy was made.
#[derive(Debug)]
pub(super) enum NotCopied {
    Io(io::Error),
    Sqlite(rusqlite::Error),
}

impl From<io::Error> for NotCopied {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for NotCopied {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Makes a copy of the open database, which has this schema. The copy is complete or absent.
pub(super) fn make(connection: &Connection, file: &Path, schema: u32) -> Result<(), NotCopied> {
    let copy = copy_of(file, schema);
    let part = part_of(&copy);
    // SQLite would create it readable for everybody.
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    let path = part.to_str().ok_or(io::ErrorKind::InvalidFilename);
    connection.execute("VACUUM INTO ?", [path.map_err(io::Error::from)?])?;
    forget_in(&part, schema)?;
    File::open(&part)?.sync_all()?;
    fs::rename(&part, &copy)?;
    sync_folder(file)?;
    Ok(())
}

/// Deletes the secrets, also from free pages and from a journal beside the file.
fn forget_in(part: &Path, schema: u32) -> rusqlite::Result<()> {
    let copy = Connection::open(part)?;
    copy.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    copy.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    copy.execute_batch(forget(schema))?;
    copy.close().map_err(|(_, error)| error)
}

/// Replaces a database that is too new by the newest usable copy, and moves it aside. Returns the schema of the copy;
/// none if there is no copy. The database must be closed.
pub(super) fn restore(file: &Path, known: u32) -> io::Result<Option<u32>> {
    let Some(schema) = (1..=known)
        .rev()
        .find(|schema| copy_of(file, *schema).exists())
    else {
        return Ok(None);
    };
    if beside(file, "-wal").exists() {
        return Ok(None); // it was not closed cleanly, and SQLite would apply its log to the copy
    }
    let aside = set_aside(file);
    remove(&aside)?;
    // The path always has a database: without one, wharfd would create an empty one.
    fs::hard_link(file, &aside)?;
    fs::rename(copy_of(file, schema), file)?;
    sync_folder(file)?;
    Ok(Some(schema))
}

/// The path of a database that is too new.
pub(super) fn set_aside(file: &Path) -> PathBuf {
    beside(file, ".newer")
}

pub(super) fn copy_of(file: &Path, schema: u32) -> PathBuf {
    beside(file, &format!(".schema-{schema}"))
}

/// Removes the copy of an interrupted migration, which may have User Name and Password.
pub(super) fn remove_interrupted(file: &Path, known: u32) -> io::Result<()> {
    (1..=known).try_for_each(|schema| remove(&part_of(&copy_of(file, schema))))
}

fn part_of(copy: &Path) -> PathBuf {
    beside(copy, ".part")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
