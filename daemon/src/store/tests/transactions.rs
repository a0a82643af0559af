//! The transactions of the installer, and the effects and phases that the schema before them had.

use wharf_frames::Transaction;

use super::*;

fn of_the_fifth_schema() -> Folder {
    let folder = Folder::new();
    let fifth = Database::open(&folder.file(), &schema::MIGRATIONS[..5]).unwrap();
    let rows = include_str!("../of_schema_5.sql");
    fifth.connection.execute_batch(rows).unwrap();
    folder
}

/// In the rows of the fifth schema, an instance and its operation have the same number.
const fn id(number: u8) -> OperationId {
    OperationId::from_bytes([number; 16])
}

#[test]
fn an_effect_of_the_fifth_schema_is_the_transaction_of_its_action() {
    let stage = |number| StageId::from_bytes([number; 16]);
    let perform = |number, step: Step| Effect::Perform {
        operation: id(number),
        transaction: step.into(),
    };
    let hello = || hello(false).name;
    let expected = [
        Effect::Queue { operation: id(1) },
        Effect::StartPull {
            operation: id(2),
            stage: stage(2),
        },
        Effect::Seal {
            operation: id(3),
            stage: stage(3),
        },
        perform(4, Step::Install(STAGE)),
        perform(5, Step::Uninstall(hello())),
        perform(6, Step::Purge(hello())),
        perform(7, Step::Activate(hello())),
        perform(8, Step::Deactivate(hello())),
        Effect::Queue { operation: id(9) },
        Effect::Discard { stage: stage(10) },
    ];
    let folder = of_the_fifth_schema();
    for _ in ["migrated", "opened again"] {
        let stored = folder.open().unwrap().load().unwrap();
        let effects: Vec<_> = stored.pending.into_iter().map(|it| it.effect).collect();
        assert_eq!(effects, expected);
        for (instance, effect) in (1..).map(InstanceId).zip(&expected) {
            assert!(effect.is_due(stored.instances.get(&instance)), "{effect:?}");
        }
    }
    assert!(older_copy::copy_of(&folder.file(), 5).exists());
}

#[test]
fn an_operation_of_the_fifth_schema_has_ended_if_its_phase_had() {
    let folder = of_the_fifth_schema();
    let mut open = folder.open().unwrap();
    let kinds = [
        OperationKind::Pull,
        OperationKind::Pull,
        OperationKind::Pull,
        OperationKind::Action(Action::Install),
        OperationKind::Action(Action::Uninstall),
        OperationKind::Action(Action::Purge),
        OperationKind::Action(Action::Activate),
        OperationKind::Action(Action::Deactivate),
        OperationKind::Action(Action::Install),
    ];
    let accepted: Vec<_> = (1..).map(id).zip(kinds).collect();
    assert_eq!(open.load().unwrap().accepted, accepted);
    assert_eq!(open.operations(0).unwrap().len(), 9);
    assert_eq!(open.kept_cancel(id(8)).unwrap(), Some(1000));

    let kept = open.kept_operations().unwrap();
    let told: Vec<_> = kept
        .iter()
        .map(|kept| {
            (
                kept.row.state.as_str(),
                kept.row.outcome.as_str(),
                kept.package.as_str(),
            )
        })
        .collect();
    let expected = [
        ("queued", "", ""),
        ("running", "", ""),
        ("running", "", ""),
        ("running", "", ""),
        ("running", "", "hello"),
        ("running", "", "hello"),
        ("running", "", "hello"),
        ("running", "", "hello"),
        ("queued", "", ""),
        ("failed", "20: 404", ""),
        ("done", "10: ready for a package", "hello"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_steps_of_a_transaction_keep_their_order_over_a_restart() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    let installing = InstanceRecord {
        update_state: UpdateState::Delivered,
        stage: Some(STAGE),
        package: Some(SealedPackage {
            name: hello(false).name,
            version: PackageVersion::new("2.0-1").unwrap(),
            architecture: "all".into(),
            length: 9,
            signer: None,
            components: Vec::new(),
        }),
        operation: Some(Operation {
            id: OPERATION,
            kind: OperationKind::Action(Action::Install),
            requester: Requester::User(0),
        }),
        progress: Some(StoredProgress::Running),
        ..InstanceRecord::from(&Instance::default())
    };
    let instance = Instance::try_from(installing).unwrap();
    let name = |text| PackageName::new(text).unwrap();
    let steps = vec![
        Step::Install(STAGE),
        Step::Uninstall(name("legacy")),
        Step::Activate(name("hello")),
        Step::Back(name("world")),
    ];
    let effect = Effect::Perform {
        operation: OPERATION,
        transaction: Transaction { steps },
    };
    let commit = Commit {
        instance: ID,
        old: None,
        new: Some(&instance),
        over: &[],
        effects: std::slice::from_ref(&effect),
        components: &ComponentIds::default(),
        answered: None,
        at: 0,
    };
    open.commit(&commit).unwrap();
    drop(open);
    let mut open = folder.open().unwrap();
    let effects: Vec<_> = open
        .load()
        .unwrap()
        .pending
        .into_iter()
        .map(|it| it.effect)
        .collect();
    assert_eq!(effects, [effect]);
    assert_eq!(open.operations(0).unwrap().len(), 1);
}

#[test]
fn a_step_without_the_target_of_its_action_is_not_done() {
    let folder = of_the_fifth_schema();
    drop(folder.open().unwrap());
    let mut open = folder.open().unwrap();
    let damage = "UPDATE step SET package = NULL WHERE action = 'uninstall' AND state = 'running'";
    open.change(damage, ()).unwrap();
    drop(open);
    let error = folder.open().unwrap().load().unwrap_err().to_string();
    assert!(error.contains("a stored step has no target"), "{error}");
}
