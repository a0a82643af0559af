//! A gateway as users install it: a booted system with wharfd's package, and outside of it a server, an origin and
//! keys. The server is the scripted one, or Leshan.

mod by_leshan;
mod scripted;

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use crate::{
    command::text_of,
    container::Container,
    folder::Folder,
    gateway::ENDPOINT,
    keys::{GnupgKeys, Signer},
    manager::Manager,
    origin::Origin,
    package::Package,
    rpm_package::RpmPackage,
    rpm_root::RpmRoot,
    server::TestServer,
    waiting::wait_until,
    wharfd_package::{wharfd_package, wharfd_rpm},
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
    /// The package manager that wharfd uses.
    pub manager: Manager,
    keys: GnupgKeys,
}

impl<S> Booted<S> {
    /// With wharfd's package installed, and nothing configured.
    pub fn installed(server: impl FnOnce(Ipv4Addr) -> S) -> Self {
        Self::installed_on(Container::new(), Manager::Apt, server)
    }

    /// Boots a container with this package manager that is off, and installs wharfd's package on it.
    pub fn installed_on(
        mut container: Container,
        manager: Manager,
        server: impl FnOnce(Ipv4Addr) -> S,
    ) -> Self {
        container.boot();
        install_wharfd(&container);
        let outside = container.network().outside();
        Self {
            container,
            server: server(outside),
            origin: Origin::http_at(outside),
            keys: GnupgKeys::new(),
            folder: Folder::new(),
            manager,
        }
    }

    /// Configures the server of wharfd by the lines of `[[server]]`, and the signers in root's policy.
    pub fn write_configuration(&self, server: &str) {
        let root = self.container.path();
        let text = format!("endpoint = \"{ENDPOINT}\"\n\n[[server]]\n{server}\n");
        fs::write(root.join("etc/wharfd/wharfd.toml"), text).expect("wharfd.toml");
        if self.manager != Manager::Apt {
            // The system has apt as well.
            let policy = root.join("etc/wharfd/installer.toml");
            let text = fs::read_to_string(&policy).expect("root's policy");
            let text = format!("backend = \"{}\"\n{text}", self.manager.name());
            fs::write(policy, text).expect("root's policy");
            // The next question starts it again.
            self.container.sh("systemctl stop wharf-installer");
        }
        self.keys.trust(Signer::Vendor, &root);
    }

    /// Publishes a package at the origin with the vendor's signature beside it. Returns its URI.
    pub fn publish(&self, package: &Package) -> String {
        self.publish_file(&self.manager.build(package, self.folder.path()))
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

    /// The version of a package that the package manager shows as installed, and none if it has a part of it alone.
    pub fn version(&self, package: &str) -> Option<String> {
        let inside = |program: &str| self.container.command(program);
        let installed = self.manager.installed(&inside, package);
        installed.ok().flatten()
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

/// Installs wharfd and starts it, without an archive.
pub fn install_wharfd(container: &Container) {
    let root = container.path();
    if RpmRoot::is_at(&root) {
        install_libraries(container);
        install_rpm(container, &wharfd_rpm());
        container.sh("systemctl start wharfd");
    } else {
        fs::copy(wharfd_package(), root.join("root/wharfd.deb")).expect("a copy inside");
        container.sh("apt-get install -y /root/wharfd.deb </dev/null");
    }
}

/// The same of a newer rpm package, which is an upgrade.
pub fn install_rpm(container: &Container, package: &Path) {
    fs::copy(package, container.path().join("root/package.rpm")).expect("a copy inside");
    dnf(container, "install /root/package.rpm");
}

/// Runs dnf 4 or dnf 5, whichever the system has. A plugin of Debian's dnf 5 runs createrepo_c, which is not there.
pub fn dnf(container: &Container, command: &str) {
    let dnf = "$(command -v dnf || command -v dnf5)";
    container.sh(&format!(
        "{dnf} --assumeyes --quiet --setopt=plugins=0 {command} </dev/null"
    ));
}

/// Debian's libraries are there, but in no database of rpm.
fn install_libraries(container: &Container) {
    let folder = Folder::new();
    let required = text_of(
        Command::new("rpm")
            .args(["-qp", "--requires"])
            .arg(wharfd_rpm()),
    );
    let required = required.lines().filter(|it| {
        let is_of_others = !it.starts_with("rpmlib(") && !it.starts_with("config(");
        is_of_others && *it != "/bin/sh"
    });
    let libraries = RpmPackage::new("system-libraries", "12");
    let libraries = required.fold(libraries, |made, it| made.tag("Provides", it));
    install_rpm(container, &libraries.build(folder.path()));
}
