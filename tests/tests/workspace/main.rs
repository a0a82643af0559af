//! Rules of the whole workspace: the licences of its crates, the crates that no program may link, the purity of the pure
//! crates, the names of package managers in their own folders alone, the names of types, the sizes of functions and
//! files, the tests, paths and pages that pages name, and the explanations of the journal's lines.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod circles;
mod journal;
mod licences;
mod links;
mod named_tests;
mod names;
mod pages;
mod purity;
mod seams;
mod sizes;
mod tree;
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
