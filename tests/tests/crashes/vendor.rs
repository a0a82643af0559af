//! The vendor of the packages: each version is at an origin that requires a password, and as a server can push it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use wharf_tests::{
    folder::Folder,
    gateway::Gateway,
    keys::{GnupgKeys, Signer},
    origin::Origin,
    package::Package,
};

/// The name of its package.
pub(crate) const NAME: &str = "hello";
/// The origin's user name.
pub(crate) const USER_NAME: &str = "fleet";
/// The origin's password.
pub(crate) const PASSWORD: &str = "correct horse";

/// The vendor, its origin and its packages.
pub(crate) struct Vendor {
    keys: GnupgKeys,
    origin: Origin,
    releases: BTreeMap<u32, Release>,
    build: fn(&Package, &Path) -> PathBuf,
}

/// A package, in both ways that it is delivered.
pub(crate) struct Release {
    /// Its URI.
    pub(crate) uri: String,
    /// With a signature inside.
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
            keys: GnupgKeys::new(),
            origin,
            releases: BTreeMap::new(),
            build,
        }
    }

    /// Publishes a release with `size` bytes in it.
    pub(crate) fn publish(&mut self, release: u32, size: usize) {
        self.publish_signed(release, size, Signer::Vendor);
    }

    /// The same with another signer.
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

    /// A published release.
    pub(crate) fn release(&self, release: u32) -> &Release {
        &self.releases[&release]
    }

    /// Makes the gateway trust the vendor, and send the password to its origin.
    pub(crate) fn introduce(&self, gateway: &Gateway) {
        gateway.allow_credentials_over_http(&[&self.origin.uri("")]);
        self.keys.trust(Signer::Vendor, &gateway.path());
    }
}
