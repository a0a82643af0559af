//! The exit code of a wharfctl command is the result of its operation, in spite of restarts of wharfd and changes of
//! the instance.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use wharf_fault::EXIT;
use wharf_tests::{
    chance::Chance, gateway::Gateway, package::Package, process::Process, system_bus::SystemBus,
    variable, waiting::wait_until,
};

use crate::{bus::OnBus, stage_set::StageSet};

/// The operations on D-Bus, oldest first.
fn operations(on_bus: &OnBus) -> Vec<Value> {
    let status = on_bus.json(&["status"]);
    status["operations"].as_array().unwrap().clone()
}

fn sequence(operations: &[Value]) -> u64 {
    let last = operations.last();
    last.map_or(0, |last| last["sequence"].as_u64().unwrap())
}

fn simulated_version(on_bus: &OnBus, name: &str) -> Option<String> {
    let database = on_bus.set.gateway.path().join("var/lib/wharf-simulated");
    fs::read_to_string(database.join(format!("{name}_version"))).ok()
}

/// Runs `wharfctl install` of a package from a file or from an origin, with a restart of wharfd in two of three. Its
/// exit code agrees with the package manager and with the end of its operations.
fn install_once(on_bus: &mut OnBus, chance: &mut Chance, number: u64) -> bool {
    let name = format!("p{}", number % 3);
    let version = format!("{}.0.1", number + 1);
    let package = Package::new(&name, &version);
    let from = match chance.toss() {
        true => on_bus.set.publish(&package),
        false => {
            let file = on_bus.set.signed_inside(&package);
            file.to_str().unwrap().to_owned()
        }
    };
    let known = sequence(&operations(on_bus));
    let mut command = on_bus.set.gateway.command("wharfctl", &[]);
    let mut install = Process::spawn(command.args(["install", &from]));
    let way = chance.below(3);
    if way != 0 {
        let lines = usize::try_from(chance.below(5)).unwrap();
        let _ = lines
            .checked_sub(1)
            .map(|seen| install.output().after(seen));
        match way {
            1 => on_bus.set.gateway.daemon().terminate(),
            _ => on_bus.set.gateway.daemon().kill(),
        };
        on_bus.set.gateway.start_daemon(&[]);
    }
    let code = install.wait().code();
    on_bus.wait_for_wharfd();
    let operations = operations(on_bus);
    let own: Vec<&Value> = operations
        .iter()
        .filter(|operation| operation["sequence"].as_u64() > Some(known))
        .collect();
    let installs = |operation: &&&Value| operation["kind"] == "install";
    let done = own.iter().find(installs).map(|last| last["state"].clone());
    let has = simulated_version(on_bus, &name) == Some(version.clone());
    let said = (install.output().all(), install.errors().all());
    let told = format!("{number}: {from}: {code:?}, {said:?}, {own:?}");
    for operation in &own {
        let state = &operation["state"];
        assert!(state == "done" || state == "failed", "{told}");
    }
    match code {
        Some(0) => assert!(has && done == Some("done".into()), "{told}"),
        Some(1) => assert!(
            !has && own.last().is_some_and(|last| last["state"] == "failed"),
            "{told}"
        ),
        Some(69) => assert!(!has && own.is_empty() && way != 0, "{told}"),
        _ => panic!("{told}"),
    }
    if has {
        on_bus.done(&["uninstall", &name]);
    }
    has
}

fn install_again_and_again(times: u64, seed: u64) {
    println!("INSTALLS={times} INSTALLS_SEED={seed}");
    let mut on_bus = OnBus::simulated();
    let mut chance = Chance(seed);
    let installed = (0..times).filter(|number| install_once(&mut on_bus, &mut chance, *number));
    assert_ne!(installed.count(), 0, "no install succeeded");
}

#[test]
fn each_exit_code_of_installs_with_restarts_in_between_is_true() {
    install_again_and_again(20, 1);
}

#[test]
#[ignore = "it takes minutes: make installs"]
fn each_exit_code_of_many_installs_with_restarts_in_between_is_true() {
    let seed = variable::number("INSTALLS_SEED").unwrap_or_else(|| std::process::id().into());
    install_again_and_again(variable::number("INSTALLS").unwrap_or(200), seed);
}

