//! The machine: one function from an instance and an event to the next instance and its effects, or a refusal.

mod cancel;
mod component;
mod delete;
mod delivery;
mod device;
mod end;
mod execute;
mod work;
mod write;

use wharf_frames::{PackageName, Text};

use crate::{Effect, Event, Instance, ObjectLink};

/// The facts and settings at the moment of the event.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The package of wharfd itself: always active, never removed.
    pub own_package: &'a PackageName,
    /// The activation, by the requester and the package of the instance.
    pub activation: ActivationPolicy,
    /// Whether a new package replaces one that could not be installed, by the server that writes.
    pub replace_failed: bool,
    /// The schemes that a Package URI may have, in lower case.
    pub schemes: &'a [&'a str],
    /// Whether an object instance exists.
    pub object_exists: &'a dyn Fn(ObjectLink) -> bool,
}

impl Rules<'_> {
    /// Whether software is activated after an Install. TS 5.2 leaves it INACTIVE, unless the policy of this device says otherwise.
    fn activates(&self, name: &PackageName, was_active: bool) -> bool {
        match self.activation {
            _ if name == self.own_package => true,
            ActivationPolicy::Always => true,
            ActivationPolicy::Keep => was_active,
            ActivationPolicy::Server => false,
        }
    }
}

/// The Activation State after an Install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ActivationPolicy {
    /// INACTIVE, until a server executes Activate (TS 5.2).
    #[default]
    Server,
    /// Active again if it was active before an upgrade.
    Keep,
    /// Active.
    Always,
}

/// The result of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The instance to store; none when it is deleted.
    pub instance: Option<Instance>,
    /// The effects to store with it and to do afterwards, in this order.
    pub effects: Vec<Effect>,
}

/// The refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", .code.as_str())]
pub struct Refusal {
    /// The response code.
    pub code: RefusalCode,
    /// The request, the reason and the remedy.
    pub why: Text,
    /// The instance to store, if the refusal has a result that the server reads.
    pub instance: Option<Box<Instance>>,
}

/// The response codes of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// 4.00
    BadRequest,
    /// 4.05
    MethodNotAllowed,
}

impl RefusalCode {
    /// The code as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "4.00",
            Self::MethodNotAllowed => "4.05",
        }
    }
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, why: impl Into<Text>) -> Self {
        Self {
            code,
            why: why.into(),
            instance: None,
        }
    }

    pub(crate) fn not_allowed(why: impl Into<Text>) -> Self {
        Self::new(RefusalCode::MethodNotAllowed, why)
    }
}

impl Transition {
    fn to(instance: Instance, effects: Vec<Effect>) -> Self {
        Self {
            instance: Some(instance),
            effects,
        }
    }

    /// No change: the request is fulfilled already, or the report is outdated.
    fn none(instance: &Instance) -> Self {
        Self::to(instance.clone(), Vec::new())
    }
}

/// Applies `event` to `instance`. Only requests are refused; an outdated report changes nothing.
pub fn transition(
    instance: &Instance,
    event: Event,
    rules: &Rules<'_>,
) -> Result<Transition, Refusal> {
    let reported = match event {
        Event::Write {
            write,
            starts,
            stage,
        } => return write::write(instance, write, starts, stage, rules),
        Event::Execute {
            action,
            arguments,
            starts,
        } => return execute::execute(instance, action, &arguments, starts, rules),
        Event::Switch(asked) => return component::switch(instance, asked, rules),
        Event::Delete => return delete::delete(instance),
        Event::Cancel { operation, by } => return cancel::cancel(instance, operation, by),
        Event::Waiting { operation, why } => match instance.work() {
            Some(_) => work::waits(instance, operation, why),
            None => delivery::waits(instance, operation, why),
        },
        Event::Started { operation } => match instance.work() {
            Some(_) => work::started(instance, operation, rules),
            None => delivery::started(instance, operation),
        },
        Event::Underway { operation, phase } => work::underway(instance, operation, phase),
        Event::FirstByte { operation } => delivery::first_byte(instance, operation),
        Event::PackageWritten { operation } => delivery::package_written(instance, operation),
        Event::SealWaits { stage, why } => delivery::seal_waits(instance, stage, why),
        Event::Sealed { stage, package } => delivery::sealed(instance, stage, package),
        Event::SealRefused { stage, failure } => delivery::seal_refused(instance, stage, failure),
        Event::Failed { operation, failure } => match instance.work() {
            Some(_) => work::failed(instance, operation, failure),
            None => delivery::download_failed(instance, operation, failure),
        },
        Event::Ended {
            operation,
            failure,
            device,
            next,
        } => end::ended(
            instance,
            operation,
            end::JobEnd {
                failure,
                device,
                next,
            },
            rules,
        ),
        Event::DeviceHas(device) => device::device_has(instance, device),
    };
    Ok(reported.unwrap_or_else(|| Transition::none(instance)))
}
