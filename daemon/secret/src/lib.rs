//! The one type for passwords, keys and URIs with tokens: `Debug` shows nothing, and drop wipes the bytes.
//!
//! docs/threats.md lists the copies that libraries make outside this type.

#![forbid(unsafe_code)]

#[cfg(feature = "minicbor")]
mod cbor;

use std::{
    fmt,
    io::{self, Read},
};

use zeroize::Zeroizing;

/// Bytes that are or may contain a secret. Only [`Secret::expose`] returns them, which is easy to search for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes, without a copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads to the end, or at most this many bytes.
    pub fn read(source: impl Read, most: usize) -> io::Result<Self> {
        // A growing buffer would leave copies in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(most));
        source.take(most as u64).read_to_end(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
