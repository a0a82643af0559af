//! The decisions about Write: settings, sources of packages, what is refused.

use wharf_frames::{Action, Secret};
use wharf_software::{
    Effect, ObjectLink, OperationKind, PackageSource, RefusalCode, Requester, Rules, ShortId,
    UpdateResult, Write, record::StoredProgress::Running, transition,
};

use crate::{cells::*, steps::*};

#[test]
fn user_name_and_password_can_be_written_in_any_state_and_empty_erases() {
    for cell in cells() {
        let set = transition(&cell, write(credentials(b"u", b"p")), &rules()).unwrap();
        let settings = left(&set).settings();
        assert_eq!(settings.user_name.as_ref().unwrap().expose(), b"u");
        assert_eq!(settings.password.as_ref().unwrap().expose(), b"p");
        assert_eq!(left(&set).state(), cell.state());
        let erased = transition(left(&set), write(credentials(b"", b"")), &rules()).unwrap();
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
        assert_eq!(
            (refusal.code, refusal.instance),
            (RefusalCode::BadRequest, None)
        );
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
    let back = transition(left(&made), link(ObjectLink::NULL), &rules()).unwrap();
    assert_eq!(left(&back).package_settings(), ObjectLink::NULL);
    let dangling = ObjectLink {
        object: 3,
        instance: 1,
    };
    let refusal = refused(initial(), link(dangling));
    assert_eq!(refusal.code, RefusalCode::BadRequest);
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
            "the scheme of the Package URI is not supported: only https, http are",
        ),
        (
            b"file://localhost/x",
            "the scheme of the Package URI is not supported: only https, http are",
        ),
        (
            b"https:/h/x?token=hunter2&next=https://x/p",
            "the Package URI does not begin with a scheme and ://",
        ),
        (
            b"https://user:password@origin.example/x",
            "the Package URI names a user: write User Name and Password instead",
        ),
    ] {
        for record in [initial(), with_software(initial())] {
            let refusal = refused(record.clone(), write_uri(uri));
            assert_eq!(refusal.code, RefusalCode::BadRequest);
            assert_eq!(refusal.why.as_str(), why);
            let instance = *refusal.instance.unwrap();
            assert_eq!(instance.update_state().value(), 0);
            assert_eq!(instance.update_result().value(), 56);
            let reason = instance.status_reason().to_string();
            let why = format!("20: {why}");
            assert_eq!(reason.split("; nginx").next(), Some(&*why));
            assert_eq!(instance.software(), built(record).software());
        }
    }
}

#[test]
fn an_empty_package_in_initial_is_4_00_and_result_54() {
    let empty = Write {
        source: Some(PackageSource::Package { empty: true }),
        ..Write::default()
    };
    let refusal = refused(initial(), write(empty));
    assert_eq!(refusal.code, RefusalCode::BadRequest);
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
        for event in [
            good_uri(),
            empty.clone(),
            write_package(Requester::Server(ShortId(2))),
        ] {
            let refusal = transition(&cell, event, &rules()).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.instance),
                (RefusalCode::MethodNotAllowed, None),
                "{}",
                label(&cell)
            );
        }
    }
}

#[test]
fn a_write_of_package_or_uri_while_the_software_is_being_removed_is_4_05() {
    let removing = with_software(running(
        OperationKind::Action(Action::Uninstall),
        Running,
        initial(),
    ));
    let refusal = refused(removing, good_uri());
    assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
    assert!(refusal.why.as_str().contains("INITIAL, busy"), "{refusal}");
}

#[test]
fn a_whole_instance_is_written_as_one_unit() {
    let whole = |link| {
        write(Write {
            source: Some(PackageSource::Uri(uri().as_secret().clone())),
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
    assert_eq!(
        (refusal.code, refusal.instance),
        (RefusalCode::BadRequest, None)
    );
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
        let refusal = transition(&built(record), good_uri(), &replacing).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
    }
    let refusal = transition(&built(failed.clone()), write_uri(b""), &replacing).unwrap_err();
    assert_eq!(
        (refusal.code, refusal.instance),
        (RefusalCode::BadRequest, None)
    );
    assert_eq!(
        refused(failed, good_uri()).code,
        RefusalCode::MethodNotAllowed
    );
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
    let kept = transition(left(&made), write(Write::default()), &rules()).unwrap();
    assert!(left(&kept).update_supported_objects());
    let cleared = transition(left(&made), set(false), &rules()).unwrap();
    assert!(!left(&cleared).update_supported_objects());
}
