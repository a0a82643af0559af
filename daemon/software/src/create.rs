//! Create: which ids it may have, and the first state of an instance.

use wharf_frames::StageId;

use crate::{Code, Effect, Event, Instance, Refusal, Request, Rules, Transition, Write, step};

/// The id of an instance of Object 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u16);

/// The id that a new instance gets, where `taken` are the ids that exist and at most `limit` instances may.
pub fn free_id(
    wanted: Option<InstanceId>,
    taken: &[InstanceId],
    limit: usize,
) -> Result<InstanceId, Refusal> {
    let refused = |why: String| Err(Refusal::new(Code::BadRequest, why));
    match wanted {
        Some(InstanceId(u16::MAX)) => return refused("65535 is no instance id".to_owned()),
        Some(id) if taken.contains(&id) => {
            return refused(format!("there is an instance {} already", id.0));
        }
        _ => {}
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
