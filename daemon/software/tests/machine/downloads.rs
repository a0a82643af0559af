//! The decisions about DOWNLOAD STARTED and DOWNLOADED, by pull and by push (TS 5.1.2.2, 5.1.2.3).

use wharf_frames::{Action, Cause, Failure, OperationId};
use wharf_software::{
    Effect, Event, Instance, InstanceRecord, ObjectLink, OperationKind, RefusalCode, Requester,
    ShortId,
    record::StoredProgress::{self, Queued, Running},
    transition,
};

use crate::{cells::*, steps::*};

#[test]
fn an_instance_from_the_factory_is_initial_with_result_0() {
    let instance = Instance::default();
    assert_eq!(instance.update_state().value(), 0);
    assert_eq!(instance.update_result().value(), 0);
    assert_eq!(instance.pkg_name(), "");
    assert_eq!(instance.pkg_version(), "");
    assert!(!instance.activation_state());
    assert!(!instance.update_supported_objects());
    assert_eq!(instance.package_settings(), ObjectLink::NULL);
    assert_eq!(
        instance.status_reason().to_string(),
        "10: ready for a package"
    );
    assert_eq!(instance.operation(), None);
    assert_eq!(instance.phase(), None);
}

#[test]
fn a_package_uri_in_initial_starts_a_download_at_once_with_reason_10() {
    let made = then(initial(), good_uri());
    assert_eq!(at(&made), (1, 1));
    assert_eq!(reason(&made), "10: waiting for the first byte");
    assert_eq!(made.effects, [Effect::Queue { operation: NEW }]);
    assert_eq!(ids(initial(), &made), [16, 9, 7]);
    let download = left(&made).operation().unwrap();
    assert_eq!((download.id, download.kind), (NEW, OperationKind::Pull));
    assert_eq!(download.requester, SERVER);
    assert_eq!(left(&made).stage(), Some(NEW_STAGE));
}

#[test]
fn a_queued_download_says_what_it_waits_for() {
    let made = then(
        pulling(Queued),
        Event::Waiting {
            operation: RUNNING,
            why: "the clock".into(),
        },
    );
    assert_eq!(reason(&made), "10: waiting for the clock");
    assert_eq!(ids(pulling(Queued), &made), [16]);
    let started = transition(left(&made), Event::Started { operation: RUNNING }, &rules()).unwrap();
    assert_eq!(reason(&started), "10: waiting for the first byte");
    assert_eq!(
        started.effects,
        [Effect::StartPull {
            operation: RUNNING,
            stage: STAGE
        }]
    );
}

#[test]
fn status_reason_is_30_from_the_first_byte() {
    let byte = Event::FirstByte { operation: RUNNING };
    let made = then(pulling(Running), byte.clone());
    assert_eq!(reason(&made), "30: downloading");
    assert_eq!(at(&made), (1, 1));
    unchanged(pulling(Queued), byte);
}

#[test]
fn status_reason_stays_30_while_a_cut_download_waits_to_go_on() {
    let wait = Event::Waiting {
        operation: RUNNING,
        why: "the next attempt".into(),
    };
    let made = then(pulling(StoredProgress::Receiving), wait);
    assert_eq!(reason(&made), "30: waiting for the next attempt");
    let again = Event::FirstByte { operation: RUNNING };
    let made = transition(left(&made), again, &rules()).unwrap();
    assert_eq!(reason(&made), "30: downloading");
}

#[test]
fn a_package_fully_written_is_downloaded_with_result_0() {
    for record in [
        pulling(Running),
        pulling(StoredProgress::Receiving),
        pushing(),
    ] {
        let made = then(record, Event::PackageWritten { operation: RUNNING });
        assert_eq!(at(&made), (2, 0));
        assert_eq!(reason(&made), "40: checking who signed the package");
        assert_eq!(
            made.effects,
            [Effect::Seal {
                operation: RUNNING,
                stage: STAGE
            }]
        );
    }
}

#[test]
fn a_download_ends_with_the_verdict_on_its_package() {
    for (record, kind) in [
        (pulling(StoredProgress::Receiving), OperationKind::Pull),
        (pushing(), OperationKind::Push),
    ] {
        let written = then(record, Event::PackageWritten { operation: RUNNING });
        let open = left(&written).operation().map(|it| (it.id, it.kind));
        assert_eq!(open, Some((RUNNING, kind)));
        let held = Event::Sealed {
            stage: STAGE,
            package: package(),
        };
        let refused = Event::SealRefused {
            stage: STAGE,
            failure: Failure::new(Cause::Unsigned, "there is no signature"),
        };
        for verdict in [held, refused] {
            let judged = transition(left(&written), verdict, &rules()).unwrap();
            assert_eq!(left(&judged).operation(), None);
        }
    }
}

