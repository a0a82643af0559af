//! The one gate: every reason for which an operation waits or is refused. Asked before each attempt.

use wharf_frames::{Cause, Failure, OperationId, Text};

use crate::{
    Instance, InstanceId, Kind, Operation,
    instance::{Delivery, Flow},
};

/// What the device knows at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Seconds, of the same clock as all other times here and as the deadline.
    pub now: u64,
    /// The wall clock is not before the build's date.
    pub clock_is_set: bool,
    /// What is accepted and has not ended, of all instances, in the order of acceptance.
    pub accepted: &'a [(OperationId, Kind)],
    /// How often the operation was begun.
    pub attempts: u32,
    /// How often it may be begun.
    pub attempt_limit: u32,
    /// The next attempt is not to be made before this moment.
    pub retry_at: Option<u64>,
    /// Another instance that has the delivered package in place.
    pub held_by: Option<InstanceId>,
}

/// Whether an operation may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It may.
    Now,
    /// It waits.
    NotBefore {
        /// Until then, where it is known; else until the facts change.
        time: Option<u64>,
        /// For what: goes into [`crate::Event::Waiting`].
        why: Text,
    },
    /// It may not, and never will: goes into [`crate::Event::Failed`].
    No(Failure),
}

/// Whether this operation of this instance may start.
pub fn may_start(operation: &Operation, instance: &Instance, facts: &Facts<'_>) -> Answer {
    if let Some(failure) = refused(operation, instance, facts) {
        return Answer::No(failure);
    }
    let wait = |time, why: &str| Answer::NotBefore {
        time,
        why: why.into(),
    };
    if is_behind_another(operation, facts.accepted) {
        return wait(None, "its turn");
    }
    if let Some(time) = facts.retry_at.filter(|time| facts.now < *time) {
        return wait(Some(time), "the next attempt");
    }
    if !facts.clock_is_set && instance.delivery().is_some_and(needs_the_clock) {
        return wait(None, "the clock");
    }
    Answer::Now
}

fn refused(operation: &Operation, instance: &Instance, facts: &Facts<'_>) -> Option<Failure> {
    if operation
        .deadline
        .is_some_and(|deadline| deadline < facts.now)
    {
        return Some(Failure::new(
            Cause::Policy,
            format!(
                "{} could not start in its time: ask again",
                operation.kind.as_str()
            ),
        ));
    }
    if facts.attempts >= facts.attempt_limit {
        return Some(Failure::new(
            Cause::GaveUp,
            format!(
                "{} was begun {} times and never ended: needs an operator, who looks into the journal and asks again",
                operation.kind.as_str(),
                facts.attempts
            ),
        ));
    }
    match operation.kind {
        Kind::Install => another_package(instance, facts),
        _ => None,
    }
}

/// An instance is for one package, and a package for one instance.
fn another_package(instance: &Instance, facts: &Facts<'_>) -> Option<Failure> {
    let package = &instance.package()?.name;
    let why = match (instance.in_place(), facts.held_by) {
        (Some(known), _) if known.name != *package => {
            format!(
                "{package} cannot replace {}: Uninstall that first",
                known.name
            )
        }
        (_, Some(InstanceId(id))) => format!("{package} belongs to instance {id}: write it there"),
        _ => return None,
    };
    Some(Failure::new(Cause::AnotherPackage, why))
}

/// Pulls go one after the other, and so do jobs of the installer. A push comes when its server sends it.
fn is_behind_another(operation: &Operation, accepted: &[(OperationId, Kind)]) -> bool {
    accepted
        .iter()
        .take_while(|(id, _)| *id != operation.id)
        .any(|(_, kind)| lane(*kind).is_some() && lane(*kind) == lane(operation.kind))
}

#[derive(PartialEq, Eq)]
enum Lane {
    Downloads,
    Jobs,
}

const fn lane(kind: Kind) -> Option<Lane> {
    match kind {
        Kind::Push => None,
        Kind::Pull => Some(Lane::Downloads),
        Kind::Install | Kind::Uninstall | Kind::Activate | Kind::Deactivate => Some(Lane::Jobs),
    }
}

/// Certificates are not yet valid to a clock that was never set.
fn needs_the_clock(delivery: &Delivery) -> bool {
    matches!(&delivery.flow, Flow::Pull { uri, .. } if uri.is_over_tls())
}
