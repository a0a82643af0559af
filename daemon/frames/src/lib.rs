//! The frames between wharfd, wharf-fetch, wharf-installer and wharf-inspect. One frame is one packet of a
//! SOCK_SEQPACKET socket. This crate opens no socket and no file.
//!
//! - [`action`]: the actions on packages, from a server's Execute to the job of the installer.
//! - [`codec`]: encodes and decodes frames, with a limit of their length.
//! - [`installer`]: the requests of wharfd to the installer, and the replies.
//! - [`fetch`]: the request of wharfd to wharf-fetch, and the events.
//! - [`inspect`]: the questions of root's programs to wharf-inspect, and its findings.
//! - [`packed`]: the files of a package that wharf-inspect hands to root's programs.
//! - [`cause`]: the causes of failures, from which wharfd derives Update Results.
//! - [`calendar`]: the form of a day in the text of a failure.
//! - [`names`], [`ids`], [`text`], [`Secret`]: the types of their fields.
//!
//! Every structure is a CBOR map with numbered fields. A number never changes its meaning, and a program
//! ignores unknown numbers. An older wharfd therefore works with a newer installer and the reverse, which
//! happens in every upgrade of wharfd.

#![forbid(unsafe_code)]

pub mod action;
pub mod calendar;
pub mod cause;
pub mod codec;
pub mod fetch;
pub mod ids;
pub mod inspect;
pub mod installer;
pub mod names;
pub mod packed;
pub mod text;

pub use action::{Action, Step, Transaction};
pub use cause::{Cause, Failure};
pub use codec::{FrameError, MAX_FRAME, decode, decode_record, encode, encode_record};
pub use ids::{OperationId, StageId};
pub use names::{PackageName, PackageVersion};
pub use text::Text;
pub use wharf_secret::Secret;
