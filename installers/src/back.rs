//! The kept files of packages. The sealed file of the version in place is the way back of the next job, and the file of the
//! version before it is where `wharfctl back` goes. Each is a hard link of the staged file: no byte is written twice. One
//! folder for each package holds the files by their digests, and one record, which is replaced as a whole, says what they are.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use serde::Serialize;
use wharf_fault as fault;
use wharf_frames::{OperationId, PackageName, PackageVersion, decode, encode};
use wharf_root::{Root, durable};

use crate::{
    not_done::NotDone,
    policy::Policy,
    verdict::{self, Judged},
};

/// The kept files of a root.
#[derive(Debug, Clone)]
pub struct KeptPackages {
    folder: PathBuf,
    /// The bound on all of them.
    bytes: u64,
}

/// The kept files of one package.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct KeptVersions {
    /// The [`FORMAT`] of this record.
    #[n(0)]
    format: u32,
    /// Greater for a package that was installed later.
    #[n(1)]
    sequence: u64,
    /// The version in place, if its file is kept.
    #[n(2)]
    pub(crate) installed: Option<Judged>,
    /// The version before it, if its file is kept.
    #[n(3)]
    pub(crate) previous: Option<Previous>,
}

/// A version that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Previous {
    /// Its file.
    #[n(0)]
    pub(crate) judged: Judged,
    /// The job that replaced it, if that kept its configuration files.
    #[n(1)]
    pub(crate) configuration: Option<OperationId>,
}

/// A kept file, for an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptFile {
    /// Its package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// It is the version before the one in place: `wharfctl back` goes there.
    pub previous: bool,
    /// Its length.
    pub bytes: u64,
}

const FORMAT: u32 = 1;
const RECORD: &str = "record";

impl KeptPackages {
    /// Those of this root, within the bound of this policy.
    pub fn of(root: &Root, policy: &Policy) -> Self {
        Self {
            folder: root.back(),
            bytes: policy.back.bytes,
        }
    }

    /// The kept files of a package.
    pub(crate) fn kept(&self, name: &PackageName) -> Result<Option<KeptVersions>, NotDone> {
        let path = self.of_package(name).join(RECORD);
        let unreadable =
            |why: String| NotDone::not_now(format!("cannot read {}: {why}", path.display()));
        let Some(bytes) = durable::read(&path).map_err(|error| unreadable(error.to_string()))?
        else {
            return Ok(None);
        };
        match decode::<KeptVersions>(&bytes) {
            Ok(kept) if kept.format <= FORMAT => Ok(Some(kept)),
            Ok(_) => Err(unreadable("a newer wharfd wrote it".to_owned())),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// The file of the version in place; none if that is another version.
    pub(crate) fn installed(
        &self,
        name: &PackageName,
        version: &PackageVersion,
    ) -> Result<Option<Judged>, NotDone> {
        let installed = self.kept(name)?.and_then(|kept| kept.installed);
        Ok(installed.filter(|judged| judged.package.version == *version))
    }

    /// The path of a kept file.
    pub(crate) fn file(&self, judged: &Judged) -> PathBuf {
        let digest: String = judged.digest.iter().map(|it| format!("{it:02x}")).collect();
        self.of_package(&judged.package.name).join(digest)
    }

    /// The folder for the configuration files that a job keeps of a package.
    pub(crate) fn configuration(&self, name: &PackageName, operation: OperationId) -> PathBuf {
        self.of_package(name).join(format!("{operation}.files"))
    }

    /// Fails unless a kept file is the one that was judged, to its last byte.
    pub(crate) fn still_holds(&self, judged: &Judged) -> Result<(), NotDone> {
        let path = self.file(judged);
        match verdict::is_unchanged(&path, judged)? {
            None => Ok(()),
            Some(what) => Err(NotDone::not_now(format!("{}: {what}", path.display()))),
        }
    }

    /// Keeps the file of the version in place, and the one that it replaced. Repeating it changes nothing.
    pub(crate) fn keep(
        &self,
        stage: &Path,
        judged: &Judged,
        replaced: Option<Previous>,
        sequence: u64,
    ) -> Result<(), NotDone> {
        let name = &judged.package.name;
        let before = self.kept(name)?;
        let installed = before.as_ref().and_then(|kept| kept.installed.as_ref());
        let previous = match installed.is_some_and(|it| it.digest == judged.digest) {
            true => before.and_then(|kept| kept.previous),
            false => replaced,
        };
        let file = self.file(judged);
        let failed = |what: &str, error: &io::Error| {
            NotDone::not_now(format!("cannot {what} {}: {error}", file.display()))
        };
        durable::private_folder(&self.of_package(name)).map_err(|error| failed("keep", &error))?;
        let is_damaged = file.exists() && self.still_holds(judged).is_err();
        if is_damaged {
            durable::remove(&file).map_err(|error| failed("replace", &error))?;
        }
        match fs::hard_link(stage, &file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("keep", &error));
            }
            _ => durable::sync_folder_of(&file).map_err(|error| failed("sync", &error))?,
        }
        fault::point("back.linked");
        self.write(
            name,
            &KeptVersions {
                format: FORMAT,
                sequence,
                installed: Some(judged.clone()),
                previous,
            },
        )?;
        fault::point("back.recorded");
        self.sweep(name);
        Ok(())
    }

