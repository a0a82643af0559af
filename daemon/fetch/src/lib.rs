//! wharf-fetch: one process makes one attempt to download a package over http or https. It gets a URI and a
//! descriptor over the socket on descriptor 0. wharfd decides about retries.
//!
//! - [`attempt`]: the attempt, first for the detached signature, then for the package.
//! - `origin`: one GET with its redirects, credentials and timeouts.
//! - [`failure`]: errors, as [`wharf_frames::Cause`] and a text.
//! - [`staged`]: the file for the package; [`socket`]: the frames; `resolve`: name lookup.
//! - [`authorities`]: the trusted CAs. [`sandbox`]: the privileges that the process drops at its start.
//! - Pure: [`uri`], [`pace`], [`redirect`], [`range`], [`retry_after`], [`signature`].

pub mod attempt;
pub mod authorities;
pub mod failure;
mod origin;
pub mod pace;
pub mod range;
pub mod redirect;
mod resolve;
pub mod retry_after;
pub mod sandbox;
pub mod signature;
pub mod socket;
pub mod staged;
pub mod uri;
