//! Two servers of one agent, on real sockets.

use std::{fs, time::Duration};

use lwm2m::coap::{CoapType, Code, Message, OptionNumber};
use tokio::{net::UdpSocket, time::timeout};

use super::*;
use wharf_software::ComponentIds;

use crate::{
    config::Activation,
    objects::{DeviceObject, SoftwareObjects},
};

const FIRST: ShortId = ShortId(1);
const SECOND: ShortId = ShortId(2);

/// An LwM2M server.
struct Peer(UdpSocket);

impl Peer {
    async fn bound() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").await.unwrap())
    }

    fn configured(&self, id: ShortId) -> config::ServerSettings {
        let port = self.0.local_addr().unwrap().port();
        config::ServerSettings {
            id,
            address: format!("coap://127.0.0.1:{port}").parse().unwrap(),
            psk: None,
            lifetime: 86_400,
            replace_failed: false,
            activation: Activation::Server,
        }
    }

    async fn receive(&self) -> Message {
        let mut buffer = [0; 2048];
        let (length, gateway) = self.0.recv_from(&mut buffer).await.unwrap();
        self.0.connect(gateway).await.unwrap();
        Message::decode(&buffer[..length]).unwrap()
    }

    async fn send(&self, message: &Message) {
        self.0.send(&message.encode()).await.unwrap();
    }

    /// Takes a Register.
    async fn register(&self, location: &str) {
        let asked = self.receive().await;
        assert_eq!(asked.code(), Code::POST);
        let created = Code::CREATED;
        let created = Message::new(
            CoapType::Acknowledgement,
            created,
            asked.id(),
            asked.token(),
        );
        let created = created.with(OptionNumber::LOCATION_PATH, location);
        self.send(&created).await;
    }

    /// The response to a request for this path.
    async fn ask(&self, id: u16, code: Code, path: &str, payload: &str) -> Message {
        let request = Message::new(CoapType::Confirmable, code, id, b"t");
        let request = path.split('/').fold(request, |request, segment| {
            request.with(OptionNumber::URI_PATH, segment)
        });
        self.send(&request.with_payload(payload.into())).await;
        loop {
            let response = self.receive().await;
            if response.token() == b"t" {
                return response;
            }
        }
    }
}

/// Two servers of one gateway.
struct World {
    servers: BTreeMap<ShortId, Server>,
    store: Rc<RefCell<Store>>,
    last: ShortId,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(peers: &[(ShortId, &Peer)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("etc/wharfd/wharfd.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "endpoint = \"gateway-17\"\n").unwrap();
        let settings = Settings::read(folder.path()).unwrap();
        let store = Store::open(&Store::file(folder.path())).unwrap();
        let store = Rc::new(RefCell::new(store));
        let started = peers.iter().map(|(id, peer)| {
            let instances = objects::no_software();
            let server = Server::start(&settings, &peer.configured(*id), instances, &store);
            (*id, server.unwrap())
        });
        Self {
            servers: started.collect(),
            store,
            last: ShortId(0),
            _folder: folder,
        }
    }

    /// Handles the next input. Returns its server.
    async fn turn(&mut self) -> ShortId {
        let (id, news) = next(&mut self.servers, self.last).await;
        self.last = id;
        let server = self.servers.get_mut(&id).unwrap();
        server.hear(news);
        while let Some((request, asked)) = server.next_request().await {
            answer(server, request, asked);
        }
        id
    }

    /// Runs the servers until a script of the peers is over.
    async fn until<T>(&mut self, script: impl Future<Output = T>) -> T {
        let turns = async {
            loop {
                self.turn().await;
            }
        };
        let played = async {
            tokio::select! {
                () = turns => panic!("the servers ended"),
                played = script => played,
            }
        };
        let played = timeout(Duration::from_secs(30), played).await;
        played.expect("the script is not over")
    }
}

/// Answers a request for Object 1 as the agent does.
fn answer(server: &mut Server, request: RequestId, asked: Request) {
    match asked {
        Request::Read { path, .. } => {
            let device =
                DeviceObject::of(std::path::Path::new("/nonexistent"), &Default::default());
            let values = objects::Values {
                account: server.account(),
                device: &device,
                software: SoftwareObjects {
                    instances: &BTreeMap::new(),
                    ids: &ComponentIds::default(),
                    plain_components: false,
                },
            };
            let answer = values.read(path);
            server.answer(request, answer);
        }
        Request::Write { values, .. } => server.write_account(request, &values).unwrap(),
        other => panic!("{other:?} is not expected"),
    }
}

#[tokio::test]
async fn each_of_two_servers_has_an_account_and_a_registration_of_its_own() {
    let (first, second) = (Peer::bound().await, Peer::bound().await);
    let mut world = World::new(&[(FIRST, &first), (SECOND, &second)]);
    let script = async {
        tokio::join!(first.register("a"), second.register("b"));
        for (peer, id) in [(&first, "1"), (&second, "2")] {
            let short_id = peer.ask(1, Code::GET, "1/0/0", "").await;
            assert_eq!(short_id.payload(), id.as_bytes());
        }
        let written = second.ask(2, Code::PUT, "1/0/1", "300").await;
        assert_eq!(written.code(), Code::CHANGED);
        for (peer, lifetime) in [(&first, "86400"), (&second, "300")] {
            let read = peer.ask(3, Code::GET, "1/0/1", "").await;
            assert_eq!(read.payload(), lifetime.as_bytes());
        }
    };
    world.until(script).await;
    for (id, peer, location, lifetime) in
        [(FIRST, &first, b"a", 86_400), (SECOND, &second, b"b", 300)]
    {
        let uri = peer.configured(id).address.to_string();
        let mut store = world.store.borrow_mut();
        let saved = store.registration(id, &uri).unwrap().unwrap();
        assert_eq!(saved.location, [location.to_vec()]);
        assert_eq!(store.lifetime(id, 86_400).unwrap(), lifetime);
        let port = world.servers[&id].link.local_port();
        assert_eq!(store.local_port(id).unwrap(), port);
        assert!(world.servers[&id].status().registered_since().is_some());
    }
}

#[tokio::test]
async fn a_server_that_never_rests_keeps_no_other_from_being_heard() {
    let (first, second) = (Peer::bound().await, Peer::bound().await);
    let mut world = World::new(&[(FIRST, &first), (SECOND, &second)]);
    world
        .until(async { tokio::join!(first.register("a"), second.register("b")) })
        .await;
    for id in 0..50 {
        first.send(&Message::empty(CoapType::Confirmable, id)).await;
    }
    second.send(&Message::empty(CoapType::Confirmable, 0)).await;
    tokio::task::yield_now().await; // both sockets are known to be readable then
    let mut of_the_first = 0;
    while world.turn().await == FIRST {
        of_the_first += 1;
    }
    assert!(of_the_first < 10, "{of_the_first} came before it");
}
