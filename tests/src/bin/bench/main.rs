//! The cost of wharfd: each figure with its aim, and with the figure of another program in the same run. Times are
//! valid only on a quiet machine. docs/figures.md explains the figures.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement ends where it fails"
)]

mod caller;
mod download;
mod dtls;
mod figure;
mod gateway;
mod install;
mod memory;
mod peers;
mod processor;
mod push;
mod reads;
mod start;
mod statistics;
mod story;
mod trace;
mod transition;

use peers::Peers;
use story::Story;
use wharf_tests::gateway::Gateway;

fn main() {
    let mut peers = Peers::new();
    start::measure(&mut peers);
    memory::measure(&mut peers);
    reads::measure(&mut peers, reads::PLAIN);
    push::measure(&mut peers);
    drop(peers);
    reads::measure(&mut Peers::over_dtls(), reads::OVER_DTLS);

    let mut story = Story::on(Gateway::debian());
    transition::measure(&mut story);
    download::measure(&mut story);
    drop(story);

    install::measure_each();

    gateway::measure();
}
