//! Packages of rpm: by rpmbuild and rpmsign of this machine, and a few of rpm 6 (vectors/).

mod contents;
mod fixture;
mod framing;
mod judges;
mod signatures;
