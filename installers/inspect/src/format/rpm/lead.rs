//! The lead: the first 96 bytes of an .rpm (docs/manual/format_lead.md of rpm). No signature covers it, and rpm reads little
//! but its magic bytes. It is not trusted: it can only cause a refusal.

/// The length of the lead.
pub(super) const LEAD: u64 = 96;

const MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];

/// The version of the lead is 3 in packages of version 4, and 4 in those of version 6.
const VERSIONS: [[u8; 2]; 2] = [[3, 0], [4, 0]];

const BINARY: [u8; 2] = [0, 0];
const SOURCE: [u8; 2] = [0, 1];

/// A signature header follows.
const HEADER_SIGNATURE: [u8; 2] = [0, 5];

/// A lead that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LeadError {
    /// The file begins with other bytes.
    #[error("it does not begin as an .rpm")]
    Magic,
    /// The version of the lead is unknown.
    #[error("its lead has version {0}.{1}; versions 3.0 and 4.0 are known")]
    Version(u8, u8),
    /// The lead of a source package.
    #[error("it is a source package")]
    Source,
    /// Neither a binary nor a source package.
    #[error("its lead is of an unknown type")]
    Type,
    /// No signature header follows.
    #[error("its lead announces no signature header")]
    NoSignatureHeader,
}

/// Checks the lead of a binary package.
pub(super) fn check(lead: &[u8]) -> Result<(), LeadError> {
    let field = |at| match lead.get(at..at + 2) {
        Some(&[high, low]) => [high, low],
        _ => [u8::MAX; 2],
    };
    if !lead.starts_with(&MAGIC) || lead.len() != LEAD as usize {
        return Err(LeadError::Magic);
    }
    let version = field(4);
    if !VERSIONS.contains(&version) {
        let [major, minor] = version;
        return Err(LeadError::Version(major, minor));
    }
    match field(6) {
        BINARY => {}
        SOURCE => return Err(LeadError::Source),
        _ => return Err(LeadError::Type),
    }
    match field(78) {
        HEADER_SIGNATURE => Ok(()),
        _ => Err(LeadError::NoSignatureHeader),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> [u8; 96] {
        let mut lead = [0; 96];
        lead[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
        lead[9] = 1;
        lead[10..15].copy_from_slice(b"hello");
        lead[77] = 1;
        lead[79] = 5;
        lead
    }

    #[test]
    fn the_lead_of_a_binary_package_of_version_4_or_6_is_taken() {
        let mut lead = sound();
        assert_eq!(check(&lead), Ok(()));
        lead[4] = 4;
        assert_eq!(check(&lead), Ok(()));
    }

    #[test]
    fn any_other_lead_is_refused() {
        for (position, byte, expected) in [
            (0, 0xee, LeadError::Magic),
            (3, 0xdc, LeadError::Magic),
            (4, 2, LeadError::Version(2, 0)),
            (4, 6, LeadError::Version(6, 0)),
            (5, 1, LeadError::Version(3, 1)),
            (7, 1, LeadError::Source),
            (7, 2, LeadError::Type),
            (6, 1, LeadError::Type),
            (79, 1, LeadError::NoSignatureHeader),
            (78, 1, LeadError::NoSignatureHeader),
        ] {
            let mut lead = sound();
            lead[position] = byte;
            assert_eq!(check(&lead), Err(expected), "{byte} at {position}");
        }
        for length in [0, 4, 5, 95] {
            assert_eq!(check(&sound()[..length]), Err(LeadError::Magic));
        }
    }
}
