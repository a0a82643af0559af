//! A restart of wharfd, as an observing server sees it: an Update, and the changes meanwhile.

use std::{collections::BTreeMap, fs, net::UdpSocket, thread};

use serde_json::Value;
use wharf_fault::EXIT;
use wharf_tests::{
    gateway::{ENDPOINT, Gateway, SHORT_TIMES},
    package::{Package, Script},
    server::{Client, RegistrationEvent, Response, TestServer, format},
    waiting::wait_until,
};

use crate::{servers::at_leshan, stage_set::StageSet};

/// The notifications of a path, in order.
fn told(set: &StageSet, path: &str) -> Vec<String> {
    let story = set.server.story().into_iter();
    let of_path = story.filter(|(notified, _)| notified == path);
    of_path.map(|(_, value)| value).collect()
}

/// Requests an install whose postinst waits until the returned file is written to.
fn install_that_waits(set: &StageSet) -> std::path::PathBuf {
    let pause = "mkfifo /pause && cat /pause >/dev/null";
    let package = Package::new("hello", "1.0-1").script(Script::Postinst, pause);
    set.deliver(&package);
    set.client().execute("/9/0/4", "").expect("2.04");
    let fifo = set.gateway.path().join("pause");
    wait_until("the postinst", || fifo.exists().then_some(()));
    fifo
}

/// The server may send a request before its answer to the Register has arrived.
fn wait_until_stored(set: &mut StageSet) {
    set.gateway.daemon().errors().wait_for("registered");
    set.observe(&[7]);
}

fn wait_for_installed(set: &StageSet) {
    let version = || set.gateway.debian_root().installed_version("hello");
    wait_until("hello installed", || {
        (version().as_deref() == Some("1.0-1")).then_some(())
    });
}

#[test]
fn what_happened_while_wharfd_was_killed_is_notified_without_another_observe() {
    let mut set = StageSet::debian();
    set.observe(&[0, 1, 7, 9, 16]);
    let fifo = install_that_waits(&set);
    set.server.wait_for_notification("/9/0/7", "3", 0);
    set.gateway.daemon().kill();
    fs::write(&fifo, "go on").unwrap();
    wait_for_installed(&set);
    set.start_daemon_again();
    set.server.wait_for_notification("/9/0/7", "4", 0);

    let endpoint = ENDPOINT.to_owned();
    assert_eq!(
        set.server.events()[0],
        RegistrationEvent::Registered(endpoint.clone())
    );
    let later = &set.server.events()[1..];
    assert!(
        later
            .iter()
            .all(|it| *it == RegistrationEvent::Updated(endpoint.clone())),
        "{later:?}"
    );
    assert_eq!(told(&set, "/9/0/7"), ["1", "2", "3", "4"]);
    assert_eq!(told(&set, "/9/0/9").last().unwrap(), "2");
    assert_numbers_grow(&set);
}

/// RFC 7641 3.4: a server drops a notification that is not newer than its last one.
fn assert_numbers_grow(set: &StageSet) {
    let mut last = BTreeMap::new();
    for told in set.server.notifications() {
        let number = told.response.observe.expect("an Observe number");
        let before = last.insert(told.path.clone(), number);
        assert!(Some(number) > before, "{told:?} after {before:?}");
    }
}

#[test]
fn an_orderly_restart_of_wharfd_is_an_update_and_tells_nothing_twice() {
    let mut set = StageSet::simulated();
    set.observe(&[0, 1, 7, 9, 12, 16]);
    set.install(&Package::new("hello", "1.0.1"));
    set.server.wait_for_notification("/9/0/7", "4", 0);
    set.client().read("/9/0/7").expect("2.05"); // the acknowledgement came before this
    set.gateway.daemon().terminate();
    let before = set.server.story();
    set.start_daemon_again();
    set.client().execute("/9/0/6", "").expect("2.04");
    set.server.wait_for_notification("/9/0/7", "0", 0);
    let after = set.server.story();
    assert_eq!(after[..before.len()], before);
    let again: Vec<_> = after[before.len()..]
        .iter()
        .filter(|(path, value)| path == "/9/0/7" && value == "4")
        .collect();
    assert!(again.is_empty(), "told twice: {again:?}");
    let goodbye = RegistrationEvent::Deregistered(ENDPOINT.to_owned());
    assert!(!set.server.events().contains(&goodbye));
}

