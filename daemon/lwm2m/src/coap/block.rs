//! The value of the Block1 and Block2 options (RFC 7959 2.2).

use super::options::{uint, uint_value};

/// One block of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOption {
    number: u32,
    more: bool,
    exponent: u8,
}

/// A value over three bytes, or with the reserved SZX 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of the Block option is invalid")]
pub struct BlockError;

impl BlockOption {
    /// The exponent of the largest block size, 1,024 bytes.
    pub const LARGEST_EXPONENT: u8 = 6;
    const LARGEST_NUMBER: u32 = (1 << 20) - 1;

    /// The block at `offset` of a body in blocks of 2^(exponent + 4) bytes.
    pub fn at(offset: usize, more: bool, exponent: u8) -> Option<Self> {
        let number = u32::try_from(offset >> (exponent + 4)).ok()?;
        (number <= Self::LARGEST_NUMBER && exponent <= Self::LARGEST_EXPONENT).then_some(Self {
            number,
            more,
            exponent,
        })
    }

    /// Decodes an option value.
    pub fn decode(value: &[u8]) -> Result<Self, BlockError> {
        let bits = uint(value).filter(|_| value.len() <= 3).ok_or(BlockError)?;
        let exponent = (bits & 7) as u8;
        let block = Self {
            number: bits >> 4,
            more: bits & 8 != 0,
            exponent,
        };
        (exponent <= Self::LARGEST_EXPONENT)
            .then_some(block)
            .ok_or(BlockError)
    }

    /// Encodes the option value.
    pub fn encode(self) -> Vec<u8> {
        uint_value(self.number << 4 | u32::from(self.more) << 3 | u32::from(self.exponent))
    }

    /// The position of the block in the body.
    pub fn offset(self) -> u64 {
        u64::from(self.number) << (self.exponent + 4)
    }

    /// The block size. The last block may be shorter.
    pub fn size(self) -> usize {
        1 << (self.exponent + 4)
    }

    /// The size exponent (SZX).
    pub fn exponent(self) -> u8 {
        self.exponent
    }

    /// Whether more blocks follow.
    pub fn more(self) -> bool {
        self.more
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_block_option_has_the_bytes_of_rfc_7959() {
        for (value, offset, more, size) in [
            (&[][..], 0, false, 16),
            (&[0x0e], 0, true, 1024),
            (&[0x16], 1024, false, 1024),
            (&[0x01, 0x0e], 16 * 1024, true, 1024),
            (&[0x01, 0x00, 0x0e], 4096 * 1024, true, 1024),
            (&[0xff, 0xff, 0xf6], ((1 << 20) - 1) * 1024, false, 1024),
        ] {
            let block = BlockOption::decode(value).unwrap();
            assert_eq!(
                (block.offset(), block.more(), block.size()),
                (offset, more, size)
            );
            assert_eq!(block.encode(), value);
        }
    }

    #[test]
    fn a_block_option_that_is_too_long_or_of_the_reserved_size_is_rejected() {
        assert_eq!(BlockOption::decode(&[0, 0, 0, 6]), Err(BlockError));
        assert_eq!(BlockOption::decode(&[0x07]), Err(BlockError));
        assert_eq!(BlockOption::at(1 << 30, false, 6), None);
    }

    proptest! {
        #[test]
        fn a_block_option_survives_its_encoding(
            number in 0_u32..1 << 20,
            more: bool,
            exponent in 0_u8..=6,
        ) {
            let block = BlockOption { number, more, exponent };
            prop_assert_eq!(BlockOption::decode(&block.encode()), Ok(block));
        }
    }
}
