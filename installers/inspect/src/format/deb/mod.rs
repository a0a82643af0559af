//! The format .deb (deb(5)): its framing, the signature of debsigs inside it, and its control file, found in control.tar.

use wharf_frames::{Failure, inspect::Described};

use crate::{
    archive::{end, unpack::unpacked},
    entry::Each,
    format::{
        Inside, PackageFormat,
        control::{self, Grammar, malformed},
        data_tar,
    },
    part::{ReadAt, read_range, unreadable},
};

pub mod ar;

/// Debian Policy 5.6.1, 5.6.12 and 11.1.
const GRAMMAR: Grammar = Grammar {
    is_name,
    is_version,
    is_architecture,
};

/// The format .deb.
pub struct Deb;

impl PackageFormat for Deb {
    fn signature_inside(&self, file: &dyn ReadAt, length: u64) -> Result<Option<Inside>, Failure> {
        let layout = ar::layout(file, length)?;
        let Some(origin) = layout.origin.clone() else {
            return Ok(None);
        };
        Ok(Some(Inside {
            packets: read_range(file, origin).map_err(|error| unreadable(&error))?,
            covers: layout.signed(),
            digests: Vec::new(),
        }))
    }

    fn describe(&self, file: &dyn ReadAt, length: u64) -> Result<Described, Failure> {
        let layout = ar::layout(file, length)?;
        let mut tar = Vec::new();
        unpacked(file, &layout.control, |content| {
            tar = control::tar(content)?;
            Ok(())
        })
        .map_err(|error| malformed("control.tar", &error))?;
        let described = control::describe(&tar, &GRAMMAR)?;
        end::check(file, &layout.data).map_err(|error| malformed("data.tar", &error))?;
        Ok(described)
    }

    fn files(&self, file: &dyn ReadAt, length: u64, each: Each<'_>) -> Result<(), Failure> {
        let layout = ar::layout(file, length)?;
        let read = unpacked(file, &layout.data, |tar| data_tar::each(tar, each));
        read.map_err(|error| malformed("data.tar", &error))
    }
}

/// Policy 5.6.1.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() >= 2
        && name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || b"+-.".contains(&byte))
}

/// Policy 5.6.12: `[epoch:]upstream[-revision]`.
fn is_version(version: &str) -> bool {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (Some(epoch), rest),
        None => (None, version),
    };
    let (upstream, revision) = match rest.rsplit_once('-') {
        Some((upstream, revision)) => (upstream, Some(revision)),
        None => (rest, None),
    };
    let of = |text: &str, others: &[u8]| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    let upstream_may_have: &[u8] = if epoch.is_some() { b".+~-:" } else { b".+~-" };
    epoch.is_none_or(is_epoch)
        && upstream.starts_with(|c: char| c.is_ascii_digit())
        && of(upstream, upstream_may_have)
        && revision.is_none_or(|revision| of(revision, b".+~"))
}

/// dpkg keeps it in an int.
fn is_epoch(epoch: &str) -> bool {
    epoch.bytes().all(|byte| byte.is_ascii_digit()) && epoch.parse::<i32>().is_ok()
}

/// Policy 11.1: the name of one architecture, or `all`.
fn is_architecture(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=64).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_policy() {
        for name in ["hello", "0ad", "g++", "libstdc++6", "a.b-c", "xx"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "x",
            "Hello",
            "-o",
            "+x",
            ".*",
            "hello:amd64",
            "a_b",
            "a b",
            "?essential",
            "é1",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn versions_are_those_of_the_policy() {
        for version in [
            "1",
            "1.0-1",
            "1:2.0~rc1-0+deb12u1",
            "0:1",
            "2:1:2-3",
            "1-2-3",
            "1.0a",
            "2147483647:1",
        ] {
            assert!(is_version(version), "{version}");
        }
        for version in [
            "",
            "a",
            "-1",
            "1-",
            ":1",
            "1:",
            "x:1",
            "-1:1",
            "+1:1",
            "2147483648:1",
            "1_2",
            "1 2",
            "1-a:b",
            "1:1-1:1",
            "1;2",
        ] {
            assert!(!is_version(version), "{version}");
        }
    }
}
