//! A gateway as users install it: a booted system with wharfd's package, and outside of it a server, an origin and
//! keys. The server is the scripted one, or Leshan.

mod by_leshan;
mod scripted;

use std::{fs, net::Ipv4Addr, path::Path};

use crate::{
    container::Container,
    folder::Folder,
    gateway::ENDPOINT,
    keys::{GnupgKeys, Signer},
    origin::Origin,
    package::Package,
    server::TestServer,
    waiting::wait_until,
    wharfd_package::wharfd_package,
};

/// The gateway and the parts outside of it.
#[derive(Debug)]
pub struct Booted<S = TestServer> {
    // The server and the origin are dropped first: their addresses belong to the container's network.
    /// Its LwM2M server.
    pub server: S,
    /// The origin of packages.
    pub origin: Origin,
    /// The system.
    pub container: Container,
    /// The folder in which packages are built.
    pub folder: Folder,
    keys: GnupgKeys,
}

impl<S> Booted<S> {
    /// With wharfd's package installed, and nothing configured.
    pub fn installed(server: impl FnOnce(Ipv4Addr) -> S) -> Self {
        Self::installed_on(Container::new(), server)
    }

    /// Boots a container that is off, and installs the package on it.
    pub fn installed_on(mut container: Container, server: impl FnOnce(Ipv4Addr) -> S) -> Self {
        container.boot();
        install_wharfd(&container);
        let outside = container.network().outside();
        Self {
            container,
            server: server(outside),
            origin: Origin::http_at(outside),
            keys: GnupgKeys::new(),
            folder: Folder::new(),
        }
    }

    /// Configures the server of wharfd by the lines of `[[server]]`, and the signers in root's policy.
    pub fn write_configuration(&self, server: &str) {
        let root = self.container.path();
        let text = format!("endpoint = \"{ENDPOINT}\"\n\n[[server]]\n{server}\n");
        fs::write(root.join("etc/wharfd/wharfd.toml"), text).expect("wharfd.toml");
        self.keys.trust(Signer::Vendor, &root);
    }

    /// Publishes a package at the origin with the vendor's signature beside it. Returns its URI.
    pub fn publish(&self, package: &Package) -> String {
        self.publish_file(&package.build(self.folder.path()))
    }

    /// The same for a package file in the folder.
    pub fn publish_file(&self, file: &Path) -> String {
        let name = file.file_name().expect("a name").to_string_lossy();
        let signature = self.keys.sign_beside(Signer::Vendor, file);
        let signature = fs::read(signature).expect("the signature");
        self.origin.serve(&format!("/{name}.asc"), signature);
        self.origin
            .serve(&format!("/{name}"), fs::read(file).expect("the package"))
    }

    /// The certificate of a signer, as gpg exports it.
    pub fn certificate(&self, signer: Signer) -> Vec<u8> {
        self.keys.certificate(signer)
    }

    /// Signs a file of this folder as the vendor, and writes the signature beside it.
    pub fn sign(&self, file: &Path) {
        self.keys.sign_beside(Signer::Vendor, file);
    }

    /// The version of a package that dpkg shows as installed and configured.
    pub fn version(&self, package: &str) -> Option<String> {
        let query =
            format!("dpkg-query -W -f '${{db:Status-Abbrev}}${{Version}}' {package} || true");
        let version = self.container.sh(&query);
        version.strip_prefix("ii ").map(str::to_owned)
    }

    /// The status line of `systemctl status wharfd`.
    #[track_caller]
    pub fn wait_for_status(&self, begin: &str) {
        let status = || self.container.unit::<String>("wharfd", "StatusText");
        wait_until(&format!("the status {begin:?}"), || {
            status().starts_with(begin).then_some(())
        });
    }

    /// Waits until this file exists in the running system.
    #[track_caller]
    pub fn wait_for_file(&self, path: &str) {
        wait_until(&format!("{path} inside"), || {
            self.container.inside(path).exists().then_some(())
        });
    }
}

/// Installs wharfd by apt, without an archive.
pub fn install_wharfd(container: &Container) {
    fs::copy(wharfd_package(), container.path().join("root/wharfd.deb")).expect("a copy inside");
    container.sh("apt-get install -y /root/wharfd.deb </dev/null");
}
