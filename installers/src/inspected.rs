//! The contents of a bundle, whoever signed it: for an administrator who has built or received one.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use serde::Serialize;
use wharf_bundle::{ManifestStep, draft::hexadecimal};
use wharf_frames::Failure;

use crate::{
    bundle::members::{MemberFile, MemberFiles},
    inspector::{InspectError, Inspector},
    keys::{Keys, KeysError, open},
};

/// The contents of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedBundle {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The architecture that it is for.
    pub architecture: Option<String>,
    /// Whether a failure leads back to the packages of before.
    pub undo: bool,
    /// The versions from which it upgrades.
    pub upgrades_from: Vec<String>,
    /// Bytes that it needs on the disk.
    pub free: Option<u64>,
    /// Its steps.
    pub steps: Vec<InspectedStep>,
}

/// A step of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct InspectedStep {
    /// The file that it installs.
    pub install: Option<String>,
    /// The package that it removes.
    pub remove: Option<String>,
    /// SHA-256 of the file.
    pub sha256: Option<String>,
    /// Length of the file.
    pub length: Option<u64>,
    /// The package in the file.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The reason why the file is no package for this device.
    pub unusable: Option<String>,
}

impl Keys<'_> {
    /// Reads all of a bundle. It judges no signature.
    pub fn inspect(&self, file: &Path) -> Result<InspectedBundle, KeysError> {
        let bundle = open(file)?;
        let (_, mut members) = self.beside()?;
        let inspected = inspected(self.inspector, bundle.as_fd(), &mut members);
        Ok(inspected.map_err(Failure::from)?)
    }
}

fn inspected(
    inspector: &Inspector,
    bundle: BorrowedFd<'_>,
    members: &mut MemberFiles,
) -> Result<InspectedBundle, InspectError> {
    let manifest = inspector.manifest(bundle)?;
    let mut packages = inspector.members(bundle, members)?.into_iter();
    let steps = manifest.steps.iter().map(|step| match step {
        ManifestStep::Remove(name) => Ok(InspectedStep {
            remove: Some(name.to_string()),
            ..InspectedStep::default()
        }),
        ManifestStep::Install { file, sha256 } => {
            let mut step = InspectedStep {
                install: Some(file.to_string()),
                sha256: Some(hexadecimal(sha256)),
                ..InspectedStep::default()
            };
            if let Some(MemberFile { file, length, .. }) = packages.next() {
                step.length = Some(length);
                describe(&mut step, inspector, &file)?;
            }
            Ok(step)
        }
    });
    let steps = steps.collect::<Result<_, InspectError>>()?;
    let ranges = manifest.needs.upgrades_from.iter();
    Ok(InspectedBundle {
        steps,
        upgrades_from: ranges.map(ToString::to_string).collect(),
        free: manifest.needs.free,
        name: manifest.name.to_string(),
        version: manifest.version.to_string(),
        architecture: manifest.architecture.map(|it| it.to_string()),
        undo: manifest.undo,
    })
}

/// The package in a file, or the reason why it is none here.
fn describe(
    step: &mut InspectedStep,
    inspector: &Inspector,
    file: &File,
) -> Result<(), InspectError> {
    match inspector.describe(file.as_fd()) {
        Ok(described) => {
            step.name = Some(described.name.to_string());
            step.version = Some(described.version.to_string());
            Ok(())
        }
        Err(InspectError::Refused(failure)) => {
            step.unusable = Some(failure.to_string());
            Ok(())
        }
        Err(error) => Err(error),
    }
}
