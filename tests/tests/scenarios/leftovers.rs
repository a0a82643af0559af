//! The leftovers of a failed operation on the device: a server can remove all of them, and nothing that wharfd did not
//! install.

use std::{fs, process::Command};

use wharf_tests::{
    command::output_of,
    package::{Package, Script},
};

use crate::stage_set::StageSet;

/// Creates the file for which scripts look.
fn allow(set: &StageSet) {
    fs::write(set.gateway.path().join("allowed"), "").unwrap();
}

#[test]
fn a_removal_whose_postrm_fails_is_4_59_until_the_script_allows_it() {
    let set = StageSet::debian();
    let script = "[ $1 != remove ] || [ -e /allowed ]";
    set.install(&Package::new("hello", "1.0-1").script(Script::Postrm, script));
    let client = set.client();
    client.execute("/9/0/6", "").expect("2.04");
    set.wait_for("4/59");
    assert!(client.read_text("/9/0/16").starts_with("40: "));
    assert_eq!(client.read_text("/9/0/1"), "1.0-1");
    client.delete("/9/0").expect("4.05");
    let state = set.gateway.debian_root().dpkg_state("hello");
    assert_eq!(state.map(|(state, _)| state).as_deref(), Some("rH"));

    allow(&set);
    client.execute("/9/0/6", "").expect("2.04");
    set.wait_for("0/0");
    client.delete("/9/0").expect("2.02");
}

#[test]
fn what_a_failed_upgrade_without_a_way_back_left_stays_in_place_until_it_is_removed() {
    let mut set = StageSet::debian();
    let policy = set.gateway.path().join("etc/wharfd/installer.toml");
    let before = fs::read_to_string(&policy).unwrap_or_default();
    fs::write(&policy, format!("back.bytes = 0\n{before}")).unwrap();
    set.install(&Package::new("hello", "1.0-1"));
    set.client().execute("/9/0/6", "1").expect("2.04");
    set.wait_for("0/0");
    let broken = Package::new("hello", "2.0-1").script(Script::Postinst, "exit 3");
    set.deliver(&broken);
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/58");

    // wharfd inspects the device when it starts: a part of the software counts as software.
    set.kill_and_start_daemon();
    set.wait_for("3/58");
    let client = set.client();
    client.delete("/9/0").expect("4.05");
    client.execute("/9/0/6", "").expect("2.04");
    set.wait_for("0/0");
    assert_eq!(client.read_text("/9/0/0"), "hello");
    client.delete("/9/0").expect("4.05");
    client.execute("/9/0/6", "").expect("2.04");
    wharf_tests::waiting::wait_until("the end of the removal", || {
        client.read_text("/9/0/0").is_empty().then_some(())
    });
    assert_eq!(set.gateway.debian_root().dpkg_state("hello"), None);
    client.delete("/9/0").expect("2.02");
}

#[test]
fn a_package_of_the_distribution_is_not_taken_over_by_an_install_that_failed() {
    let set = StageSet::debian();
    let folder = set.gateway.path().join("tmp");
    let file = Package::new("hello", "1.0-1").build(&folder);
    let inside = format!("/tmp/{}", file.file_name().unwrap().display());
    let mut dpkg: Command = set.gateway.debian_root().command("dpkg");
    output_of(dpkg.args(["--install", &inside]));

    let needy = Package::new("hello", "2.0-1").depends("no-such-library");
    set.deliver(&needy);
    let client = set.client();
    client.execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/58");
    client.execute("/9/0/6", "").expect("2.04");
    set.wait_for("0/0");
    assert_eq!(client.read_text("/9/0/0"), "");
    client.delete("/9/0").expect("2.02");
    let version = set.gateway.debian_root().installed_version("hello");
    assert_eq!(version.as_deref(), Some("1.0-1"));
}

#[test]
fn a_delivered_package_that_no_instance_knows_any_more_is_removed_and_no_other() {
    let mut set = StageSet::simulated();
    let staged = set.gateway.path().join("var/lib/wharf-installer/staged");
    let database = set.gateway.path().join("var/lib/wharfd");
    let kept = set.folder.path().join("kept");
    set.deliver(&Package::new("hello", "1.0.1"));
    set.gateway.daemon().kill();
    output_of(Command::new("cp").args(["-a"]).args([&database, &kept]));
    set.start_daemon_again();
    let client = set.client();
    client.create("/9", Some(1), &[]).expect("2.01");
    let bulb = set.publish(&Package::new("bulb", "1.0.1"));
    client.write_text("/9/1/3", &bulb).expect("2.04");
    set.wait_for_instance(1, "3/0");
    let files = || fs::read_dir(&staged).unwrap().count();
    assert_eq!(files(), 4, "two packages and their verdicts");

    set.gateway.daemon().kill();
    fs::remove_dir_all(&database).unwrap();
    output_of(Command::new("cp").args(["-a"]).args([&kept, &database]));
    set.server.forget_messages(); // what is restored is of long ago
    set.start_daemon_again();
    wharf_tests::waiting::wait_until("one package", || (files() == 2).then_some(()));
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("4/2");
}
