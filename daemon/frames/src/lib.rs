//! All that passes between wharfd, wharf-fetch, wharf-installer and wharf-inspect: frames, causes, verdicts.
//! One frame is one packet of a SOCK_SEQPACKET socket. This crate knows no socket and no file.
//!
//! - [`codec`]: values to bytes and back, bounded; the only door in and out.
//! - [`installer`]: what wharfd asks of the installer, and its answers.
//! - [`fetch`]: what wharfd asks of wharf-fetch, and what it reports.
//! - [`inspect`]: what the installer asks of wharf-inspect, and its answer.
//! - [`cause`]: why something failed, in the terms that become Update Results.
//! - [`names`], [`ids`], [`text`], [`secret`]: the small types all of them are made of.
//!
//! Every structure is a CBOR map with numbered fields: a number is never given a second meaning, and
//! a program passes over the numbers that it does not know. So an older wharfd works with a newer
//! installer and the reverse, as happens in every upgrade of wharfd itself.

#![forbid(unsafe_code)]

pub mod cause;
pub mod codec;
pub mod fetch;
pub mod ids;
pub mod inspect;
pub mod installer;
pub mod names;
pub mod secret;
pub mod text;

pub use cause::{Cause, Failure};
pub use codec::{FrameError, MAX_FRAME, decode, encode};
pub use ids::{OperationId, StageId};
pub use names::{PackageName, PackageVersion};
pub use secret::Secret;
pub use text::Text;
