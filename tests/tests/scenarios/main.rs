//! The real programs, driven by an LwM2M server: what a fleet operator sees.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod stage_set;
mod story;
