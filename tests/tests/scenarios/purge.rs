//! `wharfctl uninstall --purge`: possible for an administrator of the gateway, and not for a server.

use std::fs;

use wharf_tests::{
    debian_root::frontend_lock,
    gateway::Gateway,
    package::{Package, Script},
    process::Process,
    system_bus::SystemBus,
    waiting::wait_until,
};

use crate::{
    bus::{OnBus, Said},
    exit_codes::succeeds_wherever_wharfd_exits,
};

const PURGE: [&str; 3] = ["uninstall", "hello", "--purge"];

/// With a file of configuration.
fn hello() -> Package {
    Package::new("hello", "1.0-1").conffile("/etc/hello.conf", "x = 1\n")
}

fn with_apt() -> OnBus {
    OnBus::on(Gateway::debian(), SystemBus::start)
}

/// Lets root's policy allow the purge of these packages.
fn allow_purge(on_bus: &OnBus, names: &str) {
    let path = "etc/wharfd/installer.toml";
    let gateway = &on_bus.set.gateway;
    let policy = fs::read_to_string(gateway.path().join(path)).unwrap_or_default();
    let others = policy
        .lines()
        .filter(|line| !line.starts_with("allow-purge"));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    gateway.write(path, &format!("allow-purge = [\"{names}\"]\n{others}"));
}

/// dpkg's letters for the package, and whether its configuration exists.
fn on_the_device(on_bus: &OnBus) -> (Option<String>, bool) {
    let root = on_bus.set.gateway.debian_root();
    let state = root.dpkg_state("hello").map(|(state, _)| state);
    (state, root.path().join("etc/hello.conf").exists())
}

fn begin(on_bus: &OnBus) -> Process {
    Process::spawn(on_bus.set.gateway.command("wharfctl", &[]).args(PURGE))
}

#[track_caller]
fn refused(on_bus: &OnBus, words: &[&str]) -> Said {
    let said = on_bus.wharfctl(&PURGE);
    assert_eq!(said.code, Some(1), "{said:?}");
    for words in words {
        assert!(said.errors.contains(words), "no {words:?} in {said:?}");
    }
    said
}

#[test]
fn a_purge_is_refused_with_57_until_policy_names_the_package() {
    let on_bus = with_apt();
    on_bus.set.install(&hello());

    refused(
        &on_bus,
        &[
            "hello 1.0-1, INSTALLED/57, 40: policy does not allow purging hello: write allow-purge = [\"hello\"] into \
             installer.toml, or uninstall it without --purge",
        ],
    );

    on_bus.agree("4/57");
    assert_eq!(on_the_device(&on_bus), (Some("ii".to_owned()), true));
    let show = on_bus.done(&["show", "hello"]);
    assert!(show.contains("  purge      user 0    failed"), "{show}");

    allow_purge(&on_bus, "hello");
    let said = on_bus.done(&PURGE);
    let end = "hello 1.0-1 is uninstalled, and its configuration is deleted\n";
    assert!(said.ends_with(end), "{said}");
    on_bus.agree("0/0");
    assert_eq!(on_the_device(&on_bus), (None, false));
    let shown = &on_bus.json(&["show", "0"])["operations"];
    let last = shown.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["kind"], &last["state"]),
        (&"purge".into(), &"done".into())
    );
    let history = on_bus.done(&["history", "hello"]);
    assert!(history.contains("40: purging hello 1.0-1"), "{history}");
}

#[test]
fn a_cancelled_purge_is_59_and_one_that_fails_in_initial_disturbs_no_upgrade() {
    let on_bus = with_apt();
    on_bus.set.install(&hello());
    allow_purge(&on_bus, "hello");
    let lock = frontend_lock(&on_bus.set.gateway.path());
    let mut purge = begin(&on_bus);
    on_bus.set.wait_for_reason("40: purging hello 1.0-1");
    on_bus.done(&["cancel", "hello"]);
    on_bus.set.wait_for("4/59");
    assert_eq!(purge.wait().code(), Some(1));
    drop(lock);
    assert_eq!(on_the_device(&on_bus), (Some("ii".to_owned()), true));

    on_bus.set.client().execute("/9/0/6", "1").expect("2.04");
    on_bus.set.wait_for("0/0");
    allow_purge(&on_bus, "other");
    refused(
        &on_bus,
        &["INITIAL/0, 10: policy does not allow purging hello: "],
    );
    on_bus.agree("0/0");
    let show = on_bus.done(&["show", "hello"]);
    assert!(show.contains("  purge      user 0    failed"), "{show}");
    on_bus.set.deliver(&Package::new("hello", "2.0-1"));
    assert_eq!(on_the_device(&on_bus), (Some("ii".to_owned()), true));
}

