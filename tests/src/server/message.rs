//! CoAP messages, where coap-lite has no function for them.

use std::fmt::{self, Debug, Display, Formatter};

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

/// Content-Formats (LwM2M Core 1.0, 6.4).
pub mod format {
    /// text/plain
    pub const TEXT: u16 = 0;
    /// application/link-format
    pub const LINKS: u16 = 40;
    /// application/octet-stream
    pub const OPAQUE: u16 = 42;
    /// application/vnd.oma.lwm2m+tlv
    pub const TLV: u16 = 11542;
}

/// A response code; shown and compared as text: `2.04`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ResponseCode(u8);

impl Display for ResponseCode {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:02}", self.0 >> 5, self.0 & 0x1f)
    }
}

impl Debug for ResponseCode {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, out)
    }
}

impl PartialEq<&str> for ResponseCode {
    fn eq(&self, other: &&str) -> bool {
        let written = self.to_string();
        written == *other
    }
}

/// The response of a client, joined from its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its code.
    pub code: ResponseCode,
    /// The format of the payload.
    pub format: Option<u16>,
    /// The number of a notification (RFC 7641).
    pub observe: Option<u32>,
    /// The payload.
    pub payload: Vec<u8>,
    pub(super) block1: Option<Block>,
    pub(super) block2: Option<Block>,
}

impl Response {
    pub(super) fn of(message: &Packet) -> Self {
        Self {
            code: ResponseCode(message.header.code.into()),
            format: number(message, CoapOption::ContentFormat).map(|format| format as u16),
            observe: number(message, CoapOption::Observe),
            block1: number(message, CoapOption::Block1).map(Block::of),
            block2: number(message, CoapOption::Block2).map(Block::of),
            payload: message.payload.clone(),
        }
    }

    /// Returns the response, which must have this code.
    ///
    /// # Panics
    ///
    /// If it has another code.
    #[track_caller]
    pub fn expect(self, code: &str) -> Self {
        assert_eq!(self.code, code, "{code} was expected, came {self:?}");
        self
    }

    /// The payload as text.
    ///
    /// # Panics
    ///
    /// If it is not 2.05 with text.
    #[track_caller]
    pub fn text(&self) -> String {
        assert_eq!(self.code, "2.05", "a value was expected, came {self:?}");
        String::from_utf8(self.payload.clone())
            .unwrap_or_else(|_| panic!("text was expected, came {self:?}"))
    }
}

/// The value of a Block option (RFC 7959 2.2). coap-lite's type is limited to 65,535 blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) number: u32,
    pub(super) more: bool,
    pub(super) size: usize,
}

impl Block {
    fn of(value: u32) -> Self {
        Self {
            number: value >> 4,
            more: value & 8 != 0,
            size: 16 << (value & 7),
        }
    }

    pub(super) fn value(self) -> u32 {
        let exponent = self.size.trailing_zeros() - 4;
        self.number << 4 | u32::from(self.more) << 3 | exponent
    }
}

/// The value of an option that holds an unsigned integer.
pub(super) fn number(message: &Packet, option: CoapOption) -> Option<u32> {
    let bytes = message.get_first_option(option)?;
    Some(
        bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u32::from(*byte)),
    )
}

/// Adds an option with an unsigned integer in the shortest form (RFC 7252 3.2).
pub(super) fn add_number(message: &mut Packet, option: CoapOption, value: u32) {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    message.add_option(option, bytes[zeros..].to_vec());
}

/// The text of each option of this kind.
pub(super) fn texts(message: &Packet, option: CoapOption) -> Vec<String> {
    let values = message.get_option(option).into_iter().flatten();
    values
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

/// `/9/0/7?pmin=10` as Uri-Path and Uri-Query options.
pub(super) fn set_path(message: &mut Packet, path: &str) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    for (option, parts) in [
        (CoapOption::UriPath, path.split('/')),
        (CoapOption::UriQuery, query.split('&')),
    ] {
        for part in parts.filter(|part| !part.is_empty()) {
            message.add_option(option, part.as_bytes().to_vec());
        }
    }
}

/// An empty message that answers the message `id`: ACK or RST.
pub(super) fn empty(kind: MessageType, id: u16) -> Vec<u8> {
    let mut message = Packet::new();
    message.header.set_type(kind);
    message.header.code = MessageClass::Empty;
    message.header.message_id = id;
    bytes(&message)
}

pub(super) fn bytes(message: &Packet) -> Vec<u8> {
    message
        .to_bytes_with_limit(64 * 1024)
        .expect("a message that fits a datagram")
}
