//! What wharfd costs: each figure with its aim, and beside it what another program needs for the same, in
//! the same run. Times say something on a quiet machine only; docs/figures.md tells what was measured and why.
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

fn main() {
    let mut peers = Peers::new();
    start::measure(&mut peers);
    memory::measure(&mut peers);
    reads::measure(&mut peers, reads::PLAIN);
    push::measure(&mut peers);
    drop(peers);
    reads::measure(&mut Peers::over_dtls(), reads::OVER_DTLS);

    let mut story = Story::new();
    transition::measure(&mut story);
    download::measure(&mut story);
    install::measure(&story);
    drop(story);

    gateway::measure();
}
