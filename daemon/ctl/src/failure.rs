//! Why wharfctl did not do it, what to do, and with which code it ends.

use std::{io, path::PathBuf};

use wharf_bus::ONLY_ROOT;
use zbus::fdo;

use crate::EX_USAGE;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The runtime of this program.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// There is no bus, or it speaks to nobody.
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
        "D-Bus closed the connection: what wharfd has accepted goes on, and `wharfctl watch` shows it once the bus is back"
    )]
    BusClosed,
    /// wharfd has dropped the operation, since it accepted too many others.
    #[error("wharfd does not know operation {0} any more: `wharfctl history` tells how it ended")]
    Forgotten(String),
    /// It is there, and says nothing.
    #[error("wharfd does not answer: look at `journalctl -u wharfd`")]
    Silence,
    /// Only root may.
    #[error("{0}")]
    NotRoot(String),
    /// wharfd said no, or the work ended badly.
    #[error("{0}")]
    Refused(String),
    /// wharfd's database could not read or write it now.
    #[error("{0}")]
    NotStored(String),
    /// The bus said something else.
    #[error("D-Bus: {0}")]
    Bus(Box<zbus::Error>),
    /// The command line asks for two things that do not go together.
    #[error("{0}")]
    Usage(&'static str),
    /// Somebody does not want to wait for the end.
    #[error(
        "interrupted: what wharfd has accepted goes on, as `wharfctl watch` shows. A package that is DELIVERED then \
         waits for a server's Install, `wharfctl install INSTANCE` or `wharfctl uninstall INSTANCE`"
    )]
    Interrupted,
    /// A file of the command line.
    #[error("cannot read {}: {source}", .file.display())]
    File { file: PathBuf, source: io::Error },
    /// Nobody reads what is printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    /// wharfd shows something that this wharfctl does not know.
    #[error("this wharfctl does not understand this wharfd ({0}): upgrade both together")]
    NotUnderstood(String),
}

impl Failure {
    pub(crate) fn runtime(error: io::Error) -> Self {
        Self::Runtime(error)
    }

    /// With what it is about, where wharfd has said why not.
    pub(crate) fn of(self, what: &str) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(format!("{what}: {why}")),
            Self::NotStored(why) => Self::NotStored(format!("{what}: {why}")),
            other => other,
        }
    }

    /// With another way out, where wharfd has said why not.
    pub(crate) fn or(self, advice: &str) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(format!("{why}, or {advice}")),
            other => other,
        }
    }

    /// As in sysexits.h.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => EX_USAGE,
            Self::NoBus { .. } | Self::BusClosed | Self::NoAgent | Self::Silence => 69,
            Self::NotRoot(_) => 77,
            Self::Interrupted => 128 + 2, // as a shell has it for SIGINT
            _ => 1,
        }
    }

    /// Whether nobody reads on, which is nothing to complain of.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::Print(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        fdo::Error::from(error).into()
    }
}

impl From<fdo::Error> for Failure {
    fn from(error: fdo::Error) -> Self {
        match error {
            // It may also have left while it was asked.
            fdo::Error::ServiceUnknown(_)
            | fdo::Error::NameHasNoOwner(_)
            | fdo::Error::NoReply(_) => Self::NoAgent,
            // The bus itself speaks of policies, which is of no use to who may not.
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
        let of = |error: fdo::Error| Failure::from(zbus::Error::from(error));
        let fault = of(fdo::Error::IOError("the disk is full".to_owned()));
        assert!(matches!(fault, Failure::NotStored(_)), "{fault:?}");
        let refusal = of(fdo::Error::Failed("no".to_owned()));
        assert!(matches!(refusal, Failure::Refused(_)), "{refusal:?}");
    }
}
