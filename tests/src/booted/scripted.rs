//! A gateway with the scripted server, without security.

use crate::{
    booted::Booted,
    container::Container,
    manager::Manager,
    package::Package,
    server::{Client, TestServer},
    waiting::wait_until,
};

impl Booted<TestServer> {
    /// With the scripted server, configured by an administrator and registered.
    pub fn registered() -> Self {
        Self::registered_on(Container::new())
    }

    /// Boots a container that is off, and does the same on it.
    pub fn registered_on(container: Container) -> Self {
        let booted = Self::installed_on(container, Manager::Apt, TestServer::at);
        booted.configure();
        booted.container.sh("systemctl reload wharfd");
        booted.server.wait_for_client();
        booted
    }

    /// Configures the server of wharfd.
    pub fn configure(&self) {
        let uri = self.server.uri();
        self.write_configuration(&format!("uri = \"{uri}\"\nunprotected = true"));
    }

    /// The server's view of the gateway.
    pub fn client(&self) -> Client<'_> {
        self.server.wait_for_client()
    }

    /// Gets a package to DELIVERED in `/9/0`, and executes Install.
    #[track_caller]
    pub fn begin_install(&self, package: &Package) {
        let uri = self.publish(package);
        self.client().write_text("/9/0/3", &uri).expect("2.04");
        self.wait_for("/9/0", "3/0");
        self.client().execute("/9/0/4", "").expect("2.04");
    }

    /// Waits until Update State and Update Result of an instance have these values: `3/0`.
    #[track_caller]
    pub fn wait_for(&self, instance: &str, expected: &str) {
        let client = self.client();
        let read = |resource: &str| client.read_text(&format!("{instance}/{resource}"));
        wait_until(&format!("{instance} at {expected}"), || {
            let now = format!("{}/{}", read("7"), read("9"));
            (now == expected).then_some(())
        });
    }
}
