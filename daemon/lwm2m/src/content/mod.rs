//! Encodes and decodes values in the data formats of LwM2M 1.0 (TS Core 1.0 6.4).

mod binary;
mod decode;
mod encode;

pub(crate) use decode::{created, instance_write, resource_write};
pub(crate) use encode::encode;

use crate::{ErrorCode, Path, ResourceDefinition, Type};

/// The supported formats of LwM2M 1.0, by their CoAP number. Some servers, such as FIWARE's, use the
/// draft numbers for text and TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentFormat {
    /// text/plain
    Text = 0,
    /// application/link-format
    Link = 40,
    /// application/octet-stream
    Opaque = 42,
    /// Text in the drafts of LwM2M 1.0
    OldText = 1541,
    /// TLV in the drafts of LwM2M 1.0
    OldTlv = 1542,
    /// application/vnd.oma.lwm2m+tlv
    Tlv = 11542,
}

impl ContentFormat {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [
            Self::Text,
            Self::Link,
            Self::Opaque,
            Self::OldText,
            Self::OldTlv,
            Self::Tlv,
        ]
        .into_iter()
        .find(|format| format.number() == number)
    }

    /// The format of a request body. A draft number stands for the final format.
    pub(crate) fn of_body(number: u32) -> Option<Self> {
        Self::from_number(number).map(Self::meaning)
    }

    /// The final format, also for a draft number.
    pub(crate) fn meaning(self) -> Self {
        match self {
            Self::OldText => Self::Text,
            Self::OldTlv => Self::Tlv,
            format => format,
        }
    }

    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    /// The format of the response to a Read (TS Core 1.0 6.4): the one of the Accept option (RFC 7252
    /// 5.10.4), or else the simplest one that fits.
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
        let suits = match format.meaning() {
            Self::Text => single.is_some(),
            Self::Opaque => simplest == Self::Opaque,
            meaning => meaning == Self::Tlv,
        };
        suits.then_some(format).ok_or(ErrorCode::NotAcceptable)
    }
}
