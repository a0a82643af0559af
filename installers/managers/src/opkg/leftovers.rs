//! The files that a failed run leaves: ours are deleted, and those that were there before it are not.

use std::{collections::BTreeSet, path::Path};

use wharf_frames::{Cause, Failure, PackageName, PackageVersion};
use wharf_root::merged;

use super::{
    files,
    manager::{Opkg, unreadable},
};
use crate::OrderError;

impl Opkg {
    /// Writes the digests of a package that is about to be installed, and which files stay if it fails. Returns its folders.
    pub(super) fn write_digests(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        file: &Path,
    ) -> Result<Vec<String>, OrderError> {
        let spared = |coming: &[String]| self.spared(name, coming);
        self.records
            .write_new(name, version, file, self.contents.as_ref(), &spared)
    }

    /// The files that are not of this package although it brings them: they were there before its first run. The
    /// configuration files of the version before are with them, since opkg forgets them at a failure.
    fn spared(&self, name: &PackageName, coming: &[String]) -> Result<BTreeSet<String>, Failure> {
        let (mut spared, mut own) = match self.records.unfinished(name)? {
            // The earlier run has written files, and its record tells which of them were there before.
            Some(_) => (self.records.spared(name)?, self.records.paths(name)?),
            None => Default::default(),
        };
        self.lists
            .each(name.as_str(), &mut |path| own.push(path.to_owned()))
            .map_err(|error| unreadable(&self.lists.folder, &error.to_string()))?;
        let own: BTreeSet<String> = own.iter().map(|path| merged(path)).collect();
        let conffiles = self.entry(name)?.map(|entry| entry.conffiles);
        let conffiles = conffiles.iter().flatten();
        spared.extend(conffiles.map(|path| merged(path.trim_start_matches('/'))));
        let others = coming
            .iter()
            .filter(|path| !own.contains(&merged(path)) && files::exists(&self.root, path));
        spared.extend(others.map(|path| merged(path)));
        Ok(spared)
    }

    /// Deletes the files that a removal left: opkg deletes none of a package whose installation failed.
    pub(super) fn delete_leftovers(
        &self,
        name: &PackageName,
        paths: &[String],
        conffiles: &[String],
    ) -> Result<(), Failure> {
        let all: BTreeSet<String> = paths.iter().map(|path| merged(path)).collect();
        let others = self.owned_by_others(name, &all)?;
        let spared = self.records.spared(name)?;
        for path in paths {
            let (is_conffile, merged) = (conffiles.contains(&format!("/{path}")), merged(path));
            if is_conffile || spared.contains(&merged) || others.contains_key(&merged) {
                continue;
            }
            self.lists.delete(path).map_err(|error| {
                let detail = format!("cannot delete /{path}, which {name} left: {error}");
                Failure::new(Cause::PackageManager, detail)
            })?;
        }
        Ok(())
    }
}
