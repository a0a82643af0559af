//! CoAP over DTLS with a pre-shared key, with independent servers, and failures of the connection.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, UdpSocket},
    process::Command,
};

use serde_json::{Value, json};
use wharf_tests::{
    folder::Folder,
    gateway::{ENDPOINT, Gateway},
    leshan::{Leshan, LeshanAnswer},
    nat::Nat,
    network::Network,
    origin::Fault,
    package::Package,
    process::Process,
};

use crate::stage_set::StageSet;

const IDENTITY: &str = "gateway-17";
const KEY: &str = "30313233343536373839616263646566";
/// The same in the form of libcoap's tools.
const KEY_AS_TEXT: &str = "0123456789abcdef";

/// A message times out after 31 times this, a handshake after 15 times.
const ACK_TIMEOUT: &str = "100";

/// A gateway with a key for the server at `uri`, without running programs.
fn gateway_for(uri: &str, key: &str) -> StageSet {
    let set = StageSet::configured(Gateway::simulated(), "");
    configure(&set.gateway, uri, key, "");
    set
}

fn configure(gateway: &Gateway, uri: &str, key: &str, more: &str) {
    gateway.write(
        "etc/wharfd/wharfd.toml",
        &format!(
            "endpoint = \"{ENDPOINT}\"\n\n[[server]]\nuri = \"{uri}\"\npsk-identity = \"{IDENTITY}\"\n\
             psk-key-file = \"/etc/wharfd/psk\"\n{more}\n\n[timing]\nack-timeout = {ACK_TIMEOUT}\n\
             retry-first = 40\nretry-longest = 400\n"
        ),
    );
    gateway.write_key("etc/wharfd/psk", key);
}

/// One that is registered at Leshan.
fn at(leshan: &mut Leshan) -> StageSet {
    let uri = leshan.secure_uri();
    at_by(leshan, &uri)
}

/// A gateway that is registered there over another address.
fn at_by(leshan: &mut Leshan, uri: &str) -> StageSet {
    leshan.know(ENDPOINT, IDENTITY, KEY);
    let mut set = gateway_for(uri, KEY);
    set.gateway.start();
    leshan.wait_for_event("registered", ENDPOINT, 1);
    set
}

#[track_caller]
fn expect(answer: LeshanAnswer, code: &str) {
    assert_eq!(answer.code, code, "{answer:?}");
}

#[test]
fn leshan_drives_the_whole_story_over_dtls() {
    let mut leshan = Leshan::new();
    let set = at(&mut leshan);
    set.origin.require("fleet", "correct horse");
    expect(leshan.create(ENDPOINT, "/9", Some(1), json!({})), "2.01");
    for resource in [7, 9] {
        expect(
            leshan.observe(ENDPOINT, &format!("/9/1/{resource}")),
            "2.05",
        );
    }
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    expect(leshan.write(ENDPOINT, "/9/1/14", "fleet"), "2.04");
    expect(leshan.write(ENDPOINT, "/9/1/15", "correct horse"), "2.04");
    expect(leshan.write(ENDPOINT, "/9/1/3", uri.as_str()), "2.04");
    let told = leshan.wait_for_notification("/9/1/7", 3, 0);
    expect(leshan.execute(ENDPOINT, "/9/1/4", None), "2.04");
    let told = leshan.wait_for_notification("/9/1/7", 4, told);
    expect(leshan.execute(ENDPOINT, "/9/1/6", None), "2.04");
    let told = leshan.wait_for_notification("/9/1/7", 0, told);

    let file = set.signed_inside(&Package::new("hello", "2.0.1").padding(50_000));
    expect(leshan.push(ENDPOINT, "/9/1/2", &file), "2.04");
    leshan.wait_for_notification("/9/1/7", 3, told);
}

#[test]
fn no_server_reads_the_key() {
    let mut leshan = Leshan::new();
    let mut set = at(&mut leshan);
    for path in ["/0", "/0/0", "/0/0/0", "/0/0/2", "/0/0/3", "/0/0/5"] {
        let answer = leshan.read(ENDPOINT, path);
        assert!(
            ["4.01", "4.05"].contains(&answer.code.as_str()),
            "{path}: {answer:?}"
        );
    }
    for line in set.gateway.daemon().errors().all() {
        assert!(!line.contains(KEY) && !line.contains(KEY_AS_TEXT), "{line}");
    }
}