    /// The version before is in place. Nothing is kept of the one that it replaced.
    pub(crate) fn went_back(&self, name: &PackageName, sequence: u64) -> Result<(), NotDone> {
        let Some(kept) = self.kept(name)? else {
            return Ok(());
        };
        // Repeating it changes nothing.
        if let Some(previous) = kept.previous {
            self.write(
                name,
                &KeptVersions {
                    format: FORMAT,
                    sequence,
                    installed: Some(previous.judged),
                    previous: None,
                },
            )?;
            fault::point("back.recorded");
        }
        Ok(())
    }

    fn write(&self, name: &PackageName, kept: &KeptVersions) -> Result<(), NotDone> {
        let path = self.of_package(name).join(RECORD);
        let written = encode(kept)
            .map_err(|error| error.to_string())
            .and_then(|bytes| durable::write(&path, &bytes).map_err(|error| error.to_string()));
        written.map_err(|why| NotDone::not_now(format!("cannot write {}: {why}", path.display())))
    }

    /// Forgets a package that is gone.
    pub(crate) fn forget(&self, name: &PackageName) {
        let folder = self.of_package(name);
        let removed =
            durable::remove(&folder.join(RECORD)).and_then(|()| fs::remove_dir_all(folder));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("the kept files of {name} cannot be removed: {error}");
            }
            _ => {}
        }
    }

    /// Removes the files of a package that its record does not name. A failure leaves them to the next call.
    pub(crate) fn sweep(&self, name: &PackageName) {
        let Ok(kept) = self.kept(name) else {
            return;
        };
        let mut named = vec![self.of_package(name).join(RECORD)];
        for kept in kept.iter() {
            named.extend(kept.installed.iter().map(|judged| self.file(judged)));
            for previous in kept.previous.iter() {
                named.push(self.file(&previous.judged));
                let configuration = previous.configuration.iter();
                named.extend(configuration.map(|it| self.configuration(name, *it)));
            }
        }
        for entry in entries(&self.of_package(name)) {
            if !named.contains(&entry) {
                let _ = fs::remove_file(&entry).or_else(|_| fs::remove_dir_all(&entry));
            }
        }
    }

    /// Removes kept files until the others fit into the bound: versions before those in place first, and each from the oldest
    /// on. Those of the packages that a job `is_at_work` on are the last.
    pub(crate) fn trim(&self, is_at_work: &dyn Fn(&PackageName) -> bool) {
        for name in self.names() {
            if matches!(self.kept(&name), Ok(None)) {
                self.forget(&name);
            }
        }
        let mut total: u64 = self.names().iter().map(|name| self.size(name)).sum();
        for (name, is_installed) in self.in_order(is_at_work) {
            if total <= self.bytes {
                return;
            }
            let before = self.size(&name);
            if let Some(version) = self.drop_file(&name, is_installed) {
                total = total.saturating_sub(before.saturating_sub(self.size(&name)));
                tracing::info!(
                    WHARF_PACKAGE = name.as_str(),
                    "the file of {name} {version} is not kept: kept files have {} bytes (back.bytes in installer.toml)",
                    self.bytes
                );
            }
        }
    }

    /// Removes the first file of that order, since the disk is full. Returns whether there was one.
    pub(crate) fn make_room(&self) -> bool {
        self.in_order(&|_| false)
            .into_iter()
            .any(|(name, is_installed)| {
                let dropped = self.drop_file(&name, is_installed);
                if let Some(version) = &dropped {
                    tracing::info!(
                        WHARF_PACKAGE = name.as_str(),
                        "the file of {name} {version} is not kept: the disk has no room for a download"
                    );
                }
                dropped.is_some()
            })
    }

    /// The order in which files are removed: each package, and whether it is the file of the version in place.
    fn in_order(&self, is_at_work: &dyn Fn(&PackageName) -> bool) -> Vec<(PackageName, bool)> {
        let mut order = Vec::new();
        for name in self.names() {
            match self.kept(&name) {
                Ok(Some(kept)) => {
                    for is_installed in [false, true] {
                        let place = (is_at_work(&name), is_installed, kept.sequence);
                        order.push((place, name.clone()));
                    }
                }
                Ok(None) => {}
                Err(not_done) => tracing::warn!("{not_done}; it is left as it is"),
            }
        }
        order.sort_unstable();
        let order = order.into_iter();
        order
            .map(|((_, is_installed, _), name)| (name, is_installed))
            .collect()
    }

    /// Removes a file. Returns its version, if there was one.
    fn drop_file(&self, name: &PackageName, is_installed: bool) -> Option<PackageVersion> {
        let mut kept = self.kept(name).ok()??;
        let gone = match is_installed {
            true => kept.installed.take(),
            false => kept.previous.take().map(|previous| previous.judged),
        }?;
        if let Err(not_done) = self.write(name, &kept) {
            tracing::warn!("{not_done}");
            return None;
        }
        match (&kept.installed, &kept.previous) {
            (None, None) => self.forget(name),
            _ => self.sweep(name),
        }
        Some(gone.package.version)
    }

    /// All kept files.
    pub fn list(&self) -> Vec<KeptFile> {
        let mut files = Vec::new();
        for name in self.names() {
            let Ok(Some(kept)) = self.kept(&name) else {
                continue;
            };
            let installed = kept.installed.iter().map(|it| (it, false));
            let previous = kept.previous.iter().map(|it| (&it.judged, true));
            for (judged, previous) in installed.chain(previous) {
                files.push(KeptFile {
                    package: name.to_string(),
                    version: judged.package.version.to_string(),
                    previous,
                    bytes: judged.package.length,
                });
            }
        }
        files.sort_by(|left, right| {
            (&left.package, left.previous).cmp(&(&right.package, right.previous))
        });
        files
    }

    fn names(&self) -> Vec<PackageName> {
        let names = entries(&self.folder).into_iter();
        let named = |path: PathBuf| PackageName::new(path.file_name()?.to_str()?).ok();
        names.filter_map(named).collect()
    }

    /// The size of all that is kept of a package.
    fn size(&self, name: &PackageName) -> u64 {
        size_of(&self.of_package(name))
    }

    /// A valid name of a package has no `/` and no leading dot.
    fn of_package(&self, name: &PackageName) -> PathBuf {
        self.folder.join(name.as_str())
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn size_of(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => entries(path).iter().map(|it| size_of(it)).sum(),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}
