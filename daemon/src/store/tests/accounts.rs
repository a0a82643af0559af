//! The rows of each server, and of the one server that the schema before accounts knew.

use super::*;

const OTHER_SERVER: ShortId = ShortId(2);

fn of_the_fourth_schema() -> Folder {
    let folder = Folder::new();
    let fourth = Database::open(&folder.file(), &schema::MIGRATIONS[..4]).unwrap();
    let rows = include_str!("../of_schema_4.sql");
    fourth.connection.execute_batch(rows).unwrap();
    folder
}

#[test]
fn rows_of_the_fourth_schema_belong_to_account_1() {
    let registered = Saved {
        endpoint: "gateway-17".to_owned(),
        version: "1.0".to_owned(),
        location: vec![b"rd".to_vec(), b"5a/\xff".to_vec()],
        message_ceiling: 31_100,
        observe_ceiling: 64,
        observations: vec![
            observation(Path::Object(9), 0),
            observation(Path::Instance(9, 0), u64::MAX),
            observation(Path::Resource(9, 0, 7), 7),
        ],
    };
    let answered = [(31_029, &b"\x60\x44\x79\x35"[..]), (31_030, b"")];
    let answered = answered.map(|(message_id, reply)| Answered {
        message_id,
        digest: u64::MAX - u64::from(message_id),
        reply: reply.to_vec(),
    });

    let folder = of_the_fourth_schema();
    for _ in ["migrated", "opened again"] {
        let mut store = folder.open().unwrap();
        let server = "coap://localhost:5683";
        let found = store.registration(SERVER, server).unwrap();
        assert_eq!(found, Some(registered.clone()));
        assert_eq!(store.registration(OTHER_SERVER, server).unwrap(), None);
        assert_eq!(store.answered(SERVER, 1_800_000_010).unwrap(), answered);
        assert_eq!(store.lifetime(SERVER, 86_400).unwrap(), 300);
        assert_eq!(store.local_port(SERVER).unwrap(), Some(47_110));
        let stored = store.load().unwrap();
        let operation = stored.instances[&ID].operation().unwrap();
        assert_eq!(operation.requester, Requester::Server(SERVER));
        assert_eq!(stored.accepted, [(OPERATION, OperationKind::Pull)]);
    }
    assert!(older_copy::copy_of(&folder.file(), 4).exists());
}

#[test]
fn an_older_wharfd_that_takes_the_copy_finds_no_registration_in_it() {
    let folder = of_the_fourth_schema();
    drop(folder.open().unwrap());
    let older = Database::open(&folder.file(), &schema::MIGRATIONS[..4]).unwrap();
    let count = |table: &str| -> u32 {
        let sql = format!("SELECT count(*) FROM {table}");
        let counted = older.connection.query_row(&sql, [], |row| row.get(0));
        counted.unwrap()
    };
    for table in ["registration", "location", "observation", "answered"] {
        assert_eq!(count(table), 0, "{table}");
    }
    for table in ["account", "local_port", "instance", "effect", "history"] {
        assert_eq!(count(table), 1, "{table}");
    }
}

#[test]
fn what_is_kept_of_a_server_is_not_what_is_kept_of_another() {
    let folder = Folder::new();
    let mut store = folder.open().unwrap();
    let uri = "coap://localhost";
    let saved = |name: &str| Saved {
        location: vec![name.into()],
        observations: vec![SavedObservation {
            token: name.into(),
            ..observation(Path::Object(9), 0)
        }],
        ..Saved::default()
    };
    let answered = |message_id| Answered {
        message_id,
        digest: 0,
        reply: Vec::new(),
    };
    let instance = Instance::default();
    let answer = |store: &mut Store, server, message_id| {
        let commit = Commit {
            instance: ID,
            old: Some(&instance),
            new: Some(&instance),
            over: &[],
            effects: &[],
            components: &ComponentIds::default(),
            answered: Some((server, &answered(message_id))),
            at: 1_000,
        };
        store.commit(&commit).unwrap();
    };
    for (server, name, number) in [(SERVER, "first", 1), (OTHER_SERVER, "second", 2)] {
        store.save_registration(server, uri, &saved(name)).unwrap();
        store.set_lifetime(server, 86_400, number * 100).unwrap();
        store.set_local_port(server, number as u16).unwrap();
        answer(&mut store, server, number as u16);
    }
    store.save_registration(SERVER, uri, &saved("new")).unwrap();
    for (server, name, number) in [(SERVER, "new", 1), (OTHER_SERVER, "second", 2)] {
        let found = store.registration(server, uri).unwrap();
        assert_eq!(found, Some(saved(name)));
        assert_eq!(store.lifetime(server, 86_400).unwrap(), number * 100);
        let port = store.local_port(server).unwrap();
        assert_eq!(port, Some(number as u16));
        let found = store.answered(server, 1_000).unwrap();
        assert_eq!(found, [answered(number as u16)]);
    }
    for id in 100..200 {
        answer(&mut store, OTHER_SERVER, id);
    }
    assert_eq!(store.answered(OTHER_SERVER, 1_000).unwrap().len(), 64);
    assert_eq!(store.answered(SERVER, 1_000).unwrap(), [answered(1)]);
    store.forget_answered(OTHER_SERVER).unwrap();
    assert_eq!(store.answered(OTHER_SERVER, 1_000).unwrap(), []);
    assert_eq!(store.answered(SERVER, 1_000).unwrap(), [answered(1)]);
}
