//! The format .rpm, versions 4 and 6 (docs/manual/format_v4.md and format_v6.md of rpm). A signature covers the immutable
//! header, which states the digest of the payload. Lead and signature header are not trusted.
//!
//! - [`lead`]: the first 96 bytes.
//! - [`header`]: the structure of both headers.
//! - [`layout`]: the parts of a package.
//! - [`signature`]: the signatures and the digest in the signature header.
//! - [`identity`]: name, version and architecture.
//! - [`files`]: the files of the package, their contents in an archive of [`cpio`].

use std::fmt;

use wharf_frames::{Cause, Failure, inspect::Described};

use crate::{
    archive::{Archive, end, unpack::unpacked},
    entry::Each,
    format::{Inside, PackageFormat, PartDigest},
    openpgp::digests::sha256,
    part::{Part, ReadAt},
};

use files::Files;
use layout::{RpmLayout, layout};

mod base64;
mod cpio;
mod files;
pub mod header;
mod identity;
pub mod layout;
mod lead;
#[cfg(test)]
mod made;
mod signature;
mod tag;

/// The format .rpm.
pub struct Rpm;

impl PackageFormat for Rpm {
    fn signature_inside(&self, file: &dyn ReadAt, length: u64) -> Result<Option<Inside>, Failure> {
        let layout = layout(file, length)?;
        let packets = signature::packets(&layout.signature);
        let packets = packets.map_err(|error| malformed("signature header", &error))?;
        Ok((!packets.is_empty()).then(|| Inside {
            packets,
            covers: vec![layout.covered],
            digests: vec![PartDigest {
                range: layout.payload.range,
                sha256: layout.payload.sha256,
            }],
        }))
    }

    fn describe(&self, file: &dyn ReadAt, length: u64) -> Result<Described, Failure> {
        let layout = layout(file, length)?;
        let described =
            identity::of(&layout.header).map_err(|error| malformed("header", &error))?;
        check_digests(file, &layout)?;
        end::check(file, &payload(&layout)).map_err(|error| malformed("payload", &error))?;
        Ok(described)
    }

    fn files(&self, file: &dyn ReadAt, length: u64, each: Each<'_>) -> Result<(), Failure> {
        let layout = layout(file, length)?;
        let files = Files::of(&layout.header).map_err(|error| malformed("header", &error))?;
        let read = unpacked(file, &payload(&layout), |payload| files.each(payload, each));
        read.map_err(|error| malformed("payload", &error))
    }
}

fn payload(layout: &RpmLayout) -> Archive {
    Archive {
        range: layout.payload.range.clone(),
        compression: layout.payload.compression,
    }
}

/// Checks the digests of header and payload, as rpm 6 does for every package, whoever signed it.
fn check_digests(file: &dyn ReadAt, layout: &RpmLayout) -> Result<(), Failure> {
    let of_header = signature::header_sha256(&layout.signature);
    let of_header = of_header.map_err(|error| malformed("signature header", &error))?;
    let of_payload = Some(layout.payload.sha256);
    for (what, stated, range) in [
        ("header", of_header, &layout.covered),
        ("payload", of_payload, &layout.payload.range),
    ] {
        if Some(sha256(Part::new(file, range.clone()))?) != stated {
            let detail = format!(
                "the package is damaged: the SHA-256 of its {what} is not the one stated in it"
            );
            return Err(Failure::new(Cause::WrongDigest, detail));
        }
    }
    Ok(())
}

fn malformed(what: &str, error: &dyn fmt::Display) -> Failure {
    Failure::new(
        Cause::Malformed,
        format!("the {what} of the package is invalid: {error}"),
    )
}
