//! The device is the truth: software that somebody removed, upgraded, damaged, started or stopped by
//! hand.

use wharf_frames::{PackageName, PackageVersion, Text, installer::Found};

use super::Transition;
use crate::{
    Instance,
    instance::{Condition, InPlace, Initial, Software, State},
};

/// While an operation runs, its end will tell what the device has.
pub(super) fn device_has(instance: &Instance, device: Option<Found>) -> Option<Transition> {
    if instance.is_busy() {
        return None;
    }
    let next = match (&instance.state, device) {
        (State::Installed { software, .. }, None) => {
            instance.with(gone(&software.name, &software.version))
        }
        (
            State::Installed {
                software,
                condition,
            },
            Some(found),
        ) => {
            let state = State::Installed {
                condition: still(condition, software, &found),
                software: found_of(software, found)?,
            };
            instance.with(state)
        }
        (_, found) => instance.with(beside(instance, found)?),
    };
    let effects = next.registration();
    (next != *instance).then(|| Transition::to(next, effects))
}

/// INITIAL without software, and the reason.
pub(super) fn gone(name: &PackageName, version: &PackageVersion) -> State {
    let note = Text::from(format!("{name} {version} was removed on the device"));
    State::Initial(Initial::Ready {
        in_place: None,
        note: Some(note),
    })
}

/// A report about another package says nothing about this one.
fn found_of(software: &Software, found: Found) -> Option<Software> {
    (found.name == software.name).then(|| found.into())
}

/// An activation that failed is history once somebody else did it.
fn still(condition: &Condition, software: &Software, found: &Found) -> Condition {
    match condition {
        Condition::ActivationFailed(_) if found.active != software.active => Condition::Settled,
        other => other.clone(),
    }
}

/// The same for software that waits for its upgrade.
fn beside(instance: &Instance, found: Option<Found>) -> Option<State> {
    let known = instance.in_place()?;
    if found.as_ref().is_some_and(|found| found.name != known.name) {
        return None;
    }
    let now = found.map(|found| InPlace {
        version: found.version,
        damage: found.damage,
        ..known.clone()
    });
    let mut state = instance.state.clone();
    match &mut state {
        State::Initial(Initial::Ready { .. }) if now.is_none() => {
            state = gone(&known.name, &known.version);
        }
        State::Initial(Initial::Ready { in_place, .. } | Initial::Failed { in_place, .. })
        | State::DownloadStarted { in_place, .. }
        | State::Downloaded { in_place, .. }
        | State::Delivered { in_place, .. } => *in_place = now,
        State::Initial(Initial::Removing { .. }) | State::Installed { .. } => return None,
    }
    Some(state)
}
