//! The process that called a method. Only the bus knows its user.

use zbus::{Connection, fdo, message::Header};

/// The beginning of the error for a user who may change nothing. wharfctl distinguishes it from errors of the bus.
pub const ONLY_ROOT: &str = "only root changes what is installed here";

/// The process that called a method.
pub struct Caller<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) header: Header<'a>,
}

impl Caller<'_> {
    /// The uid of the caller.
    pub async fn user(&self) -> fdo::Result<u32> {
        let sender = self.header.sender().map(|name| name.as_str());
        let reply = self
            .connection
            .call_method(
                Some("org.freedesktop.DBus"),
                "/org/freedesktop/DBus",
                Some("org.freedesktop.DBus"),
                "GetConnectionUnixUser",
                &sender.unwrap_or_default(),
            )
            .await?;
        Ok(reply.body().deserialize()?)
    }
}
