//! The decisions about Activate and Deactivate (TS 5.2).

use wharf_frames::{Action, Cause, Failure, installer::Found};
use wharf_software::{
    Effect, Event, Instance, InstanceRecord, OperationKind, UpdateResult,
    record::StoredProgress::Running,
};

use crate::{cells::*, steps::*};

#[test]
fn activate_when_active_and_deactivate_when_inactive_change_nothing() {
    unchanged(installed(true), execute(Action::Activate, ""));
    unchanged(installed(false), execute(Action::Deactivate, ""));
    let noted = ended_with(
        UpdateResult::Installed,
        "nginx.service failed",
        installed(false),
    );
    unchanged(noted, execute(Action::Deactivate, ""));
}

#[test]
fn activation_follows_the_device() {
    for (active, action, kind, doing) in [
        (
            false,
            Action::Activate,
            OperationKind::Action(Action::Activate),
            "activating",
        ),
        (
            true,
            Action::Deactivate,
            OperationKind::Action(Action::Deactivate),
            "deactivating",
        ),
    ] {
        let accepted = then(installed(active), execute(action, ""));
        assert_eq!(at(&accepted), (4, 2));
        assert_eq!(reason(&accepted), format!("40: {doing} nginx 1.0"));
        assert_eq!(accepted.effects, [Effect::Queue { operation: NEW }]);
        assert_eq!(left(&accepted).operation().unwrap().kind, kind);

        let before = running(kind, Running, installed(active));
        let made = then(before.clone(), ended(None, Some(found("1.0", !active))));
        assert_eq!(left(&made).activation_state(), !active);
        assert_eq!(reason(&made), "40: nginx 1.0 is installed");
        assert_eq!(ids(before, &made), [16, 12]);
        assert_eq!(made.effects, []);
    }
}

#[test]
fn what_systemd_skipped_is_said_in_16_as_long_as_it_is_so_and_not_to_everybody() {
    let skips = || Found {
        skipped: Some(
            "systemd skipped nginx.service (ConditionVirtualization=no is not met)".into(),
        ),
        ..found("1.0", true)
    };
    let told = "40: nginx 1.0 is installed; systemd skipped nginx.service (ConditionVirtualization=no is not met)";
    let before = running(
        OperationKind::Action(Action::Activate),
        Running,
        installed(false),
    );
    let made = then(before, ended(None, Some(skips())));
    let activated = left(&made);
    assert_eq!((at(&made), activated.activation_state()), ((4, 2), true));
    assert_eq!(reason(&made), told);
    let public = activated.public_reason().to_string();
    assert_eq!(public, "40: nginx 1.0 is installed");
    let stored = InstanceRecord::from(activated);
    assert_eq!(Instance::try_from(stored.clone()).as_ref(), Ok(activated));

    let runs = then(stored, Event::DeviceHas(Some(found("1.0", true))));
    assert_eq!(reason(&runs), "40: nginx 1.0 is installed");
    let again = then(
        InstanceRecord::from(left(&runs)),
        Event::DeviceHas(Some(skips())),
    );
    assert_eq!(reason(&again), told);
}

#[test]
fn a_failed_activation_leaves_12_false_and_result_2_with_the_reason_in_16() {
    let before = running(
        OperationKind::Action(Action::Activate),
        Running,
        installed(false),
    );
    let failure = Failure::new(Cause::Unit, "nginx.service: exit status 1");
    for event in [
        ended(Some(failure.clone()), Some(found("1.0", false))),
        Event::Failed {
            operation: RUNNING,
            failure,
        },
    ] {
        let made = then(before.clone(), event);
        assert_eq!(at(&made), (4, 2));
        assert!(!left(&made).activation_state());
        assert_eq!(reason(&made), "40: nginx.service: exit status 1");
        assert_eq!(ids(before.clone(), &made), [16]);
    }
}

#[test]
fn an_activation_that_the_device_does_not_show_has_failed() {
    for (active, kind, words) in [
        (
            false,
            OperationKind::Action(Action::Activate),
            "does not run",
        ),
        (
            true,
            OperationKind::Action(Action::Deactivate),
            "still runs",
        ),
    ] {
        let before = running(kind, Running, installed(active));
        let made = then(before, ended(None, Some(found("1.0", active))));
        assert_eq!(
            reason(&made),
            format!("40: the service manager reported success, but nginx {words}")
        );
        assert_eq!(left(&made).activation_state(), active);
    }
}

/// A unit that does not stop in time is already disabled.
#[test]
fn a_deactivation_that_failed_is_known_although_nothing_is_active() {
    let before = running(
        OperationKind::Action(Action::Deactivate),
        Running,
        installed(true),
    );
    let failure = Failure::new(Cause::Unit, "nginx.service still runs");
    let made = then(before, ended(Some(failure), Some(found("1.0", false))));
    let failed = left(&made);
    assert!(!failed.activation_state());
    let why = failed.last_failure().map(|why| why.as_str());
    assert_eq!(why, Some("nginx.service still runs"));
}

#[test]
fn software_that_is_gone_when_its_activation_ends_was_removed() {
    for kind in [
        OperationKind::Action(Action::Activate),
        OperationKind::Action(Action::Deactivate),
    ] {
        let before = running(
            kind,
            Running,
            installed(kind == OperationKind::Action(Action::Deactivate)),
        );
        let made = then(before, ended(None, None));
        assert_eq!(at(&made), (0, 0));
        assert_eq!(reason(&made), "10: nginx 1.0 was removed on the device");
    }
}
