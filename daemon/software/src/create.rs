//! Create: which ids it may have, and the first state of an instance.

use crate::{
    Effect, Event, Instance, Refusal, Request, Rules, Transition, Write, machine::Code, step,
};
use wharf_frames::StageId;

/// The id of an instance of Object 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u16);

/// The id that a new instance gets, where `taken` are the ids that exist and at most `limit` instances may.
pub fn free_id(
    wanted: Option<InstanceId>,
    taken: &[InstanceId],
    limit: usize,
) -> Result<InstanceId, Refusal> {
    if let Some(id) = wanted
        && (taken.contains(&id) || id.0 == u16::MAX)
    {
        return Err(Refusal::new(
            Code::BadRequest,
            format!(
                "there is an instance {} already, or there can be none",
                id.0
            ),
        ));
    }
    let lowest = || (0..u16::MAX).map(InstanceId).find(|id| !taken.contains(id));
    match wanted.or_else(lowest) {
        Some(id) if taken.len() < limit => Ok(id),
        _ => Err(Refusal::new(
            Code::MethodNotAllowed,
            format!(
                "there are {} instances, and more are not allowed",
                taken.len()
            ),
        )),
    }
}

/// A new instance, with what the Create writes. A refusal leaves none, so it holds none.
pub fn create(
    write: Write,
    request: Request,
    stage: StageId,
    rules: &Rules<'_>,
) -> Result<Transition, Refusal> {
    let event = Event::Write {
        write,
        request,
        stage,
    };
    match step(&Instance::default(), event, rules) {
        Ok(mut transition) => {
            transition.effects.push(Effect::UpdateRegistration);
            Ok(transition)
        }
        Err(refusal) => Err(Refusal {
            instance: None,
            ..refusal
        }),
    }
}
