//! The store against a real file, and against files that it must not touch.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use lwm2m::{Answered, Path, Saved, SavedObservation};
use wharf_frames::{
    Action, Cause, Failure, OperationId, PackageName, PackageVersion, Secret, StageId, Step,
    fetch::Validator,
    installer::{Found, SealedPackage},
};
use wharf_software::{
    ActivationPolicy, Effect, Event, Instance, InstanceId, InstanceRecord, NewOperation,
    ObjectLink, Operation, PackageSource, Requester, Rules, ShortId, Transition, UpdateResult,
    UpdateState, Write, instance::Software, record::StoredProgress, transition,
};

use super::*;

mod accounts;
mod components;
mod transactions;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("wharfd.db")
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.file())
    }

    fn refusal(&self) -> String {
        let error = self.open().err().expect("the store opens");
        assert!(
            error.to_string().contains("wharfd.db"),
            "{error} does not name the file"
        );
        error.to_string()
    }
}

const ID: InstanceId = InstanceId(0);
const SERVER: ShortId = ShortId(1);
const OPERATION: OperationId = OperationId::from_bytes([1; 16]);
const STAGE: StageId = StageId::from_bytes([2; 16]);
const PASSWORD: &[u8] = b"correct horse battery staple";

fn after(instance: &Instance, event: Event) -> Transition {
    let own = PackageName::new("wharfd").unwrap();
    let rules = Rules {
        own_package: &own,
        activation: ActivationPolicy::Server,
        replace_failed: false,
        schemes: &["http"],
        object_exists: &|_: ObjectLink| false,
    };
    transition(instance, event, &rules).unwrap()
}

fn write_uri() -> Event {
    Event::Write {
        write: Write {
            source: Some(PackageSource::Uri(Secret::new(
                b"http://origin/p.deb?token=s3cret".to_vec(),
            ))),
            user_name: Some(Secret::new(b"gateway".to_vec())),
            password: Some(Secret::new(PASSWORD.to_vec())),
            ..Write::default()
        },
        starts: NewOperation {
            id: OPERATION,
            requester: Requester::Server(SERVER),
        },
        stage: STAGE,
    }
}

fn store(store: &mut Store, old: &Instance, event: Event) -> Instance {
    commit(store, old, event).unwrap()
}

/// The same, of an event after which there may be no instance.
fn commit(store: &mut Store, old: &Instance, event: Event) -> Option<Instance> {
    commit_at(1_800_000_000, store, old, event)
}

fn commit_at(at: u64, store: &mut Store, old: &Instance, event: Event) -> Option<Instance> {
    let transition = after(old, event);
    let pending = store.load().unwrap().pending.into_iter();
    let over = pending.filter(|known| !known.effect.is_due(transition.instance.as_ref()));
    let over: Vec<EffectId> = over.map(|known| known.id).collect();
    let commit = Commit {
        instance: ID,
        old: Some(old),
        new: transition.instance.as_ref(),
        over: &over,
        effects: &transition.effects,
        components: &ComponentIds::default(),
        answered: None,
        at,
    };
    store.commit(&commit).unwrap();
    transition.instance
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let folder = Folder::new();
    let mut first = folder.open().unwrap();
    first.make_factory_instances(1, true).unwrap();
    let instance = store(&mut first, &Instance::default(), write_uri());
    drop(first);

    let stored = folder.open().unwrap().load().unwrap();
    assert_eq!(stored.instances, BTreeMap::from([(ID, instance)]));
    assert_eq!(stored.accepted, [(OPERATION, OperationKind::Pull)]);
    let effects: Vec<&Effect> = stored
        .pending
        .iter()
        .map(|pending| &pending.effect)
        .collect();
    assert_eq!(
        effects,
        [&Effect::Queue {
            operation: OPERATION
        }]
    );
}

#[test]
fn what_systemd_skipped_is_there_after_a_restart() {
    let folder = Folder::new();
    let mut first = folder.open().unwrap();
    first.make_factory_instances(1, true).unwrap();
    let device = |skipped: &str| Found {
        name: PackageName::new("acme").unwrap(),
        version: PackageVersion::new("1").unwrap(),
        active: true,
        damage: None,
        managed: true,
        no_services: false,
        skipped: Some(skipped.into()),
        components: Vec::new(),
    };
    let installed = Instance::try_from(InstanceRecord {
        update_state: UpdateState::Installed,
        update_result: UpdateResult::Installed,
        in_place: Some(device("systemd skipped a.service").into()),
        in_place_runs: true,
        ..InstanceRecord::from(&Instance::default())
    });
    let event = Event::DeviceHas(Some(device("systemd skipped b.service")));
    let instance = store(&mut first, &installed.unwrap(), event);
    drop(first);
    let stored = folder.open().unwrap().load().unwrap();
    assert_eq!(stored.instances, BTreeMap::from([(ID, instance)]));
}

#[test]
fn an_event_ends_the_effects_of_its_operation() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    open.make_factory_instances(1, true).unwrap();
    let queued = store(&mut open, &Instance::default(), write_uri());
    let started = Event::Started {
        operation: OPERATION,
    };
    let running = store(&mut open, &queued, started);
    let pull = Effect::StartPull {
        operation: OPERATION,
        stage: STAGE,
    };
    assert_eq!(open.load().unwrap().pending[0].effect, pull);

    let failure = Failure::new(Cause::NotFound, "the origin has nothing there");
    let failed = Event::Failed {
        operation: OPERATION,
        failure,
    };
    store(&mut open, &running, failed);
    let stored = open.load().unwrap();
    assert_eq!(stored.pending[0].effect, Effect::Discard { stage: STAGE });
    assert_eq!(stored.accepted, []);
}

