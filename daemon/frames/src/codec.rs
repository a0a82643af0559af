//! Values to frames and back. A frame that is too long, cut short, or followed by anything is refused.

use minicbor::{Decode, Encode};

/// The longest frame that any of our programs sends or takes.
pub const MAX_FRAME: usize = 128 * 1024;

/// Why a packet is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The packet is longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes: at most {MAX_FRAME} are taken")]
    TooLong(usize),
    /// The packet is not the CBOR of the frame that is due.
    #[error("not a frame: {0}")]
    Malformed(String),
    /// A whole frame, and then more.
    #[error("{0} bytes after the end of a frame")]
    Trailing(usize),
}

/// The bytes of a frame.
pub fn encode<T: Encode<()>>(value: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::with_capacity(256);
    minicbor::encode(value, &mut bytes).map_err(|e| FrameError::Malformed(e.to_string()))?;
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

/// The value of a frame.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, FrameError> {
    if bytes.len() > MAX_FRAME {
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
