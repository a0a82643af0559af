//! An instance survives the database's form, and rows that cannot be are refused.

use wharf_frames::{Action, StageId, Step, Transaction};
use wharf_software::{
    Effect, Instance, InstanceRecord, OperationKind, UpdateResult, UpdateState,
    effect::{EffectKind, EffectRecord, NotAnEffect},
    record::{RecordError, StoredProgress},
};

use crate::cells::*;

#[test]
fn every_instance_is_rebuilt_from_its_row() {
    for cell in cells() {
        let rebuilt = Instance::try_from(InstanceRecord::from(&cell));
        assert_eq!(rebuilt.as_ref(), Ok(&cell), "{}", label(&cell));
    }
}

/// Rows of one state with one column missing or one too many.
#[test]
fn a_row_that_cannot_be_is_a_typed_error() {
    use UpdateState::{Delivered, DownloadStarted, Downloaded, Initial, Installed};
    let missing = |state, column| RecordError::Missing { state, column };
    let contradiction = RecordError::Contradiction;
    let install = running(
        OperationKind::Action(Action::Install),
        StoredProgress::Running,
        delivered(),
    );
    let remove = with_software(running(
        OperationKind::Action(Action::Uninstall),
        StoredProgress::Running,
        initial(),
    ));
    let rows = [
        (
            InstanceRecord {
                operation: None,
                ..pushing()
            },
            missing(DownloadStarted, "operation"),
        ),
        (
            InstanceRecord {
                stage: None,
                ..pushing()
            },
            missing(DownloadStarted, "stage"),
        ),
        (
            InstanceRecord {
                package_uri: Some(uri()),
                ..pushing()
            },
            contradiction(DownloadStarted),
        ),
        (
            InstanceRecord {
                package_uri: None,
                ..pulling(StoredProgress::Queued)
            },
            missing(DownloadStarted, "Package URI"),
        ),
        (
            InstanceRecord {
                progress: None,
                ..pulling(StoredProgress::Queued)
            },
            missing(DownloadStarted, "progress"),
        ),
        (
            running(
                OperationKind::Action(Action::Install),
                StoredProgress::Running,
                pushing(),
            ),
            contradiction(DownloadStarted),
        ),
        (
            InstanceRecord {
                update_result: UpdateResult::Initial,
                ..pushing()
            },
            contradiction(DownloadStarted),
        ),
        (
            InstanceRecord {
                stage: None,
                ..downloaded()
            },
            missing(Downloaded, "stage"),
        ),
        (
            InstanceRecord {
                operation: None,
                ..downloaded()
            },
            missing(Downloaded, "operation"),
        ),
        (
            InstanceRecord {
                progress: Some(StoredProgress::Running),
                ..downloaded()
            },
            contradiction(Downloaded),
        ),
        (
            running(
                OperationKind::Action(Action::Install),
                StoredProgress::Running,
                downloaded(),
            ),
            contradiction(Downloaded),
        ),
        (
            InstanceRecord {
                package: Some(package()),
                ..downloaded()
            },
            contradiction(Downloaded),
        ),
        (
            InstanceRecord {
                package: None,
                ..delivered()
            },
            missing(Delivered, "package"),
        ),
        (
            InstanceRecord {
                stage: None,
                ..delivered()
            },
            missing(Delivered, "stage"),
        ),
        (
            ended_with(UpdateResult::ConnectionLost, "cut", delivered()),
            contradiction(Delivered),
        ),
        (
            InstanceRecord {
                note: None,
                ..ended_with(UpdateResult::InstallationFailure, "", delivered())
            },
            missing(Delivered, "reason"),
        ),
        (
            InstanceRecord {
                progress: None,
                ..install.clone()
            },
            missing(Delivered, "progress"),
        ),
        (
            InstanceRecord {
                progress: Some(StoredProgress::Receiving),
                ..install.clone()
            },
            contradiction(Delivered),
        ),
        (
            InstanceRecord {
                update_result: UpdateResult::InstallationFailure,
                ..install
            },
            contradiction(Delivered),
        ),
        (
            InstanceRecord {
                in_place: None,
                ..installed(true)
            },
            missing(Installed, "software in place"),
        ),
        (
            InstanceRecord {
                stage: Some(STAGE),
                ..installed(true)
            },
            contradiction(Installed),
        ),
        (
            InstanceRecord {
                update_result: UpdateResult::UninstallationFailure,
                ..installed(true)
            },
            missing(Installed, "reason"),
        ),
        (
            InstanceRecord {
                update_result: UpdateResult::Initial,
                ..installed(true)
            },
            contradiction(Installed),
        ),
        (
            running(
                OperationKind::Action(Action::Install),
                StoredProgress::Running,
                installed(true),
            ),
            contradiction(Installed),
        ),
        (
            InstanceRecord {
                in_place: None,
                ..remove
            },
            missing(Initial, "software in place"),
        ),
        (
            InstanceRecord {
                note: None,
                ..ended_with(UpdateResult::ConnectionLost, "", initial())
            },
            missing(Initial, "reason"),
        ),
        (
            ended_with(UpdateResult::InstallationFailure, "failed", initial()),
            contradiction(Initial),
        ),
        (
            with_software(running(
                OperationKind::Action(Action::Install),
                StoredProgress::Running,
                initial(),
            )),
            contradiction(Initial),
        ),
    ];
    for (row, error) in rows {
        assert_eq!(Instance::try_from(row.clone()), Err(error), "{row:?}");
    }
}

