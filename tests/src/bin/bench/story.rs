//! A gateway that a server drives, and packages for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wharf_tests::{
    folder::Folder,
    gateway::Gateway,
    keys::{GnupgKeys, Signer},
    nginx::Nginx,
    package::Package,
    server::{Client, TestServer},
    waiting::wait_until,
};

const USER_NAME: &str = "fleet";
const PASSWORD: &str = "correct horse";

/// The gateway, server, origin and keys for a package.
pub(crate) struct Story {
    pub(crate) gateway: Gateway,
    pub(crate) server: TestServer,
    pub(crate) folder: Folder,
    origin: Nginx,
    keys: GnupgKeys,
}

impl Story {
    /// Registered, with `/9/0/7` observed.
    pub(crate) fn on(mut gateway: Gateway) -> Self {
        let (server, keys) = (TestServer::new(), GnupgKeys::new());
        keys.trust(Signer::Vendor, &gateway.path());
        let origin = Nginx::new(USER_NAME, PASSWORD);
        gateway.configure(&server.uri(), "");
        gateway.allow_credentials_over_http(&[&origin.uri("")]);
        gateway.start();
        let story = Self {
            gateway,
            server,
            folder: Folder::new(),
            origin,
            keys,
        };
        story.client().observe("/9/0/7").expect("2.05");
        story
    }

    /// The gateway, as its server sees it.
    pub(crate) fn client(&self) -> Client<'_> {
        self.server.wait_for_client()
    }

    /// Builds a package, signs it, and serves it at the origin. Returns its file.
    pub(crate) fn publish(&self, package: &Package) -> PathBuf {
        let file = self.gateway.build(package, self.folder.path());
        let signature = self.keys.sign_beside(Signer::Vendor, &file);
        for published in [&signature, &file] {
            let bytes = fs::read(published).expect("what was published");
            self.origin.serve(&path(published), bytes);
        }
        file
    }

    /// Writes the credentials and the URI of this package.
    pub(crate) fn order(&self, file: &Path) {
        self.write_credentials();
        self.write_uri(file);
    }

    /// Writes User Name and Password.
    pub(crate) fn write_credentials(&self) {
        let client = self.client();
        client.write_text("/9/0/14", USER_NAME).expect("2.04");
        client.write_text("/9/0/15", PASSWORD).expect("2.04");
    }

    /// Writes Package URI.
    pub(crate) fn write_uri(&self, file: &Path) {
        let uri = self.origin.uri(&path(file));
        self.client().write_text("/9/0/3", &uri).expect("2.04");
    }

    /// A curl command that downloads this package to `into`.
    pub(crate) fn curl(&self, file: &Path, into: &Path) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--user"]);
        curl.arg(format!("{USER_NAME}:{PASSWORD}"));
        curl.arg("--output").arg(into);
        curl.arg(self.origin.uri(&path(file)));
        curl
    }

    /// Waits until Update State is this.
    pub(crate) fn wait_for_state(&self, state: &str) {
        let client = self.client();
        wait_until(&format!("Update State {state}"), || {
            (client.read_text("/9/0/7") == state).then_some(())
        });
    }

    /// Executes Uninstall with these arguments, and waits for INITIAL.
    pub(crate) fn uninstall(&self, arguments: &str) {
        self.client().execute("/9/0/6", arguments).expect("2.04");
        self.wait_for_state("0");
    }
}

fn path(file: &Path) -> String {
    format!("/{}", file.file_name().expect("a name").to_string_lossy())
}
