//! Bundles: several packages in one file. A bundle is a tar, plain or compressed, with `manifest.toml` first and then the
//! files that the manifest installs, in its order. This crate opens no file.
//!
//! - [`Manifest`]: what the bundle is, what it needs, and its steps. It goes to root's programs as a frame.
//! - [`draft`]: the TOML of a manifest, in which digests may be missing.
//! - [`header`]: the headers of the tar. They have exactly one form.
//! - [`names`]: names and versions of bundles, and names of files.

#![forbid(unsafe_code)]

pub mod draft;
mod error;
pub mod header;
mod manifest;
pub mod names;

pub use draft::Draft;
pub use error::ManifestError;
pub use manifest::{BundleNeeds, MAX_STEPS, Manifest, ManifestStep, Relation, VersionRange};
pub use names::FileName;

/// The name of the manifest in a bundle.
pub const MANIFEST: &str = "manifest.toml";

/// The longest manifest, in bytes.
pub const MAX_MANIFEST: u64 = 64 * 1024;