#[test]
fn the_changes_beside_a_package_are_in_the_outcome_once_and_not_in_that_of_another_operation() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    open.make_factory_instances(1, true).unwrap();
    let queued = store(&mut open, &Instance::default(), write_uri());
    for _ in 0..2 {
        open.keep_beside(OPERATION, &"came with it: libfoo 2".into())
            .unwrap();
    }
    let failed = Event::Failed {
        operation: OPERATION,
        failure: Failure::new(Cause::NotFound, "the origin has nothing there"),
    };
    let failed = store(&mut open, &queued, failed);
    open.keep_beside(OPERATION, &"too late".into()).unwrap();
    let told = format!("{}; came with it: libfoo 2", failed.status_reason());
    assert_eq!(open.operations(9).unwrap()[0].outcome, told);
}

#[test]
fn a_file_is_known_from_before_it_is_there_until_it_is_discarded() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    open.make_factory_instances(1, true).unwrap();
    assert!(!open.knows(STAGE).unwrap());
    let queued = store(&mut open, &Instance::default(), write_uri());
    assert!(open.knows(STAGE).unwrap(), "by its instance");
    let failed = Event::Failed {
        operation: OPERATION,
        failure: Failure::new(Cause::NotFound, "the origin has nothing there"),
    };
    store(&mut open, &queued, failed);
    assert!(open.knows(STAGE).unwrap(), "by what is to be done");
    let pending = open.load().unwrap().pending;
    open.resolve(&pending[0]).unwrap();
    assert!(!open.knows(STAGE).unwrap());
}

#[test]
fn a_deleted_instance_0_stays_deleted() {
    let folder = Folder::new();
    let mut first = folder.open().unwrap();
    first.make_factory_instances(1, true).unwrap();
    let instance = Instance::default();
    let transition = after(&instance, Event::Delete);
    let commit = Commit {
        instance: ID,
        old: Some(&instance),
        new: None,
        over: &[],
        effects: &transition.effects,
        components: &ComponentIds::default(),
        answered: None,
        at: 0,
    };
    first.commit(&commit).unwrap();
    drop(first);

    let mut again = folder.open().unwrap();
    again.make_factory_instances(1, true).unwrap();
    assert_eq!(again.load().unwrap().instances, BTreeMap::new());
}

#[test]
fn before_there_is_a_server_another_number_of_instances_can_be_configured_until_one_is_used() {
    let folder = Folder::new();
    let made = |count, has_server| {
        let mut open = folder.open().unwrap();
        open.make_factory_instances(count, has_server).unwrap();
        open.load().unwrap().instances.len()
    };
    assert_eq!((made(1, false), made(3, false), made(4, true)), (1, 3, 4));
    assert_eq!((made(5, true), made(5, false)), (4, 4));

    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    open.make_factory_instances(1, false).unwrap();
    store(&mut open, &Instance::default(), write_uri());
    open.make_factory_instances(4, true).unwrap();
    assert_eq!(open.load().unwrap().instances.len(), 1);
}

#[test]
fn erased_credentials_are_nowhere_on_disk() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    open.make_factory_instances(1, true).unwrap();
    let queued = store(&mut open, &Instance::default(), write_uri());
    assert!(on_disk(&folder, PASSWORD), "the password is not stored");

    let failure = Failure::new(Cause::NotFound, "nothing there");
    let failed = Event::Failed {
        operation: OPERATION,
        failure,
    };
    store(&mut open, &queued, failed);
    assert!(!on_disk(&folder, PASSWORD), "the password is still on disk");
    assert!(
        !on_disk(&folder, b"s3cret"),
        "the URI's token is still on disk"
    );
}

/// The files as a power cut leaves them after the commit that erases credentials, before the log is emptied. `before`
/// runs before that commit.
fn cut_before_the_log_is_emptied(before: impl FnOnce(&mut Store)) -> Folder {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    open.make_factory_instances(1, true).unwrap();
    open.database.stale_secrets = false; // as after the first commit of a run
    let queued = store(&mut open, &Instance::default(), write_uri());
    before(&mut open);
    let operation = OPERATION;
    let failure = Failure::new(Cause::NotFound, "nothing there");
    let failed = after(&queued, Event::Failed { operation, failure });
    let commit = Commit {
        instance: ID,
        old: Some(&queued),
        new: failed.instance.as_ref(),
        over: &[],
        effects: &failed.effects,
        components: &ComponentIds::default(),
        answered: None,
        at: 0,
    };
    open.write(&commit).unwrap();
    let cut = Folder::new();
    copy_files(folder.0.path(), cut.0.path());
    assert!(on_disk(&cut, PASSWORD), "nothing is left to be erased");
    cut
}

#[test]
fn a_start_after_a_power_cut_leaves_no_erased_credentials_on_disk() {
    let only_in_the_log = |_: &mut Store| {};
    for before in [only_in_the_log, in_the_file_too] {
        let folder = cut_before_the_log_is_emptied(before);
        let mut open = folder.open().unwrap();
        assert!(!on_disk(&folder, PASSWORD), "the password is still on disk");
        assert!(!on_disk(&folder, b"s3cret"), "the token is still on disk");
        let instance = &open.load().unwrap().instances[&ID];
        assert_eq!(instance.update_state(), UpdateState::Initial);
    }
}

fn in_the_file_too(store: &mut Store) {
    store.database.empty_log().unwrap();
}

