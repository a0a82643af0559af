//! Several downloads: their turns, their shares of the disk, and their ends.

use std::fs;

use serde_json::Value;
use wharf_tests::{gateway::Gateway, origin::Fault, package::Package, waiting::wait_until};

use crate::{bus::OnBus, stage_set::StageSet};

/// A set with three instances, and these words in `[download]`.
fn set_with(download: &str) -> StageSet {
    let set = StageSet::configured(Gateway::simulated(), "");
    let text = format!("instances = 3\n\n[download]\n{download}\n");
    set.gateway
        .write("etc/wharfd/wharfd.toml.d/several.toml", &text);
    set.started()
}

/// A package at the origin: its URI and its path.
fn publish(set: &StageSet, name: &str) -> (String, String) {
    let uri = set.publish(&Package::new(name, "1.0.1").padding(200_000));
    let path = format!("/{}", uri.rsplit('/').next().unwrap());
    (uri, path)
}

fn order(set: &StageSet, instance: u16, uri: &str) {
    let path = format!("/9/{instance}/3");
    set.client().write_text(&path, uri).expect("2.04");
}

#[track_caller]
fn wait_for_reason(set: &StageSet, instance: u16, words: &str) -> String {
    let client = set.client();
    wait_until(&format!("/9/{instance}/16 with {words}"), || {
        let reason = client.read_text(&format!("/9/{instance}/16"));
        reason.contains(words).then_some(reason)
    })
}

const AN_HOUR: Fault = Fault::Unavailable(Some(3600));

#[test]
fn a_download_that_waits_for_its_next_attempt_holds_up_no_other() {
    let set = set_with("parallel = 1");
    let (dead, path) = publish(&set, "dead");
    set.origin.fault(&path, AN_HOUR);
    order(&set, 0, &dead);
    let reason = wait_for_reason(&set, 0, "waiting for attempt 2 of 8 at 2");
    assert!(reason.starts_with("10: "), "{reason}");
    assert!(reason.contains("Z, since http://"), "{reason}");
    assert!(reason.contains("answered 503"), "{reason}");
    for (instance, name) in [(1, "other"), (2, "third")] {
        order(&set, instance, &publish(&set, name).0);
        set.wait_for_instance(instance, "3/0");
    }
    set.wait_for_instance(0, "1/1");
    assert_eq!(set.origin.wait_for_requests(&path, 1).len(), 1);
}

#[test]
fn two_downloads_run_at_once_and_a_third_waits_for_a_turn() {
    let set = set_with("");
    for (instance, name) in [(0, "first"), (1, "second")] {
        let (uri, path) = publish(&set, name);
        set.origin.fault(&path, Fault::StallAfter(100_000));
        order(&set, instance, &uri);
        set.origin.wait_for_requests(&path, 1);
        wait_for_reason(&set, instance, "30: downloading");
    }
    let (third, path) = publish(&set, "third");
    order(&set, 2, &third);
    wait_for_reason(&set, 2, "10: waiting for its turn");
    let asked = |path: &str| {
        let requests = set.origin.requests();
        requests.iter().any(|request| request.path == path)
    };
    assert!(!asked(&path));
    wait_until("both to stall", || {
        (set.origin.sent() > 200_000).then_some(())
    });
    set.origin.release();
    for instance in 0..3 {
        set.wait_for_instance(instance, "3/0");
    }
}

#[test]
fn a_free_turn_goes_to_the_download_that_was_accepted_first() {
    let set = set_with("parallel = 1");
    let (first, first_path) = publish(&set, "first");
    let (second, second_path) = publish(&set, "second");
    let (third, third_path) = publish(&set, "third");
    set.origin.fault(&first_path, Fault::Unavailable(Some(1)));
    set.origin.fault(&second_path, Fault::StallAfter(100_000));
    set.origin.fault(&first_path, Fault::StallAfter(100_000));
    order(&set, 0, &first);
    wait_for_reason(&set, 0, "attempt 2 of 8");
    order(&set, 1, &second);
    set.origin.wait_for_stall();
    order(&set, 2, &third);
    wait_for_reason(&set, 2, "its turn");
    wait_for_reason(&set, 0, "its turn"); // its wait is over
    set.origin.release();
    set.origin.wait_for_requests(&first_path, 2);
    set.origin.wait_for_stall();
    wait_for_reason(&set, 0, "30: downloading");
    wait_for_reason(&set, 2, "its turn");
    set.origin.release();
    for instance in 0..3 {
        set.wait_for_instance(instance, "3/0");
    }
    let requests = set.origin.requests();
    let place = |path: &str| requests.iter().rposition(|request| request.path == path);
    assert!(place(&second_path) < place(&first_path), "{requests:#?}");
    assert!(place(&first_path) < place(&third_path), "{requests:#?}");
}

