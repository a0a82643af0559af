//! The parts of every scenario: a server, an origin, keys, and a gateway that trusts the vendor.

use std::{fs, path::PathBuf, process::Command};

use wharf_tests::{
    folder::Folder,
    gateway::Gateway,
    keys::{GnupgKeys, Signer},
    origin::Origin,
    package::Package,
    server::{Client, TestServer},
    waiting::wait_until,
};

/// The parts of a scenario.
pub(crate) struct StageSet {
    pub(crate) gateway: Gateway,
    pub(crate) server: TestServer,
    pub(crate) origin: Origin,
    pub(crate) keys: GnupgKeys,
    pub(crate) folder: Folder,
}

impl StageSet {
    /// With the simulated package manager, registered.
    pub(crate) fn simulated() -> Self {
        Self::registered(Gateway::simulated(), "")
    }

    /// With apt on a Debian root, registered.
    pub(crate) fn debian() -> Self {
        Self::registered(Gateway::debian(), "")
    }

    /// With this gateway, registered, and with these settings in its `[[server]]`.
    pub(crate) fn registered(gateway: Gateway, server_options: &str) -> Self {
        Self::configured(gateway, server_options).started()
    }

    /// Starts all programs, and waits for the registration.
    pub(crate) fn started(mut self) -> Self {
        self.gateway.start();
        self.client();
        self
    }

    /// The same without running programs. User Name and Password are allowed for the origin.
    pub(crate) fn configured(gateway: Gateway, server_options: &str) -> Self {
        let server = TestServer::new();
        let origin = Origin::http();
        let keys = GnupgKeys::new();
        keys.trust(Signer::Vendor, &gateway.path());
        gateway.configure(&server.uri(), server_options);
        gateway.allow_credentials_over_http(&[&origin.uri("")]);
        Self {
            gateway,
            server,
            origin,
            keys,
            folder: Folder::new(),
        }
    }

    /// The server's view of the gateway.
    pub(crate) fn client(&self) -> Client<'_> {
        self.server.wait_for_client()
    }

    /// Publishes a package at the origin with the vendor's signature beside it. Returns its URI.
    pub(crate) fn publish(&self, package: &Package) -> String {
        self.publish_signed(package, Some(Signer::Vendor))
    }

    /// The same with this signer, or unsigned.
    pub(crate) fn publish_signed(&self, package: &Package, signer: Option<Signer>) -> String {
        let file = self.build(package);
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if let Some(signer) = signer {
            let signature = self.keys.sign_beside(signer, &file);
            let signature = fs::read(signature).expect("the signature");
            self.origin.serve(&format!("/{name}.asc"), signature);
        }
        self.origin
            .serve(&format!("/{name}"), fs::read(&file).expect("the package"))
    }

    /// An unsigned package for the package manager of the gateway.
    pub(crate) fn build(&self, package: &Package) -> PathBuf {
        self.gateway.build(package, self.folder.path())
    }

    /// A package with the vendor's signature inside, for a push.
    pub(crate) fn signed_inside(&self, package: &Package) -> PathBuf {
        let file = self.build(package);
        self.keys.sign_inside(Signer::Vendor, &file);
        file
    }

    /// Writes the Package URI of `/9/0`.
    #[track_caller]
    pub(crate) fn order(&self, uri: &str) {
        self.client().write_text("/9/0/3", uri).expect("2.04");
    }

    /// Gets a package to DELIVERED in `/9/0`.
    #[track_caller]
    pub(crate) fn deliver(&self, package: &Package) {
        self.order(&self.publish(package));
        self.wait_for("3/0");
    }

    /// Gets a package to INSTALLED in `/9/0`.
    #[track_caller]
    pub(crate) fn install(&self, package: &Package) {
        self.deliver(package);
        self.client().execute("/9/0/4", "").expect("2.04");
        self.wait_for("4/2");
    }

    /// Kills and restarts wharfd, and waits until the server knows.
    #[track_caller]
    pub(crate) fn kill_and_start_daemon(&mut self) {
        self.gateway.daemon().kill();
        self.start_daemon_again();
    }

    /// Restarts wharfd, and waits until the server knows.
    #[track_caller]
    pub(crate) fn start_daemon_again(&mut self) {
        self.start_daemon_again_with(&[]);
    }

    /// The same, with these variables.
    #[track_caller]
    pub(crate) fn start_daemon_again_with(&mut self, variables: &[(&str, &str)]) {
        let before = self.server.events().len();
        self.gateway.start_daemon(variables);
        wait_until("a Register or an Update after the restart", || {
            (self.server.events().len() > before).then_some(())
        });
    }

    /// Waits until Status Reason of `/9/0` contains these words, and returns all of it.
    #[track_caller]
    pub(crate) fn wait_for_reason(&self, words: &str) -> String {
        let client = self.client();
        wait_until(&format!("/9/0/16 with {words}"), || {
            let reason = client.read_text("/9/0/16");
            reason.contains(words).then_some(reason)
        })
    }

    /// Fills the small disk of wharfd until no change can be stored: a Lifetime is one page. Returns the file to
    /// remove.
    pub(crate) fn fill_disk(&self) -> PathBuf {
        let ballast = self.gateway.path().join("var/lib/wharfd/ballast");
        fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
        let client = self.client();
        let full = wait_until("a request that cannot be stored", || {
            // The free part of the log's last page has room for a few more.
            let mut answers = ["300", "301"]
                .map(|value| client.write_text("/1/0/1", value))
                .into_iter();
            answers.find(|answer| answer.code != "2.04")
        });
        full.expect("5.00");
        ballast
    }

    /// Waits until Update State and Update Result of `/9/0` have these values: `3/0`.
    #[track_caller]
    pub(crate) fn wait_for(&self, expected: &str) {
        self.wait_for_instance(0, expected);
    }

    /// The same, of another instance.
    #[track_caller]
    pub(crate) fn wait_for_instance(&self, id: u16, expected: &str) {
        let client = self.client();
        let read = |resource: u16| client.read_text(&format!("/9/{id}/{resource}"));
        let mut seen = Vec::new();
        wait_until(
            &format!("/9/{id} at {expected}, after {:?}", self.server.story()),
            || {
                let now = format!("{}/{}", read(7), read(9));
                if seen.last() != Some(&now) {
                    seen.push(now.clone());
                    eprintln!("/9/{id} is at {now}, {}", read(16));
                }
                (now == expected).then_some(())
            },
        );
    }

    /// Observes these resources of `/9/0`.
    #[track_caller]
    pub(crate) fn observe(&self, resources: &[u16]) {
        for resource in resources {
            self.client()
                .observe(&format!("/9/0/{resource}"))
                .expect("2.05");
        }
    }

    /// Waits for the last of these notifications, and compares all of them, as `7=3`.
    #[track_caller]
    pub(crate) fn expect_story(&self, expected: &[&str]) {
        let last = expected.last().expect("a notification");
        let told = || -> Vec<String> {
            let story = self.server.story().into_iter();
            story
                .map(|(path, value)| format!("{}={value}", path.trim_start_matches("/9/0/")))
                .collect()
        };
        wait_until(&format!("the notification {last}"), || {
            (told().len() >= expected.len()).then_some(())
        });
        assert_eq!(told(), expected);
    }
}

/// Gives wharfd a small disk of its own.
pub(crate) fn small_disk(gateway: &Gateway) {
    let small = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=400k,uid=990,mode=700", "tmpfs"])
        .arg(gateway.path().join("var/lib/wharfd"))
        .status();
    assert!(small.unwrap().success());
}