/// The newer database is set aside, with its log written into it.
#[test]
fn an_older_wharfd_leaves_no_erased_credentials_on_disk_either() {
    let folder = cut_before_the_log_is_emptied(in_the_file_too);
    let copy = of_release_0_1();
    drop(copy.open().unwrap());
    let name = "wharfd.db.schema-1";
    fs::copy(copy.0.path().join(name), folder.0.path().join(name)).unwrap();
    drop(as_release_0_1(&folder).unwrap());
    assert!(older_copy::set_aside(&folder.file()).exists());
    assert!(!on_disk(&folder, PASSWORD), "the password is still on disk");
}

#[test]
fn a_copy_that_was_interrupted_before_its_credentials_were_erased_is_removed_at_the_next_start() {
    let folder = of_release_0_1();
    let part = folder.0.path().join("wharfd.db.schema-1.part");
    fs::copy(folder.file(), &part).unwrap();
    drop(as_release_0_1(&folder).unwrap());
    assert!(!part.exists());
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn on_disk(folder: &Folder, secret: &[u8]) -> bool {
    lies_in(folder.0.path(), secret)
}

fn lies_in(folder: &std::path::Path, secret: &[u8]) -> bool {
    let holds = |path: PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(secret.len()).any(|window| window == secret)
    };
    fs::read_dir(folder)
        .unwrap()
        .any(|entry| holds(entry.unwrap().path()))
}

#[test]
fn history_tells_each_change_that_a_server_could_see() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    let queued = store(&mut open, &Instance::default(), write_uri());
    let failure = Failure::new(Cause::NotFound, "nothing there");
    let failed = Event::Failed {
        operation: OPERATION,
        failure,
    };
    let over = store(&mut open, &queued, failed);
    assert_eq!(commit(&mut open, &over, Event::Delete), None);

    let told: Vec<_> = open
        .history()
        .unwrap()
        .into_iter()
        .map(|entry| {
            (
                entry.update_state,
                entry.update_result,
                entry.reason,
                entry.operation,
            )
        })
        .collect();
    let expected = [
        (
            1,
            1,
            "10: waiting for the first byte".to_owned(),
            Some(OPERATION),
        ),
        (0, 56, "20: nothing there".to_owned(), Some(OPERATION)),
        (0, 56, "deleted".to_owned(), None),
    ];
    assert_eq!(told, expected);
}

#[test]
fn operations_and_history_are_bounded() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    for number in 0..600_u128 {
        let operation = OperationId::from_bytes(number.to_be_bytes());
        let mut order = write_uri();
        if let Event::Write { starts, .. } = &mut order {
            starts.id = operation;
        }
        let queued = store(&mut open, &Instance::default(), order);
        let failure = Failure::new(Cause::NotFound, "nothing there");
        let failed = Event::Failed { operation, failure };
        store(&mut open, &queued, failed);
    }
    let count = |store: &mut Store, table: &str| -> u32 {
        let sql = format!("SELECT count(*) FROM {table}");
        let counted = store
            .database
            .run(|it| it.query_row(&sql, [], |row| row.get(0)));
        counted.unwrap()
    };
    assert_eq!(count(&mut open, "operation"), 200);
    assert_eq!(count(&mut open, "step"), 200);
    assert_eq!(count(&mut open, "history"), 1000);
}

#[test]
fn history_and_operations_of_years_ago_are_forgotten_but_for_those_of_a_clock_that_was_not_set() {
    const DAY: u64 = 24 * 60 * 60;
    let begun = 1_800_000_000;
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    let mut kept = Vec::new();
    for (number, at) in [5, begun, begun + 700 * DAY, begun + 740 * DAY]
        .into_iter()
        .enumerate()
    {
        let operation = OperationId::from_bytes([number as u8; 16]);
        let mut order = write_uri();
        if let Event::Write { starts, .. } = &mut order {
            starts.id = operation;
        }
        let queued = commit_at(at, &mut open, &Instance::default(), order).unwrap();
        let failure = Failure::new(Cause::NotFound, "nothing there");
        commit_at(at, &mut open, &queued, Event::Failed { operation, failure });
        kept.push(at);
    }
    kept.remove(1);
    let mut days: Vec<u64> = open
        .history()
        .unwrap()
        .iter()
        .map(|entry| entry.at)
        .collect();
    days.dedup();
    assert_eq!(days, kept);
    let mut accepted: Vec<u64> = open
        .operations(10)
        .unwrap()
        .iter()
        .map(|shown| shown.accepted_at)
        .collect();
    accepted.sort_unstable();
    assert_eq!(accepted, kept);
}

#[test]
fn the_progress_of_a_download_is_kept() {
    let folder = Folder::new();
    let mut first = folder.open().unwrap();
    assert_eq!(first.begin_attempt(STAGE).unwrap().attempts, 1);
    let validator = Validator::ETag("\"v1\"".to_owned());
    first.note_started(STAGE, 0, Some(&validator)).unwrap();
    first.note_durable(STAGE, 8 << 20).unwrap();
    first.note_signature(STAGE, b"signature").unwrap();
    drop(first);

    let mut again = folder.open().unwrap();
    let noted = again.download(STAGE).unwrap();
    assert_eq!(noted.signature.as_deref(), Some(&b"signature"[..]));
    let expected = Download {
        attempts: 2,
        durable: 8 << 20,
        validator: Some(validator.clone()),
        signature: None, // of the attempt before
        continued: false,
        started_over: false,
        whole: false,
    };
    assert_eq!(again.begin_attempt(STAGE).unwrap(), expected);
    again
        .note_started(STAGE, 8 << 20, Some(&validator))
        .unwrap();
    assert!(again.download(STAGE).unwrap().continued);
}

