//! Create: the id and the first state of an instance.

use wharf_frames::StageId;

use crate::{
    Effect, Event, Instance, NewOperation, Refusal, RefusalCode, Requester, Rules, Transition,
    Write, settings::InstanceSettings, transition,
};

/// The id of an instance of Object 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u16);

/// The id for a new instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedId {
    /// This id.
    This(InstanceId),
    /// The lowest free id: for a server's Create without an id.
    Lowest,
    /// The highest free id below the limit: a local user takes no id that a server expects.
    Highest,
}

/// The id of a new instance, if `taken` are the ids that exist and `limit` is the largest number of instances.
pub fn free_id(
    wanted: WantedId,
    taken: &[InstanceId],
    limit: usize,
) -> Result<InstanceId, Refusal> {
    let refused = |why: String| Err(Refusal::new(RefusalCode::BadRequest, why));
    let is_free = |id: &InstanceId| !taken.contains(id);
    let mut all = (0..u16::MAX).map(InstanceId);
    let found = match wanted {
        WantedId::This(InstanceId(u16::MAX)) => {
            return refused("65535 is no instance id".to_owned());
        }
        WantedId::This(id) if !is_free(&id) => {
            return refused(format!("there is an instance {} already", id.0));
        }
        WantedId::This(id) => Some(id),
        WantedId::Lowest => all.find(is_free),
        WantedId::Highest => all.take(limit).rfind(is_free),
    };
    match found {
        Some(id) if taken.len() < limit => Ok(id),
        _ => Err(Refusal::not_allowed(format!(
            "there are {} instances, and `max-instances` in wharfd.toml allows {limit}: Delete one, or allow more",
            taken.len()
        ))),
    }
}

/// A new instance with the values of the Create. A refusal creates none.
pub fn create(
    write: Write,
    starts: NewOperation,
    stage: StageId,
    rules: &Rules<'_>,
) -> Result<Transition, Refusal> {
    let event = Event::Write {
        write,
        starts,
        stage,
    };
    let new = Instance {
        settings: InstanceSettings {
            local: matches!(starts.requester, Requester::User(_)),
            ..InstanceSettings::default()
        },
        ..Instance::default()
    };
    match transition(&new, event, rules) {
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
