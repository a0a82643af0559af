//! Activate and Deactivate of one component of a bundle (TS table 7.-2, resources 3 and 4).

use wharf_frames::{Action, PackageName, Text, installer::Found};

use super::{
    Refusal, RefusalCode, Rules, Transition,
    execute::{accepted, busy, is_for_update, no_effect, not_our_own, queued},
};
use crate::{
    ComponentSwitch, Instance,
    instance::{Condition, InstanceState},
};

pub(super) fn switch(
    instance: &Instance,
    asked: ComponentSwitch,
    rules: &Rules<'_>,
) -> Result<Transition, Refusal> {
    let ComponentSwitch {
        component,
        wanted,
        arguments,
        starts,
    } = asked;
    let action = if wanted {
        Action::Activate
    } else {
        Action::Deactivate
    };
    is_for_update(action, &arguments)
        .map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))?;
    let mut next = instance.clone();
    let what = format!(
        "{} of {component}",
        if wanted { "Activate" } else { "Deactivate" }
    );
    let InstanceState::Installed {
        software,
        condition,
    } = &mut next.state
    else {
        return Err(no_effect(instance, &what));
    };
    let known = software.components.iter().find(|one| one.name == component);
    let known = known.ok_or_else(|| no_effect(instance, &what))?;
    if let Some((running, _)) = instance.work() {
        let is_same = running == action && instance.switching() == Some(&component);
        return match is_same {
            true => Ok(Transition::none(instance)),
            false => Err(busy(running)),
        };
    }
    if !wanted {
        not_our_own([&component], rules)?;
    }
    if known.active == wanted {
        return Ok(Transition::none(instance));
    }
    *condition = Condition::Switching {
        component,
        wanted,
        work: queued(starts),
    };
    Ok(accepted(next, starts))
}

/// Takes the state of the component from the device. A component that is gone does not run; the next report about the
/// bundle says that it is gone.
pub(super) fn switched(
    instance: &Instance,
    component: &PackageName,
    wanted: bool,
    device: Option<Found>,
    why: Option<Text>,
) -> Option<Transition> {
    let InstanceState::Installed { software, .. } = &instance.state else {
        return None;
    };
    let mut software = software.clone();
    let mut why = why;
    match device {
        Some(found) => {
            if why.is_none() && found.active != wanted {
                why = Some(reported_success(&found.name, wanted));
            }
            software = software.with_component(found)?;
        }
        None => {
            let mut several = software.components.iter_mut();
            several.find(|one| one.name == *component)?.active = false;
            software.active = false;
            why = Some(format!("the device does not have {component} any more").into());
        }
    }
    let state = InstanceState::Installed {
        software,
        condition: why.map_or(Condition::Settled, Condition::Failed),
    };
    Some(Transition::to(instance.with(state), Vec::new()))
}

/// The failure of an activation that the service manager does not report.
pub(super) fn reported_success(name: &PackageName, wanted: bool) -> Text {
    let runs = if wanted { "does not run" } else { "still runs" };
    format!("the service manager reported success, but {name} {runs}").into()
}
