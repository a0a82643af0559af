//! Execute of Install, Uninstall, Activate, Deactivate (TS 5.1.3, 5.2), and the requests that only a local user has. An
//! accepted request is queued, and the work comes later.

use wharf_frames::{Action, PackageName};

use super::{Refusal, RefusalCode, Rules, Transition};
use crate::{
    Effect, Instance, NewOperation, Requester,
    arguments::{ArgumentError, ExecuteArguments, Removal},
    instance::{Condition, InPlace, Initial, InstallationState, InstanceState, Switch},
    operation::{Work, WorkProgress},
};

pub(super) fn execute(
    instance: &Instance,
    action: Action,
    arguments: &[u8],
    starts: NewOperation,
    rules: &Rules<'_>,
) -> Result<Transition, Refusal> {
    let is_for_update = is_for_update(action, arguments)
        .map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))?;
    may_ask(instance, action, starts.requester)?;
    match instance.work() {
        // Some servers repeat an Execute at every notification.
        Some((running, _))
            if running == action && !is_for_update && instance.switching().is_none() =>
        {
            Ok(Transition::none(instance))
        }
        Some((running, _)) => Err(busy(running)),
        None => match action {
            Action::Install => install(instance, starts),
            Action::Uninstall if is_for_update => for_update(instance),
            Action::Uninstall => remove(instance, starts, false, rules),
            Action::Purge => remove(instance, starts, true, rules),
            Action::Activate => switch(instance, true, starts, rules),
            Action::Deactivate => switch(instance, false, starts, rules),
            Action::Back => back(instance, starts, rules),
        },
    }
}

/// Whether this is an Uninstall ForUpdate. The arguments of other actions only have to follow the grammar.
pub(super) fn is_for_update(action: Action, arguments: &[u8]) -> Result<bool, ArgumentError> {
    let arguments = ExecuteArguments::parse(arguments)?;
    match action {
        Action::Uninstall => Ok(arguments.removal()? == Removal::ForUpdate),
        _ => Ok(false),
    }
}

/// TS 5.2: outside INSTALLED a server's Activate and Deactivate have no effect, since the activation machine is not
/// alive. A local user's act on the software in place. The TS has no purge and no way back, so a server cannot ask for one.
fn may_ask(instance: &Instance, action: Action, requester: Requester) -> Result<(), Refusal> {
    let is_alive = matches!(instance.state, InstanceState::Installed { .. });
    match (action, requester) {
        (Action::Purge, Requester::Server(_)) => {
            let why = "only a user of the device can purge: `wharfctl uninstall --purge`";
            Err(Refusal::not_allowed(why))
        }
        (Action::Back, Requester::Server(_)) => {
            let why = "only a user of the device can go back: `wharfctl back`";
            Err(Refusal::not_allowed(why))
        }
        (Action::Activate, Requester::Server(_)) if !is_alive => {
            Err(no_effect(instance, "Activate"))
        }
        (Action::Deactivate, Requester::Server(_)) if !is_alive => {
            Err(no_effect(instance, "Deactivate"))
        }
        _ => Ok(()),
    }
}

/// TS 5.1.3.1: only in DELIVERED.
fn install(instance: &Instance, starts: NewOperation) -> Result<Transition, Refusal> {
    let mut next = instance.clone();
    let InstanceState::Delivered { installation, .. } = &mut next.state else {
        return Err(no_effect(instance, "Install"));
    };
    *installation = InstallationState::Installing(queued(starts));
    Ok(accepted(next, starts))
}

/// TS 5.1.3.2 without argument. Also in INITIAL with software in place, which nothing else could remove.
fn remove(
    instance: &Instance,
    starts: NewOperation,
    purge: bool,
    rules: &Rules<'_>,
) -> Result<Transition, Refusal> {
    let mut next = instance.clone();
    let work = queued(starts);
    let what = if purge { "A purge" } else { "Uninstall" };
    match &mut next.state {
        InstanceState::Delivered { .. } if !purge => return for_update(instance),
        InstanceState::Installed { condition, .. } => {
            not_our_own(instance.names_in_place(), rules)?;
            *condition = Condition::Removing { work, purge };
        }
        InstanceState::Initial(initial) => {
            let in_place = instance
                .in_place()
                .ok_or_else(|| no_effect(instance, what))?;
            not_our_own(instance.names_in_place(), rules)?;
            *initial = Initial::Removing {
                in_place: in_place.clone(),
                work,
                purge,
            };
        }
        InstanceState::DownloadStarted { .. }
        | InstanceState::Downloaded { .. }
        | InstanceState::Delivered { .. } => {
            return Err(no_effect(instance, what));
        }
    }
    Ok(accepted(next, starts))
}

