//! What holds for the workspace as a whole: whose code is in it, what each program is without, that
//! the pure crates are pure, that the tests which pages name and the pages they link to are there, and that the journal's lines are explained.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod journal;
mod licences;
mod links;
mod named_tests;
mod pages;
mod purity;
mod wasm;

use cargo_metadata::{Metadata, MetadataCommand};
use wharf_tests::programs::workspace;

/// The packages that are built for a gateway.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .other_options(["--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned))
        .exec()
        .unwrap()
}
