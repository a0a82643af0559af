//! The whole story of a package: written, pulled, judged, installed, upgraded, removed.

use wharf_tests::package::Package;

use crate::stage_set::StageSet;

/// What the server was notified of, as `9/0/7 = 1`.
fn story(set: &StageSet) -> Vec<String> {
    let told = set.server.story();
    told.into_iter()
        .map(|(path, value)| format!("{path} = {value}"))
        .collect()
}

fn installs_what_a_server_orders(set: &mut StageSet) {
    set.origin.require("fleet", "correct horse");
    let uri = set.publish(&Package::new("hello", "1.0-1"));
    let client = set.client();
    for resource in [9, 7, 0, 1, 12] {
        client.observe(&format!("/9/0/{resource}")).expect("2.05");
    }
    client.write_text("/9/0/14", "fleet").expect("2.04");
    client.write_text("/9/0/15", "correct horse").expect("2.04");
    client.write_text("/9/0/3", &uri).expect("2.04");
    set.wait_for(3, 0);
    assert_eq!(client.read_text("/9/0/0"), "hello");
    assert_eq!(client.read_text("/9/0/1"), "1.0-1");
    client.execute("/9/0/4", "").expect("2.04");
    set.wait_for(4, 2);
    set.server.wait_for_notification("/9/0/7", "4", 0);
    let expected = [
        "/9/0/9 = 1",
        "/9/0/7 = 1", // DOWNLOAD STARTED
        "/9/0/9 = 0",
        "/9/0/7 = 2", // DOWNLOADED
        "/9/0/0 = hello",
        "/9/0/1 = 1.0-1",
        "/9/0/7 = 3", // DELIVERED
        "/9/0/9 = 2",
        "/9/0/7 = 4", // INSTALLED
    ];
    assert_eq!(story(set), expected);
}

#[test]
fn a_pulled_package_is_installed_by_the_simulated_package_manager() {
    installs_what_a_server_orders(&mut StageSet::simulated());
}

#[test]
fn a_pulled_package_is_installed_by_apt() {
    let mut set = StageSet::debian();
    installs_what_a_server_orders(&mut set);
    let installed = set.gateway.debian_root().installed_version("hello");
    assert_eq!(installed.as_deref(), Some("1.0-1"));
}
