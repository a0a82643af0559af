//! Software in place while another version or another package comes.

use wharf_tests::{
    gateway::Gateway,
    package::{Package, Script},
    system_bus::SystemBus,
    waiting::wait_until,
};

use super::{NOBODY, OnBus, has_in_place};

#[test]
fn an_install_upgrades_the_instance_that_has_the_package() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    let install = |package: &Package, name: Option<&str>| {
        let mut file = set.signed_inside(package);
        if let Some(name) = name {
            let other = set.folder.join(name);
            std::fs::rename(&file, &other).unwrap();
            file = other;
        }
        on_bus.done(&["install", file.to_str().unwrap()]);
    };
    install(&Package::new("hello", "1.0.1"), None);
    let uri = set.publish(&Package::new("hello", "2.0.1"));
    on_bus.done(&["install", &uri]);
    has_in_place(&on_bus, &[(0, " "), (15, "hello 2.0.1")]);
    install(&Package::new("other", "1.0.1"), None);
    has_in_place(
        &on_bus,
        &[(0, " "), (14, "other 1.0.1"), (15, "hello 2.0.1")],
    );

    // The name of a file is a guess.
    install(&Package::new("hello", "3.0.1"), Some("update.deb"));
    has_in_place(
        &on_bus,
        &[(0, " "), (14, "other 1.0.1"), (15, "hello 3.0.1")],
    );
    install(&Package::new("hello", "4.0.1"), Some("other_4.0.1_all.deb"));
    has_in_place(
        &on_bus,
        &[(0, " "), (14, "other 1.0.1"), (15, "hello 4.0.1")],
    );

    let last = set.signed_inside(&Package::new("hello", "5.0.1"));
    on_bus.done(&["install", last.to_str().unwrap(), "--instance", "hello"]);
    has_in_place(
        &on_bus,
        &[(0, " "), (14, "other 1.0.1"), (15, "hello 5.0.1")],
    );
}

/// hello is INSTALLED, and nobody has asked for another hello.
#[test]
fn a_package_under_another_name_leaves_the_software_of_that_name_installed() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let lying = |package: &Package, name: &str| {
        let other = set.folder.join(name);
        std::fs::rename(set.signed_inside(package), &other).unwrap();
        other.to_str().unwrap().to_owned()
    };
    let world = lying(&Package::new("world", "1.0.1"), "hello_9_all.deb");
    let said = on_bus.wharfctl(&["install", &world, "--instance", "0"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let why = "instance 0 has hello in place, and the package is world: leave out --instance";
    assert!(said.errors.contains(why), "{said:?}");
    on_bus.agree("4/2");

    let unsigned = set.build(&Package::new("hello", "2.0.1"));
    let said = on_bus.wharfctl(&["install", unsigned.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    on_bus.agree("4/2");

    on_bus.done(&["install", &world]);
    has_in_place(&on_bus, &[(0, "hello 1.0.1"), (15, "world 1.0.1")]);
    on_bus.agree("4/2");

    // The package behind a URI is known only after its download.
    let newer = std::fs::read(set.signed_inside(&Package::new("world", "2.0.1"))).unwrap();
    let hello = set.origin.serve("/hello_9_all.deb", newer);
    let said = on_bus.done(&["install", &hello]);
    let told = "\nworld 2.0.1 is delivered again, into the instance that has it in place\n";
    assert!(said.contains(told), "{said}");
    has_in_place(&on_bus, &[(0, "hello 1.0.1"), (15, "world 2.0.1")]);
    on_bus.agree("4/2");

    let missing = hello.replace("hello_9", "hello_10");
    let said = on_bus.wharfctl(&["install", &missing]);
    assert!(
        said.errors.contains("instance 14, INITIAL/56, "),
        "{said:?}"
    );
    has_in_place(
        &on_bus,
        &[(0, "hello 1.0.1"), (14, " "), (15, "world 2.0.1")],
    );
    on_bus.agree("4/2");

    let said = on_bus.wharfctl(&["install", "--instance", "hello", &missing]);
    assert!(
        said.errors
            .ends_with("; hello 1.0.1 is in place and does not run\n"),
        "{said:?}"
    );
    on_bus.agree("0/56");
}

#[test]
fn a_package_that_another_instance_has_is_not_installed_into_a_new_one() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let second = set.signed_inside(&Package::new("hello", "2.0.1"));

    let said = on_bus.wharfctl(&["install", "--new", second.to_str().unwrap()]);

    assert_eq!(said.code, Some(1), "{said:?}");
    let why =
        "instance 0 has hello in place: leave out --new and --instance to upgrade or repair it";
    assert!(said.errors.contains(why), "{said:?}");
    has_in_place(&on_bus, &[(0, "hello 1.0.1")]);
}

/// The server sees it in 16 alone: 12 and its own Activate are for INSTALLED (TS 5.2).
#[test]
fn after_a_refused_upgrade_the_software_in_place_is_activated_and_deactivated() {
    let mut on_bus = OnBus::simulated();
    let set = &on_bus.set;
    set.install(&Package::new("hello", "1.0.1"));
    on_bus.done(&["activate", "hello"]);
    let unsigned = set.build(&Package::new("hello", "2.0.1"));
    let said = on_bus.wharfctl(&["install", "--instance", "0", unsigned.to_str().unwrap()]);
    assert!(
        said.errors
            .ends_with("; hello 1.0.1 is in place and runs\n"),
        "{said:?}"
    );
    for resource in [10, 11] {
        let refused = set.client().execute(&format!("/9/0/{resource}"), "");
        refused.expect("4.05");
    }
    assert_eq!(
        on_bus.done(&["deactivate", "hello"]).lines().last(),
        Some("hello 1.0.1 is inactive")
    );
    on_bus.agree("0/53");
    let reason = || on_bus.set.client().read_text("/9/0/16");
    assert!(reason().ends_with("; hello 1.0.1 is in place and does not run"));
    let operations = &on_bus.json(&["show", "hello"])["operations"];
    let last = operations.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["kind"], &last["state"]),
        (&"deactivate".into(), &"done".into())
    );
    // The missing package was reported before.
    let stopped = "; hello 1.0.1 is in place and does not run";
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for(stopped);
    let all = lines.all();
    let mut told = all.iter().filter(|line| line.contains(stopped));
    assert!(told.all(|line| !line.starts_with("warning: ")), "{all:?}");

    on_bus.set.kill_and_start_daemon();
    on_bus
        .set
        .wait_for_reason("; hello 1.0.1 is in place and does not run");
    wait_until("wharfd on the bus again", || {
        (on_bus.wharfctl(&["activate", "hello"]).code == Some(0)).then_some(())
    });
    on_bus.agree("0/53");
    assert_eq!(on_bus.set.client().read_text("/9/0/12"), "0");
    assert!(
        on_bus
            .set
            .client()
            .read_text("/9/0/16")
            .ends_with("is in place and runs")
    );
    assert_eq!(on_bus.json(&["list"])[0]["in_place"]["runs"], true);
}

