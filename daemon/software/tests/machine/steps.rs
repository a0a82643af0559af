//! Events and steps in few words, for the decisions of the other files.

use wharf_frames::{
    Action, Cause, Failure, OperationId, Secret,
    installer::{Found, JobPhase},
};
use wharf_software::{
    Event, Instance, InstanceRecord, NewOperation, PackageSource, Refusal, Requester, Resource,
    Rules, Transition, UpdateResult, Write, changes, transition,
};

use crate::cells::*;

pub(crate) fn execute(action: Action, arguments: &str) -> Event {
    Event::Execute {
        action,
        arguments: arguments.as_bytes().to_vec(),
        starts: starts(),
    }
}

/// Root executes this on the device.
pub(crate) fn by_user(action: Action) -> Event {
    Event::Execute {
        action,
        arguments: Vec::new(),
        starts: NewOperation {
            requester: Requester::User(0),
            ..starts()
        },
    }
}

pub(crate) fn purge() -> Event {
    by_user(Action::Purge)
}

pub(crate) fn uninstall(arguments: &str) -> Event {
    execute(Action::Uninstall, arguments)
}

pub(crate) fn write(write: Write) -> Event {
    Event::Write {
        write,
        starts: starts(),
        stage: NEW_STAGE,
    }
}

pub(crate) fn write_uri(uri: &[u8]) -> Event {
    write(Write {
        source: Some(PackageSource::Uri(Secret::new(uri.to_vec()))),
        ..Write::default()
    })
}

pub(crate) fn good_uri() -> Event {
    write_uri(uri().as_str().as_bytes())
}

pub(crate) fn write_package(requester: Requester) -> Event {
    let mut starts = starts();
    starts.requester = requester;
    Event::Write {
        write: Write {
            source: Some(PackageSource::Package { empty: false }),
            ..Write::default()
        },
        starts,
        stage: NEW_STAGE,
    }
}

pub(crate) fn ended(failure: Option<Failure>, device: Option<Found>) -> Event {
    Event::Ended {
        operation: RUNNING,
        failure,
        device,
        next: NEXT,
    }
}

/// The running job is in this phase.
pub(crate) fn underway(phase: JobPhase) -> Event {
    underway_in(RUNNING, phase)
}

pub(crate) fn underway_in(operation: OperationId, phase: JobPhase) -> Event {
    Event::Underway { operation, phase }
}

pub(crate) fn failed(cause: Cause) -> Event {
    Event::Failed {
        operation: RUNNING,
        failure: Failure::new(cause, "it failed"),
    }
}

pub(crate) fn by(rules: &Rules<'_>, record: InstanceRecord, event: Event) -> Transition {
    transition(&built(record), event, rules).unwrap()
}

pub(crate) fn then(record: InstanceRecord, event: Event) -> Transition {
    by(&rules(), record, event)
}

pub(crate) fn refused(record: InstanceRecord, event: Event) -> Refusal {
    transition(&built(record), event, &rules()).unwrap_err()
}

pub(crate) fn left(transition: &Transition) -> &Instance {
    transition.instance.as_ref().unwrap()
}

/// Resources 7 and 9.
pub(crate) fn at(transition: &Transition) -> (u8, u8) {
    let instance = left(transition);
    (
        instance.update_state().value(),
        instance.update_result().value(),
    )
}

pub(crate) fn reason(transition: &Transition) -> String {
    left(transition).status_reason().to_string()
}

pub(crate) fn ids(old: InstanceRecord, transition: &Transition) -> Vec<u16> {
    changes(&built(old), left(transition))
        .into_iter()
        .map(Resource::id)
        .collect()
}

pub(crate) fn unchanged(record: InstanceRecord, event: Event) {
    let made = then(record.clone(), event.clone());
    assert_eq!(made.effects, [], "{event:?}");
    assert_eq!(InstanceRecord::from(left(&made)), record, "{event:?}");
}

pub(crate) fn credentials(user_name: &[u8], password: &[u8]) -> Write {
    Write {
        user_name: Some(Secret::new(user_name.to_vec())),
        password: Some(Secret::new(password.to_vec())),
        ..Write::default()
    }
}

pub(crate) fn delivered_after(result: UpdateResult) -> InstanceRecord {
    ended_with(result, "it failed", delivered())
}
