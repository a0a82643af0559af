//! The engine against a scripted server, on a virtual clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "that is how a test fails"
)]

mod blocks;
mod lossy_link;
mod messages;
mod moves;
mod notifications;
mod operations;
mod pair;
mod registration;
mod restarts;
mod script;
