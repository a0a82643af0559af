//! The decisions about Install (TS 5.1.2.4, 5.1.3.1).

use wharf_frames::{Action, Cause, Failure, Step, Transaction, installer::JobPhase};
use wharf_software::{
    ActivationPolicy, Effect, Event, Instance, InstanceRecord, OperationKind, RefusalCode,
    Resource, Rules, UpdateResult, changes,
    record::StoredProgress::{Queued, Running},
    transition,
};

use crate::{cells::*, steps::*};

#[test]
fn an_accepted_install_sets_result_0_first() {
    for result in [UpdateResult::Initial, UpdateResult::InstallationFailure] {
        let before = match result {
            UpdateResult::Initial => delivered(),
            other => delivered_after(other),
        };
        let made = then(before, execute(Action::Install, ""));
        assert_eq!(at(&made), (3, 0));
        assert_eq!(reason(&made), "50: installing nginx 2.0");
        assert_eq!(made.effects, [Effect::Queue { operation: NEW }]);
    }
}

#[test]
fn a_second_58_notifies() {
    let before = delivered_after(UpdateResult::InstallationFailure);
    let accepted = then(before.clone(), execute(Action::Install, ""));
    assert_eq!(ids(before, &accepted), [16, 9]);
    let again = Event::Failed {
        operation: NEW,
        failure: Failure::new(Cause::Script, "it failed"),
    };
    let made = transition(left(&accepted), again, &rules()).unwrap();
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
    let made = then(
        running(OperationKind::Action(Action::Install), Queued, delivered()),
        wait.clone(),
    );
    assert_eq!(at(&made), (3, 0));
    assert_eq!(reason(&made), "50: waiting for its turn");
}

#[test]
fn an_install_says_what_keeps_the_installer_from_it_until_it_is_at_it() {
    unchanged(installing(), underway(JobPhase::Planning));
    let wait = Event::Waiting {
        operation: RUNNING,
        why: "the installer: nobody listens".into(),
    };
    let made = then(installing(), wait);
    assert_eq!(at(&made), (3, 0));
    assert_eq!(
        reason(&made),
        "50: waiting for the installer: nobody listens"
    );
    let again = transition(left(&made), underway(JobPhase::Planning), &rules()).unwrap();
    assert_eq!(reason(&again), "50: installing nginx 2.0");
    unchanged(
        running(OperationKind::Action(Action::Install), Queued, delivered()),
        underway(JobPhase::Planning),
    );
}

#[test]
fn an_install_says_that_it_checks_whether_the_software_stays_up_and_that_it_goes_back() {
    let upgrade = with_software(installing());
    for (record, phase, expected) in [
        (&upgrade, JobPhase::Applying, "50: installing nginx 2.0"),
        (&upgrade, JobPhase::Verifying, "50: installing nginx 2.0"),
        (
            &upgrade,
            JobPhase::Watching,
            "50: nginx 2.0: checking that it stays up",
        ),
        (
            &upgrade,
            JobPhase::Returning,
            "50: nginx 2.0: going back to 1.0",
        ),
        (
            &installing(),
            JobPhase::Returning,
            "50: nginx 2.0: going back",
        ),
    ] {
        let made = then(record.clone(), underway(phase));
        assert_eq!((at(&made), reason(&made).as_str()), ((3, 0), expected));
        let again = then(
            InstanceRecord::from(left(&made)),
            underway(JobPhase::Applying),
        );
        assert_eq!(reason(&again), "50: installing nginx 2.0");
    }
    for kind in [Action::Uninstall, Action::Activate, Action::Back] {
        let record = running(OperationKind::Action(kind), Running, installed(false));
        unchanged(record, underway(JobPhase::Returning));
    }
}

