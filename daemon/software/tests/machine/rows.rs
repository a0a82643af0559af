//! The decisions over the specification, row by row.

use wharf_frames::{Cause, Failure, OperationId, Secret, installer::Installed};
use wharf_software::{
    ActivationPolicy, Code, Effect, Event, Executable, Instance, InstanceId, Kind, ObjectLink,
    Origin, Record, Refusal, Resource, Rules, Source, Transition, UpdateResult, Write, changes,
    create::{create, free_id},
    record::StoredProgress::{self, Queued, Running},
    step,
};

use crate::cells::*;

fn execute(resource: Executable, arguments: &str) -> Event {
    Event::Execute {
        resource,
        arguments: arguments.as_bytes().to_vec(),
        request: request(),
    }
}

fn uninstall(arguments: &str) -> Event {
    execute(Executable::Uninstall, arguments)
}

fn write(write: Write) -> Event {
    Event::Write {
        write,
        request: request(),
        stage: NEW_STAGE,
    }
}

fn write_uri(uri: &[u8]) -> Event {
    write(Write {
        source: Some(Source::Uri(uri.to_vec())),
        ..Write::default()
    })
}

fn good_uri() -> Event {
    write_uri(uri().as_str().as_bytes())
}

fn write_package(origin: Origin) -> Event {
    let mut request = request();
    request.origin = origin;
    Event::Write {
        write: Write {
            source: Some(Source::Package { empty: false }),
            ..Write::default()
        },
        request,
        stage: NEW_STAGE,
    }
}

fn ended(failure: Option<Failure>, device: Option<Installed>) -> Event {
    Event::Ended {
        operation: RUNNING,
        failure,
        device,
        next: NEXT,
    }
}

fn failed(cause: Cause) -> Event {
    Event::Failed {
        operation: RUNNING,
        failure: Failure::new(cause, "it failed"),
    }
}

fn by(rules: &Rules<'_>, record: Record, event: Event) -> Transition {
    step(&built(record), event, rules).unwrap()
}

fn then(record: Record, event: Event) -> Transition {
    by(&rules(), record, event)
}

fn refused(record: Record, event: Event) -> Refusal {
    step(&built(record), event, &rules()).unwrap_err()
}

fn left(transition: &Transition) -> &Instance {
    transition.instance.as_ref().unwrap()
}

/// Resources 7 and 9.
fn at(transition: &Transition) -> (u8, u8) {
    let instance = left(transition);
    (
        instance.update_state().value(),
        instance.update_result().value(),
    )
}

fn reason(transition: &Transition) -> String {
    left(transition).status_reason().to_string()
}

fn ids(old: Record, transition: &Transition) -> Vec<u16> {
    changes(&built(old), left(transition))
        .into_iter()
        .map(Resource::id)
        .collect()
}

fn unchanged(record: Record, event: Event) {
    let made = then(record.clone(), event.clone());
    assert_eq!(made.effects, [], "{event:?}");
    assert_eq!(Record::from(left(&made)), record, "{event:?}");
}

fn credentials(user_name: &[u8], password: &[u8]) -> Write {
    Write {
        user_name: Some(Secret::new(user_name.to_vec())),
        password: Some(Secret::new(password.to_vec())),
        ..Write::default()
    }
}

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
    assert_eq!((download.id, download.kind), (NEW, Kind::Pull));
    assert_eq!(download.origin, SERVER);
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
    let started = step(left(&made), Event::Started { operation: RUNNING }, &rules()).unwrap();
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
    let made = step(left(&made), again, &rules()).unwrap();
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
fn user_name_and_password_can_be_written_in_any_state_and_empty_erases() {
    for cell in cells() {
        let set = step(&cell, write(credentials(b"u", b"p")), &rules()).unwrap();
        let settings = left(&set).settings();
        assert_eq!(settings.user_name.as_ref().unwrap().expose(), b"u");
        assert_eq!(settings.password.as_ref().unwrap().expose(), b"p");
        assert_eq!(left(&set).state(), cell.state());
        let erased = step(left(&set), write(credentials(b"", b"")), &rules()).unwrap();
        let settings = left(&erased).settings();
        assert_eq!((&settings.user_name, &settings.password), (&None, &None));
        assert_eq!(set.effects, []);
    }
}

#[test]
fn a_write_of_one_credential_leaves_the_other() {
    let only = Write {
        password: Some(Secret::new(b"new".to_vec())),
        ..Write::default()
    };
    let made = then(pulling(Running), write(only));
    let settings = left(&made).settings();
    assert_eq!(settings.user_name.as_ref().unwrap().expose(), b"user");
    assert_eq!(settings.password.as_ref().unwrap().expose(), b"new");
}

