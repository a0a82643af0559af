//! apt and dpkg.
//!
//! - [`apt_get`]: runs apt, under the [`configuration`] of our runs, from their [`archives`] and with our [`consent`].
//!   [`install`]: installations, and the dependencies that come with them.
//! - [`dpkg`]: answers questions, repairs and purges. [`database`]: the state of a package. [`files`]: the files of packages,
//!   and their owners.
//! - [`plan`] and [`complaint`]: read the output of apt before it works, and after it failed. [`relations`]: says why apt
//!   refused.
//! - [`postrm`]: runs last scripts again. [`programs`]: starts and recognises programs of apt and dpkg.
//! - [`version`]: names and versions.

mod apt_get;
mod archives;
mod complaint;
mod configuration;
mod consent;
mod database;
mod dpkg;
mod files;
mod install;
mod plan;
mod postrm;
mod programs;
mod relations;
pub mod version;

pub use apt_get::Apt;