#[test]
fn ipv6_is_spoken() {
    let mut leshan = Leshan::at(Ipv6Addr::LOCALHOST.into());
    assert!(leshan.secure_uri().starts_with("coaps://[::1]:"));
    let _set = at(&mut leshan);
    assert_eq!(leshan.read(ENDPOINT, "/9/0/7").value, 0);
}

#[test]
fn libcoaps_servers_are_registered_with_by_either_tls_library() {
    for program in ["coap-rd-openssl", "coap-rd-gnutls"] {
        let port = two_free_ports();
        let mut directory = Command::new(program);
        directory.args(["-A", "127.0.0.1", "-p", &port.to_string()]);
        let _directory = Process::spawn(directory.args(["-k", KEY_AS_TEXT]));
        let mut set = gateway_for(&format!("coaps://127.0.0.1:{}", port + 1), KEY);
        set.gateway.start();
        set.gateway.daemon().errors().wait_for(" at /rd/");
    }
}

/// Two ports, for CoAP and for CoAP over DTLS, which libcoap expects to be the next one.
fn two_free_ports() -> u16 {
    let free = |port: u16| UdpSocket::bind(("127.0.0.1", port)).ok();
    let first = || {
        let socket = free(0)?;
        let port = socket.local_addr().ok()?.port();
        free(port.checked_add(1)?).map(|_| port)
    };
    std::iter::repeat_with(first).flatten().next().unwrap()
}

