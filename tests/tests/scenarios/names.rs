//! The server's name: wharfd resolves it for each new connection.

use std::{fs, net::Ipv4Addr};

use wharf_tests::{gateway::Gateway, package::Package};

use crate::stage_set::StageSet;

const NAME: &str = "lwm2m.example";
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A gateway with the server's name in its settings. A message times out after 31 times 100 ms. No program runs yet.
fn by_name() -> StageSet {
    let set = StageSet::configured(Gateway::simulated(), "");
    let uri = format!("coap://{NAME}:{}", set.server.address().port());
    set.gateway.configure(&uri, "");
    let file = set.gateway.path().join("etc/wharfd/wharfd.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "ack-timeout = 100\n").unwrap();
    set
}

#[test]
fn a_server_that_is_not_where_its_name_leads_is_found_once_it_leads_there() {
    let mut set = by_name();
    set.gateway.name(NAME, &[ELSEWHERE]);
    set.gateway.start();
    let errors = set.gateway.daemon().errors();
    let port = set.server.address().port();
    errors.wait_for(&format!("at {ELSEWHERE}:{port}"));
    errors.wait_for("the server does not answer");
    set.gateway.name(NAME, &[Ipv4Addr::LOCALHOST]);
    set.client();
}

#[test]
fn a_server_that_moved_with_its_name_is_found_where_that_leads_now() {
    let mut set = by_name();
    set.gateway.name(NAME, &[Ipv4Addr::LOCALHOST]);
    set.gateway.start();
    set.deliver(&Package::new("hello", "1.0.1"));
    set.observe(&[7]);
    // The result of the Install is for a server that has moved.
    set.gateway.installer().kill();
    set.client().execute("/9/0/4", "").expect("2.04");
    set.gateway.name(NAME, &[ELSEWHERE]);
    set.server = set.server.moved_to(ELSEWHERE);
    set.gateway.start_installer(&[]);
    set.wait_for("4/2");
}
