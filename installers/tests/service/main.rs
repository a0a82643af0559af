//! Root's side, by its real programs: the contract of every package manager, the job socket, and exits at every step.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is tests"
)]

mod activation;
mod adoption;
mod aliases;
mod apt;
mod apt_dependencies;
mod apt_http;
mod back;
mod bundle_kills;
mod bundle_refusals;
mod bundles;
mod clock;
mod conditions;
mod contract;
mod crash;
mod disks;
mod dnf;
mod dnf_disks;
mod dnf_jobs;
mod dnf_kills;
mod dnf_locks;
mod dnf_sources;
mod hostile_clients;
mod job_socket;
mod jobs;
mod machine;
mod messages;
mod opkg;
mod opkg_feeds;
mod opkg_files;
mod opkg_jobs;
mod owners;
mod purge;
mod questions;
mod records;
mod runs;
mod staged_files;
mod steady;
mod triggers;
mod trust;
mod unit_files;
