//! `wharfctl units`: the units of a package. wharf-installer knows them and their state.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{failure::Failure, look::Look, program::INSTALLER, show::print, text};

/// A unit, or a file that starts something without one. The names are wharf-installer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    pub(crate) unit: String,
    pub(crate) enabled: Option<String>,
    pub(crate) active: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) wharfd: Vec<String>,
}

pub(crate) fn units(root: &Path, package: &str, json: bool) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::NotRoot(
            "only root may read what wharfd does with units: try sudo".to_owned(),
        ));
    }
    let asked = INSTALLER.ask(root, ["--json", "--", "units", package]);
    let units: Vec<Unit> = asked.map_err(Failure::Refused)?;
    print(json, &units, || match units.is_empty() {
        true => format!("{package} has no units\n"),
        false => text::units(&units, Look::of_stdout()),
    })
}
