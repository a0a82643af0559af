//! wharf-fetch: one process for one attempt to download a package over http or https. It knows a URI, a
//! descriptor and the socket on its descriptor 0; not who started it, not what the bytes are, never a retry.
//!
//! - [`attempt`]: the attempt from its request to its end: the signature beside the package, then the package.
//! - `origin`: one GET, redirects included, and what it cost in credentials.
//! - [`failure`]: what went wrong, in the terms of [`wharf_frames::Cause`].
//! - [`staged`]: the file that the bytes go into; [`socket`]: the frames; `resolve`: names to addresses.
//! - [`authorities`]: whom TLS trusts. [`sandbox`]: what the process gives up before it reads its first byte.
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