#[test]
fn a_lifetime_that_the_server_wrote_holds_until_another_is_configured() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    open.set_lifetime(SERVER, 86_400, 300).unwrap();
    assert_eq!(open.lifetime(SERVER, 86_400).unwrap(), 300);
    assert_eq!(open.lifetime(SERVER, 3_600).unwrap(), 3_600);
}

fn observation(path: Path, told: u64) -> SavedObservation {
    SavedObservation {
        path,
        token: b"\0token".to_vec(),
        format: 11542,
        block_exponent: 5,
        told,
    }
}

#[test]
fn a_registration_is_kept_for_the_server_that_it_was_made_with() {
    let mut saved = Saved {
        endpoint: "gateway-17".to_owned(),
        version: "1.0".to_owned(),
        location: vec![b"rd".to_vec(), b"5a/\xff".to_vec()],
        message_ceiling: 0xffff,
        observe_ceiling: 0xff_ffff,
        observations: vec![
            observation(Path::Object(9), 0),
            observation(Path::Instance(9, 65_534), u64::MAX),
            observation(Path::Resource(9, 0, 7), 0x8000_0000_0000_0001),
            SavedObservation {
                token: b"another".to_vec(),
                ..observation(Path::Resource(9, 0, 7), 0)
            },
        ],
    };
    let (server, other) = ("coap://127.0.0.1:5683", "coap://127.0.0.2:5683");
    let folder = Folder::new();
    let mut first = folder.open().unwrap();
    assert_eq!(first.registration(SERVER, server).unwrap(), None);
    first.save_registration(SERVER, server, &saved).unwrap();
    first.set_local_port(SERVER, 65_535).unwrap();
    drop(first);

    let mut again = folder.open().unwrap();
    assert_eq!(
        again.registration(SERVER, server).unwrap(),
        Some(saved.clone())
    );
    assert_eq!(again.registration(SERVER, other).unwrap(), None);
    assert_eq!(again.local_port(SERVER).unwrap(), Some(65_535));
    saved.location.clear();
    saved.observations.truncate(1);
    again.set_local_port(SERVER, 1).unwrap();
    assert_eq!(again.local_port(SERVER).unwrap(), Some(1));
    again.save_registration(SERVER, server, &saved).unwrap();
    assert_eq!(again.registration(SERVER, server).unwrap(), Some(saved));
}

#[test]
fn a_second_process_is_told_so() {
    let folder = Folder::new();
    let _first = folder.open().unwrap();
    let refusal = folder.refusal();
    assert!(refusal.contains("another wharfd"), "{refusal}");
}

#[test]
fn rows_of_release_0_1_are_read() {
    let folder = of_release_0_1();
    let mut store = folder.open().unwrap();
    let stored = store.load().unwrap();
    let pulling = after(&Instance::default(), write_uri()).instance.unwrap();
    assert_eq!(stored.instances, BTreeMap::from([(ID, pulling)]));
    assert_eq!(stored.accepted, [(OPERATION, OperationKind::Pull)]);
    let effects: Vec<Effect> = stored
        .pending
        .into_iter()
        .map(|pending| pending.effect)
        .collect();
    let operation = OPERATION;
    assert_eq!(effects, [Effect::Queue { operation }]);
    let download = Download {
        attempts: 1,
        durable: 8 << 20,
        validator: Some(Validator::ETag("\"v1\"".to_owned())),
        signature: Some(b"signature".to_vec()),
        continued: false,
        started_over: false,
        whole: false,
    };
    assert_eq!(store.download(STAGE).unwrap(), download);
}

/// Release 0.1 had fewer rules for the host of a Package URI. wharfd must start all the same.
#[test]
fn a_uri_of_release_0_1_with_a_host_that_is_rejected_now_is_read() {
    let folder = of_release_0_1();
    let old = rusqlite::Connection::open(folder.file()).unwrap();
    let uri = b"http://origin.1/p.deb";
    let changed = old.execute("UPDATE instance SET package_uri = ?", [uri]);
    assert_eq!(changed, Ok(1));
    drop(old);
    let stored = folder.open().unwrap().load().unwrap();
    let read = InstanceRecord::from(&stored.instances[&ID])
        .package_uri
        .unwrap();
    assert_eq!(read.as_secret().expose(), uri);
}

/// Software in place, before its upgrade.
fn with_software(software: Software, note: Option<&str>) -> InstanceRecord {
    InstanceRecord {
        in_place_runs: true,
        in_place_note: note.map(Into::into),
        in_place: Some(software),
        ..InstanceRecord::from(&Instance::default())
    }
}

fn hello(no_services: bool) -> Software {
    Software {
        name: PackageName::new("hello").unwrap(),
        version: PackageVersion::new("1.0-1").unwrap(),
        active: false,
        damage: None,
        no_services,
        skipped: None,
        components: Vec::new(),
    }
}

#[test]
fn how_the_software_in_place_stands_is_there_after_a_restart() {
    let deactivate = Operation {
        id: OPERATION,
        kind: OperationKind::Action(Action::Deactivate),
        requester: Requester::User(0),
    };
    for record in [
        with_software(hello(true), None),
        with_software(hello(false), Some("hello.service failed")),
        InstanceRecord {
            operation: Some(deactivate),
            progress: Some(StoredProgress::Queued),
            ..with_software(hello(false), Some("its turn"))
        },
    ] {
        let folder = Folder::new();
        let mut first = folder.open().unwrap();
        let instance = Instance::try_from(record).unwrap();
        let commit = Commit {
            instance: ID,
            old: None,
            new: Some(&instance),
            over: &[],
            effects: &[],
            components: &ComponentIds::default(),
            answered: None,
            at: 0,
        };
        first.commit(&commit).unwrap();
        drop(first);
        let stored = folder.open().unwrap().load().unwrap();
        assert_eq!(stored.instances, BTreeMap::from([(ID, instance)]));
    }
}