#[test]
fn user_name_and_password_over_255_bytes_are_4_00() {
    let fits = "é".repeat(127) + "x";
    then(
        initial(),
        write(credentials(fits.as_bytes(), fits.as_bytes())),
    );
    for (user_name, password) in [
        (&[b'x'; 256][..], &b"p"[..]),
        (b"u", &[b'x'; 256]),
        (b"\xff", b"p"),
    ] {
        let refusal = refused(initial(), write(credentials(user_name, password)));
        assert_eq!((refusal.code, refusal.instance), (Code::BadRequest, None));
    }
}

#[test]
fn package_settings_lead_to_an_object_that_exists_or_nowhere() {
    let link = |link| {
        write(Write {
            package_settings: Some(link),
            ..Write::default()
        })
    };
    let made = then(initial(), link(SETTINGS));
    assert_eq!(left(&made).package_settings(), SETTINGS);
    assert_eq!(ids(initial(), &made), [13]);
    let back = step(left(&made), link(ObjectLink::NULL), &rules()).unwrap();
    assert_eq!(left(&back).package_settings(), ObjectLink::NULL);
    let dangling = ObjectLink {
        object: 3,
        instance: 1,
    };
    let refusal = refused(initial(), link(dangling));
    assert_eq!(refusal.code, Code::BadRequest);
    assert_eq!(
        refusal.to_string(),
        "4.00: Package Settings: there is no 3:1"
    );
}

#[test]
fn an_empty_malformed_or_unsupported_uri_in_initial_is_4_00_and_result_56() {
    for (uri, why) in [
        (&b""[..], "the Package URI is empty"),
        (
            b"not a uri",
            "the Package URI holds a character that must be percent-encoded",
        ),
        (
            b"ftp://origin.example/x",
            "the Package URI has a scheme that is not spoken here: only https, http are",
        ),
        (
            b"https://user:password@origin.example/x",
            "the Package URI names a user: write User Name and Password instead",
        ),
    ] {
        for record in [initial(), with_software(initial())] {
            let refusal = refused(record.clone(), write_uri(uri));
            assert_eq!(refusal.code, Code::BadRequest);
            assert_eq!(refusal.why.as_str(), why);
            let instance = *refusal.instance.unwrap();
            assert_eq!(instance.update_state().value(), 0);
            assert_eq!(instance.update_result().value(), 56);
            assert_eq!(instance.status_reason().to_string(), format!("20: {why}"));
            assert_eq!(instance.software(), built(record).software());
        }
    }
}

#[test]
fn an_empty_package_in_initial_is_4_00_and_result_54() {
    let empty = Write {
        source: Some(Source::Package { empty: true }),
        ..Write::default()
    };
    let refusal = refused(initial(), write(empty));
    assert_eq!(refusal.code, Code::BadRequest);
    let instance = *refusal.instance.unwrap();
    assert_eq!(instance.update_result().value(), 54);
}

#[test]
fn a_scheme_is_known_in_any_case() {
    assert_eq!(
        at(&then(initial(), write_uri(b"HTTPS://origin.example/x"))),
        (1, 1)
    );
}

#[test]
fn a_write_of_package_or_uri_outside_initial_is_4_05_and_disturbs_nothing() {
    let empty = write_uri(b"");
    for cell in cells()
        .into_iter()
        .filter(|cell| cell.update_state().value() > 0)
    {
        for event in [good_uri(), empty.clone(), write_package(Origin::Server(2))] {
            let refusal = step(&cell, event, &rules()).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.instance),
                (Code::MethodNotAllowed, None),
                "{}",
                label(&cell)
            );
        }
    }
}

#[test]
fn a_write_of_package_or_uri_while_the_software_is_being_removed_is_4_05() {
    let removing = with_software(running(Kind::Uninstall, Running, initial()));
    let refusal = refused(removing, good_uri());
    assert_eq!(refusal.code, Code::MethodNotAllowed);
    assert!(refusal.why.as_str().contains("INITIAL, busy"), "{refusal}");
}

#[test]
fn a_whole_instance_is_written_as_one_unit() {
    let whole = |link| {
        write(Write {
            source: Some(Source::Uri(uri().as_str().into())),
            update_supported_objects: Some(true),
            package_settings: Some(link),
            ..credentials(b"u", b"p")
        })
    };
    let made = then(initial(), whole(SETTINGS));
    assert_eq!(at(&made), (1, 1));
    assert_eq!(ids(initial(), &made), [8, 13, 16, 9, 7]);
    let settings = left(&made).settings();
    assert!(settings.user_name.is_some() && settings.password.is_some());

    let dangling = ObjectLink {
        object: 9,
        instance: 9,
    };
    let refusal = refused(initial(), whole(dangling));
    assert_eq!((refusal.code, refusal.instance), (Code::BadRequest, None));
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
    for origin in [Origin::Server(2), Origin::User(1)] {
        assert_eq!(
            refused(pushing(), write_package(origin)).code,
            Code::MethodNotAllowed
        );
    }
}

