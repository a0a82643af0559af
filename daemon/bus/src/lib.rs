//! The contract between wharfd and wharfctl. Each interface of D-Bus is declared once, and zbus makes the proxy from it:
//! wharfd serves the interface, wharfctl calls the proxy. No name of a method or property is written on both sides.
//!
//! - `names`: the name on the bus, the paths of objects, the address of the bus.
//! - `agent`, `instance`, `operation`: one interface each, with its properties as a struct and the trait that serves it.
//! - `call`: a call of a method of an instance, as a value; `send` sends it.
//! - `objects`: all objects at one moment, as `GetManagedObjects` gives them.
//! - `caller`: the process that called a method.
//! - `check`: the result of one check of `wharfctl doctor`. wharfd does those that need its settings.

mod agent;
mod call;
mod caller;
mod check;
mod instance;
mod names;
mod objects;
mod operation;
mod send;

#[cfg(test)]
mod documentation;

pub use agent::{
    AgentObject, AgentProperties, AgentProxy, AgentService, FullReason, HistoryLine, KeptOperation,
};
pub use call::InstanceCall;
pub use caller::{Caller, ONLY_ROOT};
pub use check::{CheckResult, CheckVerdict, bad, ok};
pub use instance::{InstanceObject, InstanceProperties, InstanceProxy, InstanceService};
pub use names::{
    AGENT_PATH, NAME, address, instance_id, instance_path, operation_name, operation_path,
};
pub use objects::{Interfaces, ManagedObjects};
pub use operation::{
    OperationObject, OperationProperties, OperationService, OperationState, SERVER, USER,
};
