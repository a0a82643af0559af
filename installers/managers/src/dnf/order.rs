//! The orders that dnf gets.

use std::path::Path;

use wharf_frames::{PackageName, installer::SealedPackage};

use super::rpm::Copy;
use crate::InstallOptions;

/// One order.
#[derive(Clone, Copy)]
pub(super) enum Order<'a> {
    /// Replace all copies by this file.
    Install {
        /// Its path in the root, ending in `.rpm`.
        path: &'a Path,
        package: &'a SealedPackage,
        options: InstallOptions,
    },
    /// Remove all copies.
    Remove(&'a PackageName),
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
    pub(super) fn name(&self) -> &PackageName {
        match self {
            Self::Install { package, .. } => &package.name,
            Self::Remove(name) => name,
        }
    }
}

impl Way {
    /// The kind of installation of this package over these copies. The latest copy is the first.
    pub(super) fn to(package: &SealedPackage, copies: &[Copy]) -> Self {
        let version = &package.version;
        match copies.first() {
            None => Self::Install,
            Some(_) if copies.iter().any(|copy| copy.version == *version) => Self::Reinstall,
            Some(copy)
                if super::version::compare(version.as_str(), copy.version.as_str()).is_lt() =>
            {
                Self::Downgrade
            }
            Some(_) => Self::Upgrade,
        }
    }
}