#[test]
fn a_push_restarts_neither_a_pull_nor_by_a_uri() {
    assert_eq!(
        refused(pulling(Running), write_package(SERVER)).code,
        Code::MethodNotAllowed
    );
    assert_eq!(refused(pushing(), good_uri()).code, Code::MethodNotAllowed);
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
    assert_eq!(left(&made).operation().unwrap().kind, Kind::Push);
}

fn delivered_after(result: UpdateResult) -> Record {
    ended_with(result, "it failed", delivered())
}

#[test]
fn replace_failed_starts_over_in_delivered_with_58() {
    let replacing = Rules {
        replace_failed: true,
        ..rules()
    };
    let failed = delivered_after(UpdateResult::InstallationFailure);
    for (event, started) in [
        (good_uri(), Effect::Queue { operation: NEW }),
        (
            write_package(SERVER),
            Effect::AcceptPush {
                operation: NEW,
                stage: NEW_STAGE,
            },
        ),
    ] {
        let made = by(&replacing, with_software(failed.clone()), event);
        assert_eq!(at(&made), (1, 1));
        assert_eq!(made.effects, [Effect::Discard { stage: STAGE }, started]);
        assert!(left(&made).software().is_some());
    }
    for record in [
        delivered(),
        installing(),
        delivered_after(UpdateResult::DeviceDefined),
        installed(true),
    ] {
        let refusal = step(&built(record), good_uri(), &replacing).unwrap_err();
        assert_eq!(refusal.code, Code::MethodNotAllowed);
    }
    let refusal = step(&built(failed.clone()), write_uri(b""), &replacing).unwrap_err();
    assert_eq!((refusal.code, refusal.instance), (Code::BadRequest, None));
    assert_eq!(refused(failed, good_uri()).code, Code::MethodNotAllowed);
}

#[test]
fn an_accepted_install_sets_result_0_first() {
    for result in [UpdateResult::Initial, UpdateResult::InstallationFailure] {
        let before = match result {
            UpdateResult::Initial => delivered(),
            other => delivered_after(other),
        };
        let made = then(before, execute(Executable::Install, ""));
        assert_eq!(at(&made), (3, 0));
        assert_eq!(reason(&made), "50: installing nginx 2.0");
        assert_eq!(made.effects, [Effect::Queue { operation: NEW }]);
    }
}

#[test]
fn a_second_58_notifies() {
    let before = delivered_after(UpdateResult::InstallationFailure);
    let accepted = then(before.clone(), execute(Executable::Install, ""));
    assert_eq!(ids(before, &accepted), [16, 9]);
    let again = Event::Failed {
        operation: NEW,
        failure: Failure::new(Cause::Script, "it failed"),
    };
    let made = step(left(&accepted), again, &rules()).unwrap();
    assert_eq!(at(&made), (3, 58));
    let told: Vec<u16> = changes(left(&accepted), left(&made))
        .into_iter()
        .map(Resource::id)
        .collect();
    assert_eq!(told, [16, 9]);
}

#[test]
fn a_queued_install_is_delivered_0_with_reason_50_and_says_what_it_waits_for() {
    let wait = Event::Waiting {
        operation: RUNNING,
        why: "its turn".into(),
    };
    let made = then(running(Kind::Install, Queued, delivered()), wait.clone());
    assert_eq!(at(&made), (3, 0));
    assert_eq!(reason(&made), "50: waiting for its turn");
    unchanged(installing(), wait);
}

#[test]
fn what_the_gate_lets_through_is_done_once() {
    let package = || name("nginx");
    let operation = RUNNING;
    for (kind, record, effect) in [
        (
            Kind::Install,
            delivered(),
            Effect::Install {
                operation,
                stage: STAGE,
            },
        ),
        (
            Kind::Uninstall,
            with_software(initial()),
            Effect::Remove {
                operation,
                package: package(),
            },
        ),
        (
            Kind::Uninstall,
            installed(true),
            Effect::Remove {
                operation,
                package: package(),
            },
        ),
        (
            Kind::Activate,
            installed(false),
            Effect::Activate {
                operation,
                package: package(),
            },
        ),
        (
            Kind::Deactivate,
            installed(true),
            Effect::Deactivate {
                operation,
                package: package(),
            },
        ),
    ] {
        let started = Event::Started { operation };
        let made = then(running(kind, Queued, record.clone()), started.clone());
        assert_eq!(made.effects, [effect]);
        unchanged(running(kind, Running, record), started);
    }
}

