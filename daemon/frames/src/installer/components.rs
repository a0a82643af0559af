//! The packages in a bundle: as its file names them, and as the device has them.

use minicbor::{Decode, Decoder, Encode, decode::Error};

use super::Found;
use crate::{PackageName, PackageVersion, Text};

/// The largest number of packages in a bundle.
pub const MAX_COMPONENTS: usize = 64;

/// A package in the file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Component {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its full version.
    #[n(1)]
    pub version: PackageVersion,
}

/// A package of a bundle on the device. It has no components of its own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FoundComponent {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its full version.
    #[n(1)]
    pub version: PackageVersion,
    /// As in [`Found::active`].
    #[n(2)]
    pub active: bool,
    /// As in [`Found::damage`].
    #[n(3)]
    pub damage: Option<Text>,
    /// As in [`Found::no_services`].
    #[n(4)]
    #[cbor(default)]
    pub no_services: bool,
}

impl From<Found> for FoundComponent {
    fn from(found: Found) -> Self {
        let Found {
            name,
            version,
            active,
            damage,
            no_services,
            ..
        } = found;
        Self {
            name,
            version,
            active,
            damage,
            no_services,
        }
    }
}

/// At most [`MAX_COMPONENTS`] values.
pub(super) fn bounded<'b, Ctx, T: Decode<'b, Ctx>>(
    decoder: &mut Decoder<'b>,
    context: &mut Ctx,
) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    for value in decoder.array_iter_with(context)? {
        if values.len() == MAX_COMPONENTS {
            return Err(Error::message("too many components"));
        }
        values.push(value?);
    }
    Ok(values)
}
