//! What a server set in its own account.

use rusqlite::{OptionalExtension, params};
use wharf_software::ShortId;

use super::{Store, StoreError, rows::Sql};

impl Store {
    /// The registration's lifetime: what the server wrote, unless the administrator has configured another
    /// since then.
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

    /// The server wrote a lifetime.
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
