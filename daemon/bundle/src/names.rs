//! Names and versions of bundles, and names of files in them. Every package manager accepts and compares them in the same
//! way.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, decode};
use wharf_frames::{PackageName, PackageVersion};

use crate::{MANIFEST, error::ManifestError};

/// The name of a file in a bundle. It has no folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct FileName(String);

impl FileName {
    /// The longest name: the header of a tar has no more room.
    pub const MAX: usize = 100;

    /// Checks the text.
    pub fn new(text: &str) -> Result<Self, ManifestError> {
        let is_plain = (1..=Self::MAX).contains(&text.len())
            && text.bytes().all(|it| it.is_ascii_graphic() && it != b'/')
            && !text.starts_with('.')
            && text != MANIFEST;
        match is_plain {
            true => Ok(Self(text.to_owned())),
            false => Err(ManifestError::new(format!(
                "{:?} is no name of a file in a bundle: write 1 to {} printable ASCII characters without a space \
                 and without /, not beginning with a dot, and not {MANIFEST}",
                shortened(text),
                Self::MAX,
            ))),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'b, C> Decode<'b, C> for FileName {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Self::new(d.str()?).map_err(decode::Error::custom)
    }
}

/// The name of a bundle, as Debian writes the name of a package: other package managers accept it too.
pub(crate) fn bundle_name(text: &str) -> Result<PackageName, ManifestError> {
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_name = text.len() > 1
        && text.bytes().next().is_some_and(small)
        && text
            .bytes()
            .all(|byte| small(byte) || b"+-.".contains(&byte));
    let name = PackageName::new(text).ok().filter(|_| is_name);
    name.ok_or_else(|| {
        ManifestError::new(format!(
            "{:?} is no name of a bundle: write lower-case letters and digits, and + - . after the first of them",
            shortened(text)
        ))
    })
}

/// A version that all package managers compare in the same way: it begins with a digit, and has one hyphen at most.
pub(crate) fn bundle_version(text: &str) -> Result<PackageVersion, ManifestError> {
    let plain = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b".+~".contains(&byte))
    };
    let (upstream, revision) = text.split_once('-').unwrap_or((text, "0"));
    let is_version = upstream.starts_with(|first: char| first.is_ascii_digit())
        && plain(upstream)
        && plain(revision);
    let version = PackageVersion::new(text).ok().filter(|_| is_version);
    version.ok_or_else(|| {
        ManifestError::new(format!(
            "{:?} is no version of a bundle: write a digit, then letters, digits and . + ~, and one hyphen at most",
            shortened(text)
        ))
    })
}

/// A refused text may be as long as the manifest.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_plain() {
        let longest = "a".repeat(FileName::MAX);
        for name in ["a", "acme-core_2.3.0~rc1+x_amd64.deb", "1:a.rpm", &longest] {
            assert_eq!(FileName::new(name).unwrap().as_str(), name);
        }
        let longer = "a".repeat(FileName::MAX + 1);
        for name in [
            "", ".", "..", ".a", "a/b", "/a", "../a", "a b", "a\n", "a\0", "ä", MANIFEST, &longer,
        ] {
            assert!(FileName::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_bundle_is_named_like_a_package_of_every_package_manager() {
        for name in ["acme-stack", "a1", "0ad", "lib.a++"] {
            assert_eq!(bundle_name(name).unwrap().as_str(), name);
        }
        let long = "a".repeat(256);
        for name in [
            "", "a", "-a", ".a", "Acme", "a_b", "a/b", "a b", "a*", "ä1", &long,
        ] {
            assert!(bundle_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_version_has_one_reading() {
        for version in ["2", "2.3.0", "2.3.0-1", "2.3~rc1", "2024.12+git1-r0"] {
            assert_eq!(bundle_version(version).unwrap().as_str(), version);
        }
        for version in [
            "", "v2", "-1", "2-", "2-1-1", "1:2", "2_3", "2 3", "2^3", "2/3", "~1",
        ] {
            assert!(bundle_version(version).is_err(), "{version:?}");
        }
    }
}
