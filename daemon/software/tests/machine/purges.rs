//! The decisions about a purge: a removal with the configuration, which only a local user can ask for.

use wharf_frames::{Action, Cause, Failure};
use wharf_software::{
    Effect, Event, InstanceRecord, OperationKind, RefusalCode, executable,
    record::StoredProgress::{Queued, Running},
    transition,
};

use crate::{cells::*, steps::*};

#[test]
fn a_purge_is_queued_where_software_is_in_place_and_ends_in_initial() {
    for (record, standing, number) in [
        (installed(true), (4, 2), 40),
        (with_software(initial()), (0, 0), 10),
    ] {
        let made = then(record.clone(), purge());
        assert_eq!(at(&made), standing);
        assert_eq!(reason(&made), format!("{number}: purging nginx 1.0"));
        assert_eq!(made.effects, [Effect::Queue { operation: NEW }]);
        assert_eq!(
            left(&made).operation().unwrap().kind,
            OperationKind::Action(Action::Purge)
        );

        let made = then(
            running(OperationKind::Action(Action::Purge), Running, record),
            ended(None, None),
        );
        assert_eq!(at(&made), (0, 0));
        assert_eq!(reason(&made), "10: ready for a package");
        assert_eq!(left(&made).note(), None);
    }
}

#[test]
fn nothing_is_purged_without_software_in_place_or_instead_of_a_delivered_package() {
    for record in [
        initial(),
        pulling(Running),
        with_software(downloaded()),
        delivered(),
        with_software(delivered()),
    ] {
        assert_eq!(refused(record, purge()).code, RefusalCode::MethodNotAllowed);
    }
    for record in [installed(true), with_software(initial())] {
        let refusal = transition(&built(record), purge(), &own_rules()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
    }
}

#[test]
fn no_execute_of_a_server_purges() {
    let mut actions: Vec<Action> = (0..=u16::MAX).filter_map(executable).collect();
    actions.push(Action::Purge);
    for action in actions {
        for arguments in ["", "0", "1", "2", "0='purge'", "9", "0,1"] {
            for cell in cells() {
                let Ok(made) = transition(&cell, execute(action, arguments), &rules()) else {
                    continue;
                };
                let was = cell.operation().map(|operation| operation.kind);
                let is = left(&made).operation().map(|operation| operation.kind);
                assert_eq!(
                    is == Some(OperationKind::Action(Action::Purge)),
                    was == Some(OperationKind::Action(Action::Purge))
                );
                let performs = |effect: &Effect| effect.transaction().is_some();
                assert!(!made.effects.iter().any(performs));
            }
        }
    }
}

#[test]
fn an_uninstall_and_a_purge_are_two_operations() {
    let started = |kind| running(kind, Queued, installed(true));
    unchanged(started(OperationKind::Action(Action::Purge)), purge());
    for (kind, event) in [
        (OperationKind::Action(Action::Purge), uninstall("")),
        (OperationKind::Action(Action::Uninstall), purge()),
        (OperationKind::Action(Action::Activate), purge()),
    ] {
        let record = match kind {
            OperationKind::Action(Action::Activate) => running(kind, Queued, installed(false)),
            _ => started(kind),
        };
        let refusal = refused(record, event);
        assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
        let words = format!("busy: {} has not ended", kind.as_str());
        assert_eq!(refusal.why.as_str(), words);
    }
}

#[test]
fn a_purge_that_policy_does_not_allow_is_installed_57_and_one_that_fails_is_59() {
    let before = running(
        OperationKind::Action(Action::Purge),
        Running,
        installed(true),
    );
    for (cause, result) in [(Cause::Policy, 57), (Cause::Plan, 59), (Cause::Script, 59)] {
        for event in failures(cause) {
            let made = then(before.clone(), event);
            assert_eq!(at(&made), (4, result), "{cause:?}");
            assert_eq!(reason(&made), "40: no", "{cause:?}");
            let again = InstanceRecord::from(left(&made));
            assert_eq!(at(&then(again, uninstall(""))), (4, 2), "{cause:?}");
        }
    }
    let made = then(before, ended(None, Some(found("1.0", true))));
    assert_eq!(at(&made), (4, 59));
}

/// A server may be about to write the package of an upgrade.
#[test]
fn a_purge_that_fails_in_initial_leaves_it_ready_for_a_package() {
    let before = with_software(running(
        OperationKind::Action(Action::Purge),
        Running,
        initial(),
    ));
    for cause in [Cause::Policy, Cause::Plan, Cause::Script] {
        for event in failures(cause) {
            let made = then(before.clone(), event);
            assert_eq!(at(&made), (0, 0), "{cause:?}");
            assert!(reason(&made).starts_with("10: no"), "{}", reason(&made));
            let in_place = left(&made).in_place().unwrap();
            assert_eq!((in_place.name.as_str(), in_place.runs), ("nginx", true));
            let again = InstanceRecord::from(left(&made));
            assert_eq!(at(&then(again.clone(), good_uri())), (1, 1), "{cause:?}");
            assert_eq!(at(&then(again, purge())), (0, 0), "{cause:?}");
        }
    }
    let made = then(before, ended(None, Some(found("1.0", true))));
    assert_eq!(at(&made), (0, 0));
    assert!(reason(&made).contains("is still there"));
}

/// The two events by which a purge fails with the software in place.
fn failures(cause: Cause) -> [Event; 2] {
    let failure = Failure::new(cause, "no");
    [
        ended(Some(failure.clone()), Some(found("1.0", true))),
        Event::Failed {
            operation: RUNNING,
            failure,
        },
    ]
}

#[test]
fn configuration_that_a_purge_left_is_told_in_16() {
    let before = running(
        OperationKind::Action(Action::Purge),
        Running,
        installed(true),
    );
    let failure = Failure::new(
        Cause::Script,
        "nginx is removed, and its configuration is not",
    );
    let made = then(before, ended(Some(failure), None));
    assert_eq!(at(&made), (0, 0));
    let told = "10: nginx is removed, and its configuration is not";
    assert_eq!(reason(&made), told);
    assert!(left(&made).note().is_some());
}
