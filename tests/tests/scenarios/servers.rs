//! Real servers: Leshan's library, and ThingsBoard's flow.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wharf_tests::{
    gateway::{ENDPOINT, Gateway},
    keys::Signer,
    leshan::Leshan,
    package::Package,
    process::Process,
    system_bus::SystemBus,
    waiting::wait_until,
};

use crate::stage_set::StageSet;

/// A gateway that is registered at Leshan, and the rest of a stage set.
pub(crate) fn at_leshan() -> (StageSet, Leshan) {
    with_leshan(Gateway::debian())
}

fn with_leshan(gateway: Gateway) -> (StageSet, Leshan) {
    let mut set = StageSet::configured(gateway, "");
    let leshan = Leshan::new();
    set.gateway.configure(&leshan.uri(), "");
    set.gateway.start();
    leshan.wait_for_event("registered", ENDPOINT, 1);
    (set, leshan)
}

#[track_caller]
fn expect(answer: wharf_tests::leshan::LeshanAnswer, code: &str) {
    assert_eq!(answer.code, code, "{answer:?}");
}

/// The values of these paths in the order of their notifications.
fn told(leshan: &Leshan, path: &str) -> Vec<Value> {
    let story = leshan.story().into_iter();
    story
        .filter(|(notified, _)| notified == path)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn leshan_drives_the_whole_story() {
    let (set, mut leshan) = at_leshan();
    set.origin.require("fleet", "correct horse");
    expect(leshan.create(ENDPOINT, "/9", Some(1), json!({})), "2.01");
    for resource in [7, 9, 0, 1, 16] {
        expect(
            leshan.observe(ENDPOINT, &format!("/9/1/{resource}")),
            "2.05",
        );
    }

    let uri = set.publish(&Package::new("hello", "1.0-1"));
    expect(leshan.write(ENDPOINT, "/9/1/14", "fleet"), "2.04");
    expect(leshan.write(ENDPOINT, "/9/1/15", "correct horse"), "2.04");
    expect(leshan.write(ENDPOINT, "/9/1/3", uri.as_str()), "2.04");
    let told_so_far = leshan.wait_for_notification("/9/1/7", 3, 0);
    expect(leshan.execute(ENDPOINT, "/9/1/4", None), "2.04");
    let told_so_far = leshan.wait_for_notification("/9/1/7", 4, told_so_far);
    // An upgrade by ForUpdate, with the credentials in a Write of the whole instance.
    expect(leshan.execute(ENDPOINT, "/9/1/6", Some("1")), "2.04");
    let told_so_far = leshan.wait_for_notification("/9/1/7", 0, told_so_far);
    let uri = set.publish(&Package::new("hello", "2.0-1"));
    let whole = json!({ "14": "fleet", "15": "correct horse", "3": uri });
    expect(leshan.write_instance(ENDPOINT, "/9/1", whole), "2.04");
    let told_so_far = leshan.wait_for_notification("/9/1/7", 3, told_so_far);
    expect(leshan.execute(ENDPOINT, "/9/1/4", None), "2.04");
    let told_so_far = leshan.wait_for_notification("/9/1/7", 4, told_so_far);
    let installed = set.gateway.debian_root().installed_version("hello");
    assert_eq!(installed.as_deref(), Some("2.0-1"));

    // Removed, then pushed.
    expect(leshan.execute(ENDPOINT, "/9/1/6", None), "2.04");
    let told_so_far = leshan.wait_for_notification("/9/1/7", 0, told_so_far);
    assert_eq!(set.gateway.debian_root().installed_version("hello"), None);
    let file = Package::new("hello", "3.0-1")
        .padding(50_000)
        .build(set.folder.path());
    let message = set.keys.sign_around(Signer::Vendor, &file);
    expect(leshan.push(ENDPOINT, "/9/1/2", &message), "2.04");
    let told_so_far = leshan.wait_for_notification("/9/1/7", 3, told_so_far);
    expect(leshan.execute(ENDPOINT, "/9/1/6", None), "2.04");
    leshan.wait_for_notification("/9/1/7", 0, told_so_far);
    expect(leshan.delete(ENDPOINT, "/9/1"), "2.02");
    expect(leshan.read(ENDPOINT, "/9/1/7"), "4.04");

    // Leshan keeps the order of each observation and none between them, but `story` does. The last value is the 4.04
    // for an instance that is deleted.
    let expected = [
        ("7", json!([1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 0, null])),
        ("9", json!([1, 0, 2, 0, 1, 0, 2, 0, 1, 0, null])),
        ("0", json!(["hello", "", "hello", "", null])),
        ("1", json!(["1.0-1", "2.0-1", "", "3.0-1", "", null])),
    ];
    for (resource, values) in expected {
        let path = format!("/9/1/{resource}");
        wait_until(&format!("4.04 to who observes {path}"), || {
            told(&leshan, &path).last()?.is_null().then_some(())
        });
        assert_eq!(json!(told(&leshan, &path)), values, "{path}");
    }
    let reasons = told(&leshan, "/9/1/16");
    let is_told = |text: &str| reasons.contains(&json!(text));
    assert!(
        is_told("40: hello 1.0-1 is installed") && is_told("40: hello 2.0-1 is installed"),
        "{reasons:?}"
    );
}

/// Leshan keeps one observation of a path, by the token of its last Observe, and resets notifications with other
/// tokens.
#[test]
fn leshan_observes_a_path_anew_and_its_reset_ends_the_observation_that_it_forgot() {
    let gateway = Gateway::simulated();
    let _bus = SystemBus::start(&gateway.path());
    let (set, mut leshan) = with_leshan(gateway);
    let mut wharfctl = set.gateway.command("wharfctl", &[]);
    let trace = Process::spawn(wharfctl.arg("trace"));
    wait_until("a read in the trace", || {
        expect(leshan.read(ENDPOINT, "/9/0/7"), "2.05");
        let lines = trace.output().all();
        lines
            .iter()
            .any(|line| line.contains("GET /9/0/7"))
            .then_some(())
    });

    expect(leshan.observe(ENDPOINT, "/9/0/8"), "2.05");
    expect(leshan.observe(ENDPOINT, "/9/0/8"), "2.05");
    let mut told_so_far = 0;
    for value in [true, false] {
        expect(leshan.write(ENDPOINT, "/9/0/8", value), "2.04");
        told_so_far = leshan.wait_for_notification("/9/0/8", value, told_so_far);
    }
    expect(leshan.cancel(ENDPOINT, "/9/0/8"), "2.05");
    expect(leshan.write(ENDPOINT, "/9/0/8", true), "2.04");
    expect(leshan.read(ENDPOINT, "/9/0/8"), "2.05");
    assert_eq!(told(&leshan, "/9/0/8"), [true, false]);
    let resets = trace.output().all();
    let resets = resets
        .iter()
        .filter(|line| line.contains("< RST ["))
        .count();
    assert_eq!(resets, 1, "{:#?}", trace.output().all());

    let links = leshan.discover(ENDPOINT, "/3/0").value.to_string();
    assert!(links.contains("</3/0/11>;dim=1"), "{links}");
}

/// As ThingsBoard's DefaultLwM2MOtaUpdateService does it: `/9/0` only, 0, 1, 7, 9 and 3/0/19 observed; INITIAL
/// makes it write the URI, DELIVERED makes it execute Install, on every notification; INSTALLED of another version
/// makes it execute Uninstall with `1`; never Activate. When name and version are those it wants, it is content.
#[test]
fn thingsboard_brings_its_package_and_is_content() {
    let set = StageSet::registered(Gateway::debian(), "replace-failed = true");
    let client = set.client();
    assert_ne!(
        client.read_text("/3/0/19"),
        "",
        "the device does not support software update"
    );
    client.observe("/3/0/19").expect("2.05");
    set.observe(&[0, 1, 7, 9]);
    for version in ["1.0-1", "2.0-1"] {
        let uri = set.publish(&Package::new("hello", version));
        let mut done = BTreeSet::new();
        wait_until(&format!("ThingsBoard content with {version}"), || {
            let (state, result) = (client.read_text("/9/0/7"), client.read_text("/9/0/9"));
            let title_and_version = (client.read_text("/9/0/0"), client.read_text("/9/0/1"));
            assert!(
                ["0", "1", "2"].contains(&result.as_str()),
                "an error: {result}"
            );
            match state.as_str() {
                "0" => drop(client.write_text("/9/0/3", &uri)),
                "3" => drop(client.execute("/9/0/4", "")), // it may be installed by now
                "4" if title_and_version == ("hello".into(), version.into()) => return Some(()),
                "4" => drop(client.execute("/9/0/6", "1")),
                _ => {}
            }
            done.insert(state);
            None
        });
        let installed = set.gateway.debian_root().installed_version("hello");
        assert_eq!(installed.as_deref(), Some(version));
    }
}
