//! The registration and the observations of each account, which outlive wharfd, and the port by which the server knows
//! wharfd.

use lwm2m::{Path, Saved, SavedObservation};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use wharf_software::ShortId;

use super::{Store, StoreError, rows::Sql};

impl Store {
    /// The saved registration of the account with this server; none if it was with another server.
    pub fn registration(
        &mut self,
        account: ShortId,
        server: &str,
    ) -> Result<Option<Saved>, StoreError> {
        self.database.transaction(|transaction| {
            let saved = transaction
                .query_row(
                    "SELECT endpoint, lwm2m_version, message_ceiling, observe_ceiling FROM registration \
                     WHERE account = ? AND server = ?",
                    params![Sql(account), server],
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
                location: location(transaction, account)?,
                observations: observations(transaction, account)?,
                ..saved
            }))
        })
    }

    /// Stores the registration of an account, in place of the earlier one.
    pub fn save_registration(
        &mut self,
        account: ShortId,
        server: &str,
        saved: &Saved,
    ) -> Result<(), StoreError> {
        self.database.transaction(|transaction| {
            // This deletes its Location-Path and its observations too.
            transaction.execute("DELETE FROM registration WHERE account = ?", [Sql(account)])?;
            transaction.execute(
                "INSERT INTO registration VALUES (?, ?, ?, ?, ?, ?)",
                params![
                    Sql(account),
                    server,
                    saved.endpoint,
                    saved.version,
                    saved.message_ceiling,
                    saved.observe_ceiling
                ],
            )?;
            for segment in &saved.location {
                transaction
                    .prepare_cached("INSERT INTO location (account, segment) VALUES (?, ?)")?
                    .execute(params![Sql(account), segment])?;
            }
            for observation in &saved.observations {
                add_observation(transaction, account, observation)?;
            }
            Ok(())
        })?;
        wharf_fault::point("store.registration");
        Ok(())
    }

    /// The UDP port of the last run.
    pub fn local_port(&mut self, account: ShortId) -> Result<Option<u16>, StoreError> {
        let query = "SELECT port FROM local_port WHERE account = ?";
        self.database.run(|connection| {
            connection
                .query_row(query, [Sql(account)], |row| row.get(0))
                .optional()
        })
    }

    /// Stores the local port. An unchanged port costs no commit.
    pub fn set_local_port(&mut self, account: ShortId, port: u16) -> Result<(), StoreError> {
        self.change(
            "INSERT INTO local_port VALUES (?1, ?2) \
             ON CONFLICT (account) DO UPDATE SET port = ?2 WHERE port <> ?2",
            params![Sql(account), port],
        )
    }
}

fn location(transaction: &Transaction<'_>, account: ShortId) -> rusqlite::Result<Vec<Vec<u8>>> {
    transaction
        .prepare("SELECT segment FROM location WHERE account = ? ORDER BY ordinal")?
        .query_map([Sql(account)], |row| row.get(0))?
        .collect()
}

fn observations(
    transaction: &Transaction<'_>,
    account: ShortId,
) -> rusqlite::Result<Vec<SavedObservation>> {
    transaction
        .prepare(
            "SELECT object, instance, resource, token, format, block_exponent, told \
             FROM observation WHERE account = ? ORDER BY ordinal",
        )?
        .query_map([Sql(account)], observation)?
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
    account: ShortId,
    observation: &SavedObservation,
) -> rusqlite::Result<()> {
    let path = observation.path;
    transaction
        .prepare_cached(
            "INSERT INTO observation \
             (account, object, instance, resource, token, format, block_exponent, told) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            Sql(account),
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
