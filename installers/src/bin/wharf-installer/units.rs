//! `wharf-installer units`, which `wharfctl units` shows: the units of a package, as JSON.

use std::error::Error;

use wharf_frames::PackageName;
use wharf_installers::{
    Root,
    device::{open_packages, open_services},
    policy::Policy,
};

pub(crate) fn units(root: &Root, package: &PackageName) -> Result<String, Box<dyn Error>> {
    let policy = Policy::read(root)?;
    let packages = open_packages(root, &policy)?;
    if packages.found(package)?.is_none() {
        return Err(format!("this device has no package {package}").into());
    }
    let services = open_services(root, &policy, &packages)?;
    Ok(serde_json::to_string(&services.units(package)?)? + "\n")
}
