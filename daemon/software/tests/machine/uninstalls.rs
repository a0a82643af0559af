//! The decisions about Uninstall (TS 5.1.3.2).

use wharf_frames::{Action, Cause, Failure};
use wharf_software::{
    Effect, Event, OperationKind, RefusalCode, record::StoredProgress::Running, transition,
};

use crate::{cells::*, steps::*};

#[test]
fn uninstall_of_installed_software_stays_installed_2_until_it_is_gone() {
    for arguments in ["", "0"] {
        let made = then(installed(true), uninstall(arguments));
        assert_eq!(at(&made), (4, 2));
        assert_eq!(reason(&made), "40: removing nginx 1.0");
        assert_eq!(made.effects, [Effect::Queue { operation: NEW }]);
    }
    let removing = running(
        OperationKind::Action(Action::Uninstall),
        Running,
        installed(true),
    );
    let made = then(removing.clone(), ended(None, None));
    assert_eq!(at(&made), (0, 0));
    assert_eq!(reason(&made), "10: ready for a package");
    assert_eq!(ids(removing.clone(), &made), [0, 1, 16, 12, 9, 7]);
    // Nothing of it is left, so it is removed, whatever the failure.
    let failure = Failure::new(Cause::Locked, "apt ended after its work");
    let made = then(removing, ended(Some(failure), None));
    assert_eq!(at(&made), (0, 0));
    assert_eq!(reason(&made), "10: apt ended after its work");
}

#[test]
fn uninstall_in_delivered_drops_the_package_and_keeps_the_software_in_place() {
    for arguments in ["", "0", "1"] {
        for (record, name, beside) in [
            (delivered(), "", ""),
            (
                with_software(delivered()),
                "nginx",
                "; nginx 1.0 is in place and runs",
            ),
        ] {
            let made = then(record, uninstall(arguments));
            assert_eq!(at(&made), (0, 0));
            assert_eq!(reason(&made), format!("10: ready for a package{beside}"));
            assert_eq!(left(&made).pkg_name(), name);
            assert_eq!(made.effects, [Effect::Discard { stage: STAGE }]);
        }
    }
}

#[test]
fn uninstall_in_initial_removes_software_in_place() {
    let made = then(with_software(initial()), uninstall(""));
    assert_eq!(at(&made), (0, 0));
    assert_eq!(reason(&made), "10: removing nginx 1.0");
    assert_eq!(made.effects, [Effect::Queue { operation: NEW }]);
    assert_eq!(
        refused(initial(), uninstall("")).code,
        RefusalCode::MethodNotAllowed
    );
}

#[test]
fn uninstall_while_downloading_or_downloaded_is_4_05() {
    for record in [pulling(Running), pushing(), downloaded()] {
        for arguments in ["", "0", "1"] {
            let refusal = refused(with_software(record.clone()), uninstall(arguments));
            assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
        }
    }
}

#[test]
fn for_update_leaves_the_software_running_and_reads_inactive() {
    let made = then(installed(true), uninstall("1"));
    assert_eq!(at(&made), (0, 0));
    assert_eq!(made.effects, []);
    assert!(!left(&made).activation_state());
    assert_eq!(left(&made).pkg_version(), "1.0");
    assert!(left(&made).in_place().unwrap().was_active);
    assert_eq!(ids(installed(true), &made), [16, 12, 9, 7]);
    let made = then(installed(false), uninstall("1"));
    assert!(!left(&made).in_place().unwrap().was_active);
}

#[test]
fn for_update_in_initial_is_4_05() {
    for record in [initial(), with_software(initial())] {
        assert_eq!(
            refused(record, uninstall("1")).code,
            RefusalCode::MethodNotAllowed
        );
    }
}

#[test]
fn a_malformed_argument_of_uninstall_is_4_00_and_never_a_removal() {
    for arguments in [
        "2",
        "0='1'",
        "1='0'",
        "0,0",
        "0,1",
        "1,0",
        "00",
        "01",
        " 0",
        "ForUpdate",
    ] {
        for cell in cells() {
            let refusal = transition(&cell, uninstall(arguments), &rules()).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::BadRequest, "{arguments}");
            assert_eq!(refusal.instance, None);
        }
    }
}

#[test]
fn a_removal_that_fails_is_installed_59_with_the_reason_in_16() {
    let failure = Failure::new(Cause::Script, "prerm failed");
    let from_installed = running(
        OperationKind::Action(Action::Uninstall),
        Running,
        installed(true),
    );
    let from_initial = with_software(running(
        OperationKind::Action(Action::Uninstall),
        Running,
        initial(),
    ));
    for before in [from_installed, from_initial] {
        for event in [
            ended(Some(failure.clone()), Some(found("1.0", true))),
            Event::Failed {
                operation: RUNNING,
                failure: failure.clone(),
            },
        ] {
            let made = then(before.clone(), event);
            assert_eq!(at(&made), (4, 59));
            assert_eq!(reason(&made), "40: prerm failed");
            assert!(left(&made).activation_state());
        }
        let made = then(before, ended(None, Some(found("1.0", false))));
        assert_eq!(at(&made), (4, 59));
        assert_eq!(
            reason(&made),
            "40: the package manager reported success, but nginx 1.0 is still there"
        );
        assert!(!left(&made).activation_state());
    }
}

#[test]
fn a_removal_that_left_a_part_is_installed_59_and_can_be_asked_for_again() {
    let removing = running(
        OperationKind::Action(Action::Uninstall),
        Running,
        installed(true),
    );
    let part = || Some(damaged("1.0", "half-installed"));
    let failure = Failure::new(Cause::Script, "postrm failed");
    for (failure, why) in [
        (Some(failure), "40: postrm failed"),
        (
            None,
            "40: the package manager reported success, but nginx 1.0 (half-installed) is still there",
        ),
    ] {
        let made = then(removing.clone(), ended(failure, part()));
        assert_eq!(at(&made), (4, 59));
        assert_eq!(reason(&made), why);
        let kept = transition(left(&made), Event::Delete, &rules()).unwrap_err();
        assert_eq!(kept.code, RefusalCode::MethodNotAllowed);
        let again = transition(left(&made), uninstall(""), &rules()).unwrap();
        assert_eq!(at(&again), (4, 2));
        assert_eq!(again.effects, [Effect::Queue { operation: NEW }]);
    }
}

#[test]
fn the_agents_own_package_is_not_stopped_or_removed_from_afar() {
    for (record, event) in [
        (installed(true), uninstall("")),
        (with_software(initial()), uninstall("0")),
        (installed(true), execute(Action::Deactivate, "")),
        (installed(false), execute(Action::Deactivate, "")),
        (installed(true), Event::Delete),
    ] {
        let refusal = transition(&built(record), event, &own_rules()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
    }
    for record in [installed(true), with_software(delivered())] {
        assert_eq!(at(&by(&own_rules(), record, uninstall("1"))), (0, 0));
    }
    let made = by(&own_rules(), with_software(delivered()), uninstall(""));
    assert!(left(&made).software().is_some());
}
