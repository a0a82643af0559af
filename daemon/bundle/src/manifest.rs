//! The manifest of a bundle. wharf-inspect reads it from TOML, and root's programs get it as a frame, which is checked
//! again.

use std::{cmp::Ordering, collections::BTreeSet, fmt};

use minicbor::{Decode, Encode};
use wharf_frames::{FrameError, PackageName, PackageVersion, Text, packed::Framed};

use crate::{
    error::ManifestError,
    names::{FileName, bundle_name, bundle_version, shortened},
};

/// The most steps of a bundle.
pub const MAX_STEPS: usize = 64;

/// The most ranges of versions from which a bundle upgrades.
pub(crate) const MAX_RANGES: usize = 8;

/// The longest name of an architecture.
const MAX_ARCHITECTURE: usize = 64;

/// A manifest: the steps that a bundle is, and what they need.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Manifest {
    /// The name of the bundle.
    #[n(0)]
    pub name: PackageName,
    /// Its version.
    #[n(1)]
    pub version: PackageVersion,
    /// The architecture of devices that it is for; none if it is for all.
    #[n(2)]
    pub architecture: Option<Text>,
    /// The device gets its old packages back if a step fails. Else the steps that are done stay done.
    #[n(3)]
    pub undo: bool,
    /// The needs before the first step.
    #[n(4)]
    pub needs: BundleNeeds,
    /// The steps, in their order.
    #[n(5)]
    pub steps: Vec<ManifestStep>,
}

/// The needs of a bundle before its first step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct BundleNeeds {
    /// The version of the bundle in place must be in all of these. A first installation needs none.
    #[n(0)]
    pub upgrades_from: Vec<VersionRange>,
    /// Bytes that must be free on the disk.
    #[n(1)]
    pub free: Option<u64>,
}

/// The versions that have a relation to this one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct VersionRange {
    /// The relation.
    #[n(0)]
    pub relation: Relation,
    /// The version.
    #[n(1)]
    pub version: PackageVersion,
}

/// A relation of versions, as Debian writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Relation {
    /// `<<`
    #[n(0)]
    Before,
    /// `<=`
    #[n(1)]
    UpTo,
    /// `=`
    #[n(2)]
    Exactly,
    /// `>=`
    #[n(3)]
    From,
    /// `>>`
    #[n(4)]
    After,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ManifestStep {
    /// Installs a package, which is a file of the bundle.
    #[n(0)]
    Install {
        /// The file.
        #[n(0)]
        file: FileName,
        /// Its SHA-256.
        #[cbor(n(1), with = "minicbor::bytes")]
        sha256: [u8; 32],
    },
    /// Removes a package. It is done if the device has no such package.
    #[n(1)]
    Remove(#[n(0)] PackageName),
}

impl Relation {
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("<<", Self::Before),
        ("<=", Self::UpTo),
        ("=", Self::Exactly),
        (">=", Self::From),
        (">>", Self::After),
    ];

    /// Whether a version has this relation, by its order to the version of the range.
    pub const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Before => order.is_lt(),
            Self::UpTo => order.is_le(),
            Self::Exactly => order.is_eq(),
            Self::From => order.is_ge(),
            Self::After => order.is_gt(),
        }
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "<<",
            Self::UpTo => "<=",
            Self::Exactly => "=",
            Self::From => ">=",
            Self::After => ">>",
        }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.relation.as_str(), self.version)
    }
}

impl Manifest {
    /// The files of the bundle in their order, each with its digest.
    pub fn installs(&self) -> impl Iterator<Item = (&FileName, &[u8; 32])> {
        self.steps.iter().filter_map(|step| match step {
            ManifestStep::Install { file, sha256 } => Some((file, sha256)),
            ManifestStep::Remove(_) => None,
        })
    }

    /// Refuses what no sound manifest has. The types of the fields hold the rest.
    pub fn validate(&self) -> Result<(), ManifestError> {
        bundle_name(self.name.as_str())?;
        bundle_version(self.version.as_str())?;
        if let Some(architecture) = &self.architecture {
            check_architecture(architecture.as_str())?;
        }
        check_number(
            self.needs.upgrades_from.len(),
            MAX_RANGES,
            "ranges in upgrades-from",
        )?;
        for range in &self.needs.upgrades_from {
            bundle_version(range.version.as_str())?;
        }
        check_number(self.steps.len(), MAX_STEPS, "steps")?;
        if self.installs().next().is_none() {
            return Err(ManifestError::new("no step installs a package"));
        }
        self.check_once()
    }

    /// Each file and each removed package has one step.
    fn check_once(&self) -> Result<(), ManifestError> {
        let (mut files, mut removed) = (BTreeSet::new(), BTreeSet::new());
        for step in &self.steps {
            let (is_new, subject) = match step {
                ManifestStep::Install { file, .. } => (files.insert(file), file.as_str()),
                ManifestStep::Remove(name) if *name == self.name => {
                    let why = format!("it removes {name}, which is its own name");
                    return Err(ManifestError::new(why));
                }
                ManifestStep::Remove(name) => (removed.insert(name), name.as_str()),
            };
            if !is_new {
                return Err(ManifestError::new(format!("two steps name {subject}")));
            }
        }
        Ok(())
    }
}

impl Framed for Manifest {
    fn check(&self) -> Result<(), FrameError> {
        self.validate()
            .map_err(|error| FrameError::Malformed(error.to_string()))
    }
}

fn check_architecture(text: &str) -> Result<(), ManifestError> {
    let is_one = (1..=MAX_ARCHITECTURE).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte));
    match is_one {
        true => Ok(()),
        false => {
            let text = shortened(text);
            Err(ManifestError::new(format!("{text:?} is no architecture")))
        }
    }
}

pub(crate) fn check_number(number: usize, most: usize, of: &str) -> Result<(), ManifestError> {
    match number > most {
        true => Err(ManifestError::new(format!(
            "it has {number} {of}: at most {most} are allowed"
        ))),
        false => Ok(()),
    }
}
