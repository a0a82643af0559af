//! A Package that the server writes block by block.

use std::time::Duration;

use wharf_tests::{package::incompressible, waiting::wait_until};

use crate::{
    caller::BLOCK,
    figure::Figure,
    peers::Peers,
    processor::on_one_processor,
    statistics::{median, time},
};

const SIZE: usize = 1024 * 1024;
const RUNS: usize = 7;

/// wharfd writes to a file, libcoap's server to memory.
pub(crate) fn measure(peers: &mut Peers) {
    let body = incompressible(SIZE);
    let (mut own, mut other) = (Vec::new(), Vec::new());
    on_one_processor(peers, |peers| {
        for _ in 0..=RUNS {
            own.push(time(|| peers.agent.push("/9/0/2", &body)));
            wait_until("the verdict on what is no package", || {
                (peers.agent.read_text("/9/0/9") != "0").then_some(())
            });
            other.push(time(|| peers.other.push("/pushed", &body)));
        }
    });
    let (own, other) = (blocks(own), blocks(other));
    Figure {
        name: "push of 1 MiB",
        aim: None,
        measured: own,
        unit: "blocks/s",
        beside: format!("coap-server {other:.0} blocks/s, {:.2} of it", own / other),
    }
    .tell();
}

/// The first run is a warm-up.
fn blocks(runs: Vec<Duration>) -> f64 {
    (SIZE / BLOCK) as f64 / median(runs[1..].to_vec()).as_secs_f64()
}