#[test]
fn after_an_upgrade_that_apt_could_not_do_activate_is_about_the_old_software() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::start);
    let set = &on_bus.set;
    set.install(&Package::new("hello", "1.0-1"));
    let failing = Package::new("hello", "2.0-1").script(Script::Preinst, "exit 3");
    let failing = set.signed_inside(&failing);
    let said = on_bus.wharfctl(&["install", "--instance", "0", failing.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for words in [
        "hello 2.0-1, DELIVERED/58, 60: hello 2.0-1 is not installed: ",
        "; hello 1.0-1 is in place and does not run\n",
    ] {
        assert!(said.errors.contains(words), "{said:?}");
    }
    set.client().execute("/9/0/10", "").expect("4.05");

    let said = on_bus.wharfctl(&["activate", "hello"]);

    assert_eq!(said.code, Some(1), "{said:?}");
    let why = "; hello 1.0-1 is in place and does not run: no service manager runs here";
    assert!(said.errors.contains(why), "{said:?}");
    on_bus.agree("3/58");
    assert_eq!(set.client().read_text("/9/0/1"), "2.0-1");
    let read_by_others = on_bus.wharfctl_as(NOBODY, &["show", "0"]).output;
    let public = "60: hello 2.0-1 is not installed: the installation failed; hello 1.0-1 is in place and does not run\n";
    assert!(read_by_others.contains(public), "{read_by_others}");
}

#[test]
fn software_without_services_is_told_as_such_also_after_a_restart() {
    let mut on_bus = OnBus::simulated();
    let faults = on_bus.set.gateway.path().join("etc/wharf-simulated");
    std::fs::create_dir(&faults).unwrap();
    std::fs::write(faults.join("no-services"), "").unwrap();
    let package = on_bus.set.signed_inside(&Package::new("hello", "1.0.1"));

    let said = on_bus.done(&["install", "--instance", "0", package.to_str().unwrap()]);

    let last = "hello 1.0.1 is installed in instance 0, and has no services";
    assert_eq!(said.lines().last(), Some(last));
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for("instance 0: INSTALLED/2, no services, 40: hello 1.0.1 is installed");
    let told = |on_bus: &OnBus| {
        let list = on_bus.done(&["list"]);
        assert!(
            list.contains("INSTALLED/2  1.0.1     no services  40: "),
            "{list}"
        );
        let show = on_bus.done(&["show", "0"]);
        assert!(
            show.contains("  in place       hello 1.0.1, no services\n"),
            "{show}"
        );
        assert_eq!(on_bus.json(&["list"])[0]["in_place"]["no_services"], true);
    };
    told(&on_bus);
    // The specification defines Resource 12.
    for (verb, state) in [("activate", "1"), ("deactivate", "0")] {
        let said = on_bus.done(&[verb, "hello"]);
        assert_eq!(said.lines().last(), Some("hello 1.0.1 has no services"));
        assert_eq!(on_bus.set.client().read_text("/9/0/12"), state);
    }
    on_bus.set.kill_and_start_daemon();
    wait_until("wharfd on the bus again", || {
        (on_bus.wharfctl(&["status"]).code == Some(0)).then_some(())
    });
    told(&on_bus);
}

#[test]
fn an_upgrade_that_is_refused_says_what_stays_in_place() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let package = on_bus.set.build(&Package::new("hello", "2.0.1"));

    let said = on_bus.wharfctl(&["install", "--instance", "0", package.to_str().unwrap()]);

    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.errors
            .ends_with("; hello 1.0.1 is in place and does not run\n"),
        "{said:?}"
    );
    let status = on_bus.done(&["status"]);
    assert!(
        status.contains("instance 0: hello 1.0.1, INITIAL/53, 20: "),
        "{status}"
    );
}
