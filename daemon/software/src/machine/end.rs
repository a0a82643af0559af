//! The end of a job: the state of the device decides about success, not an exit code.

use wharf_frames::{
    Action, Cause, Failure, OperationId, StageId,
    installer::{Component, Found, SealedPackage},
};

use super::{
    Rules, Transition,
    component::{reported_success, switched},
    device::now_has,
    work::{failed, not_installed, not_purged, not_removed},
};
use crate::{
    Effect, Instance, Requester,
    instance::{Condition, InPlace, Initial, InstanceState, Software, Switch},
    operation::{Work, WorkProgress},
};

/// The end of a job.
pub(super) struct JobEnd {
    pub(super) failure: Option<Failure>,
    pub(super) device: Option<Found>,
    pub(super) next: OperationId,
}

pub(super) fn ended(
    instance: &Instance,
    operation: OperationId,
    end: JobEnd,
    rules: &Rules<'_>,
) -> Option<Transition> {
    let (action, work) = instance.work().filter(|(_, work)| {
        work.id == operation && matches!(work.progress, WorkProgress::Running(_))
    })?;
    let name = instance.subject()?;
    if let Some(other) = end.device.as_ref().filter(|found| found.name != *name) {
        let why = format!("the installer told about {} instead of {name}", other.name);
        return failed(
            instance,
            operation,
            Failure::new(Cause::PackageManager, why),
        );
    }
    if let Some(component) = instance.switching() {
        let (wanted, why) = (action == Action::Activate, end.failure);
        let why = why.map(|failure| failure.detail);
        return switched(instance, component, wanted, end.device, why);
    }
    Some(match (&instance.state, action) {
        (_, Action::Activate | Action::Deactivate) => {
            let wanted = action == Action::Activate;
            settle_activation(instance, wanted, end.device, end.failure)?
        }
        (_, Action::Back) => settle_back(instance, end.device, end.failure)?,
        (
            InstanceState::Delivered {
                in_place,
                stage,
                package,
                ..
            },
            _,
        ) => match verify_install(package, end.failure, end.device.as_ref()) {
            Ok(software) => {
                let was_active = in_place.as_ref().is_some_and(|known| known.was_active);
                let activate = (!software.active && rules.activates(name, was_active))
                    .then_some((end.next, work.requester));
                commit_install(instance, *stage, software, activate)
            }
            Err(failure) => {
                let in_place = left_over(in_place.as_ref(), package, end.device);
                abort_install(instance, in_place, *stage, package, failure)
            }
        },
        _ => match end.device {
            Some(found) => abort_removal(instance, action, found, end.failure),
            None => commit_absence(instance, end.failure),
        },
    })
}

/// The installed software, or the reason why it is not the expected one.
fn verify_install(
    package: &SealedPackage,
    failure: Option<Failure>,
    device: Option<&Found>,
) -> Result<Software, Failure> {
    match (failure, device) {
        (Some(failure), _) => Err(failure),
        (None, Some(found)) if is_installed(package, found) => Ok(found.clone().into()),
        (None, device) => {
            let found = match device {
                Some(found) => found.to_string(),
                None => format!("nothing of {}", package.name),
            };
            let why = format!(
                "the package manager reported success, but the device has {found} instead of {}",
                package.version
            );
            Err(Failure::new(Cause::PackageManager, why))
        }
    }
}

/// Whether the device has the package whole, with each of its components.
fn is_installed(package: &SealedPackage, found: &Found) -> bool {
    let mut components = package.components.iter();
    let is_there = |one: &Component| {
        let mut found = found.components.iter();
        found.any(|it| it.name == one.name && it.version == one.version && it.damage.is_none())
    };
    found.is_whole() && found.version == package.version && components.all(is_there)
}

/// INSTALLED, then an activation if it follows.
fn commit_install(
    instance: &Instance,
    stage: StageId,
    software: Software,
    activate: Option<(OperationId, Requester)>,
) -> Transition {
    let mut effects = vec![Effect::Discard { stage }];
    effects.extend(Effect::registration(instance));
    let condition = match activate {
        Some((operation, requester)) => {
            effects.push(Effect::Queue { operation });
            Condition::Activating(Work {
                id: operation,
                requester,
                progress: WorkProgress::Queued(None),
            })
        }
        None => Condition::Settled,
    };
    let state = InstanceState::Installed {
        software,
        condition,
    };
    Transition::to(instance.with(state), effects)
}