#[test]
fn a_download_whose_next_attempt_starts_no_longer_says_for_what_it_waited() {
    for (progress, told) in [
        (Running, "10: waiting for the first byte"),
        (StoredProgress::Receiving, "30: downloading"),
    ] {
        let waiting = InstanceRecord {
            note: Some("attempt 3 of 8".into()),
            ..pulling(progress)
        };
        let made = then(waiting, Event::Started { operation: RUNNING });
        assert_eq!(reason(&made), told);
        assert_eq!(made.effects, [], "the effect is still there");
    }
}

const CANCEL: Event = Event::Cancel {
    operation: RUNNING,
    by: Requester::User(0),
};

#[test]
fn a_cancelled_download_is_initial_57_and_says_who_cancelled() {
    for record in [
        pulling(Queued),
        pulling(Running),
        pulling(StoredProgress::Receiving),
        pushing(),
        downloaded(),
    ] {
        for record in [record.clone(), with_software(record)] {
            let in_place = Instance::try_from(record.clone()).unwrap();
            let made = then(record, CANCEL);
            assert_eq!(at(&made), (0, 57));
            assert!(reason(&made).starts_with("20: cancelled by user 0 on the device"));
            assert_eq!(made.effects, [Effect::Discard { stage: STAGE }]);
            assert_eq!(left(&made).software(), in_place.software());
            assert_eq!(left(&made).settings().password, None);
        }
    }
}

#[test]
fn what_waits_in_the_gate_can_be_cancelled_and_leaves_the_device_as_it_is() {
    for (kind, record, expected) in [
        (OperationKind::Action(Action::Install), delivered(), (3, 57)),
        (
            OperationKind::Action(Action::Uninstall),
            installed(true),
            (4, 59),
        ),
        (
            OperationKind::Action(Action::Purge),
            installed(true),
            (4, 59),
        ),
        (
            OperationKind::Action(Action::Activate),
            installed(false),
            (4, 2),
        ),
        (
            OperationKind::Action(Action::Deactivate),
            installed(true),
            (4, 2),
        ),
        (OperationKind::Action(Action::Back), installed(true), (4, 2)),
    ] {
        let made = then(running(kind, Queued, record.clone()), CANCEL);
        assert_eq!(at(&made), expected, "{kind:?}");
        assert!(reason(&made).ends_with("cancelled by user 0 on the device"));
        assert_eq!(left(&made).operation(), None);
        let refusal = refused(running(kind, Running, record), CANCEL);
        assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
    }
}

#[test]
fn where_nothing_is_done_there_is_nothing_to_cancel() {
    for record in [initial(), delivered(), installed(true)] {
        let refusal = refused(record, CANCEL);
        assert_eq!(refusal.why.as_str(), "there is nothing to cancel");
    }
}

#[test]
fn another_operation_than_the_one_that_cancel_names_runs_on() {
    let install = running(OperationKind::Action(Action::Install), Queued, delivered());
    for record in [pulling(Running), pushing(), downloaded(), install] {
        let of_another = Event::Cancel {
            operation: OperationId::from_bytes([9; 16]),
            by: Requester::User(0),
        };
        let refusal = refused(record, of_another);
        assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
        let why = refusal.why.as_str();
        assert!(why.ends_with("that runs is another one"), "{why}");
        assert_eq!(refusal.instance, None);
    }
}

#[test]
fn a_package_written_during_a_download_is_refused_with_what_ends_the_download() {
    let says = |record| refused(record, good_uri()).why.to_string();
    let cancel = "`wharfctl cancel` on the device";
    for record in [pulling(Running), downloaded()] {
        let alone = says(record.clone());
        let told = format!("Delete ends the download, and so does {cancel}");
        assert!(alone.ends_with(&told), "{alone}");
        let upgrade = says(with_software(record.clone()));
        assert!(
            upgrade.ends_with(&format!(": {cancel} ends the download")),
            "{upgrade}"
        );
        let delete = refused(with_software(record), Event::Delete);
        assert_eq!(
            delete.why.as_str(),
            format!("nginx 1.0 is in place: {cancel} ends the download")
        );
    }
}

#[test]
fn a_package_that_holds_is_delivered_with_result_0_never_3() {
    let made = then(
        downloaded(),
        Event::Sealed {
            stage: STAGE,
            package: package(),
        },
    );
    assert_eq!(at(&made), (3, 0));
    assert_eq!(reason(&made), "40: nginx 2.0 is ready to be installed");
    assert_eq!(made.effects, []);
    assert_eq!(ids(downloaded(), &made), [0, 1, 16, 7]);
}

