//! The memory of an agent that is registered and idle.

use std::fs;

use crate::{figure::Figure, peers::Peers};

/// Reads the figures of the kernel.
pub(crate) fn measure(peers: &mut Peers) {
    peers.agent.read_text("/3/0/0"); // it is up, and has nothing else to do
    nix::unistd::sync();
    let own = rollup(peers.gateway.daemon().id());
    let other = rollup(peers.libcoap.id());
    for (name, field, aim) in [
        ("anonymous memory of wharfd, idle", "Anonymous", 2.0),
        ("PSS of wharfd, idle", "Pss", 6.0),
    ] {
        Figure {
            name,
            aim: Some(aim),
            measured: megabytes(&own, field),
            unit: "MB",
            beside: format!("coap-server {:.2} MB", megabytes(&other, field)),
        }
        .tell();
    }
}

fn rollup(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("a process")
}

/// A field of proc_pid_smaps(5).
pub(crate) fn megabytes(rollup: &str, field: &str) -> f64 {
    let kilobytes = rollup.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = value.trim().strip_suffix(" kB")?;
        (name == field).then(|| value.parse::<f64>().expect("a number"))
    });
    kilobytes.expect("a field of smaps_rollup") * 1024.0 / 1e6
}
