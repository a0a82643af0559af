//! The value of Block1 and Block2 (RFC 7959 2.2).

use super::options::{uint, uint_value};

/// One block of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    number: u32,
    more: bool,
    exponent: u8,
}

/// Longer than three bytes, or of the reserved size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the value of a Block option")]
pub struct BlockError;

impl Block {
    /// Of 1,024 bytes.
    pub const LARGEST_EXPONENT: u8 = 6;
    const LARGEST_NUMBER: u32 = (1 << 20) - 1;

    /// The block at `offset`, cut from a body in blocks of 2^(exponent + 4) bytes.
    pub fn at(offset: usize, more: bool, exponent: u8) -> Option<Self> {
        let number = u32::try_from(offset >> (exponent + 4)).ok()?;
        (number <= Self::LARGEST_NUMBER && exponent <= Self::LARGEST_EXPONENT).then_some(Self {
            number,
            more,
            exponent,
        })
    }

    /// Reads an option's value.
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

    /// The option's value.
    pub fn encode(self) -> Vec<u8> {
        uint_value(self.number << 4 | u32::from(self.more) << 3 | u32::from(self.exponent))
    }

    /// Where it begins.
    pub fn offset(self) -> u64 {
        u64::from(self.number) << (self.exponent + 4)
    }

    /// How long it is, unless it is the last.
    pub fn size(self) -> usize {
        1 << (self.exponent + 4)
    }

    /// The exponent of the size, SZX.
    pub fn exponent(self) -> u8 {
        self.exponent
    }

    /// Whether others follow.
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
            let block = Block::decode(value).unwrap();
            assert_eq!(
                (block.offset(), block.more(), block.size()),
                (offset, more, size)
            );
            assert_eq!(block.encode(), value);
        }
    }

    #[test]
    fn a_block_option_is_refused_when_longer_or_of_the_reserved_size() {
        assert_eq!(Block::decode(&[0, 0, 0, 6]), Err(BlockError));
        assert_eq!(Block::decode(&[0x07]), Err(BlockError));
        assert_eq!(Block::at(1 << 30, false, 6), None);
    }

    proptest! {
        #[test]
        fn a_block_option_survives_its_encoding(
            number in 0_u32..1 << 20,
            more: bool,
            exponent in 0_u8..=6,
        ) {
            let block = Block { number, more, exponent };
            prop_assert_eq!(Block::decode(&block.encode()), Ok(block));
        }
    }
}
