//! Object 0, LwM2M Security: which server, and with which keys. No server may see it (TS Core 1.0 E.1).

use lwm2m::{ObjectDefinition, Operations, ResourceDefinition, Type};

/// The resources that an account without keys has.
pub const DEFINITION: ObjectDefinition = ObjectDefinition::new(
    0,
    &[
        ResourceDefinition::new(0, Operations::NONE, Type::String),
        ResourceDefinition::new(1, Operations::NONE, Type::Boolean),
        ResourceDefinition::new(2, Operations::NONE, Type::Integer),
        ResourceDefinition::new(10, Operations::NONE, Type::Integer),
    ],
)
.multiple();