/// RFC 7252 4.2: the server retransmits an unanswered request, which reaches the restarted wharfd.
#[track_caller]
fn answer_over_a_crash(
    set: &mut StageSet,
    meanwhile: impl FnOnce(&mut Gateway),
    ask: impl Fn(&Client<'_>) -> Response + Sync,
) -> Response {
    set.gateway.daemon().terminate();
    set.start_daemon_again_with(&[("WHARF_FAULT_AT", "store.committed=1")]);
    let client = set.server.wait_for_client();
    thread::scope(|scope| {
        let answer = scope.spawn(|| ask(&client));
        let ended = set.gateway.daemon().wait();
        assert_eq!(
            ended.code(),
            Some(EXIT),
            "wharfd ends once it has stored that"
        );
        meanwhile(&mut set.gateway);
        set.gateway.start_daemon(&[]);
        answer.join().unwrap()
    })
}

/// Uninstall drops 2.0.1. A repetition would remove 1.0.1 as well.
#[track_caller]
fn uninstalls_once_over_a_crash(
    meanwhile: impl FnOnce(&mut Gateway),
    uninstall: impl Fn(&Client<'_>) -> Response + Sync,
) {
    let mut set = StageSet::simulated();
    set.install(&Package::new("hello", "1.0.1"));
    set.client().execute("/9/0/6", "1").expect("2.04");
    set.deliver(&Package::new("hello", "2.0.1"));
    let answer = answer_over_a_crash(&mut set, meanwhile, uninstall);
    answer.expect("2.04");
    let client = set.client();
    let [version, reason] = ["/9/0/1", "/9/0/16"].map(|path| client.read_text(path));
    assert_eq!(
        (&*version, &*reason),
        (
            "1.0.1",
            "10: ready for a package; hello 1.0.1 is in place and does not run"
        ),
        "only 2.0.1 was dropped"
    );
}

#[test]
fn an_execute_that_is_repeated_after_a_crash_acts_once_and_is_answered() {
    uninstalls_once_over_a_crash(|_| {}, |client| client.execute("/9/0/6", ""));
}

#[test]
fn an_execute_in_a_single_block_that_is_repeated_after_a_crash_acts_once_and_is_answered() {
    uninstalls_once_over_a_crash(|_| {}, |client| client.execute_in_a_block("/9/0/6", ""));
}

/// An administrator removes [[server]], and adds it again.
#[test]
fn an_execute_that_is_repeated_after_a_start_without_a_server_acts_once() {
    let without_a_server = |gateway: &mut Gateway| {
        let file = "etc/wharfd/wharfd.toml";
        let text = fs::read_to_string(gateway.path().join(file)).unwrap();
        gateway.write(file, &format!("endpoint = \"{ENDPOINT}\"\n{SHORT_TIMES}"));
        gateway.start_daemon(&[]);
        gateway
            .daemon()
            .errors()
            .wait_for("cannot connect to D-Bus"); // wharfd has opened its database by then
        gateway.daemon().terminate();
        gateway.write(file, &text);
    };
    uninstalls_once_over_a_crash(without_a_server, |client| client.execute("/9/0/6", ""));
}

#[test]
fn the_last_block_of_a_write_that_is_repeated_after_a_crash_is_answered() {
    let mut set = StageSet::simulated();
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    let write = |client: &Client<'_>| client.push("/9/0/3", format::TEXT, uri.as_bytes(), 16);
    answer_over_a_crash(&mut set, |_| {}, write).expect("2.04");
    set.wait_for("3/0");
}

/// The new one counts from 1 like the one before.
#[test]
fn another_servers_message_is_none_that_was_answered_before() {
    let mut set = StageSet::simulated();
    let create = |set: &StageSet| set.client().create("/9", None, &[]).expect("2.01");
    wait_until_stored(&mut set);
    create(&set);
    set.gateway.daemon().terminate();
    set.server = TestServer::new();
    set.gateway.configure(&set.server.uri(), "");
    set.start_daemon_again();
    wait_until_stored(&mut set);
    set.kill_and_start_daemon();
    create(&set);
    set.client().read("/9/2/7").expect("2.05");
}

#[test]
fn the_local_port_is_bound_again_after_a_restart_and_a_taken_one_is_given_up() {
    let mut set = StageSet::simulated();
    wait_until_stored(&mut set);
    let before = set.client().registration();
    set.kill_and_start_daemon();
    assert_eq!(set.client().registration(), before);

    set.gateway.daemon().kill();
    let taken = UdpSocket::bind(("0.0.0.0", before.address.port())).unwrap();
    set.start_daemon_again();
    let after = set.client().registration();
    assert_ne!(after.address.port(), taken.local_addr().unwrap().port());
    assert_eq!(after.location, before.location, "an Update, not a Register");
}

#[test]
fn a_registration_ends_for_good_only_when_that_is_asked_for() {
    let mut set = StageSet::simulated();
    wait_until_stored(&mut set);
    let deregister = |set: &StageSet| {
        let mut command = set.gateway.command("wharfd", &[]);
        let output = command.arg("--deregister").output().unwrap();
        let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), texts.concat())
    };
    let (code, said) = deregister(&set);
    assert_eq!(code, Some(1));
    assert!(said.contains("is another wharfd running"), "{said}");

    set.gateway.daemon().terminate();
    let file = set.gateway.path().join("etc/wharfd/wharfd.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(ENDPOINT, "another-name")).unwrap();
    let (code, said) = deregister(&set);
    assert_eq!(code, Some(0), "{said}");
    let goodbye = RegistrationEvent::Deregistered(ENDPOINT.to_owned());
    assert_eq!(set.server.events().last(), Some(&goodbye), "{said}");
    assert!(deregister(&set).1.contains("nothing is registered"));

    set.start_daemon_again();
    let registered = RegistrationEvent::Registered("another-name".to_owned());
    assert_eq!(set.server.events().last(), Some(&registered));
}

#[test]
fn a_server_that_was_restarted_without_its_state_gets_a_register() {
    let mut set = StageSet::simulated();
    set.observe(&[7]);
    set.gateway.daemon().terminate();
    set.server.forget_registrations();
    set.start_daemon_again();
    let registered = RegistrationEvent::Registered(ENDPOINT.to_owned());
    set.server.wait_for_event(&registered, 2);
}

#[test]
fn leshan_is_told_what_happened_while_wharfd_was_killed_without_another_observe() {
    let (mut set, mut leshan) = at_leshan();
    for resource in [9, 7] {
        let observed = leshan.observe(ENDPOINT, &format!("/9/0/{resource}"));
        assert_eq!(observed.code, "2.05", "{observed:?}");
    }
    let pause = "mkfifo /pause && cat /pause >/dev/null";
    let package = Package::new("hello", "1.0-1").script(Script::Postinst, pause);
    let uri = set.publish(&package);
    assert_eq!(leshan.write(ENDPOINT, "/9/0/3", uri.as_str()).code, "2.04");
    leshan.wait_for_notification("/9/0/7", 3, 0);
    assert_eq!(leshan.execute(ENDPOINT, "/9/0/4", None).code, "2.04");
    let fifo = set.gateway.path().join("pause");
    wait_until("the postinst", || fifo.exists().then_some(()));
    set.gateway.daemon().kill();
    fs::write(&fifo, "go on").unwrap();
    wait_for_installed(&set);
    set.gateway.start_daemon(&[]);
    leshan.wait_for_notification("/9/0/7", 4, 0);

    let states = leshan.story().into_iter();
    let states = states.filter(|(path, _)| path == "/9/0/7");
    let states: Vec<Value> = states.map(|(_, value)| value).collect();
    assert_eq!(states, [1, 2, 3, 4].map(Value::from));
    assert_eq!(leshan.registrations().len(), 1);
    leshan.wait_for_event("updated", ENDPOINT, 1);
}
