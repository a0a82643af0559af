//! Why wharfctl did not do it, what to do, and with which code it ends.

use std::{io, path::PathBuf};

use zbus::fdo;

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
    /// The bus knows no wharfd.
    #[error(
        "wharfd does not run, or is not on D-Bus: look at `systemctl status wharfd` and `journalctl -u wharfd`, \
             and start it with `systemctl start wharfd`"
    )]
    NoAgent,
    /// Only root may.
    #[error("{0}")]
    NotRoot(String),
    /// wharfd said no, or the work ended badly.
    #[error("{0}")]
    Refused(String),
    /// The bus said something else.
    #[error("D-Bus: {0}")]
    Bus(Box<zbus::Error>),
    /// A file of the command line.
    #[error("cannot read {}: {source}", .file.display())]
    File { file: PathBuf, source: io::Error },
    /// Nobody reads what is printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    /// wharfd shows something that this wharfctl does not know.
    #[error("wharfd shows no {0} as this wharfctl knows it: upgrade both together")]
    NotUnderstood(String),
}

impl Failure {
    pub(crate) fn runtime(error: io::Error) -> Self {
        Self::Runtime(error)
    }

    /// As in sysexits.h.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::NoBus { .. } | Self::NoAgent => 69,
            Self::NotRoot(_) => 77,
            _ => 1,
        }
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        match fdo::Error::from(error) {
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Self::NoAgent,
            // The bus itself speaks of policies, which is of no use to who may not.
            fdo::Error::AccessDenied(text) => Self::NotRoot(match text.starts_with("only root") {
                true => text,
                false => "only root changes what is installed here: try sudo".to_owned(),
            }),
            fdo::Error::Failed(text)
            | fdo::Error::InvalidArgs(text)
            | fdo::Error::UnknownObject(text)
            | fdo::Error::IOError(text) => Self::Refused(text),
            fdo::Error::ZBus(error) => Self::Bus(Box::new(error)),
            other => Self::Refused(other.to_string()),
        }
    }
}
