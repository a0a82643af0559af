//! `wharf-installer audit`, for `wharfctl doctor`: the unfinished work of the package manager, as JSON.

use std::error::Error;

use serde::Serialize;
use wharf_installers::{Root, device::Device, policy::Policy};

#[derive(Serialize)]
struct Audit {
    /// The lines of the package manager; none on a sound device.
    damage: Vec<String>,
    /// The command that lists them.
    list_damage: &'static str,
    /// The command that finishes interrupted work.
    finish_work: &'static str,
}

pub(crate) fn audit(root: &Root) -> Result<String, Box<dyn Error>> {
    let device = Device::open(root, &Policy::read(root)?)?;
    let remedies = device.packages.remedies();
    let audit = Audit {
        damage: device.packages.audit()?,
        list_damage: remedies.list_damage,
        finish_work: remedies.finish_work,
    };
    Ok(serde_json::to_string(&audit)? + "\n")
}
