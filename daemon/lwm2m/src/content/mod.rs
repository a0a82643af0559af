//! Values to and from representations: which format, and what the model says about each value.

mod binary;
mod decode;
mod encode;

pub(crate) use decode::{created, instance_write, resource_write};
pub(crate) use encode::encode;

use crate::{ErrorCode, Path, ResourceDefinition, Type};

/// The formats of LwM2M 1.0 that the engine speaks, by their CoAP number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// text/plain
    Text = 0,
    /// application/link-format
    Link = 40,
    /// application/octet-stream
    Opaque = 42,
    /// application/vnd.oma.lwm2m+tlv
    Tlv = 11542,
}

impl Format {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Text, Self::Link, Self::Opaque, Self::Tlv]
            .into_iter()
            .find(|format| *format as u32 == number)
    }

    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    /// The format of a Read's answer (TS Core 1.0 6.4): what the server accepts, else the simplest
    /// there is.
    pub(crate) fn for_read(
        accept: Option<u32>,
        path: Path,
        resource: Option<&ResourceDefinition>,
    ) -> Result<Self, ErrorCode> {
        let single = resource.filter(|resource| !resource.multiple && path.resource().is_some());
        let simplest = match single.map(|resource| resource.kind) {
            None => Self::Tlv,
            Some(Type::Opaque) => Self::Opaque,
            Some(_) => Self::Text,
        };
        let Some(number) = accept else {
            return Ok(simplest);
        };
        let format = Self::from_number(number).ok_or(ErrorCode::NotAcceptable)?;
        let suits = match format {
            Self::Tlv => true,
            Self::Text => single.is_some(),
            Self::Opaque => simplest == Self::Opaque,
            Self::Link => false,
        };
        suits.then_some(format).ok_or(ErrorCode::NotAcceptable)
    }
}
