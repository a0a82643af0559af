//! Names and versions of packages as they travel: bounded and printable. Whether a name fits the
//! grammar of a package manager is for its backend to say.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, decode};

/// The longest name or version: resources 0 and 1 hold 0..255 bytes (TS table 6.-2).
pub const MAX_NAME: usize = 255;

/// The text is empty, too long, or holds something else than printable ASCII.
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
            /// The text, if it can be one.
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
    /// The name of a package, as its package manager knows it.
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
