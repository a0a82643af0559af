//! The refusals of what a package would do to files of others: opkg does it, or notices it too late.

use std::collections::BTreeSet;

use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::{Owners, merged};

use super::{
    files,
    manager::{Opkg, unreadable},
    status::Entry,
};

impl Opkg {
    /// Refuses a package with files or folders below a link of the system, or with a folder in its place: opkg would delete
    /// the link with the package, `/lib` of a merged /usr too.
    pub(super) fn refuse_links_of_system(
        &self,
        name: &PackageName,
        folders: &[String],
    ) -> Result<(), Failure> {
        let folders = folders.iter().map(|folder| format!("{folder}/"));
        let paths = self
            .records
            .paths(name)?
            .into_iter()
            .chain(folders)
            .collect();
        match files::link_on_the_way(&self.root, &paths) {
            None => Ok(()),
            Some(link) => {
                let detail = format!(
                    "{name} has files or folders below /{link}, which is a link on this device, and opkg would delete the link with the \
                     package: build it with the folder that the link leads to"
                );
                Err(Failure::new(Cause::Plan, detail))
            }
        }
    }

    /// As [`Opkg::refuse_links_of_system`], before a removal.
    pub(super) fn refuse_to_delete_links_of_system(
        &self,
        name: &PackageName,
        entry: &Entry,
    ) -> Result<(), Failure> {
        let own = match self.records.has_digests(name, &entry.version) {
            true => Some(self.records.paths(name)?.into_iter().collect()),
            false => None,
        };
        let found = self.lists.link_of_system(name.as_str(), own.as_ref());
        match found.map_err(|error| unreadable(&self.lists.folder, &error.to_string()))? {
            None => Ok(()),
            Some(link) => {
                let list = self.configuration.info.join(format!("{name}.list"));
                let detail = format!(
                    "opkg would delete the link /{link} of this device with {name}: delete the line of /{link} in {} first",
                    list.display()
                );
                Err(Failure::new(Cause::Plan, detail))
            }
        }
    }

    /// Refuses a package with a file of another one: opkg would notice it only after it ran the first script.
    pub(super) fn refuse_others_files(&self, name: &PackageName) -> Result<(), Failure> {
        let paths = self.records.paths(name)?;
        let paths: BTreeSet<String> = paths.iter().map(|path| merged(path)).collect();
        let owners = self.owned_by_others(name, &paths)?;
        match owners.first_key_value() {
            None => Ok(()),
            Some((path, owners)) => {
                let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
                let detail = format!(
                    "{name} brings /{path}, which belongs to {}",
                    owners.join(", ")
                );
                Err(Failure::new(Cause::Plan, detail))
            }
        }
    }

    pub(super) fn owned_by_others(
        &self,
        name: &PackageName,
        paths: &BTreeSet<String>,
    ) -> Result<Owners, Failure> {
        let status = self.database()?;
        let others = status.present().map(|entry| entry.name.as_str());
        let others = others.filter(|other| *other != name.as_str());
        let owners = self.lists.owners(others, paths);
        owners.map_err(|error| unreadable(&self.lists.folder, &error.to_string()))
    }
}
