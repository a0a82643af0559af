//! Debian's package managers: [`apt`] does the work, [`dpkg`] tells the truth and repairs, [`version`] compares,
//! [`complaint`] reads what they say when they fail.

pub(crate) mod apt;
mod complaint;
mod dpkg;
pub mod version;

pub use apt::Apt;
