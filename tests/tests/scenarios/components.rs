//! Object 14: the components of packages, driven by Leshan.

use serde_json::{Value, json};
use wharf_tests::{
    gateway::{ENDPOINT, Gateway},
    leshan::{Leshan, LeshanAnswer},
    package::Package,
    waiting::wait_until,
};

use crate::stage_set::StageSet;

/// A gateway at Leshan that shows a plain package as one component.
struct Components {
    set: StageSet,
    leshan: Leshan,
    /// The number of notifications that were waited for.
    told: usize,
}

impl Components {
    fn start() -> Self {
        let mut set = StageSet::configured(Gateway::simulated(), "");
        let leshan = Leshan::new();
        set.gateway.configure(&leshan.uri(), "");
        let folder = "etc/wharfd/wharfd.toml.d/components.toml";
        set.gateway.write(folder, "components = true\n");
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

    /// Name, version and Activation State of the component, and the links of its package to it.
    #[track_caller]
    fn expect(&mut self, version: &str, active: bool) {
        let instance = json!({"0": "hello", "2": version, "5": active});
        assert_eq!(self.read("/14/0"), instance);
    }
}

#[test]
fn a_plain_package_is_one_component_that_leshan_activates_over_an_upgrade_and_a_restart() {
    let mut on = Components::start();
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
