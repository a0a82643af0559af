//! Object 1, LwM2M Server: the account under which this gateway registers (TS Core 1.0 E.2).

use lwm2m::{
    ErrorCode, ObjectDefinition, Operations, ResourceDefinition, ResourceValue, Resources, Type,
    Value,
};
use wharf_software::ShortId;

/// Lifetime.
const LIFETIME: u16 = 1;

/// Registration Update Trigger.
pub const UPDATE_TRIGGER: u16 = 8;

/// The resources of the object.
pub const DEFINITION: ObjectDefinition = ObjectDefinition::new(
    1,
    &[
        ResourceDefinition::new(0, Operations::READ, Type::Integer).mandatory(),
        ResourceDefinition::new(LIFETIME, Operations::READ_WRITE, Type::Integer).mandatory(),
        ResourceDefinition::new(6, Operations::READ, Type::Boolean).mandatory(),
        ResourceDefinition::new(7, Operations::READ, Type::String).mandatory(),
        ResourceDefinition::new(UPDATE_TRIGGER, Operations::EXECUTE, Type::None).mandatory(),
    ],
);

/// The account of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    id: ShortId,
    lifetime: u32,
}

impl Account {
    /// An account with this lifetime, in seconds.
    pub const fn new(id: ShortId, lifetime: u32) -> Self {
        Self { id, lifetime }
    }

    /// The registration's lifetime, in seconds.
    pub const fn lifetime(&self) -> u32 {
        self.lifetime
    }

    /// The values of the readable resources.
    pub fn resources(&self) -> Resources {
        vec![
            (0, i64::from(self.id.0).into()),
            (LIFETIME, i64::from(self.lifetime).into()),
            (6, true.into()), // notifications are stored while the server is offline
            (7, "U".into()),
        ]
    }

    /// The account after a Write. Only the lifetime is writable.
    pub fn write(&self, values: &Resources) -> Result<Self, ErrorCode> {
        let mut written = self.clone();
        for (id, value) in values {
            match (id, value) {
                (&LIFETIME, ResourceValue::Single(Value::Integer(seconds @ 20..=2_592_000))) => {
                    written.lifetime =
                        u32::try_from(*seconds).map_err(|_| ErrorCode::BadRequest)?;
                }
                (&LIFETIME, _) => return Err(ErrorCode::BadRequest),
                _ => return Err(ErrorCode::MethodNotAllowed),
            }
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_written_within_its_bounds() {
        let account = Account::new(ShortId(1), 86_400);
        let write = |seconds: i64| account.write(&vec![(LIFETIME, seconds.into())]);
        assert_eq!(write(300).map(|account| account.lifetime()), Ok(300));
        for seconds in [-1, 0, 19, 2_592_001, i64::MAX] {
            assert_eq!(write(seconds), Err(ErrorCode::BadRequest), "{seconds}");
        }
    }
}
