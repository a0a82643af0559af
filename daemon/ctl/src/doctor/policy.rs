//! Checks root's policy. wharf-installer reads it.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, unistd::geteuid};
use serde::Deserialize;
use wharf_bus::{CheckResult, CheckVerdict, bad, ok};

use crate::program;

/// A valid policy.
#[derive(Debug, Deserialize)]
pub(super) struct PolicyReport {
    policy: String,
    /// The folder of staged packages.
    pub(super) folder: PathBuf,
    pub(super) free: u64,
    pub(super) reserve: u64,
    /// The reason to doubt the clock.
    pub(super) clock: Option<DoubtReport>,
}

/// The fault of the clock, by files of the device.
#[derive(Debug, Deserialize)]
pub(super) struct DoubtReport {
    pub(super) why: String,
    /// Whether the clock is used nevertheless.
    pub(super) believed: bool,
}

/// Reads the policy. The error is the reason why it cannot be used.
pub(super) fn read(root: &Path) -> Result<PolicyReport, String> {
    program::INSTALLER.ask(root, ["--json", "--check-config"])
}

pub(super) fn finding(policy: &Result<PolicyReport, String>) -> CheckResult {
    let check = "policy";
    match policy {
        Ok(policy) => ok(check, &*policy.policy),
        Err(why) if is_forbidden(why) => bad(
            check,
            CheckVerdict::Warn,
            "only root may read it",
            "run this as root",
        ),
        Err(why) => bad(
            check,
            CheckVerdict::Fail,
            why,
            "correct it: until then no package is checked or installed, and doctor skips the keyring and the disk",
        ),
    }
}

/// Whether this user may not read the policy: wharf-installer runs as this user, and shows the system's error.
fn is_forbidden(why: &str) -> bool {
    let denied = io::Error::from(Errno::EACCES).to_string();
    !geteuid().is_root() && why.ends_with(&denied)
}
