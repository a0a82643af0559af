//! Options by number (RFC 7252 5.10, 7641 2, 7959 2.1), and their unsigned values.

/// The number of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OptionNumber(pub u16);

impl OptionNumber {
    /// Elective; which host was asked.
    pub const URI_HOST: Self = Self(3);
    /// Elective; names a representation.
    pub const ETAG: Self = Self(4);
    /// Elective; 0 registers, 1 deregisters; in a notification its number.
    pub const OBSERVE: Self = Self(6);
    /// Critical; which port was asked.
    pub const URI_PORT: Self = Self(7);
    /// Elective; one segment of what was created.
    pub const LOCATION_PATH: Self = Self(8);
    /// Critical; one segment of the target.
    pub const URI_PATH: Self = Self(11);
    /// Elective; the payload's format.
    pub const CONTENT_FORMAT: Self = Self(12);
    /// Critical; one argument of the target.
    pub const URI_QUERY: Self = Self(15);
    /// Critical; the format wanted.
    pub const ACCEPT: Self = Self(17);
    /// Critical; which block of the response.
    pub const BLOCK2: Self = Self(23);
    /// Critical; which block of the request.
    pub const BLOCK1: Self = Self(27);
    /// Elective; the response's whole length.
    pub const SIZE2: Self = Self(28);
    /// Critical; a proxy is asked for.
    pub const PROXY_URI: Self = Self(35);
    /// Critical; a proxy is asked for.
    pub const PROXY_SCHEME: Self = Self(39);
    /// Elective; the request's whole length, or the largest that is accepted.
    pub const SIZE1: Self = Self(60);

    /// Whether who does not understand it must refuse the message (RFC 7252 5.4.6).
    pub const fn is_critical(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether it may occur more than once (RFC 7252 5.4.5).
    pub const fn is_repeatable(self) -> bool {
        matches!(
            self,
            Self::ETAG | Self::LOCATION_PATH | Self::URI_PATH | Self::URI_QUERY
        )
    }
}

/// An option's unsigned value: no byte more than it needs (RFC 7252 3.2).
pub fn uint_value(number: u32) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// Reads an unsigned value of at most four bytes; leading zeros are tolerated.
pub fn uint(value: &[u8]) -> Option<u32> {
    (value.len() <= 4).then(|| {
        value
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte))
    })
}
