//! The lifetime that a server wrote into its own account.

use rusqlite::{OptionalExtension, params};
use wharf_software::ShortId;

use super::{Store, StoreError, rows::Sql};

impl Store {
    /// The lifetime of the registration: the one that the server wrote, unless the configured one has changed since
    /// then.
    pub fn lifetime(&mut self, account: ShortId, configured: u32) -> Result<u32, StoreError> {
        self.database.run(|connection| {
            let written = connection
                .query_row(
                    "SELECT lifetime FROM account WHERE id = ? AND configured_lifetime = ?",
                    params![Sql(account), configured],
                    |row| row.get(0),
                )
                .optional()?;
            Ok(written.unwrap_or(configured))
        })
    }

    /// Stores a lifetime that the server wrote.
    pub fn set_lifetime(
        &mut self,
        account: ShortId,
        configured: u32,
        lifetime: u32,
    ) -> Result<(), StoreError> {
        self.change(
            "INSERT OR REPLACE INTO account (id, configured_lifetime, lifetime) VALUES (?, ?, ?)",
            params![Sql(account), configured, lifetime],
        )
    }
}
