//! Reads of one resource, the one that answers and the one that asks on one processor.

use std::{thread, time::Duration};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    figure::Figure,
    peers::Peers,
    statistics::{median, ratio},
};

const ROUNDS: usize = 5;
const READS: u16 = 3000;

/// One at a time, and 16 in flight.
pub(crate) fn measure(peers: &mut Peers) {
    let processes = [peers.gateway.daemon().id(), peers.libcoap.id()];
    thread::scope(|scope| {
        scope.spawn(|| {
            let asking = 0;
            let on = one_processor();
            for process in processes.into_iter().chain([asking]) {
                stay(process, &on);
            }
            read(peers, "reads of /3/0/0, one at a time, p50", 1);
            read(peers, "reads of /3/0/0, 16 in flight, p50", 16);
        });
    });
    for process in processes {
        stay(process, &every_processor());
    }
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

/// The last one: interrupts tend to come to the first.
fn one_processor() -> CpuSet {
    let mut one = CpuSet::new();
    let last = thread::available_parallelism().expect("processors").get() - 1;
    one.set(last).expect("a processor");
    one
}

fn every_processor() -> CpuSet {
    let mut every = CpuSet::new();
    for processor in 0..thread::available_parallelism().expect("processors").get() {
        every.set(processor).expect("a processor");
    }
    every
}

fn stay(process: u32, on: &CpuSet) {
    let process = Pid::from_raw(process.try_into().expect("a process id"));
    sched_setaffinity(process, on).expect("a process that may be bound");
}
