//! One CoAP message. Only this file uses the CoAP library, and it makes up for these defects of
//! version 0.13:
//!
//! - It accepts other versions than 1, an Empty message with content, and a payload marker without
//!   a payload. It encodes a token over eight bytes wrongly.
//! - It reads extended option deltas and lengths in the wrong byte order on big-endian machines.
//!
//! Its decoding of Block options is not used.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

use zeroize::Zeroize;

use super::{
    code::Code,
    options::{OptionNumber, uint, uint_value},
};

/// The type of a message (RFC 7252 4.2, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoapType {
    /// CON
    Confirmable,
    /// NON
    NonConfirmable,
    /// ACK
    Acknowledgement,
    /// RST
    Reset,
}

/// A datagram that is not a CoAP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A message of another version, or a malformed one that is not confirmable. It is silently
    /// ignored (RFC 7252 3, 4.3).
    #[error("the datagram is not a CoAP message")]
    Ignored,
    /// A malformed confirmable message with this Message ID. It needs a Reset (RFC 7252 4.2).
    #[error("the confirmable message with Message ID {0} is malformed")]
    Rejected(u16),
}

/// A message.
#[derive(Clone, PartialEq)]
pub struct Message(Packet);

const LONGEST_TOKEN: usize = 8;

impl Message {
    /// A message without options and payload. A token is cut to eight bytes.
    pub fn new(kind: CoapType, code: Code, id: u16, token: &[u8]) -> Self {
        let mut packet = Packet::new();
        packet.header.set_version(1);
        packet.header.code = MessageClass::from(code.0);
        Self(packet).addressed(kind, id, token)
    }

    /// A response. Call [`addressed`](Self::addressed) before it is sent.
    pub fn response(code: Code) -> Self {
        Self::new(CoapType::Acknowledgement, code, 0, &[])
    }

    /// The same with another type, Message ID and token.
    #[must_use]
    pub fn addressed(mut self, kind: CoapType, id: u16, token: &[u8]) -> Self {
        self.0.header.set_type(match kind {
            CoapType::Confirmable => MessageType::Confirmable,
            CoapType::NonConfirmable => MessageType::NonConfirmable,
            CoapType::Acknowledgement => MessageType::Acknowledgement,
            CoapType::Reset => MessageType::Reset,
        });
        self.0.header.message_id = id;
        self.0
            .set_token(token.iter().copied().take(LONGEST_TOKEN).collect());
        self
    }

    /// An Empty message, which acknowledges or rejects the message with this Message ID.
    pub fn empty(kind: CoapType, id: u16) -> Self {
        Self::new(kind, Code::EMPTY, id, &[])
    }

    /// Decodes a datagram.
    pub fn decode(datagram: &[u8]) -> Result<Self, Malformed> {
        let [first, code, high, low, ..] = *datagram else {
            return Err(Malformed::Ignored);
        };
        if first >> 6 != 1 {
            return Err(Malformed::Ignored);
        }
        let malformed = match first >> 4 & 3 {
            0 => Malformed::Rejected(u16::from_be_bytes([high, low])),
            _ => Malformed::Ignored,
        };
        if code == 0 && datagram.len() != 4 {
            return Err(malformed);
        }
        let packet = Packet::from_bytes(datagram).map_err(|_| malformed)?;
        // Wrapped first, so that a payload is wiped in each case.
        let message = Self(packet);
        if encoded_length(&message.0) != datagram.len() {
            return Err(malformed);
        }
        Ok(message)
    }

    /// Encodes the datagram.
    pub fn encode(&self) -> Vec<u8> {
        // The library fails only on a size limit, and here there is none.
        self.0.to_bytes_unlimited().unwrap_or_default()
    }

    /// The type.
    pub fn kind(&self) -> CoapType {
        match self.0.header.get_type() {
            MessageType::Confirmable => CoapType::Confirmable,
            MessageType::NonConfirmable => CoapType::NonConfirmable,
            MessageType::Acknowledgement => CoapType::Acknowledgement,
            MessageType::Reset => CoapType::Reset,
        }
    }

    /// The method or the response code.
    pub fn code(&self) -> Code {
        Code(u8::from(self.0.header.code))
    }

    /// The Message ID.
    pub fn id(&self) -> u16 {
        self.0.header.message_id
    }

    /// The token.
    pub fn token(&self) -> &[u8] {
        self.0.get_token()
    }

    /// The payload; empty if there is none.
    pub fn payload(&self) -> &[u8] {
        &self.0.payload
    }

    /// The values of an option, in order.
    pub fn options(&self, number: OptionNumber) -> impl Iterator<Item = &[u8]> {
        self.0
            .get_option(CoapOption::from(number.0))
            .into_iter()
            .flatten()
            .map(Vec::as_slice)
    }

    /// The first value of an option.
    pub fn option(&self, number: OptionNumber) -> Option<&[u8]> {
        self.options(number).next()
    }

    /// The first value of an option as a number. `None` if the value is not one.
    pub fn uint(&self, number: OptionNumber) -> Option<u32> {
        uint(self.option(number)?)
    }

    /// Each present option with the count of its values.
    pub fn option_numbers(&self) -> impl Iterator<Item = (OptionNumber, usize)> {
        self.0
            .options()
            .map(|(number, values)| (OptionNumber(*number), values.len()))
    }

    /// Adds an option.
    #[must_use]
    pub fn with(mut self, number: OptionNumber, value: impl Into<Vec<u8>>) -> Self {
        self.0.add_option(CoapOption::from(number.0), value.into());
        self
    }

