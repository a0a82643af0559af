//! A gateway with Leshan as its server, over DTLS by a pre-shared key. `wharfctl` is compared with the server's
//! knowledge.

use std::{
    fs::{self, Permissions},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
};

use crate::{
    booted::Booted,
    container::Container,
    gateway::ENDPOINT,
    leshan::{Leshan, LeshanAnswer},
    manager::Manager,
    waiting::wait_until,
};
use serde_json::{Value, json};

/// The PSK identity of this gateway at Leshan.
const IDENTITY: &str = "gateway-17";
const KEY: &str = "30313233343536373839616263646566";

impl Booted<Leshan> {
    /// With wharfd's package installed, and nothing configured.
    pub fn by_leshan() -> Self {
        Self::by_leshan_with(Manager::Apt)
    }

    /// As [`Booted::by_leshan`], on a system with this package manager.
    pub fn by_leshan_with(manager: Manager) -> Self {
        let server = |outside: Ipv4Addr| Leshan::at(outside.into());
        let mut booted = Self::installed_on(manager.container(), manager, server);
        booted.server.know(ENDPOINT, IDENTITY, KEY);
        booted
    }

    /// Configures the server of wharfd, and allows User Name and Password for the origin. Only root can read the key,
    /// which is a credential of the unit.
    pub fn configure(&self) {
        let uri = self.server.secure_uri();
        let origin = self.origin.uri("");
        self.write_configuration(&format!(
            "uri = \"{uri}\"\npsk-identity = \"{IDENTITY}\"\n\n[download]\ncredentials-over-http = [\"{origin}\"]"
        ));
        let key = self.container.path().join("etc/wharfd/psk");
        fs::write(&key, KEY).expect("the key");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the key's mode");
        let unit = "etc/systemd/system/wharfd.service.d";
        let unit = self.container.path().join(unit);
        fs::create_dir_all(&unit).expect("a folder for drop-ins");
        let load = "[Service]\nLoadCredential=psk:/etc/wharfd/psk\n";
        fs::write(unit.join("psk.conf"), load).expect("a drop-in");
        self.container
            .sh("systemctl daemon-reload; systemctl restart wharfd");
        self.server.wait_for_event("registered", ENDPOINT, 1);
    }

    /// Switches the gateway off and on by `turn`, and waits until the server knows that it is back.
    pub fn boot_again(&mut self, turn: impl FnOnce(&mut Container)) {
        let updates = self.events("updated");
        turn(&mut self.container);
        self.server.wait_for_event("updated", ENDPOINT, updates + 1);
        assert_eq!(self.container.failed_units(), [""; 0]);
    }

    /// The number of events of this kind.
    pub fn events(&self, event: &str) -> usize {
        let lines = self.server.lines();
        let events = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        events.filter(|one: &Value| one["event"] == event).count()
    }

    /// Creates an instance, and observes all of its resources that change.
    #[track_caller]
    pub fn create_and_observe(&mut self, instance: u16) {
        let created = self
            .server
            .create(ENDPOINT, "/9", Some(instance), json!({}));
        expect(&created, "2.01");
        for resource in [7, 9, 12] {
            let path = format!("/9/{instance}/{resource}");
            expect(&self.server.observe(ENDPOINT, &path), "2.05");
        }
    }

    /// Writes one resource, and expects success.
    #[track_caller]
    pub fn write(&mut self, path: &str, value: &str) {
        expect(&self.server.write(ENDPOINT, path, value), "2.04");
    }

    /// Executes a resource, and expects success.
    #[track_caller]
    pub fn execute(&mut self, path: &str, arguments: Option<&str>) {
        expect(&self.server.execute(ENDPOINT, path, arguments), "2.04");
    }

    /// The value of a resource.
    #[track_caller]
    pub fn read(&mut self, path: &str) -> Value {
        self.server.read(ENDPOINT, path).value
    }

    /// All notifications of a path, in order.
    pub fn told(&self, path: &str) -> Value {
        let story = self.server.story().into_iter();
        story
            .filter(|(of, _)| of == path)
            .map(|(_, value)| value)
            .collect()
    }

    /// Waits until the notifications of a path are exactly these.
    #[track_caller]
    pub fn wait_until_told(&self, path: &str, expected: &Value) {
        let count = expected.as_array().map_or(0, Vec::len);
        wait_until(&format!("{path} to be notified {expected}"), || {
            let told = self.told(path);
            let is_told = told.as_array().is_some_and(|told| told.len() >= count);
            is_told.then(|| assert_eq!(told, *expected, "{path}"))
        });
    }

    /// Waits until `wharfctl` shows these values of an instance (`{"update_state": 4}`). It shows none while wharfd is
    /// down.
    #[track_caller]
    pub fn wait_for_wharfctl(&self, instance: u16, expected: &Value) {
        let what = format!("wharfctl to say {expected} of instance {instance}");
        let expected = expected.as_object().expect("an object");
        wait_until(&what, || {
            let shown = self
                .container
                .try_sh(&format!("wharfctl show {instance} --json"));
            let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
            let agrees = expected.iter().all(|(name, value)| shown[name] == *value);
            agrees.then_some(())
        });
    }
}

#[track_caller]
fn expect(answer: &LeshanAnswer, code: &str) {
    assert_eq!(answer.code, code, "{answer:?}");
}
