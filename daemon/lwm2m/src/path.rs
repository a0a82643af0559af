//! The path of an object, an instance or a resource.

use core::fmt;

/// The ID of an object.
pub type ObjectId = u16;
/// The ID of an instance of an object.
pub type ObjectInstanceId = u16;
/// The ID of a resource.
pub type ResourceId = u16;

/// The target of an operation. LwM2M 1.0 has no path below a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// `/9`
    Object(ObjectId),
    /// `/9/0`
    Instance(ObjectId, ObjectInstanceId),
    /// `/9/0/7`
    Resource(ObjectId, ObjectInstanceId, ResourceId),
}

impl Path {
    /// The object.
    pub const fn object(self) -> ObjectId {
        match self {
            Self::Object(object) | Self::Instance(object, _) | Self::Resource(object, _, _) => {
                object
            }
        }
    }

    /// The instance, unless the path is an object.
    pub const fn instance(self) -> Option<ObjectInstanceId> {
        match self {
            Self::Object(_) => None,
            Self::Instance(_, instance) | Self::Resource(_, instance, _) => Some(instance),
        }
    }

    /// The resource, unless the path is an object or an instance.
    pub const fn resource(self) -> Option<ResourceId> {
        match self {
            Self::Resource(_, _, resource) => Some(resource),
            _ => None,
        }
    }

    /// Whether `other` is this path or lies below it.
    pub fn contains(self, other: Self) -> bool {
        self.object() == other.object()
            && (self.instance().is_none() || self.instance() == other.instance())
            && (self.resource().is_none() || self.resource() == other.resource())
    }

    /// Parses the Uri-Path segments. `None` if they are not a path of LwM2M 1.0.
    pub(crate) fn from_segments<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut ids = segments.into_iter().map(id);
        let object = ids.next()??;
        let Some(instance) = ids.next() else {
            return Some(Self::Object(object));
        };
        let Some(resource) = ids.next() else {
            return Some(Self::Instance(object, instance?));
        };
        ids.next().is_none().then_some(())?;
        Some(Self::Resource(object, instance?, resource?))
    }
}

/// An ID. 65535 is reserved and is never one (TS Core 1.0 5.1).
fn id(segment: &[u8]) -> Option<u16> {
    let digits = segment.iter().all(u8::is_ascii_digit) && (1..=5).contains(&segment.len());
    let text = core::str::from_utf8(segment).ok().filter(|_| digits)?;
    text.parse().ok().filter(|id| *id != u16::MAX)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.object())?;
        if let Some(instance) = self.instance() {
            write!(f, "/{instance}")?;
        }
        if let Some(resource) = self.resource() {
            write!(f, "/{resource}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_to_three_numbers() {
        for (segments, expected) in [
            (&["9"][..], Some(Path::Object(9))),
            (&["9", "0"], Some(Path::Instance(9, 0))),
            (&["9", "0", "7"], Some(Path::Resource(9, 0, 7))),
            (&[], None),
            (&["9", "0", "7", "1"], None),
            (&[""], None),
            (&["9", ""], None),
            (&["+9"], None),
            (&["rd"], None),
            (&["65535"], None),
            (&["65536"], None),
            (&["999999999999"], None),
        ] {
            let path = Path::from_segments(segments.iter().map(|segment| segment.as_bytes()));
            assert_eq!(path, expected, "{segments:?}");
        }
    }

    #[test]
    fn a_path_contains_what_lies_below_it() {
        let state = Path::Resource(9, 0, 7);
        assert!(Path::Object(9).contains(state) && Path::Instance(9, 0).contains(state));
        assert!(state.contains(state) && !state.contains(Path::Instance(9, 0)));
        assert!(!Path::Instance(9, 1).contains(state) && !Path::Object(3).contains(state));
    }
}
