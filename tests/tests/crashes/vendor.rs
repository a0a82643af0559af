//! Who makes the packages: each version at an origin that wants a password, and as a server can push it.

use std::{collections::BTreeMap, fs};

use wharf_tests::{
    folder::Folder,
    gateway::Gateway,
    keys::{Keys, Signer},
    origin::Origin,
    package::Package,
};

/// The name of its package.
pub(crate) const NAME: &str = "hello";
/// What its origin wants.
pub(crate) const USER_NAME: &str = "fleet";
/// What its origin wants.
pub(crate) const PASSWORD: &str = "correct horse";

/// The vendor, its origin and its packages.
pub(crate) struct Vendor {
    keys: Keys,
    _origin: Origin,
    releases: BTreeMap<String, Release>,
}

/// A version of the package.
pub(crate) struct Release {
    /// Where it is downloaded from.
    pub(crate) uri: String,
    /// With the signature in it.
    pub(crate) pushed: Vec<u8>,
}

impl Vendor {
    /// With these versions.
    pub(crate) fn of(versions: &[&str]) -> Self {
        let (keys, origin) = (Keys::new(), Origin::http());
        origin.require(USER_NAME, PASSWORD);
        let folder = Folder::new();
        let release = |version: &&str| {
            let file = Package::new(NAME, version).build(folder.path());
            let path = format!("/{version}.deb");
            let signature = fs::read(keys.sign_beside(Signer::Vendor, &file)).unwrap();
            origin.serve(&format!("{path}.asc"), signature);
            let uri = origin.serve(&path, fs::read(&file).unwrap());
            keys.sign_inside(Signer::Vendor, &file);
            let pushed = fs::read(&file).unwrap();
            ((*version).to_owned(), Release { uri, pushed })
        };
        Self {
            releases: versions.iter().map(release).collect(),
            keys,
            _origin: origin,
        }
    }

    /// The release of this version.
    pub(crate) fn release(&self, version: &str) -> &Release {
        &self.releases[version]
    }

    /// Has the gateway trust the vendor.
    pub(crate) fn introduce(&self, gateway: &Gateway) {
        self.keys.trust(Signer::Vendor, &gateway.path());
    }
}
