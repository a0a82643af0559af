//! Who makes the packages: each version at an origin that wants a password, and as a server can push it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

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
    origin: Origin,
    releases: BTreeMap<u32, Release>,
    build: fn(&Package, &Path) -> PathBuf,
}

/// A package, in both ways that it is delivered.
pub(crate) struct Release {
    /// Where it is downloaded from.
    pub(crate) uri: String,
    /// With the signature in it.
    pub(crate) pushed: Vec<u8>,
}

/// The version of a release.
pub(crate) fn version(release: u32) -> String {
    format!("{release}.0.1")
}

impl Vendor {
    /// Without packages so far. This builds them for the package manager of the gateway.
    pub(crate) fn new(build: fn(&Package, &Path) -> PathBuf) -> Self {
        let origin = Origin::http();
        origin.require(USER_NAME, PASSWORD);
        Self {
            keys: Keys::new(),
            origin,
            releases: BTreeMap::new(),
            build,
        }
    }

    /// Publishes a release with so many bytes in it.
    pub(crate) fn publish(&mut self, release: u32, size: usize) {
        self.publish_signed(release, size, Signer::Vendor);
    }

    /// The same, signed by somebody else.
    pub(crate) fn publish_signed(&mut self, release: u32, size: usize, signer: Signer) {
        let folder = Folder::new();
        let package = Package::new(NAME, &version(release)).padding(size);
        let file = (self.build)(&package, folder.path());
        let path = format!("/{release}.deb");
        let signature = fs::read(self.keys.sign_beside(signer, &file)).unwrap();
        self.origin.serve(&format!("{path}.asc"), signature);
        let uri = self.origin.serve(&path, fs::read(&file).unwrap());
        self.keys.sign_inside(signer, &file);
        let pushed = fs::read(&file).unwrap();
        self.releases.insert(release, Release { uri, pushed });
    }

    /// What was published.
    pub(crate) fn release(&self, release: u32) -> &Release {
        &self.releases[&release]
    }

    /// Has the gateway trust the vendor, and its origin with the password.
    pub(crate) fn introduce(&self, gateway: &Gateway) {
        gateway.allow_credentials_over_http(&[&self.origin.uri("")]);
        self.keys.trust(Signer::Vendor, &gateway.path());
    }
}
