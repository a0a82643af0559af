//! Software in place while its instance is not INSTALLED: its Status Reason, and the commands of a local user (D28).

use wharf_frames::{Action, Cause, Failure, Text};
use wharf_software::{
    Effect, Event, Instance, InstanceRecord, OperationKind, RefusalCode, UpdateResult, UpdateState,
    record::StoredProgress::{Queued, Running},
    transition,
};

use crate::{cells::*, steps::*};

fn refused_download() -> InstanceRecord {
    let why = "there is no signature beside the package";
    ended_with(UpdateResult::IntegrityFailure, why, initial())
}

fn failed_upgrade() -> InstanceRecord {
    ended_with(
        UpdateResult::InstallationFailure,
        "preinst failed",
        delivered(),
    )
}

#[test]
fn status_reason_says_what_is_in_place_and_whether_it_runs() {
    let without_services = |record: InstanceRecord| {
        let in_place = record
            .in_place
            .clone()
            .map(|known| wharf_software::instance::Software {
                no_services: true,
                ..known
            });
        InstanceRecord { in_place, ..record }
    };
    let not_there = "20: there is no signature beside the package; nginx 1.0 is in place and";
    let not_installed = "60: nginx 2.0 is not installed: preinst failed; nginx 1.0 is in place and";
    for (record, begin) in [
        (refused_download(), not_there),
        (failed_upgrade(), not_installed),
        (
            initial(),
            "10: ready for a package; nginx 1.0 is in place and",
        ),
        (
            delivered(),
            "40: nginx 2.0 is ready to be installed; nginx 1.0 is in place and",
        ),
    ] {
        for (record, end) in [
            (with_software(record.clone()), "runs"),
            (with_stopped(record.clone()), "does not run"),
            (
                without_services(with_stopped(record.clone())),
                "has no services",
            ),
            (
                not_switched(with_stopped(record)),
                "does not run: nginx.service failed",
            ),
        ] {
            let instance = built(record);
            assert_eq!(
                instance.status_reason().to_string(),
                format!("{begin} {end}")
            );
            let public = instance.public_reason().to_string();
            let end = end.trim_end_matches(": nginx.service failed");
            assert!(
                public.ends_with(&format!("; nginx 1.0 is in place and {end}")),
                "{public}"
            );
        }
    }
}

#[test]
fn what_is_in_place_is_said_however_long_the_reason_is() {
    let endless = "no ".repeat(1000);
    let failed = ended_with(UpdateResult::InstallationFailure, &endless, delivered());
    let twice = InstanceRecord {
        in_place_note: Some(Text::new(&endless)),
        ..with_stopped(failed.clone())
    };
    let both = built(twice).status_reason().text;
    assert!(
        both.as_str()
            .contains("; nginx 1.0 is in place and does not run: no ")
    );
    assert!(both.as_str().len() <= Text::MAX);
    let reason = built(with_software(failed)).status_reason().to_string();
    assert!(
        reason.ends_with("…; nginx 1.0 is in place and runs"),
        "{reason}"
    );
    assert!(
        reason.starts_with("60: nginx 2.0 is not installed: no no"),
        "{reason}"
    );
}