#[test]
fn an_activate_of_what_is_in_place_names_it_and_not_the_delivered_package() {
    let other = SealedPackage {
        name: PackageName::new("other").unwrap(),
        version: PackageVersion::new("2.0-1").unwrap(),
        architecture: "all".into(),
        length: 9,
        signer: None,
        components: Vec::new(),
    };
    let delivered = InstanceRecord {
        update_state: UpdateState::Delivered,
        stage: Some(STAGE),
        package: Some(other),
        ..with_software(hello(false), None)
    };
    let instance = Instance::try_from(InstanceRecord {
        in_place_runs: false,
        ..delivered
    })
    .unwrap();
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    let activate = Event::Execute {
        action: Action::Activate,
        arguments: Vec::new(),
        starts: NewOperation {
            id: OPERATION,
            requester: Requester::User(0),
        },
    };
    let queued = store(&mut open, &instance, activate);
    let failure = Failure::new(Cause::Unit, "hello.service failed");
    let failed = Event::Failed {
        operation: OPERATION,
        failure,
    };
    for instance in [queued.clone(), store(&mut open, &queued, failed)] {
        assert_eq!(instance.pkg_name(), "other");
        let kept = open.kept_operations().unwrap().remove(0);
        assert_eq!(
            (kept.row.kind, kept.package.as_str()),
            (OperationKind::Action(Action::Activate), "hello")
        );
    }
    let lines = open.history().unwrap();
    assert!(lines.iter().all(|line| line.name == "other")); // the server reads this name
}

#[test]
fn software_that_was_active_before_its_upgrade_runs_for_all_that_an_older_release_knew() {
    let folder = Folder::new();
    let mut old = Store {
        database: Database::open(&folder.file(), &schema::MIGRATIONS[..2]).unwrap(),
    };
    for (id, active) in [(0, true), (1, false)] {
        old.change(
            "INSERT INTO instance (id, update_state, update_result, in_place_name, in_place_version, \
             in_place_active, update_supported_objects, settings_object, settings_instance) \
             VALUES (?, 0, 0, 'hello', '1.0-1', ?, 0, 65535, 65535)",
            (id, active),
        )
        .unwrap();
    }
    drop(old);
    let stored = folder.open().unwrap().load().unwrap();
    let runs: Vec<bool> = stored.instances.values().map(Instance::runs).collect();
    assert_eq!(runs, [true, false]);
}

#[test]
fn a_cancel_is_kept_until_the_installer_has_answered_also_for_an_operation_of_the_fourth_schema() {
    let folder = of_release_0_1();
    drop(Database::open(&folder.file(), &schema::MIGRATIONS[..4]).unwrap());
    let mut open = folder.open().unwrap();
    assert_eq!(open.kept_cancel(OPERATION).unwrap(), None);
    open.keep_cancel(OPERATION, Some(1000)).unwrap();
    drop(open);
    let mut open = folder.open().unwrap();
    assert_eq!(open.kept_cancel(OPERATION).unwrap(), Some(1000));
    open.keep_cancel(OPERATION, None).unwrap();
    assert_eq!(open.kept_cancel(OPERATION).unwrap(), None);
}

#[test]
fn an_instance_of_the_fourth_schema_is_the_servers_and_a_local_users_instance_stays_his() {
    let folder = of_release_0_1();
    drop(Database::open(&folder.file(), &schema::MIGRATIONS[..4]).unwrap());
    let mut open = folder.open().unwrap();
    let created = InstanceRecord {
        local: true,
        ..InstanceRecord::from(&Instance::default())
    };
    let created = Instance::try_from(created).unwrap();
    let local = InstanceId(15);
    let commit = Commit {
        instance: local,
        old: None,
        new: Some(&created),
        over: &[],
        effects: &[],
        components: &ComponentIds::default(),
        answered: None,
        at: 0,
    };
    open.commit(&commit).unwrap();
    let stored = open.load().unwrap().instances;
    assert!(!stored[&ID].is_local());
    assert_eq!(stored[&local], created);
}

/// A folder by the third schema: the pull is over before its package is judged. Then `then` is executed.
fn downloaded_of_the_third_schema(then: &str) -> Folder {
    let folder = of_release_0_1();
    let third = Database::open(&folder.file(), &schema::MIGRATIONS[..3]).unwrap();
    let downloaded = "UPDATE instance SET update_state = 2, update_result = 0, package_uri = NULL, operation = NULL, \
         progress = NULL, user_name = NULL, password = NULL; \
         UPDATE operation SET phase = 'after'; \
         UPDATE step SET state = 'done', outcome = '40: checking who signed the package'; \
         UPDATE effect SET kind = 'seal', stage = (SELECT stage FROM instance); \
         UPDATE download SET whole = 1, signature = NULL; \
         INSERT INTO history (at, instance, update_state, update_result, reason, name, version) \
         VALUES (1800000060, 0, 2, 0, '40: checking who signed the package', '', '')";
    third.connection.execute_batch(downloaded).unwrap();
    third.connection.execute_batch(then).unwrap();
    folder
}

