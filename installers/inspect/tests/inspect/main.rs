//! wharf-inspect as root's side uses it, against what gpg, debsigs and dpkg-deb make, and beside what sqv and gpgv say.
//! Runs as root: the child gets a user of its own.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what prepares a test fails it as the test itself does"
)]

mod confinement;
mod contents;
mod files;
mod fixture;
mod framing;
mod judges;
mod messages;
mod signatures;
