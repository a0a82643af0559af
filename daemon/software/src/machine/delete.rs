//! Delete: the way for a server to cancel. It is refused while software is in place, which would lose its instance.

use super::{Refusal, Transition, execute::busy, write::dropped};
use crate::{Effect, Instance, UpdateState, instance::InstanceState};

pub(super) fn delete(instance: &Instance) -> Result<Transition, Refusal> {
    if let Some((action, _)) = instance.work() {
        return Err(busy(action));
    }
    if let Some((name, version)) = instance.software() {
        let first = match instance.update_state() {
            UpdateState::DownloadStarted | UpdateState::Downloaded => {
                "`wharfctl cancel` on the device ends the download"
            }
            _ => "Uninstall first",
        };
        return Err(Refusal::not_allowed(format!(
            "{name} {version} is in place: {first}"
        )));
    }
    let mut effects = match &instance.state {
        InstanceState::DownloadStarted { delivery, .. } => dropped(delivery.stage),
        InstanceState::Downloaded { stage, .. } | InstanceState::Delivered { stage, .. } => {
            vec![Effect::Discard { stage: *stage }]
        }
        InstanceState::Initial(_) | InstanceState::Installed { .. } => Vec::new(),
    };
    effects.push(Effect::UpdateRegistration);
    Ok(Transition {
        instance: None,
        effects,
    })
}
