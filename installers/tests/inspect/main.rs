//! wharf-inspect as root's side uses it, against what gpg, debsigs and dpkg-deb make, and beside what sqv and gpgv say.
//! Runs as root: the child gets a user of its own.

mod confinement;
mod contents;
mod fixture;
mod framing;
mod signatures;
