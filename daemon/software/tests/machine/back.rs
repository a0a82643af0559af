//! The decisions about the way back to the version before, which only a local user can ask for.

use wharf_frames::{Action, Cause, Failure};
use wharf_software::{
    Effect, Event, InstanceRecord, OperationKind, RefusalCode, UpdateResult, executable,
    record::StoredProgress::Running, transition,
};

use crate::{cells::*, steps::*};

const BACK: OperationKind = OperationKind::Action(Action::Back);

#[test]
fn back_is_queued_in_installed_and_ends_there_with_the_version_that_the_device_has() {
    let made = then(installed(true), by_user(Action::Back));
    assert_eq!(at(&made), (4, 2));
    assert_eq!(reason(&made), "40: going back from nginx 1.0");
    assert_eq!(made.effects, [Effect::Queue { operation: NEW }]);
    assert_eq!(left(&made).operation().unwrap().kind, BACK);

    let before = running(BACK, Running, installed(true));
    let made = then(before.clone(), ended(None, Some(found("0.9", true))));
    assert_eq!(at(&made), (4, 2));
    assert_eq!(reason(&made), "40: nginx 0.9 is installed");
    assert!(left(&made).activation_state());
    assert_eq!(ids(before.clone(), &made), [1, 16]);

    let told = InstanceRecord {
        update_supported_objects: true,
        ..before
    };
    let made = then(told, ended(None, Some(found("0.9", true))));
    assert_eq!(made.effects, [Effect::UpdateRegistration]);
}

#[test]
fn a_back_that_fails_leaves_the_version_in_place_and_says_why_until_the_next_operation() {
    let before = running(BACK, Running, installed(true));
    let failure = || Failure::new(Cause::Policy, "no version before nginx 1.0 is kept");
    for event in [
        ended(Some(failure()), Some(found("1.0", true))),
        Event::Failed {
            operation: RUNNING,
            failure: failure(),
        },
    ] {
        let made = then(before.clone(), event);
        assert_eq!(at(&made), (4, 2));
        assert_eq!(reason(&made), "40: no version before nginx 1.0 is kept");
        assert!(left(&made).last_failure().is_some());
        let again = InstanceRecord::from(left(&made));
        let told = reason(&then(again, by_user(Action::Back)));
        assert_eq!(told, "40: going back from nginx 1.0");
    }
    let made = then(before, ended(None, None));
    assert_eq!(at(&made), (0, 0));
    assert_eq!(reason(&made), "10: nginx 1.0 was removed on the device");
}

#[test]
fn there_is_no_way_back_outside_installed_nor_for_the_agent_nor_for_a_server() {
    let executables = (0..=u16::MAX).filter_map(executable);
    assert_eq!(executables.filter(|it| *it == Action::Back).count(), 0);
    for cell in cells() {
        let is_installed = cell.update_state().value() == 4;
        let of_user = transition(&cell, by_user(Action::Back), &rules());
        assert_eq!(
            of_user.is_ok(),
            is_installed && (!cell.is_busy() || label(&cell).contains(", back ")),
            "{}",
            label(&cell)
        );
        for refusal in [
            transition(&cell, execute(Action::Back, ""), &rules()).unwrap_err(),
            transition(&cell, by_user(Action::Back), &own_rules())
                .err()
                .unwrap_or_else(|| refused(installed(true), execute(Action::Back, ""))),
        ] {
            assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
        }
    }
    let own = transition(&built(installed(true)), by_user(Action::Back), &own_rules());
    let why = own.unwrap_err().why;
    assert!(why.as_str().contains("the agent itself"), "{why}");
    let failed = ended_with(UpdateResult::UninstallationFailure, "no", installed(true));
    assert_eq!(at(&then(failed, by_user(Action::Back))), (4, 2));
}
