//! The whole story of a package: written, pulled or pushed, judged, installed, upgraded, removed.

use std::fs;

use wharf_tests::{keys::Signer, package::Package, server::format};

use crate::stage_set::StageSet;

const DOWNLOAD_STARTED: [&str; 2] = ["9=1", "7=1"];
const DOWNLOADED: [&str; 2] = ["9=0", "7=2"];
const INSTALLED: [&str; 2] = ["9=2", "7=4"];

fn installs_what_a_server_orders(set: &StageSet, version: &str) {
    set.origin.require("fleet", "correct horse");
    let uri = set.publish(&Package::new("hello", version));
    let client = set.client();
    set.observe(&[9, 7, 0, 1, 12]);
    client.write_text("/9/0/14", "fleet").expect("2.04");
    client.write_text("/9/0/15", "correct horse").expect("2.04");
    set.order(&uri);
    set.wait_for("3/0");
    assert_eq!(client.read_text("/9/0/0"), "hello");
    assert_eq!(client.read_text("/9/0/1"), version);
    client.execute("/9/0/4", "").expect("2.04");
    set.wait_for("4/2");
    let version = format!("1={version}");
    let delivered = ["0=hello", &version, "7=3"];
    set.expect_story(&[&DOWNLOAD_STARTED[..], &DOWNLOADED, &delivered, &INSTALLED].concat());
}

#[test]
fn a_pulled_package_is_installed_by_the_simulated_package_manager() {
    installs_what_a_server_orders(&StageSet::simulated(), "1.0.1");
}

#[test]
fn a_pulled_package_is_installed_by_apt() {
    let set = StageSet::debian();
    installs_what_a_server_orders(&set, "1.0-1");
    let installed = set.gateway.debian_root().installed_version("hello");
    assert_eq!(installed.as_deref(), Some("1.0-1"));
}

#[test]
fn an_upgrade_after_for_update_keeps_the_software_until_install_replaces_it() {
    let set = StageSet::debian();
    set.install(&Package::new("hello", "1.0-1"));
    set.observe(&[9, 7, 0, 1]);
    let client = set.client();

    client.execute("/9/0/6", "1").expect("2.04");
    set.wait_for("0/0");
    let installed = || set.gateway.debian_root().installed_version("hello");
    assert_eq!(installed().as_deref(), Some("1.0-1"));
    assert_eq!(client.read_text("/9/0/1"), "1.0-1");

    set.install(&Package::new("hello", "2.0-1"));
    assert_eq!(installed().as_deref(), Some("2.0-1"));
    let expected = [
        &["9=0", "7=0"],
        &DOWNLOAD_STARTED[..],
        &DOWNLOADED,
        &["1=2.0-1", "7=3"],
        &INSTALLED,
    ];
    set.expect_story(&expected.concat());
}

#[test]
fn uninstall_removes_the_software_from_the_device() {
    let set = StageSet::debian();
    set.install(&Package::new("hello", "1.0-1"));
    set.client().execute("/9/0/6", "").expect("2.04");
    set.wait_for("0/0");
    assert_eq!(set.gateway.debian_root().installed_version("hello"), None);
    assert_eq!(set.client().read_text("/9/0/0"), "");
}

#[test]
fn uninstall_in_initial_removes_the_software_in_place() {
    let set = StageSet::simulated();
    set.install(&Package::new("hello", "1.0.1"));
    let client = set.client();
    client.execute("/9/0/6", "1").expect("2.04");
    client.delete("/9/0").expect("4.05");
    client.execute("/9/0/6", "0").expect("2.04");
    wharf_tests::waiting::wait_until("an empty PkgName", || {
        client.read_text("/9/0/0").is_empty().then_some(())
    });
    client.delete("/9/0").expect("2.02");
}

