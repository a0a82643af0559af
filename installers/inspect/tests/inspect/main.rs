//! wharf-inspect as root's programs use it, with input by gpg, debsigs, dpkg-deb and rpmbuild, and compared with sqv, gpgv
//! and rpmkeys. Runs as root, since the child gets a user of its own.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what prepares a test fails it as the test itself does"
)]

mod bundles;
mod contents;
mod files;
mod fixture;
mod framing;
mod ipk;
mod judges;
mod messages;
mod rpm;
mod sandbox;
mod signatures;
