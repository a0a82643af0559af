//! What every scenario begins with: a server, an origin, keys, a gateway that trusts the vendor.

use std::fs;

use wharf_tests::{
    folder::Folder,
    gateway::Gateway,
    keys::{Keys, Signer},
    origin::Origin,
    package::Package,
    server::{Client, Server},
};

/// A server, an origin, and a gateway that is registered.
pub struct StageSet {
    pub gateway: Gateway,
    pub server: Server,
    pub origin: Origin,
    pub keys: Keys,
    pub folder: Folder,
}

impl StageSet {
    /// With the simulated package manager.
    pub fn simulated() -> Self {
        Self::with(Gateway::simulated(), "")
    }

    /// With apt on a Debian root.
    pub fn debian() -> Self {
        Self::with(Gateway::debian(), "")
    }

    /// With this gateway, and these words in its `[[server]]`.
    pub fn with(mut gateway: Gateway, server_options: &str) -> Self {
        let server = Server::new();
        let keys = Keys::new();
        keys.trust(Signer::Vendor, &gateway.path());
        gateway.configure(&server.uri(), server_options);
        gateway.start();
        let set = Self {
            gateway,
            server,
            origin: Origin::http(),
            keys,
            folder: Folder::new(),
        };
        set.client();
        set
    }

    /// The gateway, as the server sees it.
    pub fn client(&self) -> Client<'_> {
        self.server.wait_for_client()
    }

    /// A package that the vendor signed, at the origin with its signature beside it. Gives its URI.
    pub fn publish(&self, package: &Package) -> String {
        self.publish_signed(package, Some(Signer::Vendor))
    }

    /// The same, signed by somebody, or by nobody.
    pub fn publish_signed(&self, package: &Package, signer: Option<Signer>) -> String {
        let file = package.build(self.folder.path());
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if let Some(signer) = signer {
            let signature = self.keys.sign_beside(signer, &file);
            self.origin.serve(
                &format!("/{name}.asc"),
                fs::read(signature).expect("a signature"),
            );
        }
        self.origin
            .serve(&format!("/{name}"), fs::read(&file).expect("a package"))
    }

    /// Waits until Update State and Update Result of `/9/0` are these.
    #[track_caller]
    pub fn wait_for(&self, state: u8, result: u8) {
        let client = self.client();
        let expected = format!("{state}/{result}");
        let mut seen = String::new();
        let reached = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wharf_tests::waiting::wait_until("", || {
                seen = format!(
                    "{}/{}",
                    client.read_text("/9/0/7"),
                    client.read_text("/9/0/9")
                );
                (seen == expected).then_some(())
            });
        }));
        assert!(
            reached.is_ok(),
            "/9/0 is to come to {expected}, and is {seen}: {}",
            client.read_text("/9/0/16")
        );
    }
}
