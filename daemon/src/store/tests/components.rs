//! Schema 7: the components of packages, and their ids.

use wharf_frames::installer::{Component, FoundComponent};

use super::*;

const OTHER: InstanceId = InstanceId(7);

fn of_the_sixth_schema() -> Folder {
    let folder = Folder::new();
    let sixth = Database::open(&folder.file(), &schema::MIGRATIONS[..6]).unwrap();
    let rows = include_str!("../of_schema_6.sql");
    sixth.connection.execute_batch(rows).unwrap();
    folder
}

fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

fn version(text: &str) -> PackageVersion {
    PackageVersion::new(text).unwrap()
}

fn component(text: &str, active: bool) -> FoundComponent {
    FoundComponent {
        name: name(text),
        version: version("1.0-1"),
        active,
        damage: (!active).then(|| "half-configured".into()),
        no_services: !active,
    }
}

/// Web and php in place, php and cache delivered.
fn upgrade() -> InstanceRecord {
    let delivered = |text| Component {
        name: name(text),
        version: version("2.0-1"),
    };
    InstanceRecord {
        update_state: UpdateState::Delivered,
        stage: Some(STAGE),
        package: Some(SealedPackage {
            name: name("stack"),
            version: version("2.0-1"),
            architecture: "all".into(),
            length: 9,
            signer: None,
            components: vec![delivered("php"), delivered("cache")],
        }),
        ..with_software(stack(true), None)
    }
}

fn stack(active: bool) -> Software {
    Software {
        name: name("stack"),
        components: vec![component("web", true), component("php", active)],
        ..hello(false)
    }
}

/// Commits the instance, and returns the ids after it.
fn put(
    store: &mut Store,
    id: InstanceId,
    old: Option<&Instance>,
    new: Option<&Instance>,
) -> ComponentIds {
    let components = store.load().unwrap().components.after(id, new);
    let commit = Commit {
        instance: id,
        old,
        new,
        over: &[],
        effects: &[],
        components: &components,
        answered: None,
        at: 0,
    };
    store.commit(&commit).unwrap();
    components
}

#[test]
fn each_package_of_the_sixth_schema_is_a_component_with_an_id() {
    let folder = of_the_sixth_schema();
    let expected: Vec<(u16, InstanceId)> = (0..).zip((4..10).map(InstanceId)).collect();
    for _ in ["migrated", "opened again"] {
        let stored = folder.open().unwrap().load().unwrap();
        assert_eq!(stored.instances.len(), 11);
        let ids = (0..16).filter_map(|id| {
            let (of, name) = stored.components.get(id)?;
            assert_eq!(name.as_str(), "hello");
            Some((id, of))
        });
        assert_eq!(ids.collect::<Vec<_>>(), expected);
        for (id, instance) in &stored.instances {
            // The next commit finds the ids that it expects.
            let next = stored.components.after(*id, Some(instance));
            assert_eq!(next, stored.components, "{id:?}");
            assert!(!instance.is_bundle());
        }
    }
    assert!(older_copy::copy_of(&folder.file(), 6).exists());
}

#[test]
fn bundles_and_the_ids_of_their_components_are_there_after_a_restart() {
    let folder = Folder::new();
    let mut first = folder.open().unwrap();
    let instance = Instance::try_from(upgrade()).unwrap();
    let ids = put(&mut first, ID, None, Some(&instance));
    let other = Instance::try_from(with_software(hello(false), None)).unwrap();
    let both = put(&mut first, OTHER, None, Some(&other));
    drop(first);
    let stored = folder.open().unwrap().load().unwrap();
    let expected = [(ID, instance.clone()), (OTHER, other)];
    assert_eq!(stored.instances, BTreeMap::from(expected));
    assert_eq!(stored.components, both);
    assert_eq!(ids.of(ID).count(), 3);
    assert_eq!(stored.components.of(OTHER).count(), 1);

    // A component that runs again is the same component.
    let mut open = folder.open().unwrap();
    let started = InstanceRecord {
        in_place: Some(stack(false)),
        ..upgrade()
    };
    let started = Instance::try_from(started).unwrap();
    let after = put(&mut open, ID, Some(&instance), Some(&started));
    drop(open);
    let stored = folder.open().unwrap().load().unwrap();
    assert_eq!(stored.instances[&ID], started);
    assert_eq!((&stored.components, &after), (&both, &both));
}

#[test]
fn the_components_of_a_deleted_instance_are_gone() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    let instance = Instance::try_from(upgrade()).unwrap();
    put(&mut open, ID, None, Some(&instance));
    put(&mut open, ID, Some(&instance), None);
    drop(open);
    let stored = folder.open().unwrap().load().unwrap();
    assert_eq!(stored.components, ComponentIds::default());
}

#[test]
fn an_activate_of_a_component_is_there_after_a_restart_and_names_the_component() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    let idle = InstanceRecord {
        update_state: UpdateState::Installed,
        update_result: UpdateResult::Installed,
        in_place: Some(Software {
            active: false,
            ..stack(false)
        }),
        in_place_runs: false,
        ..InstanceRecord::from(&Instance::default())
    };
    let idle = Instance::try_from(idle).unwrap();
    put(&mut open, ID, None, Some(&idle));
    let switching = Instance::try_from(InstanceRecord {
        operation: Some(Operation {
            id: OPERATION,
            kind: OperationKind::Action(Action::Activate),
            requester: Requester::Server(SERVER),
        }),
        progress: Some(StoredProgress::Queued),
        component: Some(name("php")),
        ..InstanceRecord::from(&idle)
    });
    let switching = switching.unwrap();
    put(&mut open, ID, Some(&idle), Some(&switching));
    drop(open);
    let mut open = folder.open().unwrap();
    assert_eq!(open.load().unwrap().instances[&ID], switching);
    let [row] = &open.operations(0).unwrap()[..] else {
        panic!("one operation");
    };
    assert_eq!(row.target, Some(name("php")));

    // The bundle is not active as a whole, and the operation is done.
    put(&mut open, ID, Some(&switching), Some(&idle));
    let states: Vec<String> = open
        .operations(1)
        .unwrap()
        .into_iter()
        .map(|row| row.state)
        .collect();
    assert_eq!(states, ["done"]);
}
