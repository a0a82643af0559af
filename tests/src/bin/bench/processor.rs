//! Those that answer and the one that asks on one processor: what is measured is work, and not how fast one
//! processor wakes another.

use std::thread;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::peers::Peers;

/// Does `act` there. Everybody may go anywhere again afterwards.
pub(crate) fn on_one_processor(peers: &mut Peers, act: impl FnOnce(&mut Peers) + Send) {
    let answering = [peers.gateway.daemon().id(), peers.libcoap.id()];
    thread::scope(|scope| {
        scope.spawn(|| {
            let asking = 0;
            for process in answering.into_iter().chain([asking]) {
                stay(process, &one_processor());
            }
            act(peers);
        });
    });
    for process in answering {
        stay(process, &every_processor());
    }
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
