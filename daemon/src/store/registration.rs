//! The registration with the server and its observations, as they outlive wharfd, and the port that the server
//! knows it by.

use lwm2m::{Path, Saved, SavedObservation};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Store, StoreError};

impl Store {
    /// What was saved of the registration with this server. Another server's is of no use.
    pub fn registration(&mut self, server: &str) -> Result<Option<Saved>, StoreError> {
        self.database.transaction(|transaction| {
            let saved = transaction
                .query_row(
                    "SELECT endpoint, lwm2m_version, message_ceiling, observe_ceiling FROM registration \
                     WHERE server = ?",
                    [server],
                    |row| {
                        Ok(Saved {
                            endpoint: row.get(0)?,
                            version: row.get(1)?,
                            message_ceiling: row.get(2)?,
                            observe_ceiling: row.get(3)?,
                            ..Saved::default()
                        })
                    },
                )
                .optional()?;
            let Some(saved) = saved else {
                return Ok(None);
            };
            Ok(Some(Saved {
                location: location(transaction)?,
                observations: observations(transaction)?,
                ..saved
            }))
        })
    }

    /// Stores what is to outlive wharfd, in place of what was stored before.
    pub fn save_registration(&mut self, server: &str, saved: &Saved) -> Result<(), StoreError> {
        self.database.transaction(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO registration VALUES (1, ?, ?, ?, ?, ?)",
                params![
                    server,
                    saved.endpoint,
                    saved.version,
                    saved.message_ceiling,
                    saved.observe_ceiling
                ],
            )?;
            transaction.execute("DELETE FROM location", [])?;
            for segment in &saved.location {
                transaction
                    .prepare_cached("INSERT INTO location (segment) VALUES (?)")?
                    .execute([segment])?;
            }
            transaction.execute("DELETE FROM observation", [])?;
            for observation in &saved.observations {
                add_observation(transaction, observation)?;
            }
            Ok(())
        })?;
        wharf_fault::point("store.registration");
        Ok(())
    }

    /// The UDP port of the last run.
    pub fn local_port(&mut self) -> Result<Option<u16>, StoreError> {
        self.database.run(|connection| {
            connection
                .query_row("SELECT port FROM local_port", [], |row| row.get(0))
                .optional()
        })
    }

    /// wharfd speaks with its server from this port. The same one again costs no commit.
    pub fn set_local_port(&mut self, port: u16) -> Result<(), StoreError> {
        self.change(
            "INSERT INTO local_port VALUES (1, ?1) \
             ON CONFLICT (id) DO UPDATE SET port = ?1 WHERE port <> ?1",
            [port],
        )
    }
}

fn location(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Vec<u8>>> {
    transaction
        .prepare("SELECT segment FROM location ORDER BY ordinal")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn observations(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<SavedObservation>> {
    transaction
        .prepare(
            "SELECT object, instance, resource, token, format, block_exponent, told \
             FROM observation ORDER BY ordinal",
        )?
        .query_map([], observation)?
        .collect()
}

fn observation(row: &Row<'_>) -> rusqlite::Result<SavedObservation> {
    let object = row.get(0)?;
    let path = match (row.get(1)?, row.get(2)?) {
        (None, _) => Path::Object(object),
        (Some(instance), None) => Path::Instance(object, instance),
        (Some(instance), Some(resource)) => Path::Resource(object, instance, resource),
    };
    Ok(SavedObservation {
        path,
        token: row.get(3)?,
        format: row.get(4)?,
        block_exponent: row.get(5)?,
        told: row.get::<_, i64>(6)?.cast_unsigned(),
    })
}

fn add_observation(
    transaction: &Transaction<'_>,
    observation: &SavedObservation,
) -> rusqlite::Result<()> {
    let path = observation.path;
    transaction
        .prepare_cached(
            "INSERT INTO observation \
             (object, instance, resource, token, format, block_exponent, told) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            path.object(),
            path.instance(),
            path.resource(),
            observation.token,
            observation.format,
            observation.block_exponent,
            observation.told.cast_signed(),
        ])?;
    Ok(())
}
