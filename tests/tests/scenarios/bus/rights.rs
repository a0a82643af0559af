//! Users other than root change nothing on the bus, and read no secret.

use std::{os::unix::process::CommandExt as _, process::Command};

use wharf_tests::{
    gateway::Gateway,
    origin::Fault,
    package::{Package, Script},
    process::Process,
    system_bus::SystemBus,
    waiting::wait_until,
};

use super::{NOBODY, OnBus, ROOT, run};
use crate::stage_set::StageSet;

fn reads_but_changes_nothing(on_bus: &OnBus) {
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    for verb in ["status", "list", "history"] {
        let said = on_bus.wharfctl_as(NOBODY, &[verb]);
        assert_eq!(said.code, Some(0), "{verb}: {said:?}");
    }
    for arguments in [
        &["install", "http://h/x.deb"][..],
        &["uninstall", "0"],
        &["uninstall", "0", "--purge"],
        &["activate", "0"],
        &["deactivate", "0"],
        &["delete", "0"],
    ] {
        let said = on_bus.wharfctl_as(NOBODY, arguments);
        assert_eq!(said.code, Some(77), "{arguments:?}: {said:?}");
        assert!(said.errors.contains("only root"), "{said:?}");
    }
    on_bus.agree("4/2");
}

#[test]
fn an_unprivileged_user_reads_but_changes_nothing() {
    reads_but_changes_nothing(&OnBus::simulated());
}

#[test]
fn wharfd_itself_asks_who_calls() {
    reads_but_changes_nothing(&OnBus::on(Gateway::simulated(), SystemBus::permissive));
}

#[test]
fn only_wharfd_owns_its_name() {
    let on_bus = OnBus::simulated();
    for user in [ROOT, NOBODY] {
        let said = run(on_bus
            .bus
            .send()
            .args(["--print-reply", "--dest=org.freedesktop.DBus", "/"])
            .args([
                "org.freedesktop.DBus.RequestName",
                "string:org.wharfd.Agent1",
                "uint32:2",
            ])
            .uid(user));
        assert_ne!(said.code, Some(0), "{user}: {said:?}");
        assert!(said.errors.contains("AccessDenied"), "{user}: {said:?}");
    }
}