#[test]
fn a_pull_that_the_third_schema_took_for_done_before_its_verdict_goes_on() {
    let folder = downloaded_of_the_third_schema("");
    let mut store = folder.open().unwrap();
    let stored = store.load().unwrap();
    let instance = &stored.instances[&ID];
    assert_eq!(instance.update_state(), UpdateState::Downloaded);
    assert_eq!(instance.operation().map(|known| known.id), Some(OPERATION));
    assert_eq!(stored.accepted, [(OPERATION, OperationKind::Pull)]);
    let shown = |store: &mut Store| {
        let operation = store.operations(1).unwrap().remove(0);
        (operation.state, operation.outcome)
    };
    assert_eq!(shown(&mut store), ("running".to_owned(), String::new()));
    let failure = Failure::new(Cause::Unsigned, "there is no signature");
    let refused = Event::SealRefused {
        stage: STAGE,
        failure,
    };
    commit(&mut store, instance, refused).unwrap();
    let why = "20: there is no signature".to_owned();
    assert_eq!(shown(&mut store), ("failed".to_owned(), why));
    assert_eq!(store.load().unwrap().accepted, []);
}

/// The third schema kept 200 ended operations, and dropped this one.
#[test]
fn an_operation_that_the_third_schema_had_forgotten_is_written_again_from_its_seal() {
    for (then, kind) in [
        ("DELETE FROM operation", OperationKind::Pull),
        (
            "DELETE FROM operation; DELETE FROM download; DELETE FROM history",
            OperationKind::Push,
        ),
    ] {
        let folder = downloaded_of_the_third_schema(then);
        let mut store = folder.open().unwrap();
        let stored = store.load().unwrap();
        let operation = stored.instances[&ID].operation().unwrap();
        assert_eq!((operation.id, operation.kind), (OPERATION, kind));
        assert_eq!(stored.accepted, [(OPERATION, kind)]);
        let shown = store.operations(0).unwrap().remove(0);
        let at = if kind == OperationKind::Pull {
            1_800_000_000
        } else {
            0
        };
        assert_eq!((shown.state.as_str(), shown.accepted_at), ("running", at));
        let failure = Failure::new(Cause::Unsigned, "there is no signature");
        let refused = Event::SealRefused {
            stage: STAGE,
            failure,
        };
        commit(&mut store, &stored.instances[&ID], refused).unwrap();
        assert_eq!(store.operations(1).unwrap().remove(0).state, "failed");
    }
}

#[test]
fn a_package_of_the_third_schema_that_nothing_asks_a_verdict_on_is_discarded() {
    let folder = downloaded_of_the_third_schema("DELETE FROM effect; DELETE FROM operation");
    let stored = folder.open().unwrap().load().unwrap();
    let instance = &stored.instances[&ID];
    let result = (instance.update_state(), instance.update_result());
    assert_eq!(result, (UpdateState::Initial, UpdateResult::DeviceDefined));
    let reason = "20: nothing asked for a verdict on the package: order it again";
    assert_eq!(instance.status_reason().to_string(), reason);
    assert_eq!((instance.operation(), stored.accepted), (None, vec![]));
    let effects: Vec<_> = stored.pending.into_iter().map(|it| it.effect).collect();
    assert_eq!(effects, [Effect::Discard { stage: STAGE }]);
}

/// `hello` is installed, and this begins.
fn begun(store: &mut Store, event: Event) -> Instance {
    let record = InstanceRecord {
        update_state: UpdateState::Installed,
        update_result: UpdateResult::Installed,
        in_place_runs: false,
        ..with_software(hello(false), None)
    };
    let instance = Instance::try_from(record).unwrap();
    let queued = commit(store, &instance, event).unwrap();
    let started = Event::Started {
        operation: OPERATION,
    };
    commit(store, &queued, started).unwrap()
}

const BY_ROOT: NewOperation = NewOperation {
    id: OPERATION,
    requester: Requester::User(0),
};

fn purge() -> Event {
    Event::Execute {
        action: Action::Purge,
        arguments: Vec::new(),
        starts: BY_ROOT,
    }
}

fn ended(failure: Option<Failure>) -> Event {
    Event::Ended {
        operation: OPERATION,
        failure,
        device: None,
        next: OPERATION,
    }
}

#[test]
fn a_purge_goes_on_after_a_restart() {
    let folder = Folder::new();
    let mut first = folder.open().unwrap();
    let instance = begun(&mut first, purge());
    drop(first);

    let stored = folder.open().unwrap().load().unwrap();
    assert_eq!(stored.instances, BTreeMap::from([(ID, instance)]));
    assert_eq!(
        stored.accepted,
        [(OPERATION, OperationKind::Action(Action::Purge))]
    );
    let effects: Vec<_> = stored.pending.into_iter().map(|it| it.effect).collect();
    let (operation, package) = (OPERATION, hello(false).name);
    let transaction = Step::Purge(package).into();
    assert_eq!(
        effects,
        [Effect::Perform {
            operation,
            transaction
        }]
    );
}

#[test]
fn a_purge_is_done_only_if_no_configuration_is_left() {
    let failure = Failure::new(Cause::Script, "its configuration is not purged");
    for (failure, state) in [(None, "done"), (Some(failure), "failed")] {
        let folder = Folder::new();
        let mut open = folder.open().unwrap();
        let instance = begun(&mut open, purge());
        let instance = store(&mut open, &instance, ended(failure));
        assert_eq!(instance.update_state(), UpdateState::Initial);
        let operation = open.operations(1).unwrap().remove(0);
        assert_eq!(
            (operation.kind, operation.state.as_str()),
            (OperationKind::Action(Action::Purge), state)
        );
    }
}

