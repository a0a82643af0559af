//! Cancel: a local user ends an operation that waits or downloads. Only the installer knows whether a job can be
//! cancelled.

use wharf_frames::{Cause, Failure, OperationId};

use super::{Refusal, Transition, delivery, work};
use crate::{
    Instance, Requester,
    instance::InstanceState,
    operation::{Operation, Phase},
};

pub(super) fn cancel(
    instance: &Instance,
    asked: OperationId,
    by: Requester,
) -> Result<Transition, Refusal> {
    let Some(Operation { id, kind, .. }) = instance.operation() else {
        return Err(Refusal::not_allowed("there is nothing to cancel"));
    };
    if id != asked {
        return Err(Refusal::not_allowed(format!(
            "that operation does not run any more, and the {} that runs is another one",
            kind.as_str()
        )));
    }
    let failure = cancelled(by);
    let ended = match &instance.state {
        InstanceState::DownloadStarted { .. } => delivery::download_failed(instance, id, failure),
        InstanceState::Downloaded { stage, .. } => {
            delivery::seal_refused(instance, *stage, failure)
        }
        _ if instance.phase() == Some(Phase::Gate) => work::failed(instance, id, failure),
        _ => None,
    };
    ended.ok_or_else(|| {
        Refusal::not_allowed(format!(
            "the installer has the {} already, and it alone can cancel it",
            kind.as_str()
        ))
    })
}

fn cancelled(by: Requester) -> Failure {
    let by = match by {
        Requester::User(uid) => format!("by user {uid} on the device"),
        Requester::Server(id) => format!("by server {}", id.0),
    };
    Failure::new(Cause::GaveUp, format!("cancelled {by}"))
}
