//! Debian's package managers: [`apt`] does the work, [`dpkg`] tells the truth and repairs, [`version`] compares, [`plan`] and
//! [`complaint`] read what they say before, and when they fail, [`relations`] says why apt refused, [`postrm`] runs last scripts
//! again, [`consent`] lets apt go on under the [`configuration`] of our runs.

pub(crate) mod apt;
mod complaint;
mod configuration;
mod consent;
mod dpkg;
mod files;
mod plan;
mod postrm;
mod relations;
mod services;
pub mod version;

pub use apt::Apt;