#[test]
fn the_same_operation_again_while_busy_is_2_04_without_a_second_job() {
    for (record, event) in [
        (installing(), execute(Executable::Install, "")),
        (
            with_software(running(Kind::Uninstall, Running, initial())),
            uninstall("0"),
        ),
        (
            running(Kind::Uninstall, Queued, installed(true)),
            uninstall(""),
        ),
        (
            running(Kind::Activate, Running, installed(false)),
            execute(Executable::Activate, ""),
        ),
        (
            running(Kind::Deactivate, Running, installed(true)),
            execute(Executable::Deactivate, ""),
        ),
    ] {
        unchanged(record, event);
    }
}

#[test]
fn any_other_operation_while_busy_is_4_05() {
    let all = || {
        [
            execute(Executable::Install, ""),
            uninstall("0"),
            uninstall("1"),
            execute(Executable::Activate, ""),
            execute(Executable::Deactivate, ""),
        ]
    };
    for cell in cells().into_iter().filter(Instance::is_busy) {
        let refusals = all()
            .into_iter()
            .filter_map(|event| step(&cell, event, &rules()).err())
            .filter(|refusal| refusal.code == Code::MethodNotAllowed)
            .count();
        assert_eq!(refusals, 4, "{}", label(&cell));
    }
}

#[test]
fn install_activate_deactivate_without_effect_are_4_05() {
    for cell in cells().into_iter().filter(|cell| !cell.is_busy()) {
        let state = cell.update_state().value();
        for (resource, allowed) in [
            (Executable::Install, state == 3),
            (Executable::Activate, state == 4),
            (Executable::Deactivate, state == 4),
        ] {
            let made = step(&cell, execute(resource, "3='x',0"), &rules());
            assert_eq!(made.is_ok(), allowed, "{resource:?} in {}", label(&cell));
            if let Err(refusal) = made {
                assert_eq!(refusal.code, Code::MethodNotAllowed);
            }
        }
    }
}

#[test]
fn a_verified_install_is_installed_2_and_inactive() {
    let made = then(installing(), ended(None, Some(software("2.0", false))));
    assert_eq!(at(&made), (4, 2));
    assert_eq!(reason(&made), "40: nginx 2.0 is installed");
    assert!(!left(&made).activation_state());
    assert_eq!(made.effects, [Effect::Discard { stage: STAGE }]);
    assert_eq!(ids(installing(), &made), [16, 9, 7]);
}

#[test]
fn installed_is_said_only_of_what_the_device_has() {
    for (failure, device, expected) in [
        (None, None, "no version"),
        (None, Some(software("1.0", false)), "1.0"),
    ] {
        let made = then(installing(), ended(failure, device));
        assert_eq!(at(&made), (3, 58));
        assert_eq!(
            reason(&made),
            format!(
                "60: the package manager reported success, but the device has {expected} of nginx instead of 2.0"
            )
        );
    }
    let failure = Failure::new(Cause::Script, "postinst failed");
    let made = then(
        installing(),
        ended(Some(failure), Some(software("2.0", false))),
    );
    assert_eq!(at(&made), (3, 58));
    assert_eq!(reason(&made), "60: postinst failed");
}

#[test]
fn a_report_about_another_package_is_no_success() {
    let mut other = software("2.0", true);
    other.name = name("apache2");
    for (record, expected) in [
        (installing(), (3, 58)),
        (running(Kind::Uninstall, Running, installed(true)), (4, 59)),
        (running(Kind::Activate, Running, installed(false)), (4, 2)),
    ] {
        let made = then(record, ended(None, Some(other.clone())));
        assert_eq!(at(&made), expected);
        assert!(
            reason(&made).ends_with(": the installer told about apache2 instead of nginx"),
            "{}",
            reason(&made)
        );
        assert_eq!(left(&made).pkg_name(), "nginx");
    }
}

#[test]
fn an_install_that_failed_leaves_delivered_and_what_the_device_still_has() {
    let failure = || Some(Failure::new(Cause::Script, "postinst failed"));
    let upgrade = with_software(installing());
    let kept = then(
        upgrade.clone(),
        ended(failure(), Some(software("1.0", false))),
    );
    let known = left(&kept).in_place().unwrap();
    assert_eq!((known.version.as_str(), known.was_active), ("1.0", true));
    let half = then(
        upgrade.clone(),
        ended(failure(), Some(software("2.0", false))),
    );
    assert_eq!(left(&half).in_place().unwrap().version.as_str(), "2.0");
    let lost = then(upgrade, ended(failure(), None));
    assert_eq!(left(&lost).in_place(), None);
    let partial = then(installing(), ended(failure(), Some(software("2.0", true))));
    assert!(left(&partial).in_place().unwrap().was_active);
    assert_eq!(partial.effects, []);

    let mut beside = with_software(installing());
    if let Some(known) = &mut beside.in_place {
        known.name = name("nginx-light");
    }
    let untouched = then(beside, ended(failure(), None));
    assert_eq!(
        left(&untouched).in_place().unwrap().name.as_str(),
        "nginx-light"
    );
}

