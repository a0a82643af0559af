//! What the scenarios of wharfd stand on: the real programs, roots to install into, packages and keys,
//! origins, LwM2M servers. Each part is tested by itself in `tests/`, so that a scenario that fails
//! speaks of wharfd.
//!
//! | to have | look at |
//! | --- | --- |
//! | the programs of this workspace, and any other, running | [`programs`], [`process`] |
//! | a gateway with the programs running on it | [`gateway`] |
//! | wharfd's own Debian package | [`wharfd_package`] |
//! | a gateway that booted with it | [`booted`] |
//! | a place for files, removed with its mounts | [`folder`], [`made_once`] |
//! | a disk whose power can be cut | [`disk`] |
//! | choices that a seed repeats | [`chance`] |
//! | a system to install into | [`debian_root`], [`scratch_root`] |
//! | one that boots, in a network of its own | [`container`], [`network`] |
//! | a system bus of its own | [`system_bus`] |
//! | packages and their signatures | [`package`], [`keys`] |
//! | packages that bring services | [`services`] |
//! | where packages are downloaded from | [`origin`] (misbehaving), [`nginx`] |
//! | LwM2M servers | [`server`] (scripted), [`leshan`] |
//! | a network that loses, a NAT that forgets | [`lossy_link`], [`nat`] |
//!
//! A part that cannot do its work ends the test that asked for it, saying what was tried: hence no
//! `Result` in these signatures.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this crate is tests"
)]

pub mod booted;
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
pub mod nat;
pub mod network;
pub mod nginx;
pub mod origin;
pub mod package;
pub mod pages;
pub mod process;
pub mod programs;
pub mod scratch_root;
pub mod server;
pub mod services;
pub mod system_bus;
pub mod variable;
pub mod waiting;
pub mod wharfd_package;
