//! The formats of packages. A format has a folder and two functions: one finds the signature inside a package, the other
//! reads the package's own data. Both reject ambiguous files.

use std::ops::Range;

pub mod deb;

pub(crate) use deb::{describe, signature_inside};

/// A signature inside a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// Its OpenPGP packets.
    pub packets: Vec<u8>,
    /// The parts of the file that it covers, one after the other.
    pub covers: Vec<Range<u64>>,
}
