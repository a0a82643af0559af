//! Files, processes and programs below one root, as root. Package managers and service managers both build on it.
//!
//! - [`Root`]: the paths of our files. [`durable`]: reads and writes small files. [`users`]: users of the root.
//!   [`attributes`]: extended attributes of files.
//! - [`process`]: programs of the root. [`session`]: the processes of a job. [`addresses`]: those in the output of programs.
//! - [`file_systems`]: the disks that a job writes to.
//! - [`limits`]: every bound. [`pattern`]: names with `*`, as policy has them.

pub mod addresses;
pub mod attributes;
pub mod durable;
pub mod file_systems;
pub mod limits;
pub mod pattern;
pub mod process;
mod root;
pub mod session;
pub mod users;

use std::collections::{BTreeMap, BTreeSet};

pub use root::{Root, merged};

/// The owners of paths: each path with the names of the packages that own it.
pub type Owners = BTreeMap<String, BTreeSet<String>>;

/// The effect of an order on the device. A second order of the same kind changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The order changed the device.
    Changed,
    /// The device was as ordered already.
    Unchanged,
}

/// Gets the name of a program that has run, and the end of its output, with that of its scripts.
pub type Listener<'a> = &'a dyn Fn(&str, &str);
