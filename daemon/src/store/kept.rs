//! The copy of the database that is kept from before a migration, and what a wharfd does with it that knows no later
//! schema. It holds no User Name, no Password and no registration. Knows where copies lie, and no table but theirs.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::schema::forget;

/// Why no copy was made.
#[derive(Debug)]
pub(super) enum NotKept {
    Io(io::Error),
    Sqlite(rusqlite::Error),
}

impl From<io::Error> for NotKept {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for NotKept {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Keeps a copy of the open database, which has this schema. It is there as a whole or not at all.
pub(super) fn keep(connection: &Connection, file: &Path, schema: u32) -> Result<(), NotKept> {
    let copy = copy_of(file, schema);
    let part = part_of(&copy);
    // SQLite would make it readable for everybody.
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

/// Leaves no secret in a free page, nor in a journal beside the file.
fn forget_in(part: &Path, schema: u32) -> rusqlite::Result<()> {
    let copy = Connection::open(part)?;
    copy.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    copy.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    copy.execute_batch(forget(schema))?;
    copy.close().map_err(|(_, error)| error)
}

/// Puts the newest copy that can be used in the place of a database that is too new, which lies beside it then. Gives
/// the copy's schema; none if there is no copy. The database is closed.
pub(super) fn take(file: &Path, known: u32) -> io::Result<Option<u32>> {
    let Some(schema) = (1..=known)
        .rev()
        .find(|schema| copy_of(file, *schema).exists())
    else {
        return Ok(None);
    };
    if beside(file, "-wal").exists() {
        return Ok(None); // it could not be closed in good order, and its log would be taken for the copy's
    }
    let aside = set_aside(file);
    remove(&aside)?;
    // At no moment there is no database: an empty one would be made in its place.
    fs::hard_link(file, &aside)?;
    fs::rename(copy_of(file, schema), file)?;
    sync_folder(file)?;
    Ok(Some(schema))
}

/// Where a database that was too new lies.
pub(super) fn set_aside(file: &Path) -> PathBuf {
    beside(file, ".newer")
}

pub(super) fn copy_of(file: &Path, schema: u32) -> PathBuf {
    beside(file, &format!(".schema-{schema}"))
}

/// Removes the copy of an interrupted migration: it may hold User Name and Password.
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
