//! An accepted operation of the installer until its end: it waits in the gate, runs, or is refused.

use wharf_frames::{Action, Failure, OperationId, Step, Text, installer::JobPhase};

use super::{Rules, Transition};
use crate::{
    Effect, Instance,
    causes::{During, update_result},
    instance::{Condition, InPlace, Initial, InstallationState, InstanceState, Software, Switch},
    operation::{Work, WorkProgress},
    reason::waiting,
};

/// The operation waits in the gate, or for the installer.
pub(super) fn waits(instance: &Instance, operation: OperationId, why: Text) -> Option<Transition> {
    let mut next = instance.clone();
    let work = work_mut(&mut next.state).filter(|work| work.id == operation)?;
    match &mut work.progress {
        WorkProgress::Queued(told) => *told = Some(why),
        WorkProgress::Running(told) => *told = Some(waiting(why.as_str())),
    }
    Some(Transition::to(next, Vec::new()))
}

/// Starts the operation: it passed the gate.
pub(super) fn started(
    instance: &Instance,
    operation: OperationId,
    rules: &Rules<'_>,
) -> Option<Transition> {
    let mut next = instance.clone();
    let work = work_mut(&mut next.state).filter(|work| work.id == operation)?;
    if matches!(work.progress, WorkProgress::Running(_)) {
        return None;
    }
    work.progress = WorkProgress::Running(None);
    let (action, _) = instance.work()?;
    let mut steps = vec![step(instance, action)?];
    steps.extend(activation(instance, rules).filter(|_| action == Action::Install));
    let transaction = wharf_frames::Transaction { steps };
    let effect = Effect::Perform {
        operation,
        transaction,
    };
    Some(Transition::to(next, vec![effect]))
}

/// The Activate in the transaction of an upgrade that is to be active: if the new version does not stay up, the installer
/// puts the old one back. It is there only if the old version was active. Otherwise, and after a first installation,
/// nothing that runs is lost by a failure: the software stays installed, and an Activate of its own follows. It does so for the
/// agent's own package, whose job ends without the agent.
fn activation(instance: &Instance, rules: &Rules<'_>) -> Option<Step> {
    let (name, known) = (&instance.package()?.name, instance.in_place()?);
    let is_upgrade = known.name == *name && known.was_active && name != rules.own_package;
    (is_upgrade && rules.activates(name, true)).then(|| Step::Activate(name.clone()))
}

/// The installer works on it. The reason to wait is dropped.
pub(super) fn underway(
    instance: &Instance,
    operation: OperationId,
    phase: JobPhase,
) -> Option<Transition> {
    let line = line_of(instance, phase);
    let mut next = instance.clone();
    let work = work_mut(&mut next.state).filter(|work| work.id == operation)?;
    match &mut work.progress {
        WorkProgress::Queued(_) => return None,
        WorkProgress::Running(told) => *told = line,
    }
    Some(Transition::to(next, Vec::new()))
}

/// The line for a phase of an Install in which nothing else tells what is done.
fn line_of(instance: &Instance, phase: JobPhase) -> Option<Text> {
    let package = instance.package()?;
    let (Action::Install, _) = instance.work()? else {
        return None;
    };
    let doing = match (phase, instance.in_place()) {
        (JobPhase::Watching, _) => "checking that it stays up".to_owned(),
        (JobPhase::Returning, Some(known)) => format!("going back to {}", known.version),
        (JobPhase::Returning, None) => "going back".to_owned(),
        _ => return None,
    };
    Some(format!("{} {}: {doing}", package.name, package.version).into())
}

/// The action with its target, as the instance has it.
fn step(instance: &Instance, action: Action) -> Option<Step> {
    match action {
        Action::Install => instance.stage().map(Step::Install),
        _ => Step::on(action, instance.subject()?.clone()),
    }
}

/// Aborts an operation that the gate or the installer refused. The device is unchanged.
pub(super) fn failed(
    instance: &Instance,
    operation: OperationId,
    failure: Failure,
) -> Option<Transition> {
    let (action, _) = instance.work().filter(|(_, work)| work.id == operation)?;
    let state = match (instance.state.clone(), action) {
        (mut state, Action::Activate | Action::Deactivate) if instance.in_place().is_some() => {
            state.in_place_mut()?.switch = Switch::Failed(failure.detail);
            state
        }
        (
            InstanceState::Delivered {
                in_place,
                stage,
                package,
                ..
            },
            _,
        ) => InstanceState::Delivered {
            in_place,
            stage,
            package,
            installation: not_installed(failure),
        },
        (InstanceState::Installed { software, .. }, Action::Uninstall | Action::Purge) => {
            not_removed(action, software, failure)
        }
        (InstanceState::Initial(Initial::Removing { in_place, .. }), Action::Purge) => {
            not_purged(in_place, failure)
        }
        (InstanceState::Installed { software, .. }, _) => InstanceState::Installed {
            software,
            condition: Condition::Failed(failure.detail),
        },
        (InstanceState::Initial(Initial::Removing { in_place, .. }), _) => {
            not_removed(action, in_place.back(), failure)
        }
        _ => return None,
    };
    Some(Transition::to(instance.with(state), Vec::new()))
}

/// DELIVERED keeps the package (TS 5.1.2.4).
pub(super) fn not_installed(failure: Failure) -> InstallationState {
    InstallationState::Failed {
        result: update_result(failure.cause, During::Installation),
        why: failure.detail,
    }
}

/// INSTALLED, with the reason in resource 16.
pub(super) fn not_removed(action: Action, software: Software, failure: Failure) -> InstanceState {
    let during = match action {
        Action::Purge => During::Purge,
        _ => During::Removal,
    };
    let condition = Condition::RemovalFailed {
        result: update_result(failure.cause, during),
        why: failure.detail,
    };
    InstanceState::Installed {
        software,
        condition,
    }
}

/// INITIAL stays after a failed purge: the server did not request it, and may be about to write a package.
pub(super) fn not_purged(in_place: InPlace, failure: Failure) -> InstanceState {
    InstanceState::Initial(Initial::Ready {
        in_place: Some(in_place),
        note: Some(failure.detail),
    })
}

fn work_mut(state: &mut InstanceState) -> Option<&mut Work> {
    match state {
        InstanceState::Initial(Initial::Removing { work, .. })
        | InstanceState::Delivered {
            installation: InstallationState::Installing(work),
            ..
        }
        | InstanceState::Installed {
            condition:
                Condition::Removing { work, .. }
                | Condition::Activating(work)
                | Condition::Deactivating(work)
                | Condition::GoingBack(work)
                | Condition::Switching { work, .. },
            ..
        } => Some(work),
        other => other.in_place_mut()?.switch.work_mut(),
    }
}
