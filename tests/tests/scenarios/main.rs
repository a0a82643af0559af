//! The real programs, driven by an LwM2M server, as a fleet operator sees them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is tests"
)]

mod bundles;
mod bus;
mod cancel;
mod components;
mod configuration;
mod downloads;
mod dtls;
mod exit_codes;
mod instances;
mod interruptions;
mod keys;
mod leftovers;
mod names;
mod purge;
mod refusals;
mod restarts;
mod servers;
mod stage_set;
mod story;
mod trust;
mod versions;
