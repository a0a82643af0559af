//! Packages without trust: formerly trusted, or seemingly so. None of their scripts runs as root.

use std::fs;

use wharf_tests::{
    keys::Signer,
    package::{Package, Script},
};

use crate::{bus::run, stage_set::StageSet};

const MARKER: &str = "/var/lib/marker";

/// A package whose script leaves a marker file.
fn marked(version: &str) -> Package {
    Package::new("hello", version).script(Script::Postinst, &format!("echo > {MARKER}"))
}

#[track_caller]
fn no_script_ran(set: &StageSet) {
    let marker = set.gateway.path().join(MARKER.trim_start_matches('/'));
    assert!(!marker.exists(), "a script ran as root");
}

#[test]
fn a_package_signed_by_a_subkey_that_was_revoked_since_runs_no_script() {
    let set = StageSet::debian();
    let keyring = set.gateway.path().join("etc/wharfd/keys/vendor.asc");
    let publish_certificate = || fs::write(&keyring, set.keys.unspoiled(Signer::Vendor)).unwrap();
    let subkey = set.keys.add_subkey(Signer::Vendor);
    publish_certificate();
    set.deliver(&marked("1.0-1"));

    set.keys.revoke_subkey(Signer::Vendor);
    publish_certificate();
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/57");
    let reason = set.wait_for_reason("was revoked");
    assert!(reason.contains(&subkey), "{reason}");
    no_script_ran(&set);
    assert_eq!(set.gateway.debian_root().installed_version("hello"), None);
}

#[test]
fn a_certificate_that_policy_does_not_mention_takes_over_no_package_of_another() {
    let set = StageSet::debian();
    set.install(&Package::new("hello", "1.0-1"));
    let other = Signer::Stranger;
    set.keys.add_to_keyring(other, &set.gateway.path());
    set.client().execute("/9/0/6", "1").expect("2.04");
    let uri = set.publish_signed(&marked("2.0-1"), Some(other));
    set.order(&uri);
    set.wait_for("0/53");
    let reason = set.wait_for_reason("to allow it, run `wharfctl ");
    for signer in [other, Signer::Vendor] {
        let fingerprint = set.keys.fingerprint(signer);
        assert!(reason.contains(&fingerprint), "{reason}: {signer:?}");
    }
    no_script_ran(&set);
    let root = set.gateway.debian_root();
    assert_eq!(root.installed_version("hello").as_deref(), Some("1.0-1"));

    // The refusal names the command that allows it.
    let wharfctl = |words: &[&str]| run(set.gateway.command("wharfctl", &[]).args(words)).output;
    let (_, command) = reason.split_once("run `wharfctl ").unwrap();
    let (command, _) = command.split_once('`').unwrap();
    let keys: serde_json::Value =
        serde_json::from_str(&wharfctl(&["--json", "keys", "list"])).unwrap();
    let fingerprint = set.keys.fingerprint(other);
    let mut keys = keys.as_array().unwrap().iter();
    let key = keys.find(|key| key["fingerprint"] == *fingerprint).unwrap();
    let file = key["files"][0].as_str().unwrap();
    let words = command
        .split(' ')
        .map(|word| if word == "FILE" { file } else { word });
    let said = wharfctl(&words.collect::<Vec<_>>());
    assert!(said.contains("may sign  hello"), "{said}");
    set.order(&uri);
    set.wait_for("3/0");
}