/// Only resource 16 of the instance changes, for the server too.
#[test]
fn a_local_user_activates_and_deactivates_what_is_in_place_before_and_after_a_failed_upgrade() {
    for record in [initial(), refused_download(), delivered(), failed_upgrade()] {
        for (wanted, action, before, doing, done) in [
            (
                false,
                Action::Deactivate,
                with_software(record.clone()),
                "; deactivating nginx 1.0",
                "; nginx 1.0 is in place and does not run",
            ),
            (
                true,
                Action::Activate,
                with_stopped(record.clone()),
                "; activating nginx 1.0",
                "; nginx 1.0 is in place and runs",
            ),
        ] {
            let kind = OperationKind::Action(action);
            let accepted = then(before.clone(), by_user(action));
            assert!(reason(&accepted).ends_with(doing), "{}", reason(&accepted));
            assert_eq!(accepted.effects, [Effect::Queue { operation: NEW }]);
            assert_eq!(ids(before.clone(), &accepted), [16]);
            assert_eq!(left(&accepted).operation().unwrap().kind, kind);

            let queued = running(kind, Queued, before.clone());
            let started = then(queued, Event::Started { operation: RUNNING });
            let [effect] = &started.effects[..] else {
                panic!("{started:?}");
            };
            assert_eq!(effect.transaction(), Some(&on(action).into()));
            let at_work = InstanceRecord::from(left(&started));

            let made = then(at_work.clone(), ended(None, Some(found("1.0", wanted))));
            assert!(reason(&made).ends_with(done), "{}", reason(&made));
            assert_eq!(ids(before.clone(), &made), [16]);
            assert_eq!(made.effects, []);
            // The policy `keep` restores the state that the user left.
            assert_eq!(left(&made).in_place().unwrap().was_active, wanted);
            assert_eq!(left(&made).package(), built(before.clone()).package());

            let failure = Failure::new(Cause::Unit, "nginx.service: it said no");
            for event in [
                ended(Some(failure.clone()), Some(found("1.0", !wanted))),
                Event::Failed {
                    operation: RUNNING,
                    failure,
                },
            ] {
                let made = then(at_work.clone(), event);
                let said = reason(&made);
                assert!(
                    said.ends_with("run: nginx.service: it said no")
                        || said.ends_with("runs: nginx.service: it said no"),
                    "{said}"
                );
                assert!(left(&made).last_failure().is_some());
                assert_eq!(ids(before.clone(), &made), [16]);
            }
            let gone = then(at_work, ended(None, None));
            assert_eq!(left(&gone).software(), None);
            assert_eq!(left(&gone).package(), built(before).package());
        }
    }
}

/// The software crashed after its upgrade failed, and does not start. `keep` starts it again with the next Install.
#[test]
fn software_that_was_active_stays_so_when_a_local_activate_fails() {
    let failure = || Some(Failure::new(Cause::Unit, "nginx.service: it said no"));
    for record in [initial(), refused_download(), delivered(), failed_upgrade()] {
        for was_active in [true, false] {
            let in_place = software("1.0", was_active);
            let crashed = InstanceRecord {
                in_place: Some(in_place),
                ..with_stopped(record.clone())
            };
            let at_work = running(OperationKind::Action(Action::Activate), Running, crashed);
            for failure in [failure(), None] {
                let made = then(at_work.clone(), ended(failure, Some(found("1.0", false))));
                assert_eq!(left(&made).in_place().unwrap().was_active, was_active);
            }
            let made = then(at_work, ended(failure(), Some(found("1.0", true))));
            assert!(left(&made).in_place().unwrap().was_active);
        }
        let at_work = running(
            OperationKind::Action(Action::Deactivate),
            Running,
            with_software(record),
        );
        let made = then(at_work, ended(failure(), Some(found("1.0", false))));
        assert!(!left(&made).in_place().unwrap().was_active);
    }
}

#[test]
fn a_server_has_no_effect_on_what_is_in_place_outside_installed() {
    for cell in cells() {
        if cell.update_state() == UpdateState::Installed {
            continue;
        }
        for action in [Action::Activate, Action::Deactivate] {
            let refusal = transition(&cell, execute(action, ""), &rules()).unwrap_err();
            assert_eq!(
                refusal.code,
                RefusalCode::MethodNotAllowed,
                "{}",
                label(&cell)
            );
        }
    }
}