#[test]
fn an_uninstall_of_the_fourth_schema_is_no_purge() {
    let folder = Folder::new();
    let fourth = Database::open(&folder.file(), &schema::MIGRATIONS[..4]).unwrap();
    let rows = "INSERT INTO operation (id, kind, origin, origin_id, accepted_at, phase) \
         VALUES (zeroblob(16), 'uninstall', 'user', 0, 0, 'act'); \
         INSERT INTO step VALUES (zeroblob(16), 0, 0, 'uninstall', 'running', NULL); \
         INSERT INTO instance (id, update_state, update_result, in_place_name, in_place_version, in_place_active, \
         operation, progress, update_supported_objects, settings_object, settings_instance) \
         VALUES (0, 4, 2, 'hello', '1.0-1', 0, zeroblob(16), 'running', 0, 65535, 65535); \
         INSERT INTO effect (instance, format, kind, operation, package) \
         VALUES (0, 1, 'remove', zeroblob(16), 'hello')";
    fourth.connection.execute_batch(rows).unwrap();
    drop(fourth);

    let stored = folder.open().unwrap().load().unwrap();
    let (operation, package) = (OperationId::from_bytes([0; 16]), hello(false).name);
    assert_eq!(
        stored.accepted,
        [(operation, OperationKind::Action(Action::Uninstall))]
    );
    let known = stored.instances[&ID].operation().unwrap();
    assert_eq!(
        (known.id, known.kind),
        (operation, OperationKind::Action(Action::Uninstall))
    );
    let effects: Vec<_> = stored.pending.into_iter().map(|it| it.effect).collect();
    let transaction = Step::Uninstall(package).into();
    assert_eq!(
        effects,
        [Effect::Perform {
            operation,
            transaction
        }]
    );
}

