//! `wharfctl cancel`: the operations that it ends, and the text that a server reads.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;
use wharf_tests::{
    debian_root::frontend_lock, gateway::Gateway, origin::Fault, package::Package, server::format,
    system_bus::SystemBus, waiting::wait_until,
};

use crate::{
    bus::{OnBus, ROOT, call},
    downloads::{last, operations},
    stage_set::small_disk,
};

#[test]
fn a_download_that_runs_is_cancelled_and_the_server_reads_who_did_it() {
    let on_bus = OnBus::simulated();
    on_bus.set.observe(&[16, 9, 7]);
    let uri = on_bus
        .set
        .publish(&Package::new("hello", "1.0.1").padding(200_000));
    let path = format!("/{}", uri.rsplit('/').next().unwrap());
    on_bus.set.origin.fault(&path, Fault::StallAfter(100_000));
    on_bus.set.order(&uri);
    on_bus.set.origin.wait_for_stall();
    on_bus.set.wait_for_reason("30: downloading");

    let said = on_bus.done(&["cancel", "0"]);

    let why = "20: cancelled by user 0 on the device";
    let line = format!("  0  instance 0, INITIAL/57, {why}");
    assert_eq!(said, format!("{line}\ninstance 0: the pull is cancelled\n"));
    on_bus.set.wait_for("0/57");
    assert_eq!(on_bus.set.client().read_text("/9/0/16"), why);
    assert_eq!(last(&on_bus, "0"), ["pull", "failed", why]);
    assert!(on_bus.done(&["history"]).contains(why));
    on_bus.set.server.wait_for_notification("/9/0/7", "0", 0);
    let staged = on_bus
        .set
        .gateway
        .path()
        .join("var/lib/wharf-installer/staged");
    wait_until("the file to go", || {
        fs::read_dir(&staged)
            .unwrap()
            .next()
            .is_none()
            .then_some(())
    });
    on_bus.set.origin.release();
    on_bus.set.order(&uri); // again
    on_bus.set.wait_for("3/0");
    let said = on_bus.wharfctl(&["cancel", "hello"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let told = "wharfctl: hello 1.0.1: there is nothing to cancel\n";
    assert_eq!(said.errors, told);
}

#[test]
fn an_upgrade_whose_origin_is_dead_is_cancelled_and_the_software_stays() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    on_bus.set.client().execute("/9/0/6", "1").expect("2.04");
    let uri = on_bus.set.publish(&Package::new("hello", "2.0.1"));
    let path = format!("/{}", uri.rsplit('/').next().unwrap());
    on_bus
        .set
        .origin
        .fault(&path, Fault::Unavailable(Some(3600)));
    on_bus.set.order(&uri);
    on_bus.set.wait_for_reason("attempt 2 of 8");
    on_bus.set.client().delete("/9/0").expect("4.05");
    let said = on_bus.wharfctl(&["delete", "hello"]);
    assert!(said.errors.contains("`wharfctl cancel`"), "{said:?}");

    on_bus.done(&["cancel", "hello"]);

    on_bus.set.wait_for("0/57");
    let shown = on_bus.json(&["list"])[0].clone();
    assert_eq!(shown["in_place"]["version"], "1.0.1", "{shown}");
}

#[test]
fn a_push_that_is_cancelled_is_told_to_its_server_with_the_next_block() {
    let on_bus = OnBus::simulated();
    let client = on_bus.set.client();
    let bytes = vec![7; 4096];
    for number in [0, 1] {
        let answer = client.push_block("/9/0/2", format::OPAQUE, &bytes, 512, number);
        answer.expect("2.31");
    }
    let said = on_bus.done(&["cancel", "0"]);
    assert!(
        said.ends_with("\ninstance 0: the push is cancelled\n"),
        "{said}"
    );
    on_bus.set.wait_for("0/57");
    let answer = client.push_block("/9/0/2", format::OPAQUE, &bytes, 512, 2);
    answer.expect("4.08");
}

/// The argument of `Cancel` that names an operation.
fn path_of(operation: &Value) -> String {
    let id = operation["id"].as_str().unwrap();
    format!("objpath:/org/wharfd/Agent1/operations/{id}")
}

#[test]
fn an_install_that_waits_for_dpkgs_lock_is_cancelled_and_the_package_is_kept() {
    let gateway = Gateway::debian();
    small_disk(&gateway);
    let mut on_bus = OnBus::on(gateway, SystemBus::start);
    on_bus.set.deliver(&Package::new("hello", "1.0-1"));
    let root = on_bus.set.gateway.path();
    let lock = frontend_lock(&root);
    let pull = operations(&on_bus, "0").remove(0);
    on_bus.set.client().execute("/9/0/4", "").expect("2.04");
    // The user saw the pull, and the server's Install came in between.
    let said = call(&on_bus, ROOT, "Cancel", &[&path_of(&pull)]);
    assert!(
        said.errors.contains("the install that runs is another one"),
        "{said:?}"
    );
    // The installer may or may not have the job already.
    on_bus.done(&["cancel", "hello"]);
    on_bus.set.wait_for("3/57");
    let why = "60: cancelled on the device before anything was changed";
    assert_eq!(on_bus.set.client().read_text("/9/0/16"), why);
    assert_eq!(last(&on_bus, "0"), ["install", "failed", why]);

    on_bus.set.gateway.installer().signal(Signal::SIGSTOP);
    on_bus.set.client().execute("/9/0/4", "").expect("2.04");
    on_bus.set.wait_for("3/0");
    let said = on_bus.wharfctl(&["cancel", "hello"]);
    let told = "wharfctl: hello 1.0-1: the installer does not answer: look at `systemctl status wharf-installer` on the \
                device. wharfd cancels the install as soon as it answers\n";
    assert_eq!((said.code, said.errors.as_str()), (Some(1), told));
    on_bus.set.kill_and_start_daemon();
    on_bus.wait_for_wharfd();
    let again = on_bus.wharfctl(&["cancel", "hello"]); // joins the cancel that was stored
    assert_eq!(again.errors, told);
    on_bus.set.gateway.installer().signal(Signal::SIGCONT);
    on_bus.set.wait_for("3/57");
    assert_eq!(last(&on_bus, "0"), ["install", "failed", why]);
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for("instance 0: user 0 cancelled the install");
    let lines = lines.all();
    let cancels = lines.iter().filter(|line| line.contains("user 0 "));
    assert_eq!(cancels.count(), 1, "{lines:?}");

    on_bus.set.client().execute("/9/0/4", "").expect("2.04");
    let install = wait_until("the install to run", || {
        let install = operations(&on_bus, "0").pop()?;
        (install["state"] == "running").then_some(install)
    });
    let ballast = on_bus.set.fill_disk();
    let said = call(&on_bus, ROOT, "Cancel", &[&path_of(&install)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for("a restarted wharfd does not ask for the cancel of this job");
    fs::remove_file(&ballast).unwrap();
    on_bus.set.wait_for("3/57");
    drop(lock);
    on_bus.set.client().execute("/9/0/4", "").expect("2.04");
    on_bus.set.wait_for("4/2");
    let said = on_bus.wharfctl(&["cancel", "hello"]);
    assert_eq!(said.code, Some(1), "{said:?}");
}
