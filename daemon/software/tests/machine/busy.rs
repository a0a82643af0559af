//! The decisions about what is accepted and has not ended.

use wharf_frames::{Action, Cause, Failure, OperationId, StageId, Step, installer::JobPhase};
use wharf_software::{
    Effect, Event, Instance, InstanceRecord, OperationKind, RefusalCode, UpdateResult, UpdateState,
    operation::Phase,
    record::StoredProgress::{Queued, Running},
    transition,
};

use crate::{cells::*, steps::*};

#[test]
fn what_the_gate_lets_through_is_done_once() {
    let operation = RUNNING;
    for (action, record, step) in [
        (Action::Install, delivered(), Step::Install(STAGE)),
        (
            Action::Uninstall,
            with_software(initial()),
            on(Action::Uninstall),
        ),
        (Action::Uninstall, installed(true), on(Action::Uninstall)),
        (Action::Purge, with_software(initial()), on(Action::Purge)),
        (Action::Purge, installed(true), on(Action::Purge)),
        (Action::Activate, installed(false), on(Action::Activate)),
        (Action::Deactivate, installed(true), on(Action::Deactivate)),
        (Action::Back, installed(true), on(Action::Back)),
    ] {
        let (kind, transaction) = (OperationKind::Action(action), step.into());
        let effect = Effect::Perform {
            operation,
            transaction,
        };
        let started = Event::Started { operation };
        let made = then(running(kind, Queued, record.clone()), started.clone());
        assert_eq!(made.effects, [effect]);
        unchanged(running(kind, Running, record), started);
    }
}

#[test]
fn the_same_operation_again_while_busy_is_2_04_without_a_second_job() {
    for (record, event) in [
        (installing(), execute(Action::Install, "")),
        (
            with_software(running(
                OperationKind::Action(Action::Uninstall),
                Running,
                initial(),
            )),
            uninstall("0"),
        ),
        (
            running(
                OperationKind::Action(Action::Uninstall),
                Queued,
                installed(true),
            ),
            uninstall(""),
        ),
        (
            running(
                OperationKind::Action(Action::Activate),
                Running,
                installed(false),
            ),
            execute(Action::Activate, ""),
        ),
        (
            running(
                OperationKind::Action(Action::Deactivate),
                Running,
                installed(true),
            ),
            execute(Action::Deactivate, ""),
        ),
    ] {
        unchanged(record, event);
    }
}

#[test]
fn any_other_operation_while_busy_is_4_05() {
    let all = || {
        [
            execute(Action::Install, ""),
            uninstall("0"),
            uninstall("1"),
            execute(Action::Activate, ""),
            execute(Action::Deactivate, ""),
        ]
    };
    for cell in cells().into_iter().filter(Instance::is_busy) {
        let refusals = all()
            .into_iter()
            .filter_map(|event| transition(&cell, event, &rules()).err())
            .filter(|refusal| refusal.code == RefusalCode::MethodNotAllowed)
            .count();
        let kind = cell.operation().map(|operation| operation.kind);
        let is_local = cell.update_state() != UpdateState::Installed
            && matches!(
                kind,
                Some(OperationKind::Action(Action::Activate | Action::Deactivate))
            );
        // A server's Activate has no effect there, the whole is not one component, and no Execute is a purge or the
        // way back.
        let is_other = is_local || cell.switching().is_some();
        let is_of_users = [Action::Purge, Action::Back].map(|it| Some(OperationKind::Action(it)));
        let refused = match is_other || is_of_users.contains(&kind) {
            true => 5,
            false => 4,
        };
        assert_eq!(refusals, refused, "{}", label(&cell));
    }
}

#[test]
fn install_activate_deactivate_without_effect_are_4_05() {
    for cell in cells().into_iter().filter(|cell| !cell.is_busy()) {
        let state = cell.update_state().value();
        for (action, allowed) in [
            (Action::Install, state == 3),
            (Action::Activate, state == 4),
            (Action::Deactivate, state == 4),
        ] {
            let made = transition(&cell, execute(action, "3='x',0"), &rules());
            assert_eq!(made.is_ok(), allowed, "{action:?} in {}", label(&cell));
            if let Err(refusal) = made {
                assert_eq!(refusal.code, RefusalCode::MethodNotAllowed);
            }
        }
    }
}

#[test]
fn a_malformed_argument_of_the_others_is_4_00() {
    for action in [Action::Install, Action::Activate, Action::Deactivate] {
        let refusal = refused(delivered(), execute(action, "0='"));
        assert_eq!(refusal.code, RefusalCode::BadRequest);
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
        for event in [uninstall(""), execute(Action::Activate, "")] {
            assert_eq!(at(&then(before.clone(), event)), (4, 2));
        }
    }
}

#[test]
fn a_report_about_what_is_over_changes_nothing() {
    let operation = OperationId::from_bytes([9; 16]);
    let stage = StageId::from_bytes([9; 16]);
    let failure = Failure::new(Cause::Timeout, "late");
    for cell in cells() {
        for event in [
            Event::Waiting {
                operation,
                why: "late".into(),
            },
            Event::Started { operation },
            underway_in(operation, JobPhase::Returning),
            Event::FirstByte { operation },
            Event::PackageWritten { operation },
            Event::Sealed {
                stage,
                package: package(),
            },
            Event::SealWaits {
                stage,
                why: "late".into(),
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
                device: Some(found("2.0", true)),
                next: NEXT,
            },
        ] {
            unchanged(InstanceRecord::from(&cell), event);
        }
    }
}

#[test]
fn a_job_ends_only_after_the_gate_let_it_start() {
    for cell in cells().into_iter().filter(Instance::is_busy) {
        let record = InstanceRecord::from(&cell);
        if record.progress == Some(Queued) {
            unchanged(record, ended(None, Some(found("2.0", true))));
        }
    }
}

#[test]
fn update_supported_objects_has_the_registration_follow_the_software() {
    let on = |record| InstanceRecord {
        update_supported_objects: true,
        ..record
    };
    let tells = |record: InstanceRecord, event: Event| {
        then(record, event)
            .effects
            .contains(&Effect::UpdateRegistration)
    };
    let removing = running(
        OperationKind::Action(Action::Uninstall),
        Running,
        installed(true),
    );
    let failure = || Some(Failure::new(Cause::Script, "failed"));
    let ends = [
        (installing(), ended(None, Some(found("2.0", false)))),
        (installing(), ended(failure(), None)),
        (removing.clone(), ended(None, None)),
        (removing, ended(failure(), Some(found("1.0", true)))),
        (installed(true), Event::DeviceHas(None)),
    ];
    for (record, event) in ends {
        assert!(!tells(record.clone(), event.clone()), "{event:?}");
        assert!(tells(on(record), event.clone()), "{event:?}");
    }
}

#[test]
fn an_operation_waits_in_the_gate_then_acts_then_a_download_is_judged() {
    for cell in cells() {
        let record = InstanceRecord::from(&cell);
        let expected = match record.progress {
            None => record.operation.map(|_| Phase::Verify),
            Some(Queued) => Some(Phase::Gate),
            Some(_) => Some(Phase::Act),
        };
        assert_eq!(cell.phase(), expected, "{}", label(&cell));
    }
}
