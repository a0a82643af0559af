//! `wharf-installer units`, which `wharfctl units` shows: the units of a package, as JSON.

use std::error::Error;

use wharf_frames::PackageName;
use wharf_installers::{Root, open_backend, policy::Policy};

pub(crate) fn units(root: &Root, package: &PackageName) -> Result<String, Box<dyn Error>> {
    let backend = open_backend(root, &Policy::read(root)?)?;
    if backend.found(package)?.is_none() {
        return Err(format!("this device has no package {package}").into());
    }
    Ok(serde_json::to_string(&backend.units(package)?)? + "\n")
}
