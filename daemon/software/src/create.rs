//! Create: the id and the first state of an instance.

use wharf_frames::StageId;

use crate::{
    Code, Effect, Event, Instance, NewOperation, Origin, Refusal, Rules, Transition, Write,
    settings::InstanceSettings, step,
};

/// The id of an instance of Object 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u16);

/// The id for a new instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// This id.
    This(InstanceId),
    /// The lowest free id: for a server's Create without an id.
    Lowest,
    /// The highest free id below the limit: a local user takes no id that a server expects.
    Highest,
}

/// The id of a new instance, if `taken` are the ids that exist and `limit` is the largest number of instances.
pub fn free_id(wanted: Wanted, taken: &[InstanceId], limit: usize) -> Result<InstanceId, Refusal> {
    let refused = |why: String| Err(Refusal::new(Code::BadRequest, why));
    let is_free = |id: &InstanceId| !taken.contains(id);
    let mut all = (0..u16::MAX).map(InstanceId);
    let found = match wanted {
        Wanted::This(InstanceId(u16::MAX)) => return refused("65535 is no instance id".to_owned()),
        Wanted::This(id) if !is_free(&id) => {
            return refused(format!("there is an instance {} already", id.0));
        }
        Wanted::This(id) => Some(id),
        Wanted::Lowest => all.find(is_free),
        Wanted::Highest => all.take(limit).rfind(is_free),
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
            local: matches!(starts.origin, Origin::User(_)),
            ..InstanceSettings::default()
        },
        ..Instance::default()
    };
    match step(&new, event, rules) {
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