#[test]
fn a_local_user_has_to_wait_for_a_package_that_is_on_its_way() {
    for record in [pulling(Running), pushing(), downloaded()] {
        let refusal = refused(with_software(record.clone()), by_user(Action::Deactivate));
        assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
        let why = refusal.why.as_str();
        assert!(
            why.contains("is not possible while a package is being delivered"),
            "{why}"
        );
        let nothing = refused(record, by_user(Action::Activate));
        assert!(nothing.why.as_str().contains("has no effect in DOWNLOAD"));
    }
    let busy = with_software(installing());
    let refusal = refused(busy, by_user(Action::Deactivate));
    assert_eq!(refusal.why.as_str(), "busy: install has not ended");
}

#[test]
fn nothing_else_begins_while_what_is_in_place_is_switched() {
    for record in [initial(), failed_upgrade()] {
        let busy = running(
            OperationKind::Action(Action::Deactivate),
            Running,
            with_software(record),
        );
        for event in [
            good_uri(),
            write_uri(b""),
            write_package(SERVER),
            uninstall(""),
            uninstall("1"),
            execute(Action::Install, ""),
            execute(Action::Activate, ""),
            Event::Delete,
        ] {
            let refusal = transition(&built(busy.clone()), event.clone(), &rules()).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::MethodNotAllowed, "{event:?}");
            assert_eq!(refusal.instance, None, "{event:?}");
        }
        unchanged(busy, by_user(Action::Deactivate));
    }
}

#[test]
fn the_agents_own_package_is_not_stopped_in_place_either() {
    for record in [initial(), failed_upgrade()] {
        let own = built(with_software(record));
        let refusal = transition(&own, by_user(Action::Deactivate), &own_rules()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
    }
}

/// Somebody stops the software, or it fails, while its upgrade waits for a retry.
#[test]
fn what_is_in_place_is_followed_as_the_device_has_it() {
    for record in [initial(), refused_download(), failed_upgrade()] {
        let before = with_software(record);
        let made = then(before.clone(), Event::DeviceHas(Some(found("1.0", false))));
        assert!(reason(&made).ends_with("is in place and does not run"));
        assert_eq!(ids(before.clone(), &made), [16]);
        let known = left(&made).in_place().unwrap();
        assert!(known.was_active && !known.runs);
        let noted = not_switched(InstanceRecord::from(left(&made)));
        let again = then(noted, Event::DeviceHas(Some(found("1.0", true))));
        assert!(reason(&again).ends_with("is in place and runs"));
    }
}

#[test]
fn software_without_services_is_told_in_every_state() {
    let none = || wharf_frames::installer::Found {
        no_services: true,
        ..found("2.0", false)
    };
    let installed = then(installing(), ended(None, Some(none())));
    assert!(left(&installed).no_services());
    assert!(!left(&installed).activation_state());
    let rebuilt = Instance::try_from(InstanceRecord::from(left(&installed))).unwrap();
    assert_eq!(&rebuilt, left(&installed));
    let ready = transition(&rebuilt, uninstall("1"), &rules()).unwrap();
    assert!(left(&ready).no_services());
    assert!(reason(&ready).ends_with("; nginx 2.0 is in place and has no services"));
    let again = InstanceRecord::from(left(&ready));
    assert!(built(again).no_services());
}

#[test]
fn software_with_services_is_not_told_as_software_without() {
    for record in [installed(true), with_software(delivered())] {
        assert!(!built(record).no_services());
    }
    assert!(!built(initial()).no_services(), "nothing is in place");
}

/// The delivered package may have another name than the software in place: only Install refuses that.
#[test]
fn an_activation_is_about_the_software_in_place_and_not_the_delivered_package() {
    let mut record = with_stopped(delivered());
    if let Some(package) = &mut record.package {
        package.name = name("apache");
    }
    let subject = |record: InstanceRecord| built(record).subject().cloned();
    assert_eq!(subject(record.clone()), Some(name("apache")));
    for kind in [
        OperationKind::Action(Action::Activate),
        OperationKind::Action(Action::Deactivate),
    ] {
        let switching = running(kind, Running, record.clone());
        assert_eq!(subject(switching), Some(name("nginx")), "{kind:?}");
    }
}