#[test]
fn a_newer_schema_is_left_alone() {
    let folder = Folder::new();
    drop(folder.open().unwrap());
    let connection = rusqlite::Connection::open(folder.file()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = fs::read(folder.file()).unwrap();

    let refusal = folder.refusal();
    assert!(
        refusal.contains("newer wharfd") && refusal.contains("no copy") && refusal.contains("99"),
        "{refusal}"
    );
    assert_eq!(fs::read(folder.file()).unwrap(), before);
}

fn of_release_0_1() -> Folder {
    let folder = Folder::new();
    let old = rusqlite::Connection::open(folder.file()).unwrap();
    old.execute_batch(include_str!("schema_1.sql")).unwrap();
    old.execute_batch(include_str!("release_0_1.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    folder
}

fn as_release_0_1(folder: &Folder) -> Result<Store, StoreError> {
    let first_release = &schema::MIGRATIONS[..1];
    Ok(Store {
        database: Database::open(&folder.file(), first_release)?,
    })
}

#[test]
fn a_migration_first_keeps_a_copy_without_user_name_and_password() {
    let folder = of_release_0_1();
    drop(folder.open().unwrap());
    let copy = older_copy::copy_of(&folder.file(), 1);
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = fs::read(&copy).unwrap();
    let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(holds(b"http://origin/p.deb"), "the copy lacks the download");
    assert!(!holds(PASSWORD) && !holds(b"gateway"));
    let mut names: Vec<_> = fs::read_dir(folder.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["wharfd.db", "wharfd.db.schema-1"]);
}

#[test]
fn an_older_wharfd_takes_the_copy_and_sets_the_newer_database_aside() {
    let folder = of_release_0_1();
    let mut newer = folder.open().unwrap();
    newer
        .save_registration(SERVER, "coap://localhost", &Saved::default())
        .unwrap();
    drop(newer);
    let before = fs::read(folder.file()).unwrap();

    drop(as_release_0_1(&folder).unwrap());
    let taken = rusqlite::Connection::open(folder.file()).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let instance: (u8, Option<Vec<u8>>) = taken
        .query_row("SELECT update_state, password FROM instance", [], row)
        .unwrap();
    assert_eq!(instance, (UpdateState::DownloadStarted.value(), None));
    drop(taken);
    let aside = older_copy::set_aside(&folder.file());
    assert_eq!(fs::read(aside).unwrap(), before);

    // After the next upgrade, it continues with the changes of the older version.
    let mut again = folder.open().unwrap();
    let instance = &again.load().unwrap().instances[&ID];
    assert_eq!(instance.update_state(), UpdateState::DownloadStarted);
    assert_eq!(
        again.registration(SERVER, "coap://localhost").unwrap(),
        None
    );
    assert!(older_copy::copy_of(&folder.file(), 1).exists());
}

#[test]
fn a_migration_that_cannot_keep_a_copy_changes_nothing() {
    let folder = of_release_0_1();
    let part = folder.0.path().join("wharfd.db.schema-1.part");
    fs::create_dir(&part).unwrap();
    let before = fs::read(folder.file()).unwrap();
    let refusal = folder.refusal();
    assert!(refusal.contains("copy"), "{refusal}");
    fs::remove_dir(&part).unwrap();
    assert_ne!(before, [], "there is a database");
    as_release_0_1(&folder).unwrap();
}

#[test]
fn a_corrupt_file_is_left_as_it_is() {
    for damage in [
        &b"not a database, and long enough to be read as one"[..],
        &[0xff; 4096],
    ] {
        let folder = Folder::new();
        fs::write(folder.file(), damage).unwrap();
        let refusal = folder.refusal();
        assert!(refusal.contains("damaged"), "{refusal}");
        assert_eq!(fs::read(folder.file()).unwrap(), damage);
    }
}

#[test]
fn a_damaged_page_is_found_before_anything_is_written() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    open.make_factory_instances(16, true).unwrap();
    drop(open);
    let mut bytes = fs::read(folder.file()).unwrap();
    bytes[4096..].fill(0x55);
    fs::write(folder.file(), &bytes).unwrap();
    let refusal = folder.refusal();
    assert!(refusal.contains("damaged"), "{refusal}");
    assert_eq!(fs::read(folder.file()).unwrap(), bytes);
}

#[test]
fn a_row_that_cannot_be_is_named() {
    let folder = Folder::new();
    let mut open = folder.open().unwrap();
    open.make_factory_instances(1, true).unwrap();
    open.change("UPDATE instance SET update_state = 3", [])
        .unwrap();
    let error = open.load().unwrap_err().to_string();
    assert!(
        error.contains("instance 0") && error.contains("wharfd.db"),
        "{error}"
    );
}

#[test]
fn only_the_owner_reads_the_file() {
    let folder = Folder::new();
    drop(folder.open().unwrap());
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Needs root for its file systems, as all of `make test` does.
#[test]
fn a_full_disk_loses_nothing() {
    let mount = Mount::of("size=256k");
    let file = mount.0.path().join("wharfd.db");
    let mut open = Store::open(&file).unwrap();
    open.make_factory_instances(1, true).unwrap();
    let instance = store(&mut open, &Instance::default(), write_uri());
    fs::write(mount.0.path().join("ballast"), vec![0; 1 << 20]).unwrap_err();

    let started = after(
        &instance,
        Event::Started {
            operation: OPERATION,
        },
    );
    let mut full = None;
    for _ in 0..1000 {
        let commit = Commit {
            instance: ID,
            old: Some(&instance),
            new: started.instance.as_ref(),
            over: &[],
            effects: &started.effects,
            components: &ComponentIds::default(),
            answered: None,
            at: 0,
        };
        if let Err(error) = open.commit(&commit) {
            full = Some(error);
            break;
        }
        open.change("UPDATE instance SET note = hex(randomblob(20000))", [])
            .ok();
    }
    let error = full.expect("256 kB are never full").to_string();
    assert!(
        error.contains("no room") && error.contains("wharfd.db"),
        "{error}"
    );

    fs::remove_file(mount.0.path().join("ballast")).unwrap();
    drop(open);
    let stored = Store::open(&file).unwrap().load().unwrap();
    assert_eq!(
        stored.instances[&ID].update_state(),
        UpdateState::DownloadStarted
    );
}

#[test]
fn a_start_on_a_full_disk_erases_credentials_with_its_first_commit_that_has_room() {
    let grow = |store: &mut Store| {
        let sql = "CREATE TABLE more AS SELECT hex(randomblob(20000))";
        store.change(sql, []).unwrap();
    };
    let cut = cut_before_the_log_is_emptied(grow);
    let mount = Mount::of("size=512k");
    let folder = mount.0.path();
    copy_files(cut.0.path(), folder);
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
    let mut open = Store::open(&folder.join("wharfd.db")).unwrap();
    let instance = open.load().unwrap().instances[&ID].clone();
    assert!(lies_in(folder, PASSWORD), "the disk was not full");

    fs::remove_file(ballast).unwrap();
    commit(&mut open, &instance, Event::Delete);
    assert!(!lies_in(folder, PASSWORD), "the password is still on disk");
}

#[test]
fn a_read_only_file_system_is_named() {
    let mount = Mount::of("size=1m");
    let file = mount.0.path().join("wharfd.db");
    drop(Store::open(&file).unwrap());
    mount.remount("ro");
    let error = Store::open(&file)
        .err()
        .expect("the store opens")
        .to_string();
    assert!(
        error.contains("cannot be written to") && error.contains("wharfd.db"),
        "{error}"
    );
}

/// A tmpfs that goes away with its test.
struct Mount(tempfile::TempDir);

impl Mount {
    fn of(options: &str) -> Self {
        let mount = Self(tempfile::tempdir().unwrap());
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(mount.0.path()));
        mount
    }

    fn remount(&self, option: &str) {
        run(Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(self.0.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(self.0.path()));
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

#[test]
fn what_was_answered_is_kept_with_what_it_did_for_as_long_as_it_may_be_repeated() {
    let folder = Folder::new();
    let mut store = folder.open().unwrap();
    let answered = |message_id: u16| Answered {
        message_id,
        digest: u64::MAX - u64::from(message_id),
        reply: vec![0x60, 0x44],
    };
    let commit = |store: &mut Store, id: u16, at: u64| {
        let (old, new) = (Instance::default(), Instance::default());
        let commit = Commit {
            instance: ID,
            old: Some(&old),
            new: Some(&new),
            over: &[],
            effects: &[],
            components: &ComponentIds::default(),
            answered: Some((SERVER, &answered(id))),
            at,
        };
        store.commit(&commit).unwrap();
    };
    let ids = |store: &mut Store, now: u64| -> Vec<u16> {
        let found = store.answered(SERVER, now).unwrap();
        found.iter().map(|it| it.message_id).collect()
    };
    commit(&mut store, 1, 1_000);
    commit(&mut store, 2, 1_100);
    drop(store);
    let mut store = folder.open().unwrap();
    assert_eq!(
        store.answered(SERVER, 1_100).unwrap(),
        [answered(1), answered(2)]
    );
    assert_eq!(ids(&mut store, 1_247), [1, 2]);
    assert_eq!(ids(&mut store, 1_248), [2]);
    assert_eq!(ids(&mut store, 0), [1, 2], "a clock that was set back");
    for id in 100..200 {
        commit(&mut store, id, 1_200);
    }
    let kept = ids(&mut store, 1_200);
    assert_eq!(kept, (136..200).collect::<Vec<_>>());
    store.forget_answered(SERVER).unwrap();
    assert_eq!(ids(&mut store, 1_200), [0; 0]);
}