    /// Adds an option with a number as its value.
    #[must_use]
    pub fn with_uint(self, number: OptionNumber, value: u32) -> Self {
        self.with(number, uint_value(value))
    }

    /// Removes an option.
    #[must_use]
    pub fn without(mut self, number: OptionNumber) -> Self {
        self.0.clear_option(CoapOption::from(number.0));
        self
    }

    /// Replaces the payload.
    #[must_use]
    pub fn with_payload(mut self, payload: Vec<u8>) -> Self {
        self.0.payload = payload;
        self
    }
}

/// A payload may contain a secret, so that it is wiped when dropped.
impl Drop for Message {
    fn drop(&mut self) {
        self.0.payload.zeroize();
    }
}

/// The length of the packet when encoded. Options have only one encoding, so that another length
/// shows a payload marker without a payload, or a misread option number.
fn encoded_length(packet: &Packet) -> usize {
    let mut length = 4 + packet.get_token().len();
    let mut previous = 0;
    for (number, values) in packet.options() {
        for value in values {
            let delta = usize::from(*number - previous);
            length += 1 + extension(delta) + extension(value.len()) + value.len();
            previous = *number;
        }
    }
    let payload = packet.payload.len();
    length + payload + usize::from(payload > 0)
}

fn extension(number: usize) -> usize {
    match number {
        0..13 => 0,
        13..269 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// RFC 7252 Appendix A, figures 16 and 19.
    #[test]
    fn messages_have_the_bytes_of_rfc_7252_appendix_a() {
        let request = Message::new(CoapType::Confirmable, Code::GET, 0x7d34, &[])
            .with(OptionNumber::URI_PATH, "temperature");
        assert_eq!(request.encode(), b"\x40\x01\x7d\x34\xbbtemperature");
        let request = Message::new(CoapType::Confirmable, Code::GET, 0x7d35, &[0x20])
            .with(OptionNumber::URI_PATH, "temperature");
        assert_eq!(request.encode(), b"\x41\x01\x7d\x35\x20\xbbtemperature");
        let response = Message::new(CoapType::Acknowledgement, Code::CONTENT, 0x7d35, &[0x20])
            .with_payload(b"22.3 C".to_vec());
        assert_eq!(response.encode(), b"\x61\x45\x7d\x35\x20\xff22.3 C");
        assert!(Message::decode(b"\x61\x45\x7d\x35\x20\xff22.3 C") == Ok(response));
    }

    #[test]
    fn a_datagram_that_breaks_the_format_is_rejected_or_ignored() {
        let rejected = Err(Malformed::Rejected(0x0102));
        for (bytes, expected, why) in [
            (&b""[..], Err(Malformed::Ignored), "nothing"),
            (b"\x40\x01\x01", Err(Malformed::Ignored), "too short"),
            (b"\x80\x01\x01\x02", Err(Malformed::Ignored), "version 2"),
            (b"\x00\x01\x01\x02", Err(Malformed::Ignored), "version 0"),
            (
                b"\x50\x01\x01\x02\xff",
                Err(Malformed::Ignored),
                "NON, marker without payload",
            ),
            (b"\x40\x01\x01\x02\xff", rejected, "marker without payload"),
            (
                b"\x49\x01\x01\x02aaaaaaaaa",
                rejected,
                "token of nine bytes",
            ),
            (b"\x44\x01\x01\x02aa", rejected, "token cut short"),
            (b"\x41\x00\x01\x02a", rejected, "Empty with a token"),
            (b"\x40\x00\x01\x02\xffa", rejected, "Empty with a payload"),
            (b"\x40\x01\x01\x02\xf0", rejected, "option delta 15"),
            (b"\x40\x01\x01\x02\x0f", rejected, "option length 15"),
            (b"\x40\x01\x01\x02\xb5rd", rejected, "option cut short"),
            (
                b"\x40\x01\x01\x02\xe0\xff\xff",
                rejected,
                "option number over 65535",
            ),
        ] {
            assert_eq!(Message::decode(bytes).map(|_| ()), expected, "{why}");
        }
        assert!(Message::decode(b"\x40\x00\x01\x02").is_ok(), "ping");
        assert!(
            Message::decode(b"\x40\x01\x01\x02\xb1\xff").is_ok(),
            "an option that ends with 0xff"
        );
    }

    proptest! {
        #[test]
        fn a_message_survives_its_encoding(
            kind in prop::sample::select(vec![
                CoapType::Confirmable, CoapType::NonConfirmable, CoapType::Acknowledgement, CoapType::Reset]),
            code in 1_u8..,
            id: u16,
            token in vec(any::<u8>(), 0..=8),
            options in vec((any::<u16>(), vec(any::<u8>(), 0..400)), 0..6),
            payload in vec(any::<u8>(), 0..1100),
        ) {
            let mut message = Message::new(kind, Code(code), id, &token).with_payload(payload);
            for (number, value) in options {
                message = message.with(OptionNumber(number), value);
            }
            let decoded = Message::decode(&message.encode());
            prop_assert!(decoded == Ok(message));
        }

        #[test]
        fn no_datagram_makes_the_decoder_panic(datagram in vec(any::<u8>(), 0..64)) {
            if let Ok(message) = Message::decode(&datagram) {
                prop_assert_eq!(message.encode(), datagram);
            }
        }
    }
}