/// A restarted wharfd announces each instance before anything else.
#[test]
fn a_command_survives_a_restart_of_wharfd_with_many_instances() {
    let gateway = Gateway::simulated();
    let bus = SystemBus::start(&gateway.path());
    let set = StageSet::configured(gateway, "");
    set.gateway.write(
        "etc/wharfd/wharfd.toml.d/many.toml",
        "instances = 100\nmax-instances = 100\n",
    );
    let mut on_bus = OnBus::with(set.started(), bus);
    let mut install = on_bus.install_that_stalls();

    on_bus.restart_during(&mut install);
}

#[test]
fn a_command_waits_for_a_wharfd_that_does_not_answer_for_longer_than_it_is_patient() {
    let mut on_bus = OnBus::simulated();
    let package = Package::new("hello", "1.0.1").padding(200_000);
    let uri = on_bus.set.publish(&package);
    let path = format!("/{}", uri.rsplit('/').next().unwrap());
    on_bus
        .set
        .origin
        .fault(&path, wharf_tests::origin::Fault::StallAfter(100_000));
    let patience = [("WHARFCTL_PATIENCE", "3000")];
    let mut command = on_bus.set.gateway.command("wharfctl", &patience);
    let mut install = Process::spawn(command.args(["install", "--instance", "0", &uri]));
    on_bus.set.origin.wait_for_stall();
    install.output().wait_for("DOWNLOAD STARTED/1, 30: ");

    on_bus.set.gateway.daemon().signal(Signal::SIGSTOP);
    on_bus.signal_from_wharfd();
    install.output().wait_for("wharfd is away");
    on_bus.set.gateway.daemon().signal(Signal::SIGCONT);
    on_bus.set.origin.release();

    install
        .output()
        .wait_for("hello 1.0.1 is installed in instance 0");
    assert_eq!(install.wait().code(), Some(0));
}

/// The same id exists again, with another package.
#[test]
fn a_command_whose_instance_is_deleted_and_created_again_tells_of_its_own_operation() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    let mut install = on_bus.install_that_stalls();
    install.output().wait_for("DOWNLOAD STARTED/1, 30: ");
    let other = set.publish(&Package::new("other", "1.0.1"));
    install.signal(Signal::SIGSTOP);
    let client = set.client();
    client.delete("/9/0").expect("2.02");
    let created = client.create("/9", Some(0), &[(3, other.as_bytes())]);
    created.expect("2.01");
    set.wait_for("3/0");
    install.signal(Signal::SIGCONT);

    assert_eq!(install.wait().code(), Some(1));
    install
        .errors()
        .wait_for("instance 0: pull failed: the instance was deleted");
    set.wait_for("3/0");
    assert_eq!(simulated_version(&on_bus, "other"), None);
}

/// Signals the end of the test to other threads, also on a panic.
struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Each ended operation displaces the one that ended longest ago. A reader sees an operation whole or not at all.
#[test]
fn what_is_shown_is_whole_while_old_operations_go() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = EndsWith(&over);
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let said = on_bus.wharfctl(&["status"]);
                    assert_eq!(said.code, Some(0), "{said:?}");
                }
            });
        }
        for _ in 0..20 {
            on_bus.done(&["activate", "hello"]);
            on_bus.done(&["deactivate", "hello"]);
        }
    });
}

/// The server executes Install before wharfctl does, and wharfctl waits for the server's operation.
#[test]
fn an_install_that_the_server_began_meanwhile_ends_the_command() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    let mut install = on_bus.install_that_stalls();
    install.output().wait_for("DOWNLOAD STARTED/1, 30: ");
    install.signal(Signal::SIGSTOP);
    set.origin.release();
    set.wait_for("3/0");
    set.client().execute("/9/0/4", "").expect("2.04");
    set.wait_for("4/2");
    install.signal(Signal::SIGCONT);

    assert_eq!(install.wait().code(), Some(0));
    let kinds = operations(&on_bus);
    let kinds = kinds.iter().map(|operation| &operation["kind"]);
    assert_eq!(kinds.collect::<Vec<_>>(), ["pull", "install"]);
}

