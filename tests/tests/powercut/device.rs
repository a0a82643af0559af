//! The truth about the package on the device, from the package manager and the files themselves.

use std::{collections::BTreeMap, fs, path::Path};

use wharf_frames::PackageName;
use wharf_installers::{Root, ledger::Ledger};
use wharf_tests::{manager::Manager, rpm_root::inside};

use crate::story::{MADE_IN, NAME, SHIPPED_IN, VERSIONS, made, shipped};

/// The release that is complete on the device; none if no part of the package is left.
///
/// # Errors
///
/// If a part of the package is left.
pub(crate) fn release(manager: Manager, root: &Path) -> Result<Option<usize>, String> {
    let Some(version) = manager.whole(&|program| inside(root, program), NAME)? else {
        return nothing(root).map(|()| None);
    };
    let release = VERSIONS.iter().position(|known| *known == version);
    let release = release.ok_or_else(|| format!("the device has {NAME} {version}"))?;
    for (folder, expected) in [(MADE_IN, made(release)), (SHIPPED_IN, shipped(release))] {
        are(root, folder, &expected)
            .map_err(|what| format!("the device has {NAME} {version}: {what}"))?;
    }
    Ok(Some(release))
}

/// The folder has exactly these files.
fn are(root: &Path, folder: &str, expected: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let files = fs::read_dir(root.join(folder)).map_err(|error| format!("{folder}: {error}"))?;
    let names = files.flatten().map(|entry| entry.file_name());
    let there: BTreeMap<String, Vec<u8>> = names
        .map(|name| {
            let content = fs::read(root.join(folder).join(&name)).unwrap_or_default();
            (name.to_string_lossy().into_owned(), content)
        })
        .collect();
    for name in there.keys().chain(expected.keys()) {
        let (is, wanted) = (there.get(name), expected.get(name));
        if is != wanted {
            let size = |content: Option<&Vec<u8>>| content.map(Vec::len);
            return Err(format!(
                "{folder}/{name} has {:?} bytes, and other ones than {:?} bytes were expected",
                size(is),
                size(wanted)
            ));
        }
    }
    Ok(())
}

/// The ledger has the highest release that was ever installed, so that no lower one is accepted.
pub(crate) fn is_in_the_ledger(root: &Path, release: Option<usize>) -> Result<(), String> {
    let name = PackageName::new(NAME).expect("a name");
    let ledger = Ledger::of(&Root::new(root));
    let entry = ledger.entry(&name).map_err(|error| error.to_string())?;
    let version = entry.map(|entry| entry.version.to_string());
    match version.as_deref() == release.map(|release| VERSIONS[release]) {
        true => Ok(()),
        false => Err(format!("the ledger has {version:?}")),
    }
}

fn nothing(root: &Path) -> Result<(), String> {
    let left = [MADE_IN, SHIPPED_IN].into_iter();
    let mut left = left.filter(|path| root.join(path).exists());
    left.next().map_or(Ok(()), |path| {
        Err(format!("the device has no {NAME}, and {path} is there"))
    })
}
