//! Instances in every cell of (state × in place × busy), with the same ids throughout, and the rules around them.

use std::sync::LazyLock;

use wharf_frames::{
    Action, OperationId, PackageName, PackageVersion, Secret, StageId, Step, Text,
    installer::{Found, SealedPackage},
};
use wharf_software::{
    ActivationPolicy, Instance, InstanceRecord, NewOperation, ObjectLink, Operation, OperationKind,
    PackageUri, Requester, Rules, ShortId, UpdateResult, UpdateState, instance::Software,
    record::StoredProgress,
};

/// The server that began whatever runs in a cell, under [`RUNNING`] and [`STAGE`].
pub(crate) const SERVER: Requester = Requester::Server(ShortId(1));
pub(crate) const RUNNING: OperationId = OperationId::from_bytes([1; 16]);
pub(crate) const STAGE: StageId = StageId::from_bytes([1; 16]);
/// The names that a request brings for what it may start.
pub(crate) const NEW: OperationId = OperationId::from_bytes([2; 16]);
pub(crate) const NEW_STAGE: StageId = StageId::from_bytes([2; 16]);
/// The name for an activation that follows an Install.
pub(crate) const NEXT: OperationId = OperationId::from_bytes([3; 16]);

static OWN: LazyLock<PackageName> = LazyLock::new(|| name("wharfd"));
static NGINX: LazyLock<PackageName> = LazyLock::new(|| name("nginx"));

pub(crate) fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

pub(crate) fn rules() -> Rules<'static> {
    Rules {
        own_package: &OWN,
        activation: ActivationPolicy::Server,
        replace_failed: false,
        schemes: &["https", "http"],
        object_exists: &|link| link == SETTINGS,
    }
}

/// On a device where the package of the cells is the agent's own.
pub(crate) fn own_rules() -> Rules<'static> {
    Rules {
        own_package: &NGINX,
        ..rules()
    }
}

/// The one object instance that exists.
pub(crate) const SETTINGS: ObjectLink = ObjectLink {
    object: 3,
    instance: 0,
};

pub(crate) fn starts() -> NewOperation {
    NewOperation {
        id: NEW,
        requester: SERVER,
    }
}

pub(crate) fn uri() -> PackageUri {
    PackageUri::parse(b"https://origin.example/nginx.deb").unwrap()
}

/// The delivered package of the cells: nginx 2.0.
pub(crate) fn package() -> SealedPackage {
    SealedPackage {
        name: name("nginx"),
        version: PackageVersion::new("2.0").unwrap(),
        architecture: "amd64".into(),
        length: 4711,
        signer: None,
        components: Vec::new(),
    }
}

/// nginx on the device. In the cells 1.0 is in place.
pub(crate) fn software(version: &str, active: bool) -> Software {
    Software {
        name: name("nginx"),
        version: PackageVersion::new(version).unwrap(),
        active,
        damage: None,
        no_services: false,
        skipped: None,
        components: Vec::new(),
    }
}

/// The same as the installer tells it: whole, and installed by wharfd.
pub(crate) fn found(version: &str, active: bool) -> Found {
    let Software {
        name,
        version,
        active,
        damage,
        no_services,
        skipped,
        components,
    } = software(version, active);
    Found {
        name,
        version,
        active,
        damage,
        managed: true,
        no_services,
        skipped,
        components,
    }
}

/// nginx as the distribution brought it.
pub(crate) fn foreign(version: &str) -> Found {
    Found {
        managed: false,
        ..found(version, true)
    }
}

/// nginx as a script that failed left it.
pub(crate) fn damaged(version: &str, word: &str) -> Found {
    Found {
        damage: Some(word.into()),
        ..found(version, false)
    }
}

/// INITIAL from the factory, as a row.
pub(crate) fn factory() -> InstanceRecord {
    InstanceRecord::from(&Instance::default())
}

pub(crate) fn in_state(state: UpdateState, result: UpdateResult) -> InstanceRecord {
    InstanceRecord {
        update_state: state,
        update_result: result,
        ..factory()
    }
}

pub(crate) fn running(
    kind: OperationKind,
    progress: StoredProgress,
    record: InstanceRecord,
) -> InstanceRecord {
    InstanceRecord {
        operation: Some(Operation {
            id: RUNNING,
            kind,
            requester: SERVER,
        }),
        progress: Some(progress),
        ..record
    }
}

/// Every kind of operation.
pub(crate) fn kinds() -> [OperationKind; 8] {
    let [install, uninstall, purge, activate, deactivate, back] =
        Action::ALL.map(OperationKind::Action);
    let (pull, push) = (OperationKind::Pull, OperationKind::Push);
    [
        pull, push, install, uninstall, purge, activate, deactivate, back,
    ]
}

/// This action on nginx.
pub(crate) fn on(action: Action) -> Step {
    Step::on(action, name("nginx")).unwrap()
}

