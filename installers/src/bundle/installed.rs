//! The ledger of bundles: the version and the packages of each bundle that was installed. The highest version and the signer are
//! in the ledger of packages, under the name of the bundle.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use wharf_frames::{PackageName, PackageVersion};
use wharf_root::{Root, durable};

use crate::{
    ledger::{FORMAT, path_in, read, unwritten, write},
    not_done::NotDone,
};

/// A bundle that a job installed, or began to install.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct InstalledBundle {
    /// The [`FORMAT`] of this record.
    #[n(0)]
    format: u32,
    /// Its version.
    #[n(1)]
    pub version: PackageVersion,
    /// Its packages in their order. Of one that was only begun: those of the bundle before it, too.
    #[n(2)]
    pub components: Vec<PackageName>,
    /// Whether the device has it.
    #[n(3)]
    pub state: State,
}

/// The state of a bundle, as its last job left it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum State {
    /// A job installed it as a whole.
    #[n(0)]
    Whole,
    /// A job began to install it in the place of this version, and did not end well.
    #[n(1)]
    Begun(#[n(0)] Option<PackageVersion>),
    /// A job removed it. Configuration of its packages may be left.
    #[n(2)]
    Removed,
}

/// The records of a root.
#[derive(Debug, Clone)]
pub(crate) struct Bundles {
    folder: PathBuf,
}

impl InstalledBundle {
    /// A record in the format of this release.
    pub(crate) const fn new(
        version: PackageVersion,
        components: Vec<PackageName>,
        state: State,
    ) -> Self {
        Self {
            format: FORMAT,
            version,
            components,
            state,
        }
    }

    /// The same bundle after its removal.
    pub(crate) fn removed(&self) -> Self {
        Self {
            state: State::Removed,
            ..self.clone()
        }
    }

    /// The version that an upgrade starts from.
    pub(crate) const fn in_place(&self) -> Option<&PackageVersion> {
        match &self.state {
            State::Whole => Some(&self.version),
            State::Begun(before) => before.as_ref(),
            State::Removed => None,
        }
    }

    /// Whether the device has it, or a part of it.
    pub(crate) const fn is_here(&self) -> bool {
        !matches!(self.state, State::Removed)
    }
}

impl Bundles {
    /// The ledger of this root.
    pub(crate) fn of(root: &Root) -> Self {
        Self {
            // No name of a package begins with a dot.
            folder: root.ledger().join(".bundles"),
        }
    }

    /// The record of a bundle; none if no job ever installed one of this name.
    pub(crate) fn entry(&self, name: &PackageName) -> Result<Option<InstalledBundle>, NotDone> {
        read(&self.path(name)?, |entry: &InstalledBundle| entry.format)
    }

    /// A bundle of another name that has this package.
    pub(crate) fn other_with(
        &self,
        component: &PackageName,
        bundle: &PackageName,
    ) -> Result<Option<PackageName>, NotDone> {
        for name in self.names().map_err(|error| self.unlisted(&error))? {
            let has =
                |entry: InstalledBundle| entry.is_here() && entry.components.contains(component);
            if name != *bundle && self.entry(&name)?.is_some_and(has) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn names(&self) -> io::Result<Vec<PackageName>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let name = |entry: io::Result<fs::DirEntry>| {
            let name = entry.ok()?.file_name();
            // Temporary files begin with a dot.
            let name = name.to_str().filter(|name| !name.starts_with('.'))?;
            PackageName::new(name).ok()
        };
        Ok(entries.filter_map(name).collect())
    }

    /// Records that a job is about to install the bundle. Its packages belong to it from here on, even after a crash.
    pub(crate) fn begin(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        components: &[PackageName],
        before: Option<&InstalledBundle>,
    ) -> Result<(), NotDone> {
        let before = before.filter(|before| before.is_here());
        let mut components = components.to_vec();
        for component in before.iter().flat_map(|before| &before.components) {
            if !components.contains(component) {
                components.push(component.clone());
            }
        }
        let from = before.and_then(InstalledBundle::in_place).cloned();
        let entry = InstalledBundle::new(version.clone(), components, State::Begun(from));
        self.write(name, &entry)
    }

    /// Records the bundle.
    pub(crate) fn write(&self, name: &PackageName, entry: &InstalledBundle) -> Result<(), NotDone> {
        let path = self.path(name)?;
        durable::private_folder(&self.folder)
            .map_err(|error| unwritten(&path, &error.to_string()))?;
        write(&path, entry)
    }

    /// Records what was there before: the job changed nothing, or all of it is as before.
    pub(crate) fn restore(
        &self,
        name: &PackageName,
        before: Option<&InstalledBundle>,
    ) -> Result<(), NotDone> {
        match before {
            Some(before) => self.write(name, before),
            None => {
                let path = self.path(name)?;
                durable::remove(&path).map_err(|error| unwritten(&path, &error.to_string()))
            }
        }
    }

    fn path(&self, name: &PackageName) -> Result<PathBuf, NotDone> {
        path_in(&self.folder, name)
    }

    fn unlisted(&self, error: &io::Error) -> NotDone {
        let folder: &Path = &self.folder;
        NotDone::not_now(format!("cannot list {}: {error}", folder.display()))
    }
}
