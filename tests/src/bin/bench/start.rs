//! From the start of the program to the first byte that it sends.

use std::{net::SocketAddr, process::Command, time::Duration};

use wharf_tests::process::Process;

use crate::{
    caller::CoapCaller,
    figure::Figure,
    peers::Peers,
    statistics::{median, millis, time},
};

const RUNS: usize = 15;

/// Leaves wharfd registered.
pub(crate) fn measure(peers: &mut Peers) {
    peers.gateway.start_installer(&[]);
    start(peers); // makes the database
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        own.push(start(peers));
        other.push(start_client());
    }
    peers.gateway.daemon().kill();
    peers.gateway.start_daemon(&[]);
    peers.agent.accept_registration();
    Figure {
        name: "start -> first byte of Register",
        aim: Some(7.0),
        measured: millis(median(own)),
        unit: "ms",
        beside: format!("coap-client {:.2} ms", millis(median(other))),
    }
    .tell();
}

fn start(peers: &mut Peers) -> Duration {
    let Peers { gateway, agent, .. } = peers;
    let took = time(|| {
        gateway.start_daemon(&[]);
        agent.wait_for_datagram();
    });
    gateway.daemon().kill();
    took
}

/// libcoap's client, which only sends.
fn start_client() -> Duration {
    let server = CoapCaller::new();
    let address: SocketAddr = server.address();
    let mut client = Command::new("coap-client-notls");
    client.arg(format!("coap://{address}/time"));
    let mut running = None;
    let took = time(|| {
        running = Some(Process::spawn(&mut client));
        server.wait_for_datagram();
    });
    drop(running);
    took
}