pub(crate) fn initial() -> InstanceRecord {
    in_state(UpdateState::Initial, UpdateResult::Initial)
}

pub(crate) fn pulling(progress: StoredProgress) -> InstanceRecord {
    InstanceRecord {
        stage: Some(STAGE),
        package_uri: Some(uri()),
        user_name: Some(Secret::new(b"user".to_vec())),
        password: Some(Secret::new(b"password".to_vec())),
        ..running(
            OperationKind::Pull,
            progress,
            in_state(UpdateState::DownloadStarted, UpdateResult::Downloading),
        )
    }
}

pub(crate) fn pushing() -> InstanceRecord {
    InstanceRecord {
        stage: Some(STAGE),
        ..running(
            OperationKind::Push,
            StoredProgress::Receiving,
            in_state(UpdateState::DownloadStarted, UpdateResult::Downloading),
        )
    }
}

pub(crate) fn downloaded() -> InstanceRecord {
    InstanceRecord {
        stage: Some(STAGE),
        progress: None,
        ..running(
            OperationKind::Pull,
            StoredProgress::Running,
            in_state(UpdateState::Downloaded, UpdateResult::Initial),
        )
    }
}

pub(crate) fn delivered() -> InstanceRecord {
    InstanceRecord {
        stage: Some(STAGE),
        package: Some(package()),
        ..in_state(UpdateState::Delivered, UpdateResult::Initial)
    }
}

pub(crate) fn installing() -> InstanceRecord {
    running(
        OperationKind::Action(Action::Install),
        StoredProgress::Running,
        delivered(),
    )
}

pub(crate) fn installed(active: bool) -> InstanceRecord {
    InstanceRecord {
        in_place: Some(software("1.0", active)),
        in_place_runs: active,
        ..in_state(UpdateState::Installed, UpdateResult::Installed)
    }
}

/// nginx 1.0 as a bundle of php and web, each with whether it runs.
pub(crate) fn bundle(php: bool, web: bool) -> InstanceRecord {
    let component = |it, active| {
        let alone = Found {
            name: name(it),
            ..found("1.0", active)
        };
        alone.into()
    };
    let software = Software {
        components: vec![component("php", php), component("web", web)],
        ..software("1.0", php && web)
    };
    InstanceRecord {
        in_place: Some(software),
        ..installed(php && web)
    }
}

/// The same while the instance of this row is not INSTALLED.
pub(crate) fn bundle_in_place(record: InstanceRecord, php: bool, web: bool) -> InstanceRecord {
    let bundle = bundle(php, web);
    InstanceRecord {
        in_place: bundle.in_place,
        in_place_runs: bundle.in_place_runs,
        ..record
    }
}

/// Its component web is being activated, and php runs.
pub(crate) fn switching(progress: StoredProgress) -> InstanceRecord {
    InstanceRecord {
        component: Some(name("web")),
        ..running(
            OperationKind::Action(Action::Activate),
            progress,
            bundle(true, false),
        )
    }
}

pub(crate) fn with_software(record: InstanceRecord) -> InstanceRecord {
    InstanceRecord {
        in_place: Some(software("1.0", true)),
        in_place_runs: true,
        ..record
    }
}

/// With software in place that a local user, or a failed upgrade, has stopped.
pub(crate) fn with_stopped(record: InstanceRecord) -> InstanceRecord {
    InstanceRecord {
        in_place_runs: false,
        ..with_software(record)
    }
}

/// The software in place of this row could not be activated or deactivated.
pub(crate) fn not_switched(record: InstanceRecord) -> InstanceRecord {
    InstanceRecord {
        in_place_note: Some("nginx.service failed".into()),
        ..record
    }
}

/// The software in place of this row, as a script that failed left it.
pub(crate) fn half_configured(record: InstanceRecord) -> InstanceRecord {
    let in_place = record.in_place.map(|software| Software {
        damage: Some("half-configured".into()),
        ..software
    });
    InstanceRecord { in_place, ..record }
}

pub(crate) fn ended_with(
    result: UpdateResult,
    why: &str,
    record: InstanceRecord,
) -> InstanceRecord {
    InstanceRecord {
        update_result: result,
        note: Some(Text::new(why)),
        ..record
    }
}

/// The running operation of this row waits.
pub(crate) fn waiting(record: InstanceRecord) -> InstanceRecord {
    let why = match record.update_state {
        UpdateState::Downloaded => "the installer",
        _ => "waiting for the installer",
    };
    InstanceRecord {
        note: Some(why.into()),
        ..record
    }
}

pub(crate) fn built(record: InstanceRecord) -> Instance {
    Instance::try_from(record).unwrap()
}

