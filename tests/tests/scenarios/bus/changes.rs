//! A local user changes software. The server is notified, and reads the same.

use std::process::Stdio;

use nix::sys::signal::Signal;
use wharf_tests::{
    gateway::{ENDPOINT, Gateway, SHORT_TIMES},
    origin::Origin,
    package::Package,
    system_bus::SystemBus,
    waiting::wait_until,
};

use super::{OnBus, run};
use crate::stage_set::StageSet;

#[test]
fn wharfctl_and_the_server_agree_at_each_step() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    on_bus.agree("0/0");
    set.deliver(&Package::new("hello", "1.0.1"));
    on_bus.agree("3/0");
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("4/2");
    on_bus.agree("4/2");
    let shown = on_bus.json(&["show", "hello"]);
    let kinds: Vec<String> = shown["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| {
            format!(
                "{} {} {}",
                operation["kind"], operation["origin"], operation["state"]
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [r#""pull" "server" "done""#, r#""install" "server" "done""#]
    );
}

#[test]
fn what_is_done_locally_goes_through_the_same_instance_and_notifies_the_server() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.origin.require("fleet", "correct horse");
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    set.observe(&[9, 7, 0, 1]);

    let said = on_bus.install_with_password(&uri);

    assert_eq!(said.code, Some(0), "{said:?}");
    let said = said.output;
    assert!(
        said.ends_with(
            "hello 1.0.1 is installed in instance 0, and inactive: `wharfctl activate 0` starts it\n"
        ),
        "{said}"
    );
    set.expect_story(&[
        "9=1", "7=1", "9=0", "7=2", "0=hello", "1=1.0.1", "7=3", "9=2", "7=4",
    ]);
    on_bus.agree("4/2");
    let operations = &on_bus.json(&["status"])["operations"];
    assert_eq!(operations[0]["kind"], "pull");
    assert_eq!(operations[0]["origin"], "user");
    assert_eq!(operations[0]["origin_id"], 0);

    on_bus.done(&["uninstall", "hello"]);
    on_bus.agree("0/0");
}

#[test]
fn an_install_with_a_password_over_plain_http_is_refused_here_too() {
    let on_bus = OnBus::simulated();
    let elsewhere = Origin::http();
    let uri = elsewhere.serve("/hello.deb", "never served");

    let said = on_bus.install_with_password(&uri);

    assert_eq!(said.code, Some(1), "{said:?}");
    let allow = format!("credentials-over-http = [\"{}\"]", elsewhere.uri(""));
    assert!(said.errors.contains(&allow), "{said:?}");
    assert_eq!(elsewhere.requests(), []);
    on_bus.agree("0/57");
}

#[test]
fn activate_and_deactivate_are_followed_to_their_end() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    assert_eq!(on_bus.json(&["list"])[0]["active"], false);
    on_bus.done(&["activate", "0"]);
    assert_eq!(on_bus.set.client().read_text("/9/0/12"), "1");
    assert_eq!(on_bus.json(&["list"])[0]["active"], true);
    on_bus.done(&["deactivate", "hello"]);
    assert_eq!(on_bus.set.client().read_text("/9/0/12"), "0");
}

/// A unit that stops too slowly is disabled by then, and may still run.
#[test]
fn a_deactivate_that_failed_is_told_as_failed_although_nothing_is_active() {
    let mut on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    on_bus.done(&["activate", "hello"]);
    let faults = on_bus.set.gateway.path().join("etc/wharf-simulated");
    std::fs::create_dir(&faults).unwrap();
    std::fs::write(faults.join("fail-deactivate"), "").unwrap();

    let said = on_bus.wharfctl(&["deactivate", "hello"]);

    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.errors.contains("fail-deactivate"), "{said:?}");
    assert_eq!(on_bus.json(&["list"])[0]["active"], false);
    let shown = on_bus.json(&["show", "hello"]);
    let last = shown["operations"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["kind"], &last["state"]),
        (&"deactivate".into(), &"failed".into()),
        "{shown}"
    );
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for("warning: instance 0: INSTALLED/2, inactive, 40: simulated: fail-deactivate");
}