#[test]
fn a_purge_is_finished_across_a_restart_of_wharfd() {
    let mut on_bus = with_apt();
    allow_purge(&on_bus, "*");
    let waits = "[ $1 != purge ] || { touch /purges; while [ ! -e /go ]; do sleep 0.1; done; }";
    on_bus.set.install(&hello().script(Script::Postrm, waits));
    let root = on_bus.set.gateway.path();
    let mut purge = begin(&on_bus);
    wait_until("the last script of the purge", || {
        root.join("purges").exists().then_some(())
    });

    on_bus.set.gateway.daemon().terminate();
    purge.output().wait_for("wharfd is away");
    on_bus.set.start_daemon_again();
    fs::write(root.join("go"), "").unwrap();

    purge.output().wait_for("its configuration is deleted");
    assert_eq!(purge.wait().code(), Some(0));
    on_bus.wait_for_wharfd();
    on_bus.agree("0/0");
    assert_eq!(on_the_device(&on_bus), (None, false));
}

#[test]
fn a_purge_succeeds_wherever_wharfd_exits_meanwhile() {
    let mut on_bus = OnBus::simulated();
    allow_purge(&on_bus, "hello");
    let uri = on_bus.set.publish(&Package::new("hello", "1.0.1"));
    on_bus.done(&["install", &uri]);
    let database = on_bus.set.gateway.path().join("var/lib/wharf-simulated");
    succeeds_wherever_wharfd_exits(&mut on_bus, &PURGE, 2, |on_bus| {
        assert!(!database.join("hello_version").exists());
        assert!(!database.join("hello_configuration").exists());
        on_bus.done(&["install", &uri]);
    });
}

#[test]
fn no_uninstall_of_a_server_purges() {
    let on_bus = with_apt();
    allow_purge(&on_bus, "*");
    for arguments in ["", "0"] {
        on_bus.set.install(&hello());
        let client = on_bus.set.client();
        for other in ["2", "0='purge'", "0,1"] {
            client.execute("/9/0/6", other).expect("4.00");
        }
        client.execute("/9/0/6", arguments).expect("2.04");
        on_bus.set.wait_for("0/0");
        assert_eq!(on_the_device(&on_bus), (Some("rc".to_owned()), true));
    }
    // No instance has the package now.
    refused(&on_bus, &["hello"]);
    assert_eq!(on_the_device(&on_bus), (Some("rc".to_owned()), true));
}

#[test]
fn a_purge_that_fails_is_told_with_what_is_left() {
    let on_bus = with_apt();
    allow_purge(&on_bus, "hello");
    let fails = hello().script(Script::Postrm, "[ $1 != purge ] || exit 3");
    on_bus.set.install(&fails);

    refused(
        &on_bus,
        &[
            "INITIAL/0, 10: hello is removed, and its configuration is not purged: ",
            "exit status 3",
            "`dpkg --purge hello`",
        ],
    );

    on_bus.agree("0/0");
    let (state, _) = on_the_device(&on_bus);
    assert_eq!(state.as_deref(), Some("pc"));
    let shown = &on_bus.json(&["show", "0"])["operations"];
    let last = shown.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["kind"], &last["state"]),
        (&"purge".into(), &"failed".into())
    );
}

#[test]
fn the_configuration_of_software_that_was_removed_by_hand_meanwhile_is_purged() {
    let mut on_bus = with_apt();
    allow_purge(&on_bus, "hello");
    on_bus.set.install(&hello());
    // Without the installer, wharfd cannot know before the purge is requested.
    on_bus.set.gateway.installer().kill();
    let mut remove = on_bus.set.gateway.debian_root().command("/usr/bin/dpkg");
    let removed = remove.args(["--remove", "hello"]).status();
    assert!(removed.unwrap().success());
    assert_eq!(on_the_device(&on_bus), (Some("rc".to_owned()), true));
    let mut purge = begin(&on_bus);
    on_bus.set.gateway.start_installer(&[]);

    purge.output().wait_for("its configuration is deleted");
    assert_eq!(purge.wait().code(), Some(0));
    assert_eq!(on_the_device(&on_bus), (None, false));
}