#[test]
fn a_wrong_key_or_identity_is_told_with_what_to_do() {
    let mut leshan = Leshan::new();
    leshan.know(ENDPOINT, IDENTITY, "ffffffffffffffffffffffffffffffff");
    let mut set = gateway_for(&leshan.secure_uri(), KEY);
    set.gateway.start();
    let line = set
        .gateway
        .daemon()
        .errors()
        .wait_for("cannot reach coaps://");
    let why = "the key of identity \"gateway-17\"";
    assert!(line.contains(why), "{line}");
    let doctor = || {
        let output = set.gateway.command("wharfctl", &[]).arg("doctor").output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    // First with the default first wait, then with this one.
    let file = "etc/wharfd/wharfd.toml";
    let text = fs::read_to_string(set.gateway.path().join(file)).unwrap();
    let usual = text.replace(&format!("ack-timeout = {ACK_TIMEOUT}\n"), "");
    assert_ne!(usual, text);
    for text in [usual, text] {
        set.gateway.write(file, &text);
        let seen = doctor();
        assert!(
            seen.contains("FAIL  handshake ") && seen.contains(why),
            "{seen}"
        );
    }
    // wharfd retries without a limit, and registers when the server has the key.
    leshan.know(ENDPOINT, IDENTITY, KEY);
    leshan.wait_for_event("registered", ENDPOINT, 1);
    let seen = doctor();
    assert!(
        seen.contains("accepts the key of \"gateway-17\"\n"),
        "{seen}"
    );
}

#[test]
fn every_address_of_the_servers_name_is_tried() {
    // Addresses are sorted by the bits that they share with this machine's own (RFC 6724 6): the unused one is first.
    let (nobody, second) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let mut leshan = Leshan::at(second.into());
    leshan.know(ENDPOINT, IDENTITY, KEY);
    let port = leshan.secure_address().port();
    let mut set = gateway_for(&format!("coaps://lwm2m.example:{port}"), KEY);
    set.gateway.name("lwm2m.example", &[nobody, second]);
    set.gateway.start();
    let errors = set.gateway.daemon().errors();
    errors.wait_for(&format!(
        "lwm2m.example:{port} at {nobody}:{port}: no answer"
    ));
    leshan.wait_for_event("registered", ENDPOINT, 1);
}

#[test]
fn a_server_that_was_restarted_is_registered_at_again() {
    let mut leshan = Leshan::new();
    leshan.know(ENDPOINT, IDENTITY, KEY);
    let mut set = gateway_for(&leshan.secure_uri(), KEY);
    // The Update after half of the lifetime detects it.
    configure(&set.gateway, &leshan.secure_uri(), KEY, "lifetime = 20");
    set.gateway.start();
    leshan.wait_for_event("registered", ENDPOINT, 1);
    let mut leshan = leshan.replaced();
    leshan.know(ENDPOINT, IDENTITY, KEY);
    leshan.wait_for_event("registered", ENDPOINT, 1);
    assert_eq!(leshan.read(ENDPOINT, "/9/0/7").value, 0);
}

#[test]
fn another_address_of_the_gateway_is_told_at_once_by_an_update() {
    let folder = Folder::new();
    let network = Network::new(&folder);
    let mut leshan = Leshan::at(network.outside().into());
    leshan.know(ENDPOINT, IDENTITY, KEY);
    let mut set = gateway_for(&leshan.secure_uri(), KEY);
    set.gateway.move_daemon_to(network);
    set.gateway.start();
    let registered = leshan.wait_for_event("registered", ENDPOINT, 1);
    expect(leshan.observe(ENDPOINT, "/9/0/9"), "2.05");

    set.gateway.network().change_address();
    let updated = leshan.wait_for_event("updated", ENDPOINT, 1);
    let inside = set.gateway.network().inside().to_string();
    assert_ne!(registered["address"], inside.as_str());
    assert_eq!(updated["address"], inside.as_str());
    expect(leshan.write(ENDPOINT, "/9/0/3", "nonsense"), "4.00");
    leshan.wait_for_notification("/9/0/9", 56, 0);
}

/// The kinds of events so far, as `registered`, `updated` and `notification 3`.
fn events(leshan: &Leshan) -> Vec<String> {
    let lines = leshan.lines().into_iter();
    let events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    events
        .filter_map(|event| match event["event"].as_str()? {
            "notification" => Some(format!("notification {}", event["value"])),
            other => Some(other.to_owned()),
        })
        .collect()
}

/// A stalled download, with its Update State observed.
fn stalled_download(leshan: &mut Leshan, set: &StageSet) {
    expect(leshan.observe(ENDPOINT, "/9/0/7"), "2.05");
    let uri = set.publish(&Package::new("large", "1.0.1").padding(2 << 20));
    let path = format!("/{}", uri.rsplit('/').next().unwrap());
    set.origin.fault(&path, Fault::StallAfter(1 << 20));
    expect(leshan.write(ENDPOINT, "/9/0/3", uri.as_str()), "2.04");
    set.origin.wait_for_stall();
    leshan.wait_for_notification("/9/0/7", 1, 0);
}

/// Leshan's threads decide the order of its lines about an Update and the notification after it. The engine's own tests
/// check that the Update is first.
#[track_caller]
fn expect_an_update_and_the_notifications(leshan: &Leshan) {
    leshan.wait_for_notification("/9/0/7", 3, 1);
    leshan.wait_for_event("updated", ENDPOINT, 1);
    let (told, others): (Vec<_>, Vec<_>) = events(leshan)
        .into_iter()
        .partition(|event| event.starts_with("notification"));
    assert_eq!(told, [1, 2, 3].map(|state| format!("notification {state}")));
    let registrations = others.iter().filter(|event| *event == "registered");
    assert_eq!(registrations.count(), 1, "{others:?}");
}

#[test]
fn a_nat_that_forgot_its_binding_is_gone_through_anew_and_the_session_resumed() {
    let mut leshan = Leshan::new();
    let nat = Nat::to(leshan.secure_address());
    let mut set = at_by(&mut leshan, &format!("coaps://{}", nat.address()));
    stalled_download(&mut leshan, &set);
    nat.rebind();
    set.origin.release();
    expect_an_update_and_the_notifications(&leshan);
    set.gateway
        .daemon()
        .errors()
        .wait_for("the session resumed");
}

#[test]
fn a_server_that_forgot_the_session_as_well_gets_a_whole_handshake_and_an_update() {
    let mut leshan = Leshan::new();
    let nat = Nat::to(leshan.secure_address());
    let mut set = at_by(&mut leshan, &format!("coaps://{}", nat.address()));
    stalled_download(&mut leshan, &set);
    nat.rebind();
    leshan.forget_sessions();
    set.origin.release();
    expect_an_update_and_the_notifications(&leshan);
    set.gateway
        .daemon()
        .errors()
        .wait_for_nth("in a new session", 2);
}

#[test]
fn a_restart_of_wharfd_is_a_new_session_an_update_and_the_notifications() {
    let mut leshan = Leshan::new();
    let mut set = at(&mut leshan);
    stalled_download(&mut leshan, &set);
    set.gateway.daemon().kill();
    set.origin.release();
    set.gateway.start_daemon(&[]);
    expect_an_update_and_the_notifications(&leshan);
}
