//! `wharf-installer audit`, for `wharfctl doctor`: the package manager, its locks and its unfinished work, as JSON.

use std::{error::Error, path::PathBuf};

use nix::unistd::geteuid;
use serde::Serialize;
use wharf_frames::PackageName;
use wharf_installers::{
    Root,
    back::{KeptFile, KeptPackages},
    device::{format, open_packages},
    policy::Policy,
};
use wharf_managers::Lock;

#[derive(Serialize)]
struct Audit {
    /// Its programs with their versions.
    version: String,
    architecture: String,
    /// The end of the name of a package file.
    format: &'static str,
    /// None if the user is not root: only root sees who holds them.
    locks: Option<Vec<Held>>,
    /// The faults that the package manager tells; none on a sound device.
    damage: Vec<String>,
    /// The words that tell how to finish interrupted work.
    remedy: &'static str,
    /// The files that are the way back; none if the user is not root, who alone sees them.
    kept: Option<Vec<KeptFile>>,
}

#[derive(Serialize)]
struct Held {
    path: PathBuf,
    /// None if the lock is free.
    holder: Option<String>,
}

/// Also answers if the policy is invalid, or this user may not read it: the audit needs only the name of the package
/// manager, and asks the default one then.
pub(crate) fn audit(root: &Root) -> Result<String, Box<dyn Error>> {
    let policy = Policy::read(root).unwrap_or_default();
    let packages = open_packages(root, &policy)?;
    let locks = match geteuid().is_root() {
        true => Some(packages.locks()?.into_iter().map(held).collect()),
        false => None,
    };
    let audit = Audit {
        version: packages.version()?,
        architecture: packages.architecture().to_owned(),
        format: format(root, &policy).ending(),
        locks,
        damage: packages.audit()?,
        remedy: packages.remedy(),
        kept: geteuid()
            .is_root()
            .then(|| KeptPackages::of(root, &policy).list()),
    };
    Ok(serde_json::to_string(&audit)? + "\n")
}

/// The kept files of this package, or of all.
pub(crate) fn kept(root: &Root, package: Option<&PackageName>) -> Result<String, Box<dyn Error>> {
    let policy = Policy::read(root)?;
    let mut kept = KeptPackages::of(root, &policy).list();
    kept.retain(|file| package.is_none_or(|package| file.package == package.as_str()));
    Ok(serde_json::to_string(&kept)? + "\n")
}

fn held(lock: Lock) -> Held {
    let Lock { path, holder } = lock;
    Held { path, holder }
}