#[test]
fn an_install_that_may_not_start_ends_57_and_touches_nothing() {
    let upgrade = with_software(running(Kind::Install, Queued, delivered()));
    let made = then(upgrade, failed(Cause::AnotherPackage));
    assert_eq!(at(&made), (3, 57));
    assert_eq!(reason(&made), "60: it failed");
    assert!(left(&made).in_place().unwrap().was_active);
    assert_eq!(made.effects, []);
}

#[test]
fn uninstall_of_installed_software_stays_installed_2_until_it_is_gone() {
    for arguments in ["", "0"] {
        let made = then(installed(true), uninstall(arguments));
        assert_eq!(at(&made), (4, 2));
        assert_eq!(reason(&made), "40: removing nginx 1.0");
        assert_eq!(made.effects, [Effect::Queue { operation: NEW }]);
    }
    let removing = running(Kind::Uninstall, Running, installed(true));
    let made = then(removing.clone(), ended(None, None));
    assert_eq!(at(&made), (0, 0));
    assert_eq!(reason(&made), "10: ready for a package");
    assert_eq!(ids(removing.clone(), &made), [0, 1, 16, 12, 9, 7]);
    let failure = Failure::new(Cause::Script, "postrm failed");
    let made = then(removing, ended(Some(failure), None));
    assert_eq!(at(&made), (0, 0));
    assert_eq!(reason(&made), "10: postrm failed");
}

