//! A secret in a frame: a byte string.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::Secret;

impl<C> Encode<C> for Secret {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(self.expose())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.bytes().map(|bytes| Self::new(bytes.to_vec()))
    }
}
