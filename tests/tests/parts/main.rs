//! What the scenarios stand on, each part judged by a program that others wrote.

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
