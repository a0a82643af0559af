//! Removals, and the files that they must delete. opkg forgets a package whose files it could not delete, and reports success.

use std::{os::unix::fs::MetadataExt, path::PathBuf};

use nix::fcntl::OFlag;
use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::{Change, merged};

use super::{
    complaint, files,
    manager::{Opkg, held, judged, unreadable},
    plan,
    records::Unfinished,
    status::Entry,
};
use crate::{Brought, Supervisor, read_only};

/// The files of a package before its removal, as opkg lists them: no folders.
pub(super) struct Removed(Vec<(String, Identity)>);

/// A script may make another file of the same name.
#[derive(PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl Opkg {
    /// See [`crate::PackageManager::remove`].
    pub(super) fn remove_one(
        &self,
        name: &PackageName,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, Failure> {
        let Some(entry) = self.entry(name)? else {
            if self.records.unfinished(name)?.is_some() {
                // A first installation that was cut off.
                self.delete_leftovers(name, &self.records.paths(name)?, &[])?;
            }
            return self.records.forget(name).map(|()| Change::Unchanged);
        };
        removable(name, &entry)?;
        let held = self.run(|it| it.hold("remove", name.as_str().as_ref(), supervisor))?;
        let Some(entry) = self.entry(name)? else {
            return self.records.forget(name).map(|()| Change::Unchanged);
        };
        removable(name, &entry)?;
        let what = format!("opkg remove of {name}");
        let planned = self.run(|it| it.plan("", "remove", name.as_str().as_ref()))?;
        judged(&what, &planned.printed, |printed| {
            plan::only_removes(name, printed)
        })?;
        self.refuse_to_delete_links_of_system(name, &entry)?;
        let unfinished = self.records.unfinished(name)?;
        let is_damaged = unfinished.is_some() || !entry.is_installed();
        let mut paths = self.records.paths(name)?;
        self.lists
            .each(name.as_str(), &mut |path| paths.push(path.to_owned()))
            .map_err(|error| unreadable(&self.lists.folder, &error.to_string()))?;
        let removed = self.to_remove(name)?;
        (supervisor.begin)(&Brought::default())?;
        let ran = self.work(&[name], held, "", supervisor)?;
        if self.entry(name)?.is_none() {
            if is_damaged {
                self.delete_leftovers(name, &paths, &entry.conffiles)?;
            }
            self.check_removed(name, &entry, removed)?;
            self.records.forget(name)?;
            return self.records.forget_copy().map(|()| Change::Changed);
        }
        if ran.has_worked() {
            match unfinished {
                Some(unfinished) => self.records.write_unfinished(name, &unfinished)?,
                None => self.records.finish(name)?,
            }
            self.records.forget_copy()?;
        }
        Err(complaint::failure(&what, &ran.printed))
    }

    /// The files that opkg must delete with this package. Refuses if one of them is on a read-only file system.
    pub(super) fn to_remove(&self, name: &PackageName) -> Result<Removed, Failure> {
        let mut files = Vec::new();
        self.lists
            .each(name.as_str(), &mut |path| {
                files.extend(self.identity(path).map(|it| (path.to_owned(), it)));
            })
            .map_err(|error| unreadable(&self.lists.folder, &error.to_string()))?;
        let paths = files.iter().map(|(path, _)| self.root.path(path));
        read_only::refuse(&self.root, name, &Vec::<PathBuf>::from_iter(paths))?;
        Ok(Removed(files))
    }

    /// None for a folder, and for what is not there.
    fn identity(&self, path: &str) -> Option<Identity> {
        let there = files::open(&self.root, path.as_ref(), OFlag::O_PATH | OFlag::O_NOFOLLOW);
        let metadata = there.and_then(|it| it.metadata()).ok()?;
        (!metadata.is_dir()).then(|| Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }

    /// Fails if opkg has forgotten the package, and one of its files is still there. Then the package is put back into
    /// opkg's database with these files, as damaged: the next removal deletes them.
    pub(super) fn check_removed(
        &self,
        name: &PackageName,
        entry: &Entry,
        Removed(files): Removed,
    ) -> Result<(), Failure> {
        let paths = files.iter().map(|(path, _)| merged(path)).collect();
        let others = self.owned_by_others(name, &paths)?;
        let spared = self.records.spared(name)?;
        let stays = |path: &str| {
            let (is_conffile, merged) =
                (entry.conffiles.contains(&format!("/{path}")), merged(path));
            is_conffile || spared.contains(&merged) || others.contains_key(&merged)
        };
        let left: Vec<String> = files
            .into_iter()
            .filter(|(path, before)| !stays(path) && self.identity(path).as_ref() == Some(before))
            .map(|(path, _)| path)
            .collect();
        let Some(first) = left.first() else {
            return Ok(());
        };
        let words = match left.len() - 1 {
            0 => format!("/{first} was not deleted"),
            more => format!("/{first} and {more} more were not deleted"),
        };
        let _lock = self.run(|it| it.lock().take())?;
        self.lists.write(name.as_str(), &left)?;
        self.records.restore_status(&self.status)?;
        // The list has what is left. Another file may be one that a script made again.
        self.records.forget(name)?;
        let damaged = Unfinished::Damaged {
            installed_at: entry.installed_at.clone(),
            words: words.clone(),
        };
        self.records.write_unfinished(name, &damaged)?;
        self.records.forget_copy()?;
        let detail =
            format!("{name} is removed in part: {words}; make it deletable, and Uninstall again");
        Err(Failure::new(Cause::PackageManager, detail))
    }
}

fn removable(name: &PackageName, entry: &Entry) -> Result<(), Failure> {
    if entry.essential {
        let detail = format!("{name} is essential: it is never removed");
        return Err(Failure::new(Cause::Plan, detail));
    }
    match entry.is_held() {
        true => Err(held(name)),
        false => Ok(()),
    }
}
