//! Runs the answering programs and the caller on one processor, so that work is measured, and not the wake-up of
//! another processor.

use std::thread;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::peers::Peers;

/// Runs `act` on one processor. Afterwards all processors are allowed again.
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

/// The last processor: interrupts tend to use the first.
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
