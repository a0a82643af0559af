//! The errors of wharfctl: the reason, the remedy, and the exit code.

use std::{io, path::PathBuf};

use wharf_bus::ONLY_ROOT;
use zbus::fdo;

use crate::EX_USAGE;

/// An error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// This program could not start.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// The bus cannot be reached.
    #[error("cannot reach D-Bus at {address}: {source}. Is dbus-daemon or dbus-broker running?")]
    NoBus {
        address: String,
        source: Box<zbus::Error>,
    },
    /// wharfd is not on the bus.
    #[error(
        "wharfd is not on D-Bus, so it does not run: `systemctl status wharfd` says why, and `wharfctl doctor` what \
         to do"
    )]
    NoAgent,
    /// The bus closed this connection and all others.
    #[error(
        "D-Bus closed the connection: accepted operations continue, and `wharfctl watch` shows them when the bus is back"
    )]
    BusClosed,
    /// wharfd has dropped the operation, since it accepted too many others.
    #[error("wharfd no longer has operation {0}: `wharfctl history` shows how it ended")]
    Forgotten(String),
    /// wharfd is on the bus, and does not answer.
    #[error("wharfd does not answer: look at `journalctl -u wharfd`")]
    Silence,
    /// Only root may.
    #[error("{0}")]
    NotRoot(String),
    /// wharfd refused the request, or the work failed.
    #[error("{0}")]
    Refused(String),
    /// wharfd's database could not be read or written.
    #[error("{0}")]
    NotStored(String),
    /// Another error of the bus.
    #[error("D-Bus: {0}")]
    Bus(Box<zbus::Error>),
    /// The arguments contradict each other.
    #[error("{0}")]
    Usage(&'static str),
    /// The user interrupted the wait.
    #[error(
        "interrupted: the accepted operation continues, and `wharfctl watch` shows it. A package that is DELIVERED then \
         waits for a server's Install, `wharfctl install INSTANCE` or `wharfctl uninstall INSTANCE`"
    )]
    Interrupted,
    /// A file of the command line cannot be read.
    #[error("cannot read {}: {source}", .file.display())]
    File { file: PathBuf, source: io::Error },
    /// The output cannot be written.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    /// wharfd sent a value that this wharfctl does not know.
    #[error("this wharfctl does not understand this wharfd ({0}): upgrade both together")]
    NotUnderstood(String),
}

impl CommandError {
    pub(crate) fn runtime(error: io::Error) -> Self {
        Self::Runtime(error)
    }

    /// Adds the subject to a refusal of wharfd.
    pub(crate) fn of(self, what: &str) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(format!("{what}: {why}")),
            Self::NotStored(why) => Self::NotStored(format!("{what}: {why}")),
            other => other,
        }
    }

    /// Adds another remedy to a refusal of wharfd.
    pub(crate) fn or(self, advice: &str) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(format!("{why}, or {advice}")),
            other => other,
        }
    }

    /// The exit code (sysexits.h).
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => EX_USAGE,
            Self::NoBus { .. } | Self::BusClosed | Self::NoAgent | Self::Silence => 69,
            Self::NotRoot(_) => 77,
            Self::Interrupted => 128 + 2, // the code of a shell for SIGINT
            _ => 1,
        }
    }

    /// Whether the reader of the output has gone, which is not an error.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::Print(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<zbus::Error> for CommandError {
    fn from(error: zbus::Error) -> Self {
        fdo::Error::from(error).into()
    }
}

impl From<fdo::Error> for CommandError {
    fn from(error: fdo::Error) -> Self {
        match error {
            // wharfd may also have ended during the call.
            fdo::Error::ServiceUnknown(_)
            | fdo::Error::NameHasNoOwner(_)
            | fdo::Error::NoReply(_) => Self::NoAgent,
            // The text of the bus names its policy, which does not help the user.
            fdo::Error::AccessDenied(text) => Self::NotRoot(match text.starts_with(ONLY_ROOT) {
                true => text,
                false => format!("{ONLY_ROOT}: try sudo"),
            }),
            fdo::Error::Failed(text)
            | fdo::Error::InvalidArgs(text)
            | fdo::Error::UnknownObject(text) => Self::Refused(text),
            fdo::Error::IOError(text) => Self::NotStored(text),
            fdo::Error::ZBus(zbus::Error::InputOutput(_)) => Self::BusClosed,
            fdo::Error::ZBus(error) => Self::Bus(Box::new(error)),
            other => Self::Refused(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_database_is_no_refusal() {
        let of = |error: fdo::Error| CommandError::from(zbus::Error::from(error));
        let fault = of(fdo::Error::IOError("the disk is full".to_owned()));
        assert!(matches!(fault, CommandError::NotStored(_)), "{fault:?}");
        let refusal = of(fdo::Error::Failed("no".to_owned()));
        assert!(matches!(refusal, CommandError::Refused(_)), "{refusal:?}");
    }
}
