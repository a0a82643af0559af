//! The orders that dnf gets.

use std::path::PathBuf;

use wharf_frames::{PackageName, PackageVersion, installer::Dependency};

use super::rpm::Copy;

/// One order.
#[derive(Clone, Copy)]
pub(super) enum Order<'a> {
    /// Replace all copies of these packages by their files.
    Install(&'a [Coming]),
    /// Remove all copies.
    Remove(&'a PackageName, &'a [Copy]),
}

/// A package that comes from a file.
#[derive(Debug, Clone)]
pub(super) struct Coming {
    /// Its path in the root, ending in `.rpm`.
    pub(super) path: PathBuf,
    pub(super) name: PackageName,
    pub(super) version: PackageVersion,
    pub(super) architecture: String,
    pub(super) allow_downgrade: bool,
    /// The copies that the device has now, the latest first.
    pub(super) copies: Vec<Copy>,
    /// It comes from a source of the device, for another package.
    pub(super) is_dependency: bool,
}

/// The kind of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Install,
    Upgrade,
    Downgrade,
    Reinstall,
}

impl Order<'_> {
    pub(super) fn names(&self) -> Vec<&PackageName> {
        match self {
            Self::Install(coming) => coming.iter().map(|it| &it.name).collect(),
            Self::Remove(name, _) => vec![name],
        }
    }

    /// As in `dnf install of acme 2-1`.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Install(coming) => told(coming),
            Self::Remove(name, _) => format!("dnf remove of {name}"),
        }
    }
}

/// The order in words. Dependencies are not named: nobody ordered them.
pub(super) fn told(coming: &[Coming]) -> String {
    let files = coming.iter().filter(|it| !it.is_dependency);
    let files: Vec<String> = files.map(Coming::told).collect();
    format!("dnf install of {}", files.join(", "))
}

impl Coming {
    /// As in `acme 2-1`.
    pub(super) fn told(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    pub(super) fn dependency(&self) -> Dependency {
        Dependency {
            name: self.name.clone(),
            version: self.version.clone(),
        }
    }

    pub(super) fn way(&self) -> Way {
        let version = &self.version;
        match self.copies.first() {
            None => Way::Install,
            Some(_) if self.copies.iter().any(|copy| copy.version == *version) => Way::Reinstall,
            Some(copy)
                if super::version::compare(version.as_str(), copy.version.as_str()).is_lt() =>
            {
                Way::Downgrade
            }
            Some(_) => Way::Upgrade,
        }
    }
}
