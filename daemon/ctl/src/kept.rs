//! The files of packages that wharf-installer keeps as the way back, and those that it refuses after they were sent back.

use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::{error::CommandError, output::print, program::INSTALLER};

/// A kept file. The names are wharf-installer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptVersion {
    pub(crate) version: String,
    /// It is the version before the one in place: `wharfctl back` goes there.
    pub(crate) previous: bool,
    pub(crate) bytes: u64,
}

/// The kept files of a package. None if the user is not root, or if they cannot be read now.
pub(crate) async fn of(root: &Path, package: &str) -> Option<Vec<KeptVersion>> {
    if !geteuid().is_root() {
        return None;
    }
    let (root, package): (PathBuf, String) = (root.to_owned(), package.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        INSTALLER.ask(&root, ["--json", "--", "kept", &package])
    });
    asked.await.ok()?.ok()
}

/// `wharfctl forgive`.
pub(crate) fn forgive(root: &Path, package: &str, json: bool) -> Result<(), CommandError> {
    if !geteuid().is_root() {
        return Err(CommandError::NotRoot(
            "only root may forgive a package: try sudo".to_owned(),
        ));
    }
    let mut command = INSTALLER.command(root);
    let output = command.args(["--", "forgive", package]).output();
    let output = output.map_err(|error| INSTALLER.not_started(error))?;
    if !output.status.success() {
        return Err(CommandError::Refused(INSTALLER.said(&output.stderr)));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    print(json, &said.trim(), || said.to_string())
}