#[test]
fn what_is_installed_locally_is_inactive_whatever_is_configured_for_the_server() {
    let gateway = Gateway::simulated();
    let _bus = SystemBus::start(&gateway.path());
    let options = "activation = \"always\"\n[package.own]\nactivation = \"always\"\n";
    let set = StageSet::registered(gateway, options);
    let install = |package: &Package| {
        let file = set.signed_inside(package);
        wait_until("a local install", || {
            let mut wharfctl = set.gateway.command("wharfctl", &[]);
            let said = run(wharfctl.args(["install", file.to_str().unwrap()]));
            assert!(matches!(said.code, Some(0 | 69)), "{said:?}");
            (said.code == Some(0)).then_some(())
        });
    };
    install(&Package::new("hello", "1.0.1"));
    assert_eq!(set.client().read_text("/9/15/12"), "0");
    let operations = run(set
        .gateway
        .command("wharfctl", &[])
        .args(["--json", "status"]));
    assert!(!operations.output.contains("activate"), "{operations:?}");

    install(&Package::new("own", "1.0.1")); // what is configured for the package holds
    wait_until("own to be active", || {
        (set.client().read_text("/9/14/12") == "1").then_some(())
    });
}

#[test]
fn a_file_is_handed_over_as_a_descriptor_and_judged_like_a_push() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::start);
    let set = &on_bus.set;
    let inside = set.signed_inside(&Package::new("inside", "1.0-1").padding(300_000));
    on_bus.done(&["install", inside.to_str().unwrap()]);
    on_bus.agree_on(15, "4/2");

    let beside = Package::new("beside", "2.0-1").build(set.folder.path());
    set.keys
        .sign_beside(wharf_tests::keys::Signer::Vendor, &beside);
    let said = on_bus.done(&["install", beside.to_str().unwrap()]);
    assert!(
        said.contains("\nbeside 2.0-1 is installed in instance 14, and inactive"),
        "{said}"
    );
    let around = Package::new("around", "3.0-1").build(set.folder.path());
    let around = set
        .keys
        .sign_around(wharf_tests::keys::Signer::Vendor, &around);
    on_bus.done(&["install", around.to_str().unwrap()]);
    let installed = |name| set.gateway.debian_root().installed_version(name);
    assert_eq!(installed("inside").as_deref(), Some("1.0-1"));
    assert_eq!(installed("beside").as_deref(), Some("2.0-1"));
    assert_eq!(installed("around").as_deref(), Some("3.0-1"));

    let unsigned = Package::new("unsigned", "1.0-1").build(set.folder.path());
    let said = on_bus.wharfctl(&["install", unsigned.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.errors
            .contains("INITIAL/53, 20: there is no signature"),
        "{said:?}"
    );
    assert_eq!(installed("unsigned"), None);
}