#[test]
fn a_pushed_package_is_delivered_and_installed_by_apt() {
    let set = StageSet::debian();
    let file = set.signed_inside(&Package::new("hello", "1.0-1").padding(100_000));
    set.observe(&[9, 7]);
    let client = set.client();
    let bytes = fs::read(file).unwrap();
    client
        .push("/9/0/2", format::OPAQUE, &bytes, 1024)
        .expect("2.04");
    set.wait_for("3/0");
    client.execute("/9/0/4", "").expect("2.04");
    set.wait_for("4/2");
    let installed = set.gateway.debian_root().installed_version("hello");
    assert_eq!(installed.as_deref(), Some("1.0-1"));
    set.expect_story(&[&DOWNLOAD_STARTED[..], &DOWNLOADED, &["7=3"], &INSTALLED].concat());
}

/// A package inside a message of `gpg --sign` carries its signature, over any transport.
#[test]
fn a_package_inside_a_message_is_pushed_or_pulled_and_installed_by_apt() {
    let set = StageSet::debian();
    let inside = |version| {
        let package = Package::new("hello", version).padding(100_000);
        let file = package.build(set.folder.path());
        fs::read(set.keys.sign_around(Signer::Vendor, &file)).unwrap()
    };
    let client = set.client();
    client
        .push("/9/0/2", format::OPAQUE, &inside("1.0-1"), 1024)
        .expect("2.04");
    set.wait_for("3/0");
    assert_eq!(client.read_text("/9/0/1"), "1.0-1");
    client.execute("/9/0/4", "").expect("2.04");
    set.wait_for("4/2");
    client.execute("/9/0/6", "1").expect("2.04");
    set.order(&set.origin.serve("/hello.gpg", inside("2.0-1")));
    set.wait_for("3/0");
    client.execute("/9/0/4", "").expect("2.04");
    set.wait_for("4/2");
    let installed = set.gateway.debian_root().installed_version("hello");
    assert_eq!(installed.as_deref(), Some("2.0-1"));

    // The signer has to be trusted.
    client.execute("/9/0/6", "1").expect("2.04");
    let file = Package::new("hello", "3.0-1").build(set.folder.path());
    let strangers = fs::read(set.keys.sign_around(Signer::Stranger, &file)).unwrap();
    client
        .push("/9/0/2", format::OPAQUE, &strangers, 1024)
        .expect("2.04");
    set.wait_for("0/53");
}

#[test]
fn a_package_of_one_datagram_is_pushed_without_blocks() {
    let set = StageSet::simulated();
    set.client()
        .write("/9/0/2", format::OPAQUE, b"not a package")
        .expect("2.04");
    set.wait_for("0/54");
}

#[test]
fn block_0_again_restarts_the_push() {
    let set = StageSet::simulated();
    let file = set.signed_inside(&Package::new("hello", "1.0.1").padding(10_000));
    let bytes = fs::read(file).unwrap();
    let client = set.client();
    for number in [0, 1, 2] {
        client
            .push_block("/9/0/2", format::OPAQUE, &bytes, 512, number)
            .expect("2.31");
    }
    client
        .push("/9/0/2", format::OPAQUE, &bytes, 512)
        .expect("2.04");
    set.wait_for("3/0");
}

#[test]
fn a_block_without_its_push_is_answered_request_entity_incomplete() {
    let set = StageSet::simulated();
    let bytes = [0; 4096];
    set.client()
        .push_block("/9/0/2", format::OPAQUE, &bytes, 512, 3)
        .expect("4.08");
}

#[test]
fn the_same_version_again_succeeds() {
    let set = StageSet::debian();
    let package = Package::new("hello", "1.0-1");
    set.install(&package);
    set.client().execute("/9/0/6", "1").expect("2.04");
    set.install(&package);
}

#[test]
fn a_push_that_announces_more_than_the_quota_is_4_13_at_its_first_block() {
    let gateway = wharf_tests::gateway::Gateway::simulated();
    let policy = "backend = \"simulated\"\n\n[quota]\nbytes = 100000\n";
    gateway.write("etc/wharfd/installer.toml", policy);
    let set = StageSet::registered(gateway, "");
    let bytes = vec![0; 200_000];
    set.client()
        .push("/9/0/2", format::OPAQUE, &bytes, 1024)
        .expect("4.13");
    set.wait_for("0/50");
}
