//! The parts below the scenarios, each judged by an independent program.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod container;
mod disk;
mod folder;
mod keys;
mod leshan;
mod lossy_link;
mod nginx;
mod origin;
mod package;
mod process;
mod roots;
mod server;
