//! A gateway as it is installed: a system that booted with wharfd's package on it, and outside of it a server, an
//! origin, keys. A server is the scripted one, or Leshan.

mod by_leshan;
mod scripted;

use std::{fs, net::Ipv4Addr, path::Path};

use crate::{
    container::Container,
    folder::Folder,
    gateway::ENDPOINT,
    keys::{Keys, Signer},
    origin::Origin,
    package::Package,
    server::Server,
    waiting::wait_until,
    wharfd_package::wharfd_package,
};

/// The gateway, and what is outside of it.
#[derive(Debug)]
pub struct Booted<S = Server> {
    // Dropped first: their addresses are the container's network.
    /// Its LwM2M server.
    pub server: S,
    /// Where packages are downloaded from.
    pub origin: Origin,
    /// The system.
    pub container: Container,
    /// Where packages are built.
    pub folder: Folder,
    keys: Keys,
}

impl<S> Booted<S> {
    /// With wharfd's package installed, and nothing configured.
    pub fn installed(server: impl FnOnce(Ipv4Addr) -> S) -> Self {
        Self::installed_on(Container::new(), server)
    }

    /// Boots a container that is off, and does the same on it.
    pub fn installed_on(mut container: Container, server: impl FnOnce(Ipv4Addr) -> S) -> Self {
        container.boot();
        install_wharfd(&container);
        let outside = container.network().outside();
        Self {
            container,
            server: server(outside),
            origin: Origin::http_at(outside),
            keys: Keys::new(),
            folder: Folder::new(),
        }
    }

    /// Tells wharfd its server by the lines of `[[server]]`, and root's policy who may sign.
    pub fn write_configuration(&self, server: &str) {
        let root = self.container.path();
        let text = format!("endpoint = \"{ENDPOINT}\"\n\n[[server]]\n{server}\n");
        fs::write(root.join("etc/wharfd/wharfd.toml"), text).expect("wharfd.toml");
        self.keys.trust(Signer::Vendor, &root);
    }

    /// A package that the vendor signed, at the origin with its signature beside it. Gives its URI.
    pub fn publish(&self, package: &Package) -> String {
        self.publish_file(&package.build(self.folder.path()))
    }

    /// The same, of a package that lies in the folder.
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

    /// Has the vendor sign a file here. The signature lies beside it.
    pub fn sign(&self, file: &Path) {
        self.keys.sign_beside(Signer::Vendor, file);
    }

    /// The version of a package that dpkg has as installed and configured.
    pub fn version(&self, package: &str) -> Option<String> {
        let query =
            format!("dpkg-query -W -f '${{db:Status-Abbrev}}${{Version}}' {package} || true");
        let version = self.container.sh(&query);
        version.strip_prefix("ii ").map(str::to_owned)
    }

    /// The line that `systemctl status wharfd` shows.
    #[track_caller]
    pub fn wait_for_status(&self, begin: &str) {
        let status = || self.container.unit::<String>("wharfd", "StatusText");
        wait_until(&format!("the status {begin:?}"), || {
            status().starts_with(begin).then_some(())
        });
    }

    /// Waits until there is such a file in the running system.
    #[track_caller]
    pub fn wait_for_file(&self, path: &str) {
        wait_until(&format!("{path} inside"), || {
            self.container.inside(path).exists().then_some(())
        });
    }
}

/// By apt, without an archive.
pub fn install_wharfd(container: &Container) {
    fs::copy(wharfd_package(), container.path().join("root/wharfd.deb")).expect("a copy inside");
    container.sh("apt-get install -y /root/wharfd.deb </dev/null");
}
