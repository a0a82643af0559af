//! Option numbers (RFC 7252 5.10, RFC 7641 2, RFC 7959 2.1, 4) and their unsigned values.

/// The number of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OptionNumber(pub u16);

impl OptionNumber {
    /// Critical; the host of the request.
    pub const URI_HOST: Self = Self(3);
    /// Elective; identifies a representation.
    pub const ETAG: Self = Self(4);
    /// Elective; 0 registers, 1 deregisters; the sequence number of a notification.
    pub const OBSERVE: Self = Self(6);
    /// Critical; the port of the request.
    pub const URI_PORT: Self = Self(7);
    /// Elective; one segment of the location of the created resource.
    pub const LOCATION_PATH: Self = Self(8);
    /// Critical; one segment of the target path.
    pub const URI_PATH: Self = Self(11);
    /// Elective; the format of the payload.
    pub const CONTENT_FORMAT: Self = Self(12);
    /// Critical; one argument of the target.
    pub const URI_QUERY: Self = Self(15);
    /// Critical; the format that the response must have.
    pub const ACCEPT: Self = Self(17);
    /// Critical; the block of the response.
    pub const BLOCK2: Self = Self(23);
    /// Critical; the block of the request.
    pub const BLOCK1: Self = Self(27);
    /// Elective; the total length of the response.
    pub const SIZE2: Self = Self(28);
    /// Critical; requests a proxy.
    pub const PROXY_URI: Self = Self(35);
    /// Critical; requests a proxy.
    pub const PROXY_SCHEME: Self = Self(39);
    /// Elective; the total length of the request, or the largest accepted one.
    pub const SIZE1: Self = Self(60);

    /// Whether an endpoint that does not understand the option must reject the message (RFC 7252
    /// 5.4.1, 5.4.6).
    pub const fn is_critical(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether the option may occur more than once (RFC 7252 5.4.5).
    pub const fn is_repeatable(self) -> bool {
        matches!(
            self,
            Self::ETAG | Self::LOCATION_PATH | Self::URI_PATH | Self::URI_QUERY
        )
    }
}

/// Encodes an unsigned value in as few bytes as possible (RFC 7252 3.2).
pub fn uint_value(number: u32) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// Decodes an unsigned value of at most four bytes. Leading zeros are accepted (RFC 7252 3.2).
pub fn uint(value: &[u8]) -> Option<u32> {
    (value.len() <= 4).then(|| {
        value
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte))
    })
}