/// The software that a failed installation left: the old version, nothing, or a part of the new one. A package that was
/// on the device before and that this agent never installed does not become the instance's: no server could remove it.
fn left_over(
    before: Option<&InPlace>,
    package: &SealedPackage,
    device: Option<Found>,
) -> Option<InPlace> {
    match (before, device) {
        (Some(before), _) if before.name != package.name => Some(before.clone()),
        (Some(before), Some(found)) => Some(before.seen(found)),
        (None, Some(found)) if found.managed => Some(InPlace::left(found.into())),
        (None, Some(_)) | (_, None) => None,
    }
}

/// DELIVERED keeps the package (TS 5.1.2.4).
fn abort_install(
    instance: &Instance,
    in_place: Option<InPlace>,
    stage: StageId,
    package: &SealedPackage,
    failure: Failure,
) -> Transition {
    let state = InstanceState::Delivered {
        in_place,
        stage,
        package: package.clone(),
        installation: not_installed(failure),
    };
    Transition::to(instance.with(state), Effect::registration(instance))
}

/// Records that the device no longer has the software.
fn commit_absence(instance: &Instance, failure: Option<Failure>) -> Transition {
    let state = InstanceState::Initial(Initial::Ready {
        in_place: None,
        note: failure.map(|failure| failure.detail),
    });
    Transition::to(instance.with(state), Effect::registration(instance))
}

/// The software is still there, complete or in part: INSTALLED / 59, or 57 if policy allows no purge. A purge that
/// began in INITIAL ends there.
fn abort_removal(
    instance: &Instance,
    action: Action,
    found: Found,
    failure: Option<Failure>,
) -> Transition {
    let failure = failure.unwrap_or_else(|| {
        let why = format!("the package manager reported success, but {found} is still there");
        Failure::new(Cause::PackageManager, why)
    });
    let state = match (&instance.state, action) {
        (InstanceState::Initial(Initial::Removing { in_place, .. }), Action::Purge) => {
            not_purged(in_place.seen(found), failure)
        }
        _ => not_removed(action, found.into(), failure),
    };
    Transition::to(instance.with(state), Effect::registration(instance))
}

/// INSTALLED with the software that the device has now: the version before, or after a failure mostly the same one.
fn settle_back(
    instance: &Instance,
    device: Option<Found>,
    failure: Option<Failure>,
) -> Option<Transition> {
    let state = match device {
        Some(found) => InstanceState::Installed {
            software: found.into(),
            condition: failure.map_or(Condition::Settled, |it| Condition::Failed(it.detail)),
        },
        None => now_has(instance, None)?,
    };
    let next = instance.with(state);
    let effects = Effect::registration(&next);
    Some(Transition::to(next, effects))
}

/// Takes the Activation State from the device, and keeps the Result. Missing software was removed meanwhile.
fn settle_activation(
    instance: &Instance,
    wanted: bool,
    device: Option<Found>,
    failure: Option<Failure>,
) -> Option<Transition> {
    let Some(found) = device else {
        let next = instance.with(now_has(instance, None)?);
        let effects = Effect::registration(&next);
        return Some(Transition::to(next, effects));
    };
    let software = Software::from(found);
    let why = match failure {
        Some(failure) => Some(failure.detail),
        None if software.all_run(wanted) => None,
        None => Some(reported_success(&software.name, wanted)),
    };
    let state = match &instance.state {
        InstanceState::Installed { .. } => InstanceState::Installed {
            software,
            condition: why.map_or(Condition::Settled, Condition::Failed),
        },
        _ => {
            let was_active = instance.in_place().is_some_and(|known| known.was_active);
            let known = InPlace {
                switch: why.map_or(Switch::Settled, Switch::Failed),
                // Software that was active stays wanted after a failed Activate: `keep` tries again after the next
                // Install.
                was_active: software.active || (wanted && was_active),
                ..InPlace::left(software)
            };
            now_has(instance, Some(known))?
        }
    };
    Some(Transition::to(instance.with(state), Vec::new()))
}
