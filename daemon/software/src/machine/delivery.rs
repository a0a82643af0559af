//! Reports about a download and its verification (TS 5.1.2.2, 5.1.2.3).

use wharf_frames::{Failure, OperationId, StageId, Text, installer::SealedPackage};

use super::{Transition, write::failed};
use crate::{
    Effect, Instance,
    instance::{Delivery, Flow, InstallationState, InstanceState, PullProgress},
    settings::InstanceSettings,
};

pub(super) fn waits(instance: &Instance, operation: OperationId, why: Text) -> Option<Transition> {
    pull(instance, operation, |_, _, waiting| {
        *waiting = Some(why);
        Some(Vec::new())
    })
}

pub(super) fn started(instance: &Instance, operation: OperationId) -> Option<Transition> {
    pull(instance, operation, |stage, progress, waiting| {
        *waiting = None;
        if *progress != PullProgress::Queued {
            return Some(Vec::new()); // its next attempt: the effect still exists
        }
        *progress = PullProgress::Asking;
        Some(vec![Effect::StartPull { operation, stage }])
    })
}

pub(super) fn first_byte(instance: &Instance, operation: OperationId) -> Option<Transition> {
    pull(instance, operation, |_, progress, waiting| {
        if *progress == PullProgress::Queued {
            return None;
        }
        *progress = PullProgress::Receiving;
        *waiting = None;
        Some(Vec::new())
    })
}

/// Changes the pull with this id, if it is the running one.
fn pull(
    instance: &Instance,
    operation: OperationId,
    change: impl FnOnce(StageId, &mut PullProgress, &mut Option<Text>) -> Option<Vec<Effect>>,
) -> Option<Transition> {
    let mut next = instance.clone();
    let InstanceState::DownloadStarted { delivery, .. } = &mut next.state else {
        return None;
    };
    let (id, stage) = (delivery.id, delivery.stage);
    match &mut delivery.flow {
        Flow::Pull {
            progress, waiting, ..
        } if id == operation => {
            let effects = change(stage, progress, waiting)?;
            Some(Transition::to(next, effects))
        }
        _ => None,
    }
}

pub(super) fn package_written(instance: &Instance, operation: OperationId) -> Option<Transition> {
    let delivery = named(instance, operation).filter(|delivery| !delivery.is_queued())?;
    let stage = delivery.stage;
    let next = Instance {
        state: InstanceState::Downloaded {
            in_place: instance.in_place().cloned(),
            operation: delivery.operation(),
            stage,
            waiting: None,
        },
        settings: without_credentials(&instance.settings),
    };
    Some(Transition::to(
        next,
        vec![Effect::Seal { operation, stage }],
    ))
}

/// The faulty package is removed (TS 5.1.2.2).
pub(super) fn download_failed(
    instance: &Instance,
    operation: OperationId,
    failure: Failure,
) -> Option<Transition> {
    let stage = named(instance, operation)?.stage;
    let next = Instance {
        state: failed(instance.in_place().cloned(), failure),
        settings: without_credentials(&instance.settings),
    };
    Some(Transition::to(next, vec![Effect::Discard { stage }]))
}

pub(super) fn seal_waits(instance: &Instance, file: StageId, why: Text) -> Option<Transition> {
    let mut next = instance.clone();
    match &mut next.state {
        InstanceState::Downloaded { stage, waiting, .. } if *stage == file => *waiting = Some(why),
        _ => return None,
    }
    Some(Transition::to(next, Vec::new()))
}

pub(super) fn sealed(
    instance: &Instance,
    stage: StageId,
    package: SealedPackage,
) -> Option<Transition> {
    judged(instance, stage)?;
    let state = InstanceState::Delivered {
        in_place: instance.in_place().cloned(),
        stage,
        package,
        installation: InstallationState::Untried,
    };
    Some(Transition::to(instance.with(state), Vec::new()))
}

/// The faulty package is removed (TS 5.1.2.3).
pub(super) fn seal_refused(
    instance: &Instance,
    stage: StageId,
    failure: Failure,
) -> Option<Transition> {
    judged(instance, stage)?;
    let state = failed(instance.in_place().cloned(), failure);
    Some(Transition::to(
        instance.with(state),
        vec![Effect::Discard { stage }],
    ))
}

fn named(instance: &Instance, operation: OperationId) -> Option<&Delivery> {
    instance
        .delivery()
        .filter(|delivery| delivery.id == operation)
}

fn judged(instance: &Instance, file: StageId) -> Option<()> {
    matches!(&instance.state, InstanceState::Downloaded { stage, .. } if *stage == file)
        .then_some(())
}

/// User Name and Password are valid for one download and erased at its end.
fn without_credentials(settings: &InstanceSettings) -> InstanceSettings {
    InstanceSettings {
        user_name: None,
        password: None,
        ..settings.clone()
    }
}
