//! The format .ipk of opkg: `debian-binary`, `control.tar` and `data.tar` in an ar archive, as a .deb has them, or in a
//! gzip'd tar. It has no signature inside.

use std::io::{self, Read};

use wharf_frames::{Cause, Failure, inspect::Described};

use crate::{
    archive::{end, unpack::unpacked},
    entry::Each,
    format::{
        Inside, PackageFormat,
        control::{self, Grammar, malformed},
        data_tar,
    },
    part::ReadAt,
};

pub mod framing;

use framing::{Framing, IpkPart};

/// opkg has no grammar: it takes a name with a pattern for a pattern. Feeds have names with capitals and `_`.
const GRAMMAR: Grammar = Grammar {
    is_name,
    is_version,
    is_architecture,
};

/// The format .ipk.
pub struct Ipk;

impl PackageFormat for Ipk {
    /// A gzip'd tar is looked through by [`PackageFormat::describe`]: nothing is unpacked before a signature holds.
    fn signature_inside(&self, file: &dyn ReadAt, length: u64) -> Result<Option<Inside>, Failure> {
        framing::of(file, length).map(|_| None)
    }

    fn describe(&self, file: &dyn ReadAt, length: u64) -> Result<Described, Failure> {
        let mut control = Vec::new();
        match framing::of(file, length)? {
            Framing::Ar(layout) => {
                let read = unpacked(file, &layout.control, |content| {
                    control = control::tar(content)?;
                    Ok(())
                });
                read.map_err(|error| malformed("control.tar", &error))?;
                end::check(file, &layout.data).map_err(|error| malformed("data.tar", &error))?;
            }
            Framing::Tar => framing::each_part(file, length, &mut |part, content| {
                if part == IpkPart::Control {
                    control = control::tar(content)?;
                }
                Ok(())
            })?,
        }
        control::describe(&control, &GRAMMAR)
    }

    fn files(&self, file: &dyn ReadAt, length: u64, each: Each<'_>) -> Result<(), Failure> {
        match framing::of(file, length)? {
            Framing::Ar(layout) => {
                let read = unpacked(file, &layout.data, |tar| entries(tar, each));
                read.map_err(|error| malformed("data.tar", &error))
            }
            Framing::Tar => framing::each_part(file, length, &mut |part, content| match part {
                IpkPart::Data => entries(content, &mut *each),
                IpkPart::Control => Ok(()),
            }),
        }
    }
}

/// opkg would read a second archive behind the end of the first one, if it were told to.
fn entries(tar: &mut dyn Read, each: Each<'_>) -> io::Result<()> {
    data_tar::each(tar, each)?;
    framing::only_zeros(tar)
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || b"+-._".contains(&byte))
}

/// `[epoch:]upstream[-revision]`, with any printable characters that need no quotes.
fn is_version(version: &str) -> bool {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let is_epoch = epoch.bytes().all(|byte| byte.is_ascii_digit()) && epoch.parse::<u32>().is_ok();
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    is_epoch
        && rest.bytes().next().is_some_and(plain)
        && rest
            .bytes()
            .all(|byte| plain(byte) || b".+~^_-".contains(&byte))
}

/// Machines of Yocto and OpenWrt: `cortexa7t2hf-neon-vfpv4`, `qemux86_64`, `mips_24kc`.
fn is_architecture(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

/// The failure of a file that is no package of opkg.
fn wrong_kind() -> Failure {
    let detail =
        "the file is not a package of opkg: it begins neither as an ar archive nor as a gzip'd one";
    Failure::new(Cause::WrongKind, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_versions_and_architectures_are_those_of_feeds() {
        for name in [
            "acme",
            "libstdc++6",
            "kernel-module-8021q-5.15",
            "Acme_x",
            "r",
        ] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-o", "+x", "a*", "a b", "a/b", "a:b", "?x", "[a]", "é"] {
            assert!(!is_name(name), "{name}");
        }
        for version in [
            "1.0-r0",
            "1:2.0~rc1-r0.5",
            "1.0^git1",
            "1.0+git999-r0",
            "1_0",
            "a",
        ] {
            assert!(is_version(version), "{version}");
        }
        for version in [
            "",
            "-1",
            "x:1",
            ":1",
            "1:",
            "1 2",
            "1;2",
            "4294967296:1",
            "1*",
        ] {
            assert!(!is_version(version), "{version}");
        }
        for name in ["all", "cortexa7t2hf-neon-vfpv4", "qemux86_64", "mips_24kc"] {
            assert!(is_architecture(name), "{name}");
        }
        for name in ["", "-a", "all noarch", "a/b"] {
            assert!(!is_architecture(name), "{name}");
        }
    }
}