/// Every cell once.
pub(crate) fn cells() -> Vec<Instance> {
    use StoredProgress::{Queued, Receiving, Running};
    let lost = |record| {
        ended_with(
            UpdateResult::ConnectionLost,
            "the connection was cut",
            record,
        )
    };
    let failed = |record| ended_with(UpdateResult::InstallationFailure, "postinst failed", record);
    let beside = vec![
        initial(),
        lost(initial()),
        pulling(Queued),
        pulling(Running),
        pulling(Receiving),
        pushing(),
        downloaded(),
        delivered(),
        failed(delivered()),
        running(OperationKind::Action(Action::Install), Queued, delivered()),
        running(OperationKind::Action(Action::Install), Running, delivered()),
        waiting(downloaded()),
        waiting(running(
            OperationKind::Action(Action::Install),
            Running,
            delivered(),
        )),
    ];
    let mut records = beside.clone();
    records.extend(beside.into_iter().map(with_software));
    for progress in [Queued, Running] {
        for kind in [
            OperationKind::Action(Action::Uninstall),
            OperationKind::Action(Action::Purge),
        ] {
            records.push(with_software(running(kind, progress, initial())));
        }
    }
    for record in [initial(), failed(delivered())] {
        for progress in [Queued, Running] {
            let switched = with_software(record.clone());
            records.push(running(
                OperationKind::Action(Action::Deactivate),
                progress,
                switched,
            ));
            let switched = with_stopped(record.clone());
            records.push(running(
                OperationKind::Action(Action::Activate),
                progress,
                switched,
            ));
        }
        records.push(with_stopped(record.clone()));
        records.push(not_switched(with_stopped(record)));
    }
    records.push(half_configured(with_software(initial())));
    records.push(half_configured(installed(false)));
    for active in [false, true] {
        let switch = if active {
            OperationKind::Action(Action::Deactivate)
        } else {
            OperationKind::Action(Action::Activate)
        };
        records.push(installed(active));
        records.push(ended_with(
            UpdateResult::Installed,
            "nginx.service failed",
            installed(active),
        ));
        for (result, why) in [
            (UpdateResult::UninstallationFailure, "prerm failed"),
            (UpdateResult::DeviceDefined, "policy does not allow it"),
        ] {
            records.push(ended_with(result, why, installed(active)));
        }
        for progress in [Queued, Running] {
            for kind in [
                OperationKind::Action(Action::Uninstall),
                OperationKind::Action(Action::Purge),
            ] {
                records.push(running(kind, progress, installed(active)));
            }
            records.push(running(switch, progress, installed(active)));
            let back = OperationKind::Action(Action::Back);
            records.push(running(back, progress, installed(active)));
        }
    }
    records.push(bundle(true, false));
    records.extend([Queued, Running].map(switching));
    records.sort_by_key(|record| record.update_state);
    records.into_iter().map(built).collect()
}

/// The name of a cell: state, software in place, running operation or last failure.
pub(crate) fn label(instance: &Instance) -> String {
    let in_place = match instance.update_state() {
        UpdateState::Installed if instance.is_bundle() && instance.all_run(false) => {
            ", a bundle, inactive"
        }
        UpdateState::Installed if instance.is_bundle() && !instance.activation_state() => {
            ", a bundle, active in part"
        }
        UpdateState::Installed if instance.is_bundle() => ", a bundle, active",
        UpdateState::Installed if instance.activation_state() => ", active",
        UpdateState::Installed => ", inactive",
        _ if instance.software().is_some() && !instance.runs() => ", in place, stopped",
        _ if instance.software().is_some() => ", in place",
        _ => "",
    };
    let damaged = if instance.damage().is_some() {
        ", damaged"
    } else {
        ""
    };
    format!(
        "{}{in_place}{damaged}{}",
        instance.update_state().name(),
        doing(instance)
    )
}

fn doing(instance: &Instance) -> String {
    let record = InstanceRecord::from(instance);
    let result = instance.update_result().value();
    let after = match result {
        50.. => format!(", after {result}"),
        _ => String::new(),
    };
    match (&record.operation, record.progress) {
        (Some(operation), Some(StoredProgress::Running))
            if operation.kind != OperationKind::Pull
                && record
                    .note
                    .as_ref()
                    .is_some_and(|note| note.as_str().starts_with("waiting"))
                && after.is_empty() =>
        {
            format!(", {} waiting", operation.kind.as_str())
        }
        (Some(operation), Some(progress)) if instance.switching().is_some() => {
            let action = operation.kind.as_str();
            format!(", {action} of a component {}", progress.as_str())
        }
        (Some(operation), Some(progress)) => {
            format!("{after}, {} {}", operation.kind.as_str(), progress.as_str())
        }
        _ if instance.update_state() == UpdateState::Downloaded && record.note.is_some() => {
            ", waiting".to_owned()
        }
        _ if instance.last_failure().is_some() => {
            format!("{after}, after a failed activation")
        }
        _ => after,
    }
}
