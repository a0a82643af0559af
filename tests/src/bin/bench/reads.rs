//! Reads of one resource.

use std::time::Duration;

use crate::{
    figure::Figure,
    peers::Peers,
    processor::on_one_processor,
    statistics::{median, ratio},
};

const ROUNDS: usize = 5;
const READS: u16 = 3000;

/// The names of the figures: one read at a time, and 16 in flight.
pub(crate) type Names = [&'static str; 2];

pub(crate) const PLAIN: Names = [
    "reads of /3/0/0, one at a time, p50",
    "reads of /3/0/0, 16 in flight, p50",
];
pub(crate) const OVER_DTLS: Names = [
    "the same over DTLS, one at a time, p50",
    "the same over DTLS, 16 in flight, p50",
];

pub(crate) fn measure(peers: &mut Peers, [one, sixteen]: Names) {
    on_one_processor(peers, |peers| {
        read(peers, one, 1);
        read(peers, sixteen, 16);
    });
}

fn read(peers: &mut Peers, name: &'static str, in_flight: u16) {
    let mut round = |count| {
        let own = peers.agent.read("/3/0/0", count, in_flight);
        (own, peers.other.read("/time", count, in_flight))
    };
    round(READS / 4);
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (a, b) = round(READS);
        own.extend(a);
        other.extend(b);
    }
    let (own, other) = (median(own), median(other));
    Figure {
        name,
        aim: Some(1.0),
        measured: ratio(own, other),
        unit: "",
        beside: format!("{} over coap-server's {}", micros(own), micros(other)),
    }
    .tell();
}

fn micros(duration: Duration) -> String {
    format!("{:.1} us", duration.as_secs_f64() * 1e6)
}
