//! Names and versions of packages: bounded and printable. The package manager checks the grammar of its package
//! manager.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, decode};

/// The longest name or version, as in resources 0 and 1 (TS table 6.-2).
pub const MAX_NAME: usize = 255;

/// The text is empty or too long, or has characters other than printable ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name or version is 1 to {MAX_NAME} printable ASCII characters without a space")]
pub struct NotAName;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
        #[cbor(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks the text.
            pub fn new(text: &str) -> Result<Self, NotAName> {
                check(text).map(|text| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                Self::new(d.str()?).map_err(decode::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a package in its package manager.
    PackageName
}

name! {
    /// The package manager's full version: `[epoch:]version-release`.
    PackageVersion
}

fn check(text: &str) -> Result<&str, NotAName> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && (1..=MAX_NAME).contains(&text.len()) {
        Ok(text)
    } else {
        Err(NotAName)
    }
}
