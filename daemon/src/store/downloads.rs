//! The progress of downloads. Each file has a row, which is deleted with the file.

use rusqlite::{OptionalExtension, params};
use wharf_frames::{
    StageId,
    fetch::{DURABLE_EVERY, Validator},
};

use super::{Store, StoreError, rows::Sql};

/// The progress of a download.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Download {
    /// Attempts since enough new bytes arrived, including the running one.
    pub attempts: u32,
    /// The number of durable bytes.
    pub durable: u64,
    /// The validator of the file at the origin.
    pub validator: Option<Validator>,
    /// The detached signature beside the package.
    pub signature: Option<Vec<u8>>,
    /// The file has bytes of more than one attempt.
    pub continued: bool,
    /// Its verification failed once, and it was downloaded again from the start.
    pub started_over: bool,
    /// It is complete.
    pub whole: bool,
}

impl Store {
    /// Reads the progress of the download into this file.
    pub fn download(&mut self, stage: StageId) -> Result<Download, StoreError> {
        self.database.run(|connection| {
            let found = connection
                .prepare_cached(
                    "SELECT attempts, durable, etag, last_modified, signature, continued, started_over, whole \
                     FROM download WHERE stage = ?",
                )?
                .query_row([Sql(stage)], read)
                .optional()?;
            Ok(found.unwrap_or_default())
        })
    }

    /// Whether an instance or an effect has this file.
    pub fn knows(&mut self, stage: StageId) -> Result<bool, StoreError> {
        self.database.run(|connection| {
            connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM instance WHERE stage = ?1) \
                 OR EXISTS (SELECT 1 FROM effect WHERE stage = ?1)",
                [Sql(stage)],
                |row| row.get(0),
            )
        })
    }

    /// Counts an attempt before it is made. Each attempt gets the signature again: the origin may have another file by
    /// then.
    pub fn begin_attempt(&mut self, stage: StageId) -> Result<Download, StoreError> {
        self.change(
            "INSERT INTO download (stage, attempts) VALUES (?1, 1) \
             ON CONFLICT (stage) DO UPDATE SET attempts = attempts + 1, signature = NULL",
            params![Sql(stage)],
        )?;
        self.download(stage)
    }

    /// Records that the origin sends bytes from this offset.
    pub fn note_started(
        &mut self,
        stage: StageId,
        offset: u64,
        validator: Option<&Validator>,
    ) -> Result<(), StoreError> {
        let (etag, last_modified) = match validator {
            Some(Validator::ETag(tag)) => (Some(tag), None),
            Some(Validator::LastModified(date)) => (None, Some(date)),
            None => (None, None),
        };
        self.change(
            "UPDATE download SET durable = ?2, continued = ?2 > 0, etag = ?3, last_modified = ?4 \
             WHERE stage = ?1",
            params![Sql(stage), Sql(offset), etag, last_modified],
        )
    }

    /// Records the durable bytes. Enough new ones reset the number of attempts.
    pub fn note_durable(&mut self, stage: StageId, length: u64) -> Result<(), StoreError> {
        self.change(
            "UPDATE download SET durable = ?2, \
             attempts = iif(?2 >= counted_from + ?3, 1, attempts), \
             counted_from = iif(?2 >= counted_from + ?3, ?2, counted_from) WHERE stage = ?1",
            params![Sql(stage), Sql(length), Sql(DURABLE_EVERY)],
        )
    }

    /// Records that the download is complete and durable.
    pub fn note_whole(&mut self, stage: StageId, length: u64) -> Result<(), StoreError> {
        let sql = "UPDATE download SET durable = ?2, whole = 1 WHERE stage = ?1";
        self.change(sql, params![Sql(stage), Sql(length)])
    }

    /// The detached signature beside the package.
    pub fn note_signature(&mut self, stage: StageId, signature: &[u8]) -> Result<(), StoreError> {
        let sql = "UPDATE download SET signature = ?2 WHERE stage = ?1";
        self.change(sql, params![Sql(stage), signature])
    }

    /// Resets the download: the next attempt begins at the first byte. This happens once.
    pub fn start_over(&mut self, stage: StageId) -> Result<(), StoreError> {
        self.change(
            "UPDATE download SET attempts = 0, counted_from = 0, durable = 0, etag = NULL, \
             last_modified = NULL, signature = NULL, continued = 0, started_over = 1, whole = 0 \
             WHERE stage = ?1",
            params![Sql(stage)],
        )
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Download> {
    let etag: Option<String> = row.get(2)?;
    let last_modified: Option<String> = row.get(3)?;
    Ok(Download {
        attempts: row.get(0)?,
        durable: row.get::<_, Sql<u64>>(1)?.0,
        validator: etag
            .map(Validator::ETag)
            .or(last_modified.map(Validator::LastModified)),
        signature: row.get(4)?,
        continued: row.get(5)?,
        started_over: row.get(6)?,
        whole: row.get(7)?,
    })
}
