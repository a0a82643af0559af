//! Encodes and decodes frames. A frame that is too long, truncated or followed by more bytes is rejected.

use minicbor::{Decode, Encode};

/// The longest frame.
pub const MAX_FRAME: usize = 128 * 1024;

/// The longest record that a program keeps in a file of its own. It may hold what many frames told.
pub const MAX_RECORD: usize = 1024 * 1024;

/// The reason why a packet is not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The packet is longer than [`MAX_FRAME`], or the record than [`MAX_RECORD`].
    #[error(
        "{0} bytes are too long: at most {MAX_FRAME} of a frame and {MAX_RECORD} of a record are allowed"
    )]
    TooLong(usize),
    /// The packet is not the CBOR of the expected frame.
    #[error("not a frame: {0}")]
    Malformed(String),
    /// More bytes follow the frame.
    #[error("{0} bytes after the end of a frame")]
    Trailing(usize),
}

/// The first buffer for a frame. The longest [request to wharf-fetch](crate::fetch::FetchRequest) fits, so that no buffer
/// grows and leaves a part of a password in freed memory.
pub(crate) const ROOM: usize = 4096;

/// Encodes a frame. The caller wipes one with a secret.
pub fn encode<T: Encode<()>>(value: &T) -> Result<Vec<u8>, FrameError> {
    encode_within(value, MAX_FRAME)
}

/// Encodes a record for a file.
pub fn encode_record<T: Encode<()>>(value: &T) -> Result<Vec<u8>, FrameError> {
    encode_within(value, MAX_RECORD)
}

fn encode_within<T: Encode<()>>(value: &T, most: usize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::with_capacity(ROOM);
    minicbor::encode(value, &mut bytes).map_err(|e| FrameError::Malformed(e.to_string()))?;
    if bytes.len() > most {
        return Err(FrameError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

/// Decodes a frame.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, FrameError> {
    decode_within(bytes, MAX_FRAME)
}

/// Decodes a record of a file.
pub fn decode_record<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, FrameError> {
    decode_within(bytes, MAX_RECORD)
}

fn decode_within<'b, T: Decode<'b, ()>>(bytes: &'b [u8], most: usize) -> Result<T, FrameError> {
    if bytes.len() > most {
        return Err(FrameError::TooLong(bytes.len()));
    }
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder
        .decode()
        .map_err(|e| FrameError::Malformed(e.to_string()))?;
    match bytes.len() - decoder.position() {
        0 => Ok(value),
        more => Err(FrameError::Trailing(more)),
    }
}