#[test]
fn uninstall_in_delivered_drops_the_package_and_keeps_the_software_in_place() {
    for arguments in ["", "0", "1"] {
        for (record, name) in [(delivered(), ""), (with_software(delivered()), "nginx")] {
            let made = then(record, uninstall(arguments));
            assert_eq!(at(&made), (0, 0));
            assert_eq!(reason(&made), "10: ready for a package");
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
        Code::MethodNotAllowed
    );
}

#[test]
fn uninstall_while_downloading_or_downloaded_is_4_05() {
    for record in [pulling(Running), pushing(), downloaded()] {
        for arguments in ["", "0", "1"] {
            let refusal = refused(with_software(record.clone()), uninstall(arguments));
            assert_eq!(refusal.code, Code::MethodNotAllowed);
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
        assert_eq!(refused(record, uninstall("1")).code, Code::MethodNotAllowed);
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
            let refusal = step(&cell, uninstall(arguments), &rules()).unwrap_err();
            assert_eq!(refusal.code, Code::BadRequest, "{arguments}");
            assert_eq!(refusal.instance, None);
        }
    }
}

#[test]
fn a_malformed_argument_of_the_others_is_4_00() {
    for resource in [
        Executable::Install,
        Executable::Activate,
        Executable::Deactivate,
    ] {
        let refusal = refused(delivered(), execute(resource, "0='"));
        assert_eq!(refusal.code, Code::BadRequest);
    }
}

#[test]
fn activate_when_active_and_deactivate_when_inactive_change_nothing() {
    unchanged(installed(true), execute(Executable::Activate, ""));
    unchanged(installed(false), execute(Executable::Deactivate, ""));
    let noted = ended_with(
        UpdateResult::Installed,
        "nginx.service failed",
        installed(false),
    );
    unchanged(noted, execute(Executable::Deactivate, ""));
}

#[test]
fn activation_follows_the_device() {
    for (active, resource, kind, doing) in [
        (false, Executable::Activate, Kind::Activate, "activating"),
        (
            true,
            Executable::Deactivate,
            Kind::Deactivate,
            "deactivating",
        ),
    ] {
        let accepted = then(installed(active), execute(resource, ""));
        assert_eq!(at(&accepted), (4, 2));
        assert_eq!(reason(&accepted), format!("40: {doing} nginx 1.0"));
        assert_eq!(accepted.effects, [Effect::Queue { operation: NEW }]);
        assert_eq!(left(&accepted).operation().unwrap().kind, kind);

        let before = running(kind, Running, installed(active));
        let made = then(before.clone(), ended(None, Some(software("1.0", !active))));
        assert_eq!(left(&made).activation_state(), !active);
        assert_eq!(reason(&made), "40: nginx 1.0 is installed");
        assert_eq!(ids(before, &made), [16, 12]);
        assert_eq!(made.effects, []);
    }
}

#[test]
fn a_failed_activation_leaves_12_false_and_result_2_with_the_reason_in_16() {
    let before = running(Kind::Activate, Running, installed(false));
    let failure = Failure::new(Cause::Unit, "nginx.service: exit status 1");
    for event in [
        ended(Some(failure.clone()), Some(software("1.0", false))),
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
        (false, Kind::Activate, "does not run"),
        (true, Kind::Deactivate, "still runs"),
    ] {
        let before = running(kind, Running, installed(active));
        let made = then(before, ended(None, Some(software("1.0", active))));
        assert_eq!(
            reason(&made),
            format!("40: the service manager reported success, but nginx {words}")
        );
        assert_eq!(left(&made).activation_state(), active);
    }
}

#[test]
fn software_that_is_gone_when_its_activation_ends_was_removed() {
    for kind in [Kind::Activate, Kind::Deactivate] {
        let before = running(kind, Running, installed(kind == Kind::Deactivate));
        let made = then(before, ended(None, None));
        assert_eq!(at(&made), (0, 0));
        assert_eq!(reason(&made), "10: nginx 1.0 was removed on the device");
    }
}

#[test]
fn an_accepted_operation_clears_the_last_failure_of_installed_software() {
    let after_removal = ended_with(
        UpdateResult::UninstallationFailure,
        "prerm failed",
        installed(false),
    );
    let after_activation = ended_with(
        UpdateResult::Installed,
        "nginx.service failed",
        installed(false),
    );
    for before in [after_removal, after_activation] {
        for event in [uninstall(""), execute(Executable::Activate, "")] {
            assert_eq!(at(&then(before.clone(), event)), (4, 2));
        }
    }
}

#[test]
fn a_removal_that_fails_is_installed_59_with_the_reason_in_16() {
    let failure = Failure::new(Cause::Script, "prerm failed");
    let from_installed = running(Kind::Uninstall, Running, installed(true));
    let from_initial = with_software(running(Kind::Uninstall, Running, initial()));
    for before in [from_installed, from_initial] {
        for event in [
            ended(Some(failure.clone()), Some(software("1.0", true))),
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
        let made = then(before, ended(None, Some(software("1.0", false))));
        assert_eq!(at(&made), (4, 59));
        assert_eq!(
            reason(&made),
            "40: the package manager reported success, but nginx 1.0 is still there"
        );
        assert!(!left(&made).activation_state());
    }
}

#[test]
fn update_supported_objects_has_the_registration_follow_the_software() {
    let on = |record| Record {
        update_supported_objects: true,
        ..record
    };
    let tells = |record: Record, event: Event| {
        then(record, event)
            .effects
            .contains(&Effect::UpdateRegistration)
    };
    let removing = running(Kind::Uninstall, Running, installed(true));
    let failure = || Some(Failure::new(Cause::Script, "failed"));
    let ends = [
        (installing(), ended(None, Some(software("2.0", false)))),
        (installing(), ended(failure(), None)),
        (removing.clone(), ended(None, None)),
        (removing, ended(failure(), Some(software("1.0", true)))),
        (installed(true), Event::DeviceHas(None)),
    ];
    for (record, event) in ends {
        assert!(!tells(record.clone(), event.clone()), "{event:?}");
        assert!(tells(on(record), event.clone()), "{event:?}");
    }
}

#[test]
fn update_supported_objects_is_false_until_it_is_written() {
    let set = |value| {
        write(Write {
            update_supported_objects: Some(value),
            ..Write::default()
        })
    };
    let made = then(installed(true), set(true));
    assert!(left(&made).update_supported_objects());
    assert_eq!(ids(installed(true), &made), [8]);
    assert_eq!(made.effects, []);
    let kept = step(left(&made), write(Write::default()), &rules()).unwrap();
    assert!(left(&kept).update_supported_objects());
    let cleared = step(left(&made), set(false), &rules()).unwrap();
    assert!(!left(&cleared).update_supported_objects());
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

#[test]
fn delete_is_the_cancel_that_a_server_has() {
    let stop = Effect::StopDelivery { stage: STAGE };
    let discard = Effect::Discard { stage: STAGE };
    for (record, expected) in [
        (initial(), vec![]),
        (pulling(Queued), vec![stop.clone(), discard.clone()]),
        (pushing(), vec![stop, discard.clone()]),
        (downloaded(), vec![discard.clone()]),
        (delivered(), vec![discard]),
    ] {
        let made = then(record, Event::Delete);
        assert_eq!(made.instance, None);
        let (last, before) = made.effects.split_last().unwrap();
        assert_eq!(before, expected);
        assert_eq!(*last, Effect::UpdateRegistration);
    }
}

#[test]
fn delete_while_busy_or_with_software_in_place_is_4_05_in_any_state() {
    for cell in cells() {
        let kept = cell.is_busy() || cell.software().is_some();
        let made = step(&cell, Event::Delete, &rules());
        assert_eq!(made.is_err(), kept, "{}", label(&cell));
        if let Err(refusal) = made {
            assert_eq!(refusal.code, Code::MethodNotAllowed);
        }
    }
    let refusal = refused(installed(true), Event::Delete);
    assert_eq!(
        refusal.why.as_str(),
        "nginx 1.0 is in place: Uninstall first"
    );
    let refusal = refused(installing(), Event::Delete);
    assert_eq!(refusal.why.as_str(), "busy: install has not ended");
}

#[test]
fn the_agents_own_package_is_not_stopped_or_removed_from_afar() {
    for (record, event) in [
        (installed(true), uninstall("")),
        (with_software(initial()), uninstall("0")),
        (installed(true), execute(Executable::Deactivate, "")),
        (installed(false), execute(Executable::Deactivate, "")),
        (installed(true), Event::Delete),
    ] {
        let refusal = step(&built(record), event, &own_rules()).unwrap_err();
        assert_eq!(refusal.code, Code::MethodNotAllowed);
    }
    for record in [installed(true), with_software(delivered())] {
        assert_eq!(at(&by(&own_rules(), record, uninstall("1"))), (0, 0));
    }
    let made = by(&own_rules(), with_software(delivered()), uninstall(""));
    assert!(left(&made).software().is_some());
}

#[test]
fn activation_after_an_install_is_by_policy() {
    let by_policy = |activation| Rules {
        activation,
        ..rules()
    };
    let upgrade_of = |active: bool| Record {
        in_place: Some(software("1.0", active)),
        ..installing()
    };
    let fresh = installing;
    for (rules, record, activated) in [
        (by_policy(ActivationPolicy::Server), upgrade_of(true), false),
        (by_policy(ActivationPolicy::Keep), upgrade_of(true), true),
        (by_policy(ActivationPolicy::Keep), upgrade_of(false), false),
        (by_policy(ActivationPolicy::Keep), fresh(), false),
        (by_policy(ActivationPolicy::Always), fresh(), true),
        (own_rules(), fresh(), true),
    ] {
        let made = by(&rules, record, ended(None, Some(software("2.0", false))));
        assert_eq!(at(&made), (4, 2));
        assert_eq!(
            made.effects.contains(&Effect::Queue { operation: NEXT }),
            activated
        );
        let next = left(&made).operation().map(|next| (next.id, next.kind));
        assert_eq!(next, activated.then_some((NEXT, Kind::Activate)));
    }
    let always = by_policy(ActivationPolicy::Always);
    let made = by(&always, fresh(), ended(None, Some(software("2.0", true))));
    assert!(left(&made).activation_state());
    assert_eq!(left(&made).operation(), None);
}

#[test]
fn removed_by_hand_is_initial_0_with_the_reason_in_16() {
    let made = then(installed(true), Event::DeviceHas(None));
    assert_eq!(at(&made), (0, 0));
    assert_eq!(reason(&made), "10: nginx 1.0 was removed on the device");
    assert_eq!(ids(installed(true), &made), [0, 1, 16, 12, 9, 7]);
    let made = then(with_software(initial()), Event::DeviceHas(None));
    assert_eq!(reason(&made), "10: nginx 1.0 was removed on the device");
    assert_eq!(left(&made).software(), None);
}

#[test]
fn removed_by_hand_before_its_upgrade_does_not_disturb_the_upgrade() {
    let lost = ended_with(UpdateResult::ConnectionLost, "cut", initial());
    for record in [lost, pulling(Running), pushing(), downloaded(), delivered()] {
        let before = with_software(record.clone());
        let made = then(before.clone(), Event::DeviceHas(None));
        assert_eq!(Record::from(left(&made)), record);
        let upgraded = then(before, Event::DeviceHas(Some(software("1.1", false))));
        let known = left(&upgraded).in_place().unwrap();
        assert_eq!((known.version.as_str(), known.was_active), ("1.1", true));
    }
}

#[test]
fn upgraded_by_hand_is_installed_with_a_new_version() {
    let made = then(
        installed(true),
        Event::DeviceHas(Some(software("1.1", true))),
    );
    assert_eq!(at(&made), (4, 2));
    assert_eq!(left(&made).pkg_version(), "1.1");
    assert_eq!(ids(installed(true), &made), [1, 16]);
}

#[test]
fn started_or_stopped_by_hand_is_followed_by_12() {
    for active in [true, false] {
        let device = Event::DeviceHas(Some(software("1.0", !active)));
        let made = then(installed(active), device);
        assert_eq!(left(&made).activation_state(), !active);
        assert_eq!(ids(installed(active), &made), [12]);
        unchanged(
            installed(active),
            Event::DeviceHas(Some(software("1.0", active))),
        );
    }
}

#[test]
fn started_by_hand_after_a_failed_activation_clears_the_reason() {
    let noted = ended_with(
        UpdateResult::Installed,
        "nginx.service failed",
        installed(false),
    );
    let made = then(noted.clone(), Event::DeviceHas(Some(software("1.0", true))));
    assert_eq!(reason(&made), "40: nginx 1.0 is installed");
    let made = then(noted, Event::DeviceHas(Some(software("1.1", false))));
    assert_eq!(reason(&made), "40: nginx.service failed");
    let kept = ended_with(
        UpdateResult::UninstallationFailure,
        "prerm failed",
        installed(false),
    );
    let made = then(kept, Event::DeviceHas(Some(software("1.0", true))));
    assert_eq!(at(&made), (4, 59));
}

#[test]
fn the_device_is_looked_at_again_when_the_job_is_over_and_only_about_what_is_in_place() {
    for cell in cells() {
        let mut other = software("1.1", false);
        other.name = name("apache2");
        let device = if cell.is_busy() || cell.software().is_none() {
            vec![None, Some(software("1.1", false)), Some(other)]
        } else {
            vec![Some(other)]
        };
        for device in device {
            unchanged(Record::from(&cell), Event::DeviceHas(device));
        }
    }
}

#[test]
fn a_report_about_what_is_over_changes_nothing() {
    let operation = OperationId::from_bytes([9; 16]);
    let stage = wharf_frames::StageId::from_bytes([9; 16]);
    let failure = Failure::new(Cause::Timeout, "late");
    for cell in cells() {
        for event in [
            Event::Waiting {
                operation,
                why: "late".into(),
            },
            Event::Started { operation },
            Event::FirstByte { operation },
            Event::PackageWritten { operation },
            Event::Sealed {
                stage,
                package: package(),
            },
            Event::SealRefused {
                stage,
                failure: failure.clone(),
            },
            Event::Failed {
                operation,
                failure: failure.clone(),
            },
            Event::Ended {
                operation,
                failure: None,
                device: Some(software("2.0", true)),
                next: NEXT,
            },
        ] {
            unchanged(Record::from(&cell), event);
        }
    }
}

#[test]
fn a_job_ends_only_after_the_gate_let_it_start() {
    for cell in cells().into_iter().filter(Instance::is_busy) {
        let record = Record::from(&cell);
        if record.progress == Some(Queued) {
            unchanged(record, ended(None, Some(software("2.0", true))));
        }
    }
}

#[test]
fn create_takes_a_free_id_within_the_limit() {
    let taken = [InstanceId(0), InstanceId(2)];
    assert_eq!(free_id(None, &taken, 3), Ok(InstanceId(1)));
    assert_eq!(free_id(Some(InstanceId(7)), &taken, 3), Ok(InstanceId(7)));
    for (wanted, limit, code) in [
        (Some(InstanceId(2)), 3, Code::BadRequest),
        (Some(InstanceId(2)), 2, Code::BadRequest),
        (Some(InstanceId(u16::MAX)), 3, Code::BadRequest),
        (Some(InstanceId(7)), 2, Code::MethodNotAllowed),
        (None, 2, Code::MethodNotAllowed),
    ] {
        assert_eq!(free_id(wanted, &taken, limit).unwrap_err().code, code);
    }
}

#[test]
fn create_is_a_write_to_a_new_instance_and_always_causes_an_update() {
    let with = |uri: &[u8]| Write {
        source: Some(Source::Uri(uri.to_vec())),
        ..credentials(b"u", b"p")
    };
    let made = create(
        with(uri().as_str().as_bytes()),
        request(),
        NEW_STAGE,
        &rules(),
    )
    .unwrap();
    assert_eq!(at(&made), (1, 1));
    assert_eq!(
        made.effects,
        [Effect::Queue { operation: NEW }, Effect::UpdateRegistration]
    );
    let empty = create(Write::default(), request(), NEW_STAGE, &rules()).unwrap();
    assert_eq!(empty.instance, Some(Instance::default()));
    assert_eq!(empty.effects, [Effect::UpdateRegistration]);
    let refusal = create(with(b""), request(), NEW_STAGE, &rules()).unwrap_err();
    assert_eq!((refusal.code, refusal.instance), (Code::BadRequest, None));
}

#[test]
fn thingsboard_gets_through_an_upgrade_with_uninstall_1() {
    let accept = |instance: &Instance, event: Event| {
        let made = step(instance, event, &rules()).unwrap();
        made.instance.unwrap()
    };
    let installed = built(installed(false));
    let ready = accept(&installed, uninstall("1"));
    let receiving = accept(&ready, write_package(SERVER));
    let written = accept(&receiving, Event::PackageWritten { operation: NEW });
    let sealed = Event::Sealed {
        stage: NEW_STAGE,
        package: package(),
    };
    let mut delivered = accept(&written, sealed);
    for _ in 0..3 {
        delivered = accept(&delivered, execute(Executable::Install, ""));
    }
    let running = accept(&delivered, Event::Started { operation: NEW });
    let end = Event::Ended {
        operation: NEW,
        failure: None,
        device: Some(software("2.0", false)),
        next: NEXT,
    };
    let upgraded = accept(&running, end);
    assert_eq!(upgraded.update_state().value(), 4);
    assert_eq!(upgraded.pkg_version(), "2.0");
}
