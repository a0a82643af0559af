//! The parts below the scenarios of wharfd: the real programs, roots for installations, packages and keys, origins,
//! LwM2M servers. `tests/` tests each part by itself, so that a failed scenario is the fault of wharfd.
//!
//! | part | module |
//! | --- | --- |
//! | running programs, of this workspace and others | [`programs`], [`process`] |
//! | a gateway with running programs | [`gateway`] |
//! | wharfd's own Debian package | [`wharfd_package`] |
//! | a booted gateway with it | [`booted`] |
//! | folders, removed with their mounts | [`folder`], [`made_once`] |
//! | a disk with power cuts | [`disk`] |
//! | random choices that a seed repeats | [`chance`] |
//! | a root for installations | [`debian_root`], [`opkg_root`], [`rpm_root`], [`scratch_root`] |
//! | a booted system, in a network of its own | [`container`], [`network`] |
//! | a system bus of its own | [`system_bus`] |
//! | packages, bundles and their signatures | [`package`], [`rpm_package`], [`bundle`], [`keys`] |
//! | a repository of packages | [`repository`], [`rpm_repository`] |
//! | packages with services | [`services`] |
//! | package managers by hand | [`manager`] |
//! | origins of packages | [`origin`] (misbehaving), [`nginx`] |
//! | LwM2M servers | [`server`] (scripted), [`leshan`] |
//! | a network that drops datagrams, a NAT that drops its binding | [`lossy_link`], [`nat`] |
//!
//! A part that fails ends its test with the attempt in its message: therefore these signatures have no `Result`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this crate is tests"
)]

pub mod booted;
pub mod bundle;
pub mod chance;
pub mod command;
pub mod container;
pub mod debian_root;
pub mod disk;
pub mod folder;
pub mod gateway;
pub mod keys;
pub mod leshan;
pub mod lossy_link;
pub mod made_once;
pub mod manager;
pub mod nat;
pub mod network;
pub mod nginx;
pub mod opkg_feed;
pub mod opkg_root;
pub mod origin;
pub mod package;
pub mod pages;
pub mod process;
pub mod programs;
pub mod repository;
pub mod rpm_package;
pub mod rpm_repository;
pub mod rpm_root;
pub mod scratch_root;
pub mod server;
pub mod services;
pub mod system_bus;
pub mod variable;
pub mod waiting;
pub mod wharfd_package;
