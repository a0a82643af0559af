//! Object 0, LwM2M Security: the server and its keys. No server may read it (TS Core 1.0 E.1).

use lwm2m::{ObjectDefinition, Operations, ResourceDefinition, Type};

/// LwM2M Server URI, Bootstrap-Server, Security Mode (0 with a pre-shared key, 3 without), Public Key or Identity,
/// Secret Key, Short Server ID. None can be read or written by a server.
pub const DEFINITION: ObjectDefinition = ObjectDefinition::new(
    0,
    &[
        ResourceDefinition::new(0, Operations::NONE, Type::String),
        ResourceDefinition::new(1, Operations::NONE, Type::Boolean),
        ResourceDefinition::new(2, Operations::NONE, Type::Integer),
        ResourceDefinition::new(3, Operations::NONE, Type::Opaque),
        ResourceDefinition::new(5, Operations::NONE, Type::Opaque),
        ResourceDefinition::new(10, Operations::NONE, Type::Integer),
    ],
)
.multiple();
