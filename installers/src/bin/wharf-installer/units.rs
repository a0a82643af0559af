//! `wharf-installer units`, which `wharfctl units` shows: the units of a package, as JSON.

use std::error::Error;

use wharf_frames::PackageName;
use wharf_installers::{Root, device::Device, policy::Policy};

pub(crate) fn units(root: &Root, package: &PackageName) -> Result<String, Box<dyn Error>> {
    let device = Device::open(root, &Policy::read(root)?)?;
    if device.packages.found(package)?.is_none() {
        return Err(format!("this device has no package {package}").into());
    }
    Ok(serde_json::to_string(&device.services.units(package)?)? + "\n")
}
