//! The truth about the package on the device, from dpkg and the files themselves.

use std::{fs, path::Path};

use wharf_frames::PackageName;
use wharf_installers::{Root, ledger::Ledger};
use wharf_tests::debian_root::DebianRoot;

use crate::story::{MADE, MADE_IN, NAME, VERSIONS, made};

/// The release that is complete on the device; none if no part of the package is left.
///
/// # Errors
///
/// If a part of the package is left.
pub(crate) fn release(root: &Path) -> Result<Option<usize>, String> {
    let debian = DebianRoot::at(root);
    let state = debian.dpkg_state(NAME);
    let Some((state, version)) = state.filter(|(state, _)| state != "rc") else {
        return nothing(root).map(|()| None);
    };
    if state != "ii" {
        return Err(format!("dpkg has {NAME} {version} as {state}"));
    }
    let release = VERSIONS.iter().position(|known| *known == version);
    let release = release.ok_or_else(|| format!("dpkg has {NAME} {version}"))?;
    quiet(&debian, &["--verify", NAME])?;
    quiet(&debian, &["--audit"])?;
    (0..MADE).try_for_each(|file| {
        let path = root.join(MADE_IN).join(file.to_string());
        let is = fs::read(&path).map_err(|error| format!("{MADE_IN}/{file}: {error}"))?;
        if is == made(release, file).into_bytes() {
            return Ok(());
        }
        Err(format!(
            "dpkg has {NAME} {version}, and {MADE_IN}/{file} of its postinst has {} bytes of {}",
            is.len(),
            made(release, file).len()
        ))
    })?;
    Ok(Some(release))
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
    let left = [MADE_IN, "usr/share/hello"].into_iter();
    let mut left = left.filter(|path| root.join(path).exists());
    left.next().map_or(Ok(()), |path| {
        Err(format!("dpkg has no {NAME}, and {path} is there"))
    })
}

/// dpkg finds nothing.
fn quiet(debian: &DebianRoot, arguments: &[&str]) -> Result<(), String> {
    let output = debian.command("dpkg").args(arguments).output();
    let output = output.map_err(|error| format!("dpkg {arguments:?}: {error}"))?;
    match output.status.success() && output.stdout.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "dpkg {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
