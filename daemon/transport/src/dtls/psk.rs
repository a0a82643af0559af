//! A pre-shared key and its identity. Only OpenSSL gets the key.

use std::fmt;

use wharf_secret::Secret;

/// Every implementation supports identities up to this length (RFC 4279 5.3).
const LONGEST_IDENTITY: usize = 128;
/// A shorter key can be guessed from a recorded handshake (RFC 4279 7.2). The suites have a strength of 16 bytes.
const SHORTEST_KEY: usize = 16;
/// Every implementation supports keys up to this length (RFC 4279 5.3).
const LONGEST_KEY: usize = 64;

/// The identity of this gateway and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Psk {
    identity: String,
    key: Secret,
}

/// The reason why an identity or a key is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPsk {
    /// The identity is empty, too long or has a control character.
    #[error("expected an identity of 1 to {LONGEST_IDENTITY} bytes without control characters")]
    Identity,
    /// The key is too short or too long.
    #[error("expected a key of {SHORTEST_KEY} to {LONGEST_KEY} bytes, not of {0}")]
    KeyLength(usize),
}

impl Psk {
    /// An identity, as UTF-8, and its key.
    pub fn new(identity: impl Into<String>, key: Secret) -> Result<Self, BadPsk> {
        let identity = identity.into();
        let fits = (1..=LONGEST_IDENTITY).contains(&identity.len());
        if !fits || identity.chars().any(char::is_control) {
            return Err(BadPsk::Identity);
        }
        match (SHORTEST_KEY..=LONGEST_KEY).contains(&key.expose().len()) {
            true => Ok(Self { identity, key }),
            false => Err(BadPsk::KeyLength(key.expose().len())),
        }
    }

    /// The identity, by which the server finds the key.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key.expose()
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Psk({:?}, …)", self.identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_and_keys_are_bounded() {
        let table = [
            ("gateway-17", 16, Ok(())),
            ("gateway-17", 64, Ok(())),
            ("gateway-17", 15, Err(BadPsk::KeyLength(15))),
            ("gateway-17", 65, Err(BadPsk::KeyLength(65))),
            ("", 16, Err(BadPsk::Identity)),
            ("a\0b", 16, Err(BadPsk::Identity)),
            (&"i".repeat(128), 16, Ok(())),
            (&"i".repeat(129), 16, Err(BadPsk::Identity)),
        ];
        for (identity, length, expected) in table {
            let psk = Psk::new(identity, Secret::new(vec![7; length]));
            assert_eq!(psk.map(drop), expected, "{identity:?}, {length} bytes");
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        let psk = Psk::new("gateway-17", Secret::new(b"0123456789abcdef".to_vec())).unwrap();
        assert_eq!(format!("{psk:?}"), "Psk(\"gateway-17\", …)");
    }
}