/// Runs wharfctl with a wharfd that exits at this point and is then restarted. Returns whether it exited.
fn succeeds_across(on_bus: &mut OnBus, point: &str, arguments: &[&str]) -> bool {
    on_bus.set.gateway.daemon().terminate();
    let fault = [("WHARF_FAULT_AT", point)];
    on_bus.set.gateway.start_daemon(&fault);
    on_bus.wait_for_wharfd();
    let mut command = on_bus.set.gateway.command("wharfctl", &[]);
    let mut command = Process::spawn(command.args(arguments));
    let exited = wait_until("the end of wharfctl or of wharfd", || {
        match on_bus.set.gateway.daemon().exit_status() {
            Some(status) => {
                assert_eq!(status.code(), Some(EXIT));
                Some(true)
            }
            None => (!command.is_running()).then_some(false),
        }
    });
    if exited {
        on_bus.set.gateway.start_daemon(&[]);
    }
    let code = command.wait().code();
    let said = (command.output().all(), command.errors().all());
    assert_eq!(code, Some(0), "{point}: {arguments:?}: {said:?}");
    if !exited {
        on_bus.set.gateway.daemon().terminate();
        on_bus.set.gateway.start_daemon(&[]); // this one stays
    }
    on_bus.wait_for_wharfd();
    exited
}

/// Tests exits before and after each transition is stored; `again` makes the next round possible.
pub(crate) fn succeeds_wherever_wharfd_exits(
    on_bus: &mut OnBus,
    arguments: &[&str],
    exits: u32,
    again: impl Fn(&OnBus),
) {
    for point in ["store.commit", "store.committed"] {
        for count in 1.. {
            let exited = succeeds_across(on_bus, &format!("{point}={count}"), arguments);
            again(on_bus);
            if !exited {
                assert!(count > exits, "{arguments:?}: only {count} exits");
                break;
            }
        }
    }
}

#[test]
fn a_command_succeeds_wherever_wharfd_exits_meanwhile() {
    let mut on_bus = OnBus::simulated();
    let uri = on_bus.set.publish(&Package::new("hello", "1.0.1"));
    succeeds_wherever_wharfd_exits(&mut on_bus, &["install", "--new", &uri], 5, |on_bus| {
        let instances = on_bus.json(&["list"]);
        let ids: Vec<_> = instances
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["id"])
            .collect();
        assert_eq!(ids, [0, 15]);
        let version = simulated_version(on_bus, "hello");
        assert_eq!(version.as_deref(), Some("1.0.1"));
        on_bus.done(&["uninstall", "hello"]);
        on_bus.done(&["delete", "15"]);
    });
    on_bus.done(&["install", &uri]);
    succeeds_wherever_wharfd_exits(&mut on_bus, &["activate", "hello"], 2, |on_bus| {
        on_bus.done(&["deactivate", "hello"]);
    });
    succeeds_wherever_wharfd_exits(&mut on_bus, &["uninstall", "hello"], 2, |on_bus| {
        assert_eq!(simulated_version(on_bus, "hello"), None);
        on_bus.done(&["install", &uri]);
    });
}

/// A second Uninstall would remove the software in place.
#[test]
fn what_is_delivered_is_dropped_once_wherever_wharfd_exits_meanwhile() {
    let mut on_bus = OnBus::simulated();
    let package = Package::new("hello", "1.0.1");
    on_bus.set.install(&package);
    let uri = on_bus.set.publish(&package);
    on_bus.set.client().execute("/9/0/6", "1").expect("2.04");
    let deliver = |on_bus: &OnBus| {
        on_bus.set.order(&uri);
        on_bus.set.wait_for("3/0");
    };
    deliver(&on_bus);
    succeeds_wherever_wharfd_exits(&mut on_bus, &["uninstall", "0"], 1, |on_bus| {
        let version = simulated_version(on_bus, "hello");
        assert_eq!(version.as_deref(), Some("1.0.1"));
        deliver(on_bus);
    });
}

#[test]
fn a_delete_succeeds_wherever_wharfd_exits_meanwhile() {
    let mut on_bus = OnBus::simulated();
    succeeds_wherever_wharfd_exits(&mut on_bus, &["delete", "0"], 1, |on_bus| {
        let created = on_bus.set.client().create("/9", Some(0), &[]);
        created.expect("2.01");
    });
}
