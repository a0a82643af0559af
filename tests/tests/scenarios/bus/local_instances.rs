//! The instances that a local user creates, names, sets and deletes.

use std::os::unix::process::CommandExt as _;

use wharf_tests::{gateway::Gateway, package::Package, process::Process, system_bus::SystemBus};

use super::{NOBODY, OnBus, ROOT, call, has_in_place, run};
use crate::stage_set::StageSet;

#[test]
fn new_instances_come_from_the_top_and_the_limit_names_its_key() {
    let gateway = Gateway::simulated();
    let bus = SystemBus::start(&gateway.path());
    let set = StageSet::configured(gateway, "");
    set.gateway
        .write("etc/wharfd/wharfd.toml.d/few.toml", "max-instances = 3\n");
    let on_bus = OnBus::with(set.started(), bus);
    let install = |name: &str| {
        let file = on_bus.set.signed_inside(&Package::new(name, "1.0.1"));
        on_bus.wharfctl(&["install", "--new", file.to_str().unwrap()])
    };
    for name in ["first", "second"] {
        let said = install(name);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    has_in_place(
        &on_bus,
        &[(0, " "), (1, "second 1.0.1"), (2, "first 1.0.1")],
    );
    let said = install("third");
    assert_eq!(
        (said.code, &*said.errors),
        (
            Some(1),
            "wharfctl: there are 3 instances, and `max-instances` in wharfd.toml allows 3: Delete one, or allow more\n"
        )
    );
    let free = "take the free one of the server with --instance 0\n";
    let third = on_bus.set.signed_inside(&Package::new("third", "1.0.1"));
    let said = on_bus.wharfctl(&["install", third.to_str().unwrap()]);
    let advice = format!("Delete one, or allow more, or {free}");
    assert!(said.errors.ends_with(&advice), "{said:?}");
    let newer = on_bus.set.publish(&Package::new("first", "2.0.1"));
    let said = on_bus.wharfctl(&["install", &newer]);
    let advice = format!("or allow more, or name the one to upgrade with --instance, or {free}");
    assert!(said.errors.ends_with(&advice), "{said:?}");
    on_bus.done(&["install", "--instance", "first", &newer]);
}

#[test]
fn a_free_instance_that_no_local_user_created_is_left_to_the_server() {
    let mut on_bus = OnBus::simulated();
    on_bus.set.client().create("/9", None, &[]).expect("2.01");
    let install = |on_bus: &OnBus, package: &str| {
        let file = on_bus.set.signed_inside(&Package::new(package, "1.0.1"));
        on_bus.done(&["install", file.to_str().unwrap()]);
    };
    let unsigned = on_bus.set.build(&Package::new("unsigned", "1.0.1"));
    let said = on_bus.wharfctl(&["install", unsigned.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    has_in_place(&on_bus, &[(0, " "), (1, " "), (15, " ")]);

    // wharfctl takes its own free instance again, also after a restart of wharfd.
    on_bus.set.kill_and_start_daemon();
    on_bus.wait_for_wharfd();
    install(&on_bus, "hello");
    has_in_place(&on_bus, &[(0, " "), (1, " "), (15, "hello 1.0.1")]);
    install(&on_bus, "other");
    on_bus.done(&["uninstall", "hello"]);
    install(&on_bus, "third");
    let all = [(0, " "), (1, " "), (14, "other 1.0.1"), (15, "third 1.0.1")];
    has_in_place(&on_bus, &all);
    on_bus.agree("0/0");
    let local = on_bus.json(&["list"]);
    let local = local.as_array().unwrap().iter().map(|one| &one["local"]);
    assert_eq!(local.collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn a_package_that_two_instances_have_is_named_by_its_instance() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.install(&Package::new("hello", "1.0.1"));
    let uri = set.publish(&Package::new("hello", "2.0.1"));
    let created = set.client().create("/9", Some(1), &[(3, uri.as_bytes())]);
    created.expect("2.01");
    set.wait_for_instance(1, "3/0");

    let said = on_bus.wharfctl(&["uninstall", "hello"]);

    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.errors
            .contains("instances 0 and 1 both have a package hello"),
        "{said:?}"
    );
    on_bus.agree("4/2");
}

#[test]
fn what_a_server_sets_of_an_instance_is_set_and_read_locally() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.observe(&[8, 13]);
    let supported = ("WriteUpdateSupportedObjects", ["boolean:true"].as_slice());
    let settings = ("WritePackageSettings", ["uint16:3", "uint16:0"].as_slice());
    for (method, arguments) in [supported, settings] {
        let said = call(&on_bus, NOBODY, method, arguments);
        assert!(said.errors.contains("AccessDenied"), "{said:?}");
        let said = call(&on_bus, ROOT, method, arguments);
        assert_eq!(said.code, Some(0), "{method}: {said:?}");
    }
    set.expect_story(&["8=1", "13=3:0"]);
    let nowhere = ["uint16:99", "uint16:0"];
    let said = call(&on_bus, ROOT, "WritePackageSettings", &nowhere);
    assert!(said.errors.contains("InvalidArgs"), "{said:?}");

    let properties = |name: &str| {
        let instance = "/org/wharfd/Agent1/instances/0";
        let read = "org.freedesktop.DBus.Properties.Get";
        let mut send = on_bus.bus.send();
        send.args([
            "--print-reply=literal",
            "--dest=org.wharfd.Agent1",
            instance,
            read,
        ])
        .args([
            "string:org.wharfd.Agent1.Instance",
            &format!("string:{name}"),
        ])
        .uid(NOBODY);
        let words = run(&mut send).output;
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(properties("UpdateSupportedObjects"), "variant boolean true");
    let settings = properties("PackageSettings");
    assert_eq!(settings, "variant struct { uint16 3 uint16 0 }");
}

#[test]
fn created_and_deleted_instances_come_and_go() {
    let on_bus = OnBus::simulated();
    let client = on_bus.set.client();
    let mut watch = Process::spawn(
        on_bus
            .set
            .gateway
            .command("wharfctl", &[])
            .args(["--json", "watch"]),
    );
    watch.output().wait_for("\"id\":0");
    client.create("/9", Some(7), &[]).expect("2.01");
    watch.output().wait_for("\"id\":7");
    client.delete("/9/7").expect("2.02");
    watch.output().wait_for(r#"{"id":7,"deleted":true}"#);
    watch.kill();
}
