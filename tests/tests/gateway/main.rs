//! The installed wharfd: its Debian package on a booted Debian system, with the server on the other side of a network.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is tests"
)]

mod activation;
mod first_hour;
mod formats;
mod interruptions;
mod ipk;
mod package;
mod rpm;
mod screens;
mod self_upgrade;
mod steady;
mod story;
mod walls;
