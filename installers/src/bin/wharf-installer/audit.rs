//! `wharf-installer audit`, for `wharfctl doctor`: the unfinished work of the package manager, as JSON.

use std::error::Error;

use serde::Serialize;
use wharf_installers::{Root, device::open_packages, policy::Policy};

#[derive(Serialize)]
struct Audit {
    /// The lines of the package manager; none on a sound device.
    damage: Vec<String>,
    /// The command that lists them.
    list_damage: &'static str,
    /// The command that finishes interrupted work.
    finish_work: &'static str,
}

/// Also answers if the policy is invalid, or this user may not read it: the audit needs only the name of the package
/// manager, and asks the default one then.
pub(crate) fn audit(root: &Root) -> Result<String, Box<dyn Error>> {
    let packages = open_packages(root, &Policy::read(root).unwrap_or_default())?;
    let remedies = packages.remedies();
    let audit = Audit {
        damage: packages.audit()?,
        list_damage: remedies.list_damage,
        finish_work: remedies.finish_work,
    };
    Ok(serde_json::to_string(&audit)? + "\n")
}
