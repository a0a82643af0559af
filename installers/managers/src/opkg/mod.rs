//! opkg, of Yocto (0.6 and before). It succeeds where it should fail: it goes down a version, takes patterns for names,
//! and writes cut files to a full disk. Policy, plan and result are therefore judged here.
//!
//! - [`manager`]: repairs, and answers questions. [`install`] and [`removal`]: what changes packages. [`refusals`]: protects the files
//!   of others. [`leftovers`]: deletes what a failed run left.
//! - [`feeds`]: gets the dependencies of an installation, by the lists of the feeds ([`index`]). [`downloads`]: keeps them for the run.
//! - [`run`]: one run of opkg, under its [`lock`] and our [`configuration`].
//! - [`status`]: its database. [`files`]: the files of installed packages, and their owners.
//! - [`manifest`]: the digests of a package's files, and the comparison with the device. [`records`]: what we keep.
//! - [`plan`] and [`complaint`]: read the output of opkg before it works, and after it failed.
//! - [`programs`]: its processes and architectures. [`version`]: names. Versions are ordered as Debian orders them.

mod complaint;
mod configuration;
mod downloads;
mod feeds;
mod files;
mod index;
mod install;
mod leftovers;
mod lock;
mod manager;
mod manifest;
mod plan;
mod programs;
#[cfg(test)]
mod recorded;
mod records;
mod refusals;
mod removal;
mod run;
mod status;
mod version;

use std::path::Path;

use wharf_frames::{Failure, packed::FileDigest};

use crate::OrderError;

pub use manager::Opkg;

/// Tells the digest of each file in a package file. It asks a process without privileges: root parses no package.
pub trait Contents: Send + Sync {
    /// Hands on each digest.
    fn each_digest(
        &self,
        package: &Path,
        each: &mut dyn FnMut(FileDigest) -> Result<(), Failure>,
    ) -> Result<(), OrderError>;
}