/// TS 5.1.3.2 with argument 1, and any Uninstall in DELIVERED: drops the new package, and keeps the software in place.
fn for_update(instance: &Instance) -> Result<Transition, Refusal> {
    let (in_place, effects) = match &instance.state {
        InstanceState::Installed { software, .. } => {
            (Some(InPlace::left(software.clone())), Vec::new())
        }
        InstanceState::Delivered {
            in_place, stage, ..
        } => (in_place.clone(), vec![Effect::Discard { stage: *stage }]),
        _ => return Err(no_effect(instance, "Uninstall")),
    };
    let state = InstanceState::Initial(Initial::Ready {
        in_place,
        note: None,
    });
    Ok(Transition::to(instance.with(state), effects))
}

/// Activate and Deactivate: in INSTALLED by TS 5.2, in other states for the software in place.
fn switch(
    instance: &Instance,
    wanted: bool,
    starts: NewOperation,
    rules: &Rules<'_>,
) -> Result<Transition, Refusal> {
    let what = if wanted { "Activate" } else { "Deactivate" };
    let is_alive = matches!(instance.state, InstanceState::Installed { .. });
    if instance.software().is_none() {
        return Err(no_effect(instance, what));
    }
    if !is_alive && instance.beside().is_none() {
        return Err(on_its_way(instance, what));
    }
    if !wanted {
        not_our_own(instance.names_in_place(), rules)?;
    }
    if instance.all_run(wanted) {
        return Ok(Transition::none(instance));
    }
    let mut next = instance.clone();
    let work = queued(starts);
    match (&mut next.state, wanted) {
        (InstanceState::Installed { condition, .. }, true) => {
            *condition = Condition::Activating(work)
        }
        (InstanceState::Installed { condition, .. }, false) => {
            *condition = Condition::Deactivating(work)
        }
        (state, _) => {
            let known = state
                .in_place_mut()
                .ok_or_else(|| no_effect(instance, what))?;
            known.switch = match wanted {
                true => Switch::Activating(work),
                false => Switch::Deactivating(work),
            };
        }
    }
    Ok(accepted(next, starts))
}

/// Puts back the version before, of which the installer keeps the file. Only in INSTALLED: elsewhere a package is about to
/// replace the software.
fn back(
    instance: &Instance,
    starts: NewOperation,
    rules: &Rules<'_>,
) -> Result<Transition, Refusal> {
    let mut next = instance.clone();
    let InstanceState::Installed { condition, .. } = &mut next.state else {
        return Err(no_effect(instance, "Back"));
    };
    if let Some(name) = instance
        .names_in_place()
        .find(|name| *name == rules.own_package)
    {
        return Err(Refusal::not_allowed(format!(
            "{name} is the agent itself: install its older version (`wharfctl install`)"
        )));
    }
    *condition = Condition::GoingBack(queued(starts));
    Ok(accepted(next, starts))
}

pub(super) fn queued(starts: NewOperation) -> Work {
    Work {
        id: starts.id,
        requester: starts.requester,
        progress: WorkProgress::Queued(None),
    }
}

pub(super) fn accepted(next: Instance, starts: NewOperation) -> Transition {
    let operation = starts.id;
    Transition::to(next, vec![Effect::Queue { operation }])
}

/// Refuses to stop or remove wharfd: it could not be started again remotely.
pub(super) fn not_our_own<'a>(
    names: impl IntoIterator<Item = &'a PackageName>,
    rules: &Rules<'_>,
) -> Result<(), Refusal> {
    let mut names = names.into_iter();
    if let Some(name) = names.find(|name| *name == rules.own_package) {
        return Err(Refusal::not_allowed(format!(
            "{name} is the agent itself: it cannot be stopped or removed remotely"
        )));
    }
    Ok(())
}

/// The TS says 'no effect': a refusal tells the server.
pub(super) fn no_effect(instance: &Instance, what: &str) -> Refusal {
    Refusal::not_allowed(format!(
        "{what} has no effect in {}",
        instance.update_state().name()
    ))
}

/// The refusal of a second operation: an instance runs one at a time.
fn on_its_way(instance: &Instance, what: &str) -> Refusal {
    Refusal::not_allowed(format!(
        "{what} is not possible while a package is being delivered: {}",
        instance.status_reason().text
    ))
}

pub(super) fn busy(action: Action) -> Refusal {
    Refusal::not_allowed(format!("busy: {} has not ended", action.as_str()))
}
