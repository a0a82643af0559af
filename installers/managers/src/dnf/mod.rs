//! dnf 4 and dnf 5, which share rpm's database.
//!
//! - [`manager`]: the package manager. [`rpm`]: the truth, from rpm's database. [`unfinished`]: what that does not say.
//!   [`macros`]: rpm's own settings.
//! - [`install`]: installations, with the dependencies that [`download`] gets from repositories.
//! - [`order`]: what dnf is asked to do. [`dnf4`], [`dnf5`]: the two ways to do it. [`run`]: one run of either, under
//!   [`lock`].
//! - [`plan`] and [`complaint`]: read the output of dnf before it works, and after it failed.
//! - [`programs`]: how programs are started, and recognised. [`version`]: names and versions.

mod complaint;
mod dnf4;
mod dnf5;
mod download;
mod install;
mod lock;
mod macros;
mod manager;
mod order;
mod plan;
mod programs;
mod rpm;
mod run;
mod unfinished;
mod version;

pub use manager::Dnf;