#[test]
fn no_secret_is_in_a_property_a_signal_or_the_introspection() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    let mut monitor = Process::spawn(Command::new("dbus-monitor").args([
        "--address",
        &on_bus.bus.address(),
        "sender=org.wharfd.Agent1",
    ]));
    monitor.output().wait_for("NameAcquired");
    set.origin.require("fleet", "correct horse");
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    let client = set.client();
    client.write_text("/9/0/14", "fleet").expect("2.04");
    client.write_text("/9/0/15", "correct horse").expect("2.04");
    set.order(&format!("{uri}?token=hunter2"));
    wait_until("the end of the download", || {
        let state = client.read_text("/9/0/7");
        (state == "0" || state == "3").then_some(())
    });
    monitor.output().wait_for("UpdateState");
    let mut seen = vec![
        on_bus.done(&["--json", "status"]),
        on_bus.done(&["--json", "history"]),
    ];
    for path in ["/org/wharfd/Agent1", "/org/wharfd/Agent1/instances/0"] {
        let said = run(on_bus
            .bus
            .send()
            .args(["--print-reply", "--dest=org.wharfd.Agent1", path])
            .arg("org.freedesktop.DBus.Introspectable.Introspect"));
        assert_eq!(said.code, Some(0), "{said:?}");
        seen.push(said.output);
    }
    monitor.kill();
    seen.push(monitor.output().wait_for_end().join("\n"));
    for secret in ["correct horse", "hunter2", "fleet"] {
        for text in &seen {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// A folder of an origin that is as good as a password.
const PATH: &str = "t0ken-in-the-path";

const QUERY: &str = "t0ken-in-the-query";

/// The output of a maintainer script.
const WORDS: &str = "password of the cloud: hunter2";

/// A package with a script that fails, at an origin with a secret path. Gives its URI.
fn publish_in_a_secret_folder(set: &StageSet) -> String {
    let failing = format!("echo '{WORDS}' >&2; exit 3");
    let package = Package::new("hello", "1.0-1").script(Script::Postinst, &failing);
    let file = set.signed_inside(&package);
    let path = format!("/{PATH}/hello_1.0-1_all.deb?signature={QUERY}");
    let uri = set.origin.serve(&path, std::fs::read(file).unwrap());
    set.origin.fault(&path, Fault::StallAfter(200));
    uri
}

/// All that a user gets to read on the bus, with the names of methods that are not for him.
fn all_that_is_read_by(on_bus: &OnBus, user: u32) -> String {
    let ask = |path: &str, call: &[&str]| {
        let mut send = on_bus.bus.send();
        send.args(["--print-reply", "--dest=org.wharfd.Agent1", path]);
        run(send.args(call).uid(user))
    };
    let agent = "/org/wharfd/Agent1";
    let instance = "/org/wharfd/Agent1/instances/0";
    let managed = "org.freedesktop.DBus.ObjectManager.GetManagedObjects";
    let all = "org.freedesktop.DBus.Properties.GetAll";
    let mut read = String::new();
    for (path, call) in [
        (agent, &[managed][..]),
        (agent, &[all, "string:org.wharfd.Agent1"]),
        (instance, &[all, "string:org.wharfd.Agent1.Instance"]),
        (agent, &["org.wharfd.Agent1.History", "int32:-1"]),
        (agent, &["org.wharfd.Agent1.Operations"]),
        (agent, &["org.freedesktop.DBus.Introspectable.Introspect"]),
        (
            instance,
            &["org.freedesktop.DBus.Introspectable.Introspect"],
        ),
    ] {
        let said = ask(path, call);
        assert_eq!(said.code, Some(0), "{call:?}: {said:?}");
        read += &said.output;
    }
    let reasons = ask(agent, &["org.wharfd.Agent1.Reasons"]);
    assert_eq!(
        (
            reasons.code == Some(0),
            reasons.errors.contains("AccessDenied")
        ),
        (user == ROOT, user != ROOT),
        "{reasons:?}"
    );
    for verb in [
        &["status"][..],
        &["list"],
        &["show", "0"],
        &["history"],
        &["--json", "show", "0"],
        &["--json", "history"],
    ] {
        let said = on_bus.wharfctl_as(user, verb);
        read += &(said.output + &said.errors);
    }
    read + &reasons.output
}

fn others_read_neither_paths_nor_words_of_programs(on_bus: &OnBus) {
    let set = &on_bus.set;
    let mut signals = Process::spawn(Command::new("dbus-monitor").args([
        "--address",
        &on_bus.bus.address(),
        "type='signal',path_namespace='/org/wharfd/Agent1'",
    ]));
    signals.output().wait_for("NameAcquired");
    let is_secret = |text: &str| [PATH, QUERY, WORDS].iter().any(|word| text.contains(word));
    let expect_no_secret = || {
        let read = all_that_is_read_by(on_bus, NOBODY);
        assert!(!is_secret(&read), "{read}");
        read
    };

    let uri = publish_in_a_secret_folder(set);
    let elsewhere = uri.replace("hello_1", "other_1");
    set.order(&elsewhere);
    set.wait_for("0/56");
    expect_no_secret();
    let whole = all_that_is_read_by(on_bus, ROOT);
    assert!(whole.contains(PATH), "{whole}");
    assert!(set.client().read_text("/9/0/16").contains(PATH));

    set.order(&uri);
    set.origin.wait_for_stall();
    set.wait_for_reason("30: ");
    let origin = uri.split(PATH).next().unwrap().trim_end_matches('/');
    let known = format!("downloading hello_1.0-1_all.deb from {origin}");
    let read = expect_no_secret();
    assert!(read.contains(&known), "no {known} in {read}");
    assert!(read.contains("reasons are shortened"), "no hint in {read}");
    set.origin.release();
    set.wait_for("3/0");
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("3/58");
    let read = expect_no_secret();
    assert!(
        read.contains("60: hello 1.0-1 is not installed: the installation failed"),
        "{read}"
    );
    let whole = all_that_is_read_by(on_bus, ROOT);
    assert!(whole.contains(WORDS), "{whole}");
    assert!(set.client().read_text("/9/0/16").contains(WORDS));
    on_bus.agree("3/58");

    signals.output().wait_for("is not installed");
    signals.kill();
    let signals = signals.output().wait_for_end().join("\n");
    assert!(!is_secret(&signals), "{signals}");
}

#[test]
fn others_than_root_read_no_path_of_a_uri_and_no_word_of_a_program() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::start);
    others_read_neither_paths_nor_words_of_programs(&on_bus);
}

#[test]
fn wharfd_itself_keeps_paths_and_words_of_programs_from_others_than_root() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::permissive);
    others_read_neither_paths_nor_words_of_programs(&on_bus);
}
