//! What root's policy comes to, as wharf-installer says.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, unistd::geteuid};
use serde::Deserialize;
use wharf_bus::{Finding, Verdict, bad, ok};

use crate::program;

/// A policy that holds.
#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    policy: String,
    /// On the disk of which packages are staged.
    pub(super) folder: PathBuf,
    pub(super) free: u64,
    pub(super) reserve: u64,
    /// The reason to doubt the clock.
    pub(super) clock: Option<Doubt>,
}

/// The fault of the clock, by files of the device.
#[derive(Debug, Deserialize)]
pub(super) struct Doubt {
    pub(super) why: String,
    /// The clock is used all the same.
    pub(super) believed: bool,
}

/// What is read, or why that cannot be.
pub(super) fn read(root: &Path) -> Result<Policy, String> {
    program::INSTALLER.ask(root, ["--json", "--check-config"])
}

pub(super) fn finding(policy: &Result<Policy, String>) -> Finding {
    let check = "policy";
    match policy {
        Ok(policy) => ok(check, &*policy.policy),
        Err(why) if is_forbidden(why) => {
            bad(check, Verdict::Warn, "the policy is root's", "ask as root")
        }
        Err(why) => bad(
            check,
            Verdict::Fail,
            why,
            "correct that: until then nothing is judged or installed; keys and disk are looked at once it is sound",
        ),
    }
}

/// Whether this user may not read the policy: wharf-installer runs as this user, and shows the system's error.
fn is_forbidden(why: &str) -> bool {
    let denied = io::Error::from(Errno::EACCES).to_string();
    !geteuid().is_root() && why.ends_with(&denied)
}
