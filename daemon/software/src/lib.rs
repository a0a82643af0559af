//! The two state machines of OMA LwM2M Software Management 1.0.2 (cited as TS) as one pure function: ([`Instance`],
//! [`Event`]) to ([`Transition`]) or a [`Refusal`]. This crate has no clock, file, socket or random number.
//!
//! - [`instance`]: an instance of Object 9 with its states as types; [`record`]: its flat form for a database.
//! - [`event`] in, [`effect`] out, [`machine`] between them, [`mod@create`] before the first one.
//! - [`update`], [`causes`], [`reason`]: Update State, Update Result, Status Reason; [`public`]: the text in place of
//!   Status Reason for everybody on the device.
//! - [`mod@changes`]: the resources that a transition changes, in the order of notifications.
//! - [`component`]: the components of a package, and their ids in Object 14.
//! - [`operation`], [`gate`]: the running operation, its phase, and whether it may start.
//! - [`arguments`], [`settings`]: the parsed values that servers write.
//!
//! docs/machine.md lists every cell of the machine; it is generated from this code.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod causes;
pub mod changes;
pub mod component;
pub mod create;
pub mod effect;
pub mod event;
pub mod gate;
pub mod instance;
pub mod machine;
pub mod operation;
pub mod public;
pub mod reason;
pub mod record;
pub mod settings;
pub mod update;

pub use changes::{Resource, changes};
pub use component::{ComponentIds, ComponentValues};
pub use create::{InstanceId, create};
pub use effect::Effect;
pub use event::{ComponentSwitch, Event, NewOperation, PackageSource, Write, executable, switches};
pub use instance::Instance;
pub use machine::{ActivationPolicy, Refusal, RefusalCode, Rules, Transition, transition};
pub use operation::{Operation, OperationKind, Requester, ShortId};
pub use reason::{Reason, ReasonCode};
pub use record::InstanceRecord;
pub use settings::ObjectLink;
pub use update::{UpdateResult, UpdateState};
pub use wharf_uri::{NotAnHttpOrigin, PackageUri, UriOrigin};
