//! The formats of packages. A format is a folder with an implementation of [`PackageFormat`]. It rejects a file that two
//! readers could read in two ways.

use std::ops::Range;

use wharf_frames::{
    Failure,
    inspect::{Described, Format},
};

use crate::{entry::Each, part::ReadAt};

mod control;
mod data_tar;
pub mod deb;
pub mod ipk;
pub mod rpm;
#[cfg(feature = "simulated")]
pub mod simulated;

/// The implementation of a format.
pub fn of(format: Format) -> Result<&'static dyn PackageFormat, Failure> {
    match format {
        Format::Deb => Ok(&deb::Deb),
        Format::Ipk => Ok(&ipk::Ipk),
        Format::Rpm => Ok(&rpm::Rpm),
        #[cfg(feature = "simulated")]
        Format::Simulated => Ok(&simulated::SimulatedFormat),
        #[cfg(not(feature = "simulated"))]
        Format::Simulated => {
            let detail =
                "this wharf-inspect does not support packages of the simulated package manager";
            Err(Failure::new(wharf_frames::Cause::Unavailable, detail))
        }
    }
}

/// Reads the packages of one format. Each method is given the file and its length.
pub trait PackageFormat {
    /// Checks the framing, and returns the signatures inside the package; none if there are none.
    fn signature_inside(&self, file: &dyn ReadAt, length: u64) -> Result<Option<Inside>, Failure>;

    /// Reads name, version and architecture, and checks that the archives end where the framing says.
    fn describe(&self, file: &dyn ReadAt, length: u64) -> Result<Described, Failure>;

    /// Hands on each entry that the package manager would unpack, in the order of the package. An error of `each` ends
    /// it, and is the reason of the failure.
    fn files(&self, file: &dyn ReadAt, length: u64, each: Each<'_>) -> Result<(), Failure>;
}

/// The signatures inside a package. One of them must hold, and all digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// The OpenPGP packets of all signatures, one after the other.
    pub packets: Vec<u8>,
    /// The parts of the file that each signature covers, one after the other.
    pub covers: Vec<Range<u64>>,
    /// Other parts of the file, each with its digest from a covered part.
    pub digests: Vec<PartDigest>,
}

/// A part of a file with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartDigest {
    /// The part.
    pub range: Range<u64>,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}