#[test]
fn an_upgrade_of_active_software_that_is_to_be_active_is_one_transaction_with_its_activation() {
    let by_policy = |activation| Rules {
        activation,
        ..rules()
    };
    let queued = |record| running(OperationKind::Action(Action::Install), Queued, record);
    let upgrade = |active| InstanceRecord {
        in_place: Some(software("1.0", active)),
        ..queued(with_stopped(delivered()))
    };
    let mut beside = upgrade(true);
    if let Some(known) = &mut beside.in_place {
        known.name = name("nginx-light");
    }
    let own = Rules {
        activation: ActivationPolicy::Keep,
        ..own_rules()
    };
    for (rules, record, joined) in [
        (by_policy(ActivationPolicy::Keep), upgrade(true), true),
        (by_policy(ActivationPolicy::Always), upgrade(true), true),
        (by_policy(ActivationPolicy::Server), upgrade(true), false),
        (by_policy(ActivationPolicy::Keep), upgrade(false), false),
        (by_policy(ActivationPolicy::Always), upgrade(false), false),
        (
            by_policy(ActivationPolicy::Always),
            queued(delivered()),
            false,
        ),
        (by_policy(ActivationPolicy::Keep), beside, false),
        (own, upgrade(true), false),
    ] {
        let mut steps = vec![Step::Install(STAGE)];
        steps.extend(joined.then(|| on(Action::Activate)));
        let made = by(
            &rules,
            record.clone(),
            Event::Started { operation: RUNNING },
        );
        let expected = Effect::Perform {
            operation: RUNNING,
            transaction: Transaction { steps },
        };
        assert_eq!(made.effects, [expected], "{record:?}");
    }
}

#[test]
fn an_upgrade_that_did_not_stay_up_is_delivered_58_and_the_old_version_runs() {
    let rules = Rules {
        activation: ActivationPolicy::Keep,
        ..rules()
    };
    let failure = Failure::new(
        Cause::Unit,
        "it was sent back: nginx.service did not stay up",
    );
    let ended = ended(Some(failure), Some(found("1.0", true)));
    let made = by(&rules, with_software(installing()), ended);
    assert_eq!(at(&made), (3, 58));
    let known = left(&made).in_place().unwrap();
    assert_eq!((known.was_active, known.runs), (true, true));
    assert_eq!(left(&made).operation(), None);
    let told = "60: nginx 2.0 is not installed: it was sent back: nginx.service did not stay up; \
                nginx 1.0 is in place and runs";
    assert_eq!(reason(&made), told);
}

#[test]
fn a_verified_install_is_installed_2_and_inactive() {
    let made = then(installing(), ended(None, Some(found("2.0", false))));
    assert_eq!(at(&made), (4, 2));
    assert_eq!(reason(&made), "40: nginx 2.0 is installed");
    assert!(!left(&made).activation_state());
    assert_eq!(made.effects, [Effect::Discard { stage: STAGE }]);
    assert_eq!(ids(installing(), &made), [16, 9, 7]);
}

#[test]
fn installed_is_said_only_of_what_the_device_has() {
    for (device, expected) in [
        (None, "nothing of nginx"),
        (Some(found("1.0", false)), "nginx 1.0"),
        (
            Some(damaged("2.0", "half-configured")),
            "nginx 2.0 (half-configured)",
        ),
    ] {
        let made = then(installing(), ended(None, device));
        assert_eq!(at(&made), (3, 58));
        let said = format!(
            "the package manager reported success, but the device has {expected} instead of 2.0"
        );
        assert!(reason(&made).contains(&said), "{}", reason(&made));
    }
    let failure = Failure::new(Cause::Script, "postinst failed");
    let made = then(
        installing(),
        ended(Some(failure), Some(found("2.0", false))),
    );
    assert_eq!(at(&made), (3, 58));
    assert_eq!(
        reason(&made),
        "60: postinst failed; nginx 2.0 is in place and does not run"
    );
}