#[test]
fn what_is_delivered_is_installed_by_naming_its_instance_or_its_package() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.deliver(&Package::new("hello", "1.0.1"));
    for (arguments, code, text) in [
        (&["install", "7"][..], 1, "there is no instance 7"),
        (
            &["install", "other"],
            1,
            "or an instance whose package is DELIVERED",
        ),
        (&["install", "./hello"], 1, "there is no file \"./hello\""),
        (
            &["install", "0", "--instance", "0"],
            64,
            "leave out --instance",
        ),
    ] {
        let said = on_bus.wharfctl(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
        assert!(said.errors.contains(text), "{arguments:?}: {said:?}");
    }
    let said = on_bus.done(&["install", "hello"]);
    assert!(
        said.contains("hello 1.0.1 is installed in instance 0"),
        "{said}"
    );
    on_bus.agree("4/2");
    let again = on_bus.wharfctl(&["install", "0"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.errors.contains("hello 1.0.1: "), "{again:?}");

    on_bus.done(&["uninstall", "hello"]);
    set.deliver(&Package::new("hello", "2.0.1"));
    on_bus.done(&["install", "0"]);
    on_bus.agree("4/2");
}

#[test]
fn what_nobody_reads_is_done_all_the_same() {
    let on_bus = OnBus::simulated();
    let uri = on_bus.set.publish(&Package::new("hello", "1.0.1"));
    let unread = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = on_bus.set.gateway.command("wharfctl", &[]);
        let command = command.args(arguments).stdout(writer);
        let output = command.stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*errors),
            (Some(0), ""),
            "{arguments:?}"
        );
    };
    unread(&["install", "--instance", "0", &uri]);
    on_bus.agree("4/2");
    for verb in ["status", "history", "activate", "uninstall"] {
        let package = matches!(verb, "activate" | "uninstall").then_some("hello");
        unread(&[&[verb], package.as_slice()].concat());
    }
    on_bus.agree("0/0");
}

#[test]
fn a_change_is_followed_across_restarts_of_wharfd() {
    let mut on_bus = OnBus::simulated();
    let mut install = on_bus.install_that_stalls();

    on_bus.restart_during(&mut install);
}

#[test]
fn an_interrupted_change_goes_on_and_says_so() {
    let on_bus = OnBus::simulated();
    let mut install = on_bus.install_that_stalls();
    // The progress is visible long before so much is durable.
    wait_until("some percent", || {
        let percent = on_bus.json(&["list"])[0]["percent"].as_u64();
        percent.filter(|percent| (1..100).contains(percent))
    });

    install.signal(Signal::SIGINT);

    assert_eq!(install.wait().code(), Some(130));
    install
        .errors()
        .wait_for("the accepted operation continues");
    on_bus.set.origin.release();
    on_bus.set.wait_for("3/0");
}

#[test]
fn a_gateway_without_a_server_does_what_its_users_say_until_there_is_one() {
    let gateway = Gateway::debian();
    let bus = SystemBus::start(&gateway.path());
    let mut set = StageSet::configured(gateway, "");
    let alone = format!("endpoint = \"{ENDPOINT}\"\n{SHORT_TIMES}");
    set.gateway.write("etc/wharfd/wharfd.toml", &alone);
    set.gateway.start();
    let mut on_bus = OnBus { set, bus };
    wait_until("wharfd on the bus", || {
        (on_bus.wharfctl(&["status"]).code == Some(0)).then_some(())
    });
    let status = on_bus.done(&["status"]);
    assert!(status.contains("\nno server\n"), "{status}");

    let uri = on_bus.set.publish(&Package::new("hello", "1.0-1"));
    on_bus.done(&["install", &uri]);
    let file = on_bus.set.signed_inside(&Package::new("other", "2.0-1"));
    on_bus.done(&["install", file.to_str().unwrap()]);
    on_bus.done(&["uninstall", "other"]);
    let root = on_bus.set.gateway.debian_root();
    assert_eq!(root.installed_version("hello").as_deref(), Some("1.0-1"));
    assert_eq!(root.installed_version("other"), None);
    assert!(on_bus.done(&["history"]).contains("other"));
    let doctor = on_bus.done(&["doctor"]);
    let line = "ok    server          none is configured: only local users manage packages\n";
    assert!(doctor.contains(line), "{doctor}");
    let trace = on_bus.wharfctl(&["trace"]);
    assert_ne!(trace.code, Some(0), "{trace:?}");
    let why = "no server is configured, so there are no messages to trace";
    assert!(trace.errors.contains(why), "{trace:?}");

    on_bus.set.gateway.configure(&on_bus.set.server.uri(), "");
    on_bus.set.gateway.daemon().signal(Signal::SIGHUP);
    let client = on_bus.set.client();
    assert_eq!(client.read_text("/9/0/0"), "hello");
    assert_eq!(client.read_text("/9/0/7"), "4");
}
