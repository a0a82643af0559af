//! Object 14: the components of packages, driven by Leshan.

use std::fs;

use serde_json::{Value, json};
use wharf_tests::{
    bundle::Bundle,
    gateway::{ENDPOINT, Gateway},
    keys::Signer,
    leshan::{Leshan, LeshanAnswer},
    package::Package,
    waiting::wait_until,
};

use crate::stage_set::StageSet;

/// A gateway at Leshan.
struct Components {
    set: StageSet,
    leshan: Leshan,
    /// The number of notifications that were waited for.
    told: usize,
}

impl Components {
    fn simulated() -> Self {
        let gateway = Gateway::simulated();
        let set = StageSet::configured(gateway, "");
        let file = "etc/wharfd/wharfd.toml.d/components.toml";
        set.gateway.write(file, "components = true\n");
        Self::start(set)
    }

    fn start(mut set: StageSet) -> Self {
        let leshan = Leshan::new();
        set.gateway.configure(&leshan.uri(), "");
        set.gateway.start();
        leshan.wait_for_event("registered", ENDPOINT, 1);
        let told = 0;
        Self { set, leshan, told }
    }

    #[track_caller]
    fn read(&mut self, path: &str) -> Value {
        let LeshanAnswer { code, value } = self.leshan.read(ENDPOINT, path);
        assert_eq!(code, "2.05", "{path}");
        value
    }

    #[track_caller]
    fn execute(&mut self, path: &str, code: &str) {
        let answer = self.leshan.execute(ENDPOINT, path, None);
        assert_eq!(answer.code, code, "{path}: {answer:?}");
    }

    #[track_caller]
    fn observe(&mut self, path: &str) {
        assert_eq!(self.leshan.observe(ENDPOINT, path).code, "2.05", "{path}");
    }

    #[track_caller]
    fn write(&mut self, path: &str, value: impl Into<Value>) {
        let answer = self.leshan.write(ENDPOINT, path, value);
        assert_eq!(answer.code, "2.04", "{path}: {answer:?}");
    }

    #[track_caller]
    fn wait_for(&mut self, path: &str, value: impl Into<Value>) {
        self.told = self.leshan.wait_for_notification(path, value, self.told);
    }

    #[track_caller]
    fn deliver(&mut self, version: &str) {
        let uri = self.set.publish(&Package::new("hello", version));
        self.write("/9/0/3", uri);
        self.wait_for("/9/0/7", 3);
    }

    /// Delivers a bundle of these packages, all in its version.
    #[track_caller]
    fn deliver_bundle(&mut self, version: &str, packages: &[&str]) {
        let folder = self.set.folder.path();
        let empty = Bundle::new("stack", version);
        let bundle = packages.iter().fold(empty, |bundle, package| {
            bundle.install(&self.set.build(&Package::new(package, version)))
        });
        let file = bundle.build(folder);
        let signature = self.set.keys.sign_beside(Signer::Vendor, &file);
        let name = format!("/stack_{version}.wharf");
        let signature = fs::read(signature).expect("the signature");
        self.set.origin.serve(&format!("{name}.asc"), signature);
        let uri = self
            .set
            .origin
            .serve(&name, fs::read(&file).expect("the bundle"));
        self.write("/9/0/3", uri);
        self.wait_for("/9/0/7", 3);
    }

    /// The links that Leshan got last.
    fn links(&mut self) -> String {
        let registrations = self.leshan.registrations();
        registrations[0]["links"]
            .as_str()
            .expect("links")
            .to_owned()
    }

    #[track_caller]
    fn wait_for_links(&mut self, has: bool) {
        wait_until("another list of instances", || {
            (self.links().contains("</14/0>") == has).then_some(())
        });
    }

    /// Name, version and Activation State of the component hello.
    #[track_caller]
    fn expect(&mut self, version: &str, active: bool) {
        self.expect_component(0, "hello", version, active);
    }

    #[track_caller]
    fn expect_component(&mut self, id: u16, name: &str, version: &str, active: bool) {
        let instance = json!({"0": name, "2": version, "5": active});
        assert_eq!(self.read(&format!("/14/{id}")), instance);
    }
}