#[test]
fn downloads_that_a_kill_interrupted_share_the_turns_again() {
    let mut set = set_with("parallel = 1");
    let (dead, dead_path) = publish(&set, "dead");
    set.origin.fault(&dead_path, AN_HOUR);
    set.origin.fault(&dead_path, AN_HOUR);
    order(&set, 0, &dead);
    wait_for_reason(&set, 0, "attempt 2 of 8");
    let (slow, slow_path) = publish(&set, "slow");
    set.origin.fault(&slow_path, Fault::StallAfter(100_000));
    order(&set, 1, &slow);
    set.origin.wait_for_stall();
    set.kill_and_start_daemon();
    wait_for_reason(&set, 0, "attempt 3 of 8"); // the count of attempts continues
    set.wait_for_instance(1, "3/0");
}

/// Each download fits alone.
#[test]
fn of_two_downloads_that_do_not_fit_together_the_second_waits_for_the_room_of_the_first() {
    let set = StageSet::configured(Gateway::simulated(), "");
    let configured = "instances = 3\n\n[timing]\nretry-first = 5000\nretry-longest = 5000\n";
    set.gateway
        .write("etc/wharfd/wharfd.toml.d/several.toml", configured);
    let policy = set.gateway.path().join("etc/wharfd/installer.toml");
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, text + "\n[quota]\nbytes = 300000\n").unwrap();
    let set = set.started();
    let (first, path) = publish(&set, "first");
    set.origin.fault(&path, Fault::StallAfter(1000));
    order(&set, 0, &first);
    set.origin.wait_for_stall();
    wait_for_reason(&set, 0, "30: downloading");
    order(&set, 1, &publish(&set, "second").0);
    let reason = wait_for_reason(&set, 1, "attempt 2 of 8");
    let told = "do not fit beside the downloads that run: they still need";
    assert!(reason.contains(told), "{reason}");
    set.origin.release();
    set.wait_for_instance(0, "3/0");
    set.client().execute("/9/0/6", "").expect("2.04");
    set.wait_for_instance(1, "3/0");
}

/// The operations of an instance, oldest first.
pub(crate) fn operations(on_bus: &OnBus, instance: &str) -> Vec<Value> {
    let shown = on_bus.json(&["show", instance]);
    shown["operations"].as_array().unwrap().clone()
}

/// Kind, state and outcome of the last operation.
pub(crate) fn last(on_bus: &OnBus, instance: &str) -> [String; 3] {
    let operations = operations(on_bus, instance);
    let last = operations.last().unwrap();
    ["kind", "state", "outcome"].map(|name| last[name].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_pull_ends_with_the_verdict_on_its_package() {
    let mut on_bus = OnBus::simulated();
    let uri = on_bus
        .set
        .publish_signed(&Package::new("stranger", "1.0.1"), None);
    on_bus.set.order(&uri);
    on_bus.set.wait_for("0/53");
    let why = "20: there is no signature beside the package, and none in it";
    assert_eq!(last(&on_bus, "0"), ["pull", "failed", why]);

    let broken = on_bus.set.gateway.path().join("etc/wharfd/keys/broken.asc");
    fs::write(&broken, "no certificate").unwrap();
    let hello = on_bus.set.publish(&Package::new("hello", "1.0.1"));
    on_bus.set.order(&hello);
    on_bus.set.wait_for_reason("40: waiting for a verdict");
    assert_eq!(last(&on_bus, "0"), ["pull", "running", ""]);
    let before = operations(&on_bus, "0");

    on_bus.set.kill_and_start_daemon();
    on_bus.wait_for_wharfd();
    assert_eq!(last(&on_bus, "0"), ["pull", "running", ""]);
    fs::remove_file(&broken).unwrap();
    on_bus.set.wait_for("3/0");
    let why = "40: hello 1.0.1 is ready to be installed";
    assert_eq!(last(&on_bus, "0"), ["pull", "done", why]);
    let ids = |operations: Vec<Value>| -> Vec<Value> {
        operations.iter().map(|known| known["id"].clone()).collect()
    };
    assert_eq!(ids(operations(&on_bus, "0")), ids(before));
}