#[test]
fn a_row_that_cannot_be_is_told_with_its_state() {
    let error = Instance::try_from(InstanceRecord {
        stage: None,
        ..downloaded()
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the stored instance is in DOWNLOADED and has no stage: the database was changed or is damaged"
    );
}

fn effects() -> Vec<Effect> {
    let (operation, stage) = (RUNNING, STAGE);
    vec![
        Effect::Queue { operation },
        Effect::StartPull { operation, stage },
        Effect::AcceptPush { operation, stage },
        Effect::StopDelivery { stage },
        Effect::Discard { stage },
        Effect::Seal { operation, stage },
        Effect::Perform {
            operation,
            transaction: Transaction {
                steps: vec![Step::Install(stage), on(Action::Uninstall)],
            },
        },
        Effect::UpdateRegistration,
    ]
}

#[test]
fn every_effect_is_rebuilt_from_its_row() {
    let kinds: Vec<EffectKind> = effects().iter().map(Effect::kind).collect();
    assert_eq!(kinds, EffectKind::ALL);
    for effect in effects() {
        let record = EffectRecord::from(&effect);
        assert_eq!(EffectKind::parse(record.kind.as_str()), Some(record.kind));
        assert_eq!(Effect::try_from(record), Ok(effect));
    }
}

/// A crash repeats no effect that is over. Files are dropped in any case.
#[test]
fn a_stored_effect_is_due_as_long_as_its_instance_waits_for_it() {
    use StoredProgress::{Queued, Receiving, Running};
    let stage = StageId::from_bytes([9; 16]);
    let effect = |kind: EffectKind| {
        effects()
            .into_iter()
            .find(|one| one.kind() == kind)
            .unwrap()
    };
    let away = software("1.0", true);
    let installed_with = |kind, progress| running(kind, progress, installed(true));
    let other_file = InstanceRecord {
        stage: Some(stage),
        ..downloaded()
    };
    let cases = [
        (EffectKind::Queue, pulling(Queued), pulling(Running)),
        (
            EffectKind::Queue,
            running(OperationKind::Action(Action::Install), Queued, delivered()),
            installing(),
        ),
        (EffectKind::StartPull, pulling(Running), pulling(Queued)),
        (EffectKind::StartPull, pulling(Receiving), downloaded()),
        (EffectKind::AcceptPush, pushing(), downloaded()),
        (EffectKind::Seal, downloaded(), other_file),
        (EffectKind::Seal, downloaded(), delivered()),
        (EffectKind::Perform, installing(), delivered()),
        (
            EffectKind::Perform,
            installed_with(OperationKind::Action(Action::Uninstall), Running),
            initial(),
        ),
        (
            EffectKind::Perform,
            installed_with(OperationKind::Action(Action::Purge), Running),
            initial(),
        ),
        (
            EffectKind::Perform,
            installed_with(OperationKind::Action(Action::Activate), Running),
            installed(true),
        ),
        (
            EffectKind::Perform,
            installed_with(OperationKind::Action(Action::Deactivate), Running),
            installed_with(OperationKind::Action(Action::Deactivate), Queued),
        ),
    ];
    for (kind, due, over) in cases {
        assert!(effect(kind).is_due(Some(&built(due))), "{kind:?}");
        assert!(!effect(kind).is_due(Some(&built(over))), "{kind:?}");
        assert!(!effect(kind).is_due(None), "{kind:?}");
        let others = InstanceRecord {
            in_place: Some(away.clone()),
            ..initial()
        };
        assert!(!effect(kind).is_due(Some(&built(others))), "{kind:?}");
    }
    for kind in [
        EffectKind::StopDelivery,
        EffectKind::Discard,
        EffectKind::UpdateRegistration,
    ] {
        assert!(effect(kind).is_due(None), "{kind:?}");
    }
    let other = Effect::Perform {
        operation: NEW,
        transaction: Step::Install(STAGE).into(),
    };
    assert!(!other.is_due(Some(&built(installing()))));
}

#[test]
fn an_effect_with_other_ids_than_it_needs_is_a_typed_error() {
    for effect in effects() {
        let record = EffectRecord::from(&effect);
        let toggled = |id: Option<StageId>| if id.is_some() { None } else { Some(STAGE) };
        for wrong in [
            EffectRecord {
                stage: toggled(record.stage),
                ..record.clone()
            },
            EffectRecord {
                operation: if record.operation.is_some() {
                    None
                } else {
                    Some(RUNNING)
                },
                ..record.clone()
            },
            EffectRecord {
                transaction: match record.transaction {
                    Some(_) => None,
                    None => Some(Step::Install(STAGE).into()),
                },
                ..record
            },
        ] {
            assert_eq!(Effect::try_from(wrong), Err(NotAnEffect(effect.kind())));
        }
    }
}

#[test]
fn words_and_numbers_are_read_back() {
    for kind in kinds() {
        assert_eq!(OperationKind::parse(kind.as_str()), Some(kind));
    }
    for progress in StoredProgress::ALL {
        assert_eq!(StoredProgress::parse(progress.as_str()), Some(progress));
    }
    for state in UpdateState::ALL {
        assert_eq!(UpdateState::from_value(state.value()), Some(state));
    }
    for result in UpdateResult::ALL {
        assert_eq!(UpdateResult::from_value(result.value()), Some(result));
    }
    let values: Vec<u8> = UpdateResult::ALL
        .into_iter()
        .map(UpdateResult::value)
        .collect();
    assert_eq!(values, [0, 1, 2, 50, 51, 52, 53, 54, 56, 57, 58, 59]);
    assert_eq!(UpdateState::ALL.map(UpdateState::value), [0, 1, 2, 3, 4]);
    assert_eq!(UpdateState::from_value(5), None);
    assert_eq!(UpdateResult::from_value(3), None);
    assert_eq!(OperationKind::parse("hold"), None);
}