#[test]
fn a_plain_package_is_one_component_that_leshan_activates_over_an_upgrade_and_a_restart() {
    let mut on = Components::simulated();
    assert!(on.links().contains("</14>"), "{}", on.links());
    on.observe("/9/0/7");
    on.deliver("1.0.1");

    // Resource 8 is false: Leshan learns of the instance with the next Update, and may use it at once.
    assert!(!on.links().contains("</14/0>"), "{}", on.links());
    on.expect("1.0.1", false);
    assert_eq!(on.read("/9/0/17"), json!({"0": "14:0"}));
    assert_eq!(on.read("/9/0/18"), 1);
    on.execute("/1/0/8", "2.04");
    on.wait_for_links(true);
    for path in ["/14/0/3", "/14/0/4"] {
        on.execute(path, "4.05");
    }
    let create = on.leshan.create(ENDPOINT, "/14", Some(1), json!({}));
    assert_eq!(create.code, "4.05");
    assert_eq!(on.leshan.delete(ENDPOINT, "/14/0").code, "4.05");
    assert_eq!(on.leshan.read(ENDPOINT, "/14/0/1").code, "4.04");
    assert_eq!(on.leshan.read(ENDPOINT, "/14/1").code, "4.04");

    on.execute("/9/0/4", "2.04");
    on.wait_for("/9/0/7", 4);
    for path in ["/14/0/5", "/14/0/2", "/9/0/12"] {
        on.observe(path);
    }
    on.execute("/14/0/3", "2.04");
    on.wait_for("/14/0/5", true);
    on.expect("1.0.1", true);
    assert_eq!(on.read("/9/0/12"), true);
    on.execute("/14/0/4", "2.04");
    on.wait_for("/14/0/5", false);
    on.execute("/9/0/10", "2.04");
    on.wait_for("/14/0/5", true);

    // The component keeps its id over the upgrade.
    let answer = on.leshan.execute(ENDPOINT, "/9/0/6", Some("1"));
    assert_eq!(answer.code, "2.04");
    on.wait_for("/9/0/7", 0);
    on.expect("1.0.1", false);
    assert_eq!(on.leshan.read(ENDPOINT, "/9/0/17").code, "4.04");
    assert_eq!(on.leshan.read(ENDPOINT, "/9/0/18").code, "4.04");
    on.execute("/14/0/3", "4.05");
    on.deliver("2.0.1");
    on.expect("2.0.1", false);
    on.execute("/9/0/4", "2.04");
    on.wait_for("/9/0/7", 4);
    on.execute("/14/0/3", "2.04");
    on.wait_for("/14/0/5", true);

    on.set.gateway.daemon().kill();
    on.set.gateway.start_daemon(&[]);
    wait_until("an answer after the restart", || {
        (on.leshan.read(ENDPOINT, "/14/0/2").value == "2.0.1").then_some(())
    });
    on.expect("2.0.1", true);
    assert_eq!(on.read("/9/0/17"), json!({"0": "14:0"}));
    on.execute("/14/0/4", "2.04");
    on.wait_for("/14/0/5", false);

    // Resource 8 is true: Leshan learns at once that the instance is gone.
    on.write("/9/0/8", true);
    on.execute("/9/0/6", "2.04");
    on.wait_for("/14/0/5", Value::Null);
    on.wait_for_links(false);
    assert_eq!(on.leshan.read(ENDPOINT, "/14/0/5").code, "4.04");
    let story = on.leshan.story().into_iter();
    let versions = story.filter(|(path, _)| path == "/14/0/2");
    let versions: Vec<Value> = versions.map(|(_, value)| value).collect();
    assert_eq!(versions, [json!("2.0.1"), Value::Null]);
}

#[test]
fn leshan_activates_each_component_of_a_bundle_and_all_of_them_and_ids_stay_over_an_upgrade() {
    let mut on = Components::start(StageSet::configured(Gateway::simulated(), ""));
    for path in ["/9/0/7", "/9/0/12"] {
        on.observe(path);
    }
    on.write("/9/0/8", true);
    on.deliver_bundle("1.0.1", &["php", "web"]);
    assert_eq!(on.read("/9/0/0"), "stack");
    assert_eq!(on.read("/9/0/17"), json!({"0": "14:0", "1": "14:1"}));
    assert_eq!(on.read("/9/0/18"), 2);
    on.expect_component(0, "php", "1.0.1", false);
    on.execute("/14/1/3", "4.05");
    on.wait_for_links(true); // Resource 8 is true

    on.execute("/9/0/4", "2.04");
    on.wait_for("/9/0/7", 4);
    for path in ["/14/0/5", "/14/1/5"] {
        on.observe(path);
    }
    on.execute("/14/0/3", "2.04");
    on.wait_for("/14/0/5", true);
    assert_eq!(on.read("/9/0/12"), false, "web is inactive");
    on.execute("/14/1/3", "2.04");
    on.wait_for("/14/1/5", true);
    on.wait_for("/9/0/12", true);
    on.execute("/14/0/4", "2.04");
    on.wait_for("/14/0/5", false);
    on.wait_for("/9/0/12", false);
    on.execute("/9/0/11", "2.04");
    on.wait_for("/14/1/5", false);
    on.execute("/9/0/10", "2.04");
    on.wait_for("/14/1/5", true);
    on.expect_component(0, "php", "1.0.1", true);

    // The next bundle drops php and adds cache.
    let answer = on.leshan.execute(ENDPOINT, "/9/0/6", Some("1"));
    assert_eq!(answer.code, "2.04");
    on.wait_for("/9/0/7", 0);
    on.deliver_bundle("2.0.1", &["cache", "web"]);
    assert_eq!(on.read("/9/0/17"), json!({"0": "14:2", "1": "14:1"}));
    on.execute("/9/0/4", "2.04");
    on.wait_for("/9/0/7", 4);
    on.expect_component(2, "cache", "2.0.1", false);
    assert_eq!(on.read("/14/1/2"), "2.0.1");
    assert_eq!(on.leshan.read(ENDPOINT, "/14/0").code, "4.04");

    on.set.gateway.daemon().kill();
    on.set.gateway.start_daemon(&[]);
    wait_until("an answer after the restart", || {
        (on.leshan.read(ENDPOINT, "/14/2/0").value == "cache").then_some(())
    });
    assert_eq!(on.read("/9/0/17"), json!({"0": "14:2", "1": "14:1"}));
    on.execute("/9/0/6", "2.04");
    on.wait_for("/9/0/7", 0);
    assert_eq!(on.leshan.read(ENDPOINT, "/14/1").code, "4.04");
}

#[test]
fn a_plain_package_is_no_component_if_that_is_not_configured() {
    let set = StageSet::simulated();
    set.install(&Package::new("hello", "1.0.1"));
    let client = set.client();
    for path in ["/14/0", "/9/0/17", "/9/0/18"] {
        client.read(path).expect("4.04");
    }
    client.execute("/14/0/3", "").expect("4.04");
    client.create("/14", Some(0), &[]).expect("4.05");
    let links = client.registration().links;
    assert!(links.ends_with(",</14>"), "{links}");
}
