//! `wharf-installer --check-config`: the effect of root's policy on this device, for people and, as JSON, for `wharfctl
//! doctor`.

use std::{error::Error, path::PathBuf};

use serde::Serialize;
use wharf_installers::{Root, clock, device::database, policy::Policy, room::Room};

#[derive(Serialize)]
struct Checked {
    policy: String,
    /// Of the disk on which packages are staged.
    folder: PathBuf,
    free: u64,
    reserve: u64,
    clock: Option<clock::Doubt>,
}

pub(crate) fn checked(root: &Root, policy: &Policy, json: bool) -> Result<String, Box<dyn Error>> {
    let (folder, Room { free, reserve }) = Room::for_staging(root, &policy.quota)?;
    let file = root.policy();
    let checked = Checked {
        policy: match file.exists() {
            true => format!("{} is sound", file.display()),
            false => format!("{} does not exist: the defaults apply", file.display()),
        },
        folder,
        free,
        reserve,
        clock: clock::doubt(root, &database(root, policy)),
    };
    Ok(match json {
        true => serde_json::to_string(&checked)?,
        false => text(&checked),
    } + "\n")
}

fn text(checked: &Checked) -> String {
    let clock = checked.clock.as_ref();
    format!(
        "{}\n{} MB are free in {}, of which {} stay free{}",
        checked.policy,
        checked.free / 1_000_000,
        checked.folder.display(),
        checked.reserve / 1_000_000,
        clock.map_or_else(String::new, |doubt| format!("\n{}", doubt.why)),
    )
}
