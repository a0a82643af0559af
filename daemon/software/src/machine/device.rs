//! Reports of the device: somebody removed, upgraded, damaged, started or stopped software by hand.

use wharf_frames::{PackageName, PackageVersion, Text, installer::Found};

use super::Transition;
use crate::{
    Effect, Instance,
    instance::{Condition, InPlace, Initial, InstanceState, Software, runs_as_before},
};

/// Applies a report of the device. It is ignored while an operation runs, whose end has a newer one.
pub(super) fn device_has(instance: &Instance, device: Option<Found>) -> Option<Transition> {
    if instance.is_busy() {
        return None;
    }
    let state = match (&instance.state, device) {
        (
            InstanceState::Installed {
                software,
                condition,
            },
            Some(found),
        ) => InstanceState::Installed {
            condition: still(condition, software, &found),
            software: found_of(software, found)?,
        },
        (InstanceState::Installed { .. }, None) => now_has(instance, None)?,
        (_, found) => {
            let known = instance.in_place()?;
            let is_it = found.as_ref().is_none_or(|found| found.name == known.name);
            let found = is_it.then_some(found)?;
            now_has(instance, found.map(|found| known.seen(found)))?
        }
    };
    let next = instance.with(state);
    let effects = Effect::registration(&next);
    (next != *instance).then(|| Transition::to(next, effects))
}

/// INITIAL without software, with the reason.
fn gone(name: &PackageName, version: &PackageVersion) -> InstanceState {
    let note = Text::from(format!("{name} {version} was removed on the device"));
    InstanceState::Initial(Initial::Ready {
        in_place: None,
        note: Some(note),
    })
}

/// The software after a report; none if the report is about another package.
fn found_of(software: &Software, found: Found) -> Option<Software> {
    (found.name == software.name).then(|| found.into())
}

/// Drops a failure if somebody else changed the activation.
fn still(condition: &Condition, software: &Software, found: &Found) -> Condition {
    match condition {
        Condition::Failed(_) if !runs_as_before(found, software.active, &software.components) => {
            Condition::Settled
        }
        other => other.clone(),
    }
}

/// The state after the device reports this software, or none. `None` during a removal: its end sets the state.
pub(super) fn now_has(instance: &Instance, now: Option<InPlace>) -> Option<InstanceState> {
    let mut state = instance.state.clone();
    match &mut state {
        InstanceState::Installed { .. } | InstanceState::Initial(Initial::Ready { .. })
            if now.is_none() =>
        {
            let (name, version) = instance.software()?;
            state = gone(name, version);
        }
        InstanceState::Initial(
            Initial::Ready { in_place, .. } | Initial::Failed { in_place, .. },
        )
        | InstanceState::DownloadStarted { in_place, .. }
        | InstanceState::Downloaded { in_place, .. }
        | InstanceState::Delivered { in_place, .. } => *in_place = now,
        InstanceState::Initial(Initial::Removing { .. }) | InstanceState::Installed { .. } => {
            return None;
        }
    }
    Some(state)
}
