//! `wharfctl units`: the units of a package. wharf-installer knows them and their state.

use std::path::Path;

use crate::{
    error::CommandError, model::ShownUnit, output::print, program::INSTALLER, style::Style, text,
};

pub(crate) fn units(root: &Path, package: &str, json: bool) -> Result<(), CommandError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(CommandError::NotRoot(
            "only root may read what wharfd does with units: try sudo".to_owned(),
        ));
    }
    let asked = INSTALLER.ask(root, ["--json", "--", "units", package]);
    let units: Vec<ShownUnit> = asked.map_err(CommandError::Refused)?;
    print(json, &units, || match units.is_empty() {
        true => format!("{package} has no units\n"),
        false => text::units(&units, Style::of_stdout()),
    })
}
