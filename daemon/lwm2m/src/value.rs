//! Typed values of resources (TS Core 1.0 Appendix C).

use crate::{ObjectId, ObjectInstanceId, Secret};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// UTF-8 text.
    String(String),
    /// A signed number of 8 to 64 bits.
    Integer(i64),
    /// A number of 32 or 64 bits.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Bytes.
    Opaque(Vec<u8>),
    /// Seconds since 1970.
    Time(i64),
    /// A link to an object instance; 65535:65535 is the null link.
    Objlnk(ObjectId, ObjectInstanceId),
    /// A value of a String or Opaque resource that the model marks secret.
    Secret(Secret),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

/// The value of a resource: one value, or resource instances if the resource is multiple.
#[derive(Clone, Debug, PartialEq)]
pub enum ResourceValue {
    /// The value of a single resource.
    Single(Value),
    /// The resource instances of a multiple resource, each with its ID.
    Multiple(Vec<(u16, Value)>),
}

impl<V: Into<Value>> From<V> for ResourceValue {
    fn from(value: V) -> Self {
        Self::Single(value.into())
    }
}
