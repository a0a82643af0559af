//! What each test here begins with: a booted system with wharfd's package on it, and outside a server, an origin, keys.

use std::fs;

use wharf_tests::{
    container::Container,
    folder::Folder,
    keys::{Keys, Signer},
    origin::Origin,
    package::Package,
    server::{Client, Server},
    waiting::wait_until,
    wharfd_package::wharfd_package,
};

/// The gateway, and what is outside of it.
pub(crate) struct Booted {
    // Dropped first: their addresses are the container's network.
    pub(crate) server: Server,
    pub(crate) origin: Origin,
    pub(crate) container: Container,
    keys: Keys,
    folder: Folder,
}

impl Booted {
    /// With wharfd's package installed, and nothing configured.
    pub(crate) fn installed() -> Self {
        let mut container = Container::new();
        container.boot();
        install_wharfd(&container);
        let outside = container.network().outside();
        Self {
            container,
            server: Server::at(outside),
            origin: Origin::http_at(outside),
            keys: Keys::new(),
            folder: Folder::new(),
        }
    }

    /// The same, configured by an administrator and registered.
    pub(crate) fn registered() -> Self {
        let booted = Self::installed();
        booted.configure();
        booted.container.sh("systemctl reload wharfd");
        booted.server.wait_for_client();
        booted
    }

    /// Tells wharfd its server, and root's policy who may sign.
    pub(crate) fn configure(&self) {
        let uri = self.server.uri();
        let text =
            format!("endpoint = \"gateway\"\n\n[[server]]\nuri = \"{uri}\"\nunprotected = true\n");
        let root = self.container.path();
        fs::write(root.join("etc/wharfd/wharfd.toml"), text).expect("wharfd.toml");
        self.keys.trust(Signer::Vendor, &root);
    }

    /// The gateway, as the server sees it.
    pub(crate) fn client(&self) -> Client<'_> {
        self.server.wait_for_client()
    }

    /// A package that the vendor signed, at the origin with its signature beside it. Gives its URI.
    pub(crate) fn publish(&self, package: &Package) -> String {
        let file = package.build(self.folder.path());
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let signature = self.keys.sign_beside(Signer::Vendor, &file);
        let signature = fs::read(signature).expect("the signature");
        self.origin.serve(&format!("/{name}.asc"), signature);
        self.origin
            .serve(&format!("/{name}"), fs::read(&file).expect("the package"))
    }

    /// Brings a package to DELIVERED in `/9/0`, and executes Install.
    #[track_caller]
    pub(crate) fn begin_install(&self, package: &Package) {
        let uri = self.publish(package);
        self.client().write_text("/9/0/3", &uri).expect("2.04");
        self.wait_for("/9/0", "3/0");
        self.client().execute("/9/0/4", "").expect("2.04");
    }

    /// Waits until Update State and Update Result of an instance are these: `3/0`.
    #[track_caller]
    pub(crate) fn wait_for(&self, instance: &str, expected: &str) {
        let client = self.client();
        let read = |resource: &str| client.read_text(&format!("{instance}/{resource}"));
        wait_until(&format!("{instance} at {expected}"), || {
            let now = format!("{}/{}", read("7"), read("9"));
            (now == expected).then_some(())
        });
    }

    /// The version of a package that dpkg has as installed and configured.
    pub(crate) fn version(&self, package: &str) -> Option<String> {
        let query =
            format!("dpkg-query -W -f '${{db:Status-Abbrev}}${{Version}}' {package} || true");
        let version = self.container.sh(&query);
        version.strip_prefix("ii ").map(str::to_owned)
    }

    /// The line that `systemctl status wharfd` shows.
    pub(crate) fn wait_for_status(&self, begin: &str) {
        let status = || self.container.unit::<String>("wharfd", "StatusText");
        wait_until(&format!("the status {begin:?}"), || {
            status().starts_with(begin).then_some(())
        });
    }
}

/// By apt, without an archive.
pub(crate) fn install_wharfd(container: &Container) {
    fs::copy(wharfd_package(), container.path().join("root/wharfd.deb")).expect("a copy inside");
    container.sh("apt-get install -y /root/wharfd.deb </dev/null");
}