#[test]
fn what_a_verdict_waits_for_is_said_until_it_is_there() {
    let waits = then(
        downloaded(),
        Event::SealWaits {
            stage: STAGE,
            why: "a verdict: no key is readable".into(),
        },
    );
    assert_eq!(at(&waits), (2, 0));
    assert_eq!(
        reason(&waits),
        "40: waiting for a verdict: no key is readable"
    );
    assert_eq!(waits.effects, []);
    assert_eq!(ids(downloaded(), &waits), [16]);
}

#[test]
fn an_integrity_failure_goes_back_to_initial_with_53_and_the_file_goes() {
    let made = then(
        downloaded(),
        Event::SealRefused {
            stage: STAGE,
            failure: Failure::new(Cause::BadSignature, "the signature does not fit"),
        },
    );
    assert_eq!(at(&made), (0, 53));
    assert_eq!(reason(&made), "20: the signature does not fit");
    assert_eq!(made.effects, [Effect::Discard { stage: STAGE }]);
    assert_eq!(ids(downloaded(), &made), [16, 9, 7]);
}

#[test]
fn a_failed_download_goes_back_to_initial_with_its_result_and_the_file_goes() {
    for record in [pulling(Queued), pulling(Running), pushing()] {
        let made = then(record, failed(Cause::PushAbandoned));
        assert_eq!(at(&made), (0, 52));
        assert_eq!(reason(&made), "20: it failed");
        assert_eq!(made.effects, [Effect::Discard { stage: STAGE }]);
    }
}

#[test]
fn user_name_and_password_are_erased_when_the_download_ends_either_way() {
    for event in [
        Event::PackageWritten { operation: RUNNING },
        failed(Cause::Timeout),
    ] {
        let made = then(pulling(Running), event);
        let settings = left(&made).settings();
        assert_eq!((&settings.user_name, &settings.password), (&None, &None));
    }
}

#[test]
fn update_supported_objects_and_package_settings_outlive_a_download() {
    for event in [
        Event::PackageWritten { operation: RUNNING },
        failed(Cause::Timeout),
    ] {
        let record = InstanceRecord {
            update_supported_objects: true,
            package_settings: SETTINGS,
            ..pulling(Running)
        };
        let made = then(record, event);
        assert!(left(&made).update_supported_objects());
        assert_eq!(left(&made).package_settings(), SETTINGS);
    }
}

#[test]
fn block_0_again_from_the_same_server_restarts_that_push() {
    let made = then(pushing(), write_package(SERVER));
    assert_eq!(at(&made), (1, 1));
    assert_eq!(
        made.effects,
        [
            Effect::StopDelivery { stage: STAGE },
            Effect::Discard { stage: STAGE },
            Effect::AcceptPush {
                operation: NEW,
                stage: NEW_STAGE
            },
        ]
    );
    assert_eq!(ids(pushing(), &made), [0; 0]);
}

#[test]
fn block_0_from_another_server_is_4_05() {
    for requester in [Requester::Server(ShortId(2)), Requester::User(1)] {
        assert_eq!(
            refused(pushing(), write_package(requester)).code,
            RefusalCode::MethodNotAllowed
        );
    }
}

#[test]
fn a_push_restarts_neither_a_pull_nor_by_a_uri() {
    assert_eq!(
        refused(pulling(Running), write_package(SERVER)).code,
        RefusalCode::MethodNotAllowed
    );
    assert_eq!(
        refused(pushing(), good_uri()).code,
        RefusalCode::MethodNotAllowed
    );
}

#[test]
fn a_push_begins_with_its_first_bytes() {
    let made = then(initial(), write_package(SERVER));
    assert_eq!(at(&made), (1, 1));
    assert_eq!(reason(&made), "30: the server sends the package");
    assert_eq!(
        made.effects,
        [Effect::AcceptPush {
            operation: NEW,
            stage: NEW_STAGE
        }]
    );
    assert_eq!(left(&made).operation().unwrap().kind, OperationKind::Push);
}

#[test]
fn name_and_version_are_those_in_place_until_delivered_then_the_packages() {
    for cell in cells() {
        let version = match (cell.update_state().value(), cell.software()) {
            (3, _) => "2.0",
            (_, Some(_)) => "1.0",
            (_, None) => "",
        };
        let name = if version.is_empty() { "" } else { "nginx" };
        assert_eq!(
            (cell.pkg_name(), cell.pkg_version()),
            (name, version),
            "{}",
            label(&cell)
        );
    }
}