#[test]
fn a_report_about_another_package_is_no_success() {
    let mut other = found("2.0", true);
    other.name = name("apache2");
    for (record, expected) in [
        (installing(), (3, 58)),
        (
            running(
                OperationKind::Action(Action::Uninstall),
                Running,
                installed(true),
            ),
            (4, 59),
        ),
        (
            running(
                OperationKind::Action(Action::Activate),
                Running,
                installed(false),
            ),
            (4, 2),
        ),
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
    let kept = then(upgrade.clone(), ended(failure(), Some(found("1.0", false))));
    let known = left(&kept).in_place().unwrap();
    assert_eq!((known.version.as_str(), known.was_active), ("1.0", true));
    let half = then(upgrade.clone(), ended(failure(), Some(found("2.0", false))));
    assert_eq!(left(&half).in_place().unwrap().version.as_str(), "2.0");
    // Only of what is not there at all nothing is left: a part of it has to be removed by somebody.
    let part = damaged("2.0", "half-configured");
    let part = then(upgrade.clone(), ended(failure(), Some(part)));
    let known = left(&part).in_place().unwrap();
    assert_eq!((known.version.as_str(), known.was_active), ("2.0", true));
    assert_eq!(left(&part).damage(), Some(&"half-configured".into()));
    let kept = transition(left(&part), Event::Delete, &rules()).unwrap_err();
    assert_eq!(kept.code, RefusalCode::MethodNotAllowed);
    let gone = then(upgrade, ended(failure(), None));
    assert_eq!(left(&gone).in_place(), None);
    let partial = then(installing(), ended(failure(), Some(found("2.0", true))));
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
fn an_install_that_failed_takes_over_only_what_is_managed() {
    let failure = || Some(Failure::new(Cause::Dependency, "libnowhere is not there"));
    let distribution = foreign("1.0");
    let made = then(installing(), ended(failure(), Some(distribution.clone())));
    assert_eq!(at(&made), (3, 58));
    assert_eq!(left(&made).in_place(), None);
    let deleted = transition(left(&made), Event::Delete, &rules()).unwrap();
    assert_eq!(deleted.instance, None);

    let begun = then(
        installing(),
        ended(failure(), Some(damaged("2.0", "half-installed"))),
    );
    assert_eq!(left(&begun).in_place().unwrap().version.as_str(), "2.0");
    // Software in place is the instance's, with or without an entry in the ledger.
    let known = then(
        with_software(installing()),
        ended(failure(), Some(distribution)),
    );
    assert_eq!(left(&known).in_place().unwrap().version.as_str(), "1.0");
}

#[test]
fn an_install_that_may_not_start_ends_57_and_touches_nothing() {
    let upgrade = with_software(running(
        OperationKind::Action(Action::Install),
        Queued,
        delivered(),
    ));
    let made = then(upgrade, failed(Cause::AnotherPackage));
    assert_eq!(at(&made), (3, 57));
    assert_eq!(
        reason(&made),
        "60: nginx 2.0 is not installed: it failed; nginx 1.0 is in place and runs"
    );
    assert!(left(&made).in_place().unwrap().was_active);
    assert_eq!(made.effects, []);
}

#[test]
fn activation_after_an_install_is_by_policy() {
    let by_policy = |activation| Rules {
        activation,
        ..rules()
    };
    let upgrade_of = |active: bool| InstanceRecord {
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
        let made = by(&rules, record, ended(None, Some(found("2.0", false))));
        assert_eq!(at(&made), (4, 2));
        assert_eq!(
            made.effects.contains(&Effect::Queue { operation: NEXT }),
            activated
        );
        let next = left(&made).operation().map(|next| (next.id, next.kind));
        assert_eq!(
            next,
            activated.then_some((NEXT, OperationKind::Action(Action::Activate)))
        );
    }
    let always = by_policy(ActivationPolicy::Always);
    let made = by(&always, fresh(), ended(None, Some(found("2.0", true))));
    assert!(left(&made).activation_state());
    assert_eq!(left(&made).operation(), None);
}

#[test]
fn thingsboard_gets_through_an_upgrade_with_uninstall_1() {
    let accept = |instance: &Instance, event: Event| {
        let made = transition(instance, event, &rules()).unwrap();
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
        delivered = accept(&delivered, execute(Action::Install, ""));
    }
    let running = accept(&delivered, Event::Started { operation: NEW });
    let end = Event::Ended {
        operation: NEW,
        failure: None,
        device: Some(found("2.0", false)),
        next: NEXT,
    };
    let upgraded = accept(&running, end);
    assert_eq!(upgraded.update_state().value(), 4);
    assert_eq!(upgraded.pkg_version(), "2.0");
}
