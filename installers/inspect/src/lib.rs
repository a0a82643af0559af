//! wharf-inspect: looks into one package without any privilege, and answers one question. wharf-installer and wharf-job
//! start it; no other program links this crate, so nothing that runs as root parses a certificate, a signature or the
//! framing of a package.
//!
//! - [`run`]: the descriptors, the question, the answer.
//! - `sandbox`: gives up every privilege before the first byte is read.
//! - `verify`: the signer of the package, by a signature beside it or inside it.
//! - `files`: the files of the package that are wanted.
//! - `digests`: the digest of each of its files.
//! - `openpgp`: certificates, digests, signatures, and messages around a package.
//! - [`format`]: the parts of a package. Each format has a folder.
//! - `archive`: compressed archives inside a package.
//! - [`bundle`]: the manifest and the packages of a bundle.
//! - [`entry`]: the files, links and folders in a package.
//! - [`part`]: bytes that are read by position.

mod archive;
pub mod bundle;
mod digests;
pub mod entry;
mod files;
pub mod format;
mod openpgp;
pub mod part;
mod run;
mod sandbox;
mod verify;

pub use run::run;
