//! An HTTP origin with faults. For a real one see `nginx`.

mod answer;
mod certificates;

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use openssl::ssl::SslAcceptor;

use self::certificates::Certificates;
use crate::waiting::{LIMIT, Watched};

/// A running origin. A drop ends it.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    certificates: Option<Certificates>,
    shared: Arc<Shared>,
    accepts: Option<JoinHandle<()>>,
}

/// The content of a path.
#[derive(Debug, Clone)]
pub struct ServedContent {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its validator.
    pub validator: ValidatorKind,
}

/// The validator that tells one content from another (RFC 9110 8.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValidatorKind {
    /// A strong entity tag, made from the content.
    ETag,
    /// The date of the last change, as it is sent.
    LastModified(String),
    /// No validator, and no support of Range.
    None,
}

/// The fault of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Cuts the connection after this many bytes of the body.
    CutAfter(usize),
    /// Stalls after this many bytes of the body, until [`Origin::release`].
    StallAfter(usize),
    /// 503, with Retry-After in seconds.
    Unavailable(Option<u32>),
    /// This status and no content.
    Status(u16),
    /// 302 to this location.
    Redirect(String),
    /// A Content-Length that is larger than the content by this much.
    LengthTooLarge(usize),
    /// 200 and the whole content, even for a Range.
    RangeIgnored,
}

/// A received request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRequest {
    /// The method, normally `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The header fields, names in small letters.
    pub fields: BTreeMap<String, String>,
    /// The status of its answer.
    pub status: u16,
}

#[derive(Debug)]
struct Shared {
    state: Watched<State>,
    ending: AtomicBool,
    acceptor: Option<SslAcceptorBox>,
}

#[derive(Debug, Default)]
struct State {
    resources: BTreeMap<String, ServedContent>,
    faults: BTreeMap<String, VecDeque<Fault>>,
    authorization: Option<String>,
    requests: Vec<OriginRequest>,
    /// The number of body bytes sent, of all answers together.
    sent: usize,
    stalled: usize,
    released: usize,
    connections: Vec<TcpStream>,
}

struct SslAcceptorBox(SslAcceptor);

impl std::fmt::Debug for SslAcceptorBox {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SslAcceptor")
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Origin {
    /// An origin over http.
    pub fn http() -> Self {
        Self::http_at(Ipv4Addr::LOCALHOST)
    }

    /// An origin over http at this address.
    pub fn http_at(address: Ipv4Addr) -> Self {
        Self::start((address, 0), None)
    }

    /// An origin over http at this port of 127.0.0.1.
    pub fn http_at_port(port: u16) -> Self {
        Self::start((Ipv4Addr::LOCALHOST, port), None)
    }

    /// An origin over https with a certificate for `localhost` and 127.0.0.1, of a CA of its own.
    pub fn https() -> Self {
        Self::start((Ipv4Addr::LOCALHOST, 0), Some(Certificates::new()))
    }

    fn start(address: (Ipv4Addr, u16), certificates: Option<Certificates>) -> Self {
        let listener = TcpListener::bind(address).expect("a port to listen at");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            state: Watched::default(),
            ending: AtomicBool::new(false),
            acceptor: certificates
                .as_ref()
                .map(|made| SslAcceptorBox(made.acceptor())),
        });
        let accepting = Arc::clone(&shared);
        let accepts = thread::spawn(move || accept(&listener, &accepting));
        Self {
            address,
            certificates,
            shared,
            accepts: Some(accepts),
        }
    }

    /// Serves `content` at `path` with an entity tag, and replaces older content.
    pub fn serve(&self, path: &str, content: impl Into<Vec<u8>>) -> String {
        self.serve_with(path, content, ValidatorKind::ETag)
    }

    /// Serves `content` at `path`, and returns its URI.
    pub fn serve_with(
        &self,
        path: &str,
        content: impl Into<Vec<u8>>,
        validator: ValidatorKind,
    ) -> String {
        let content = content.into();
        let resource = ServedContent { content, validator };
        self.shared
            .state
            .with(|state| state.resources.insert(path.to_owned(), resource));
        self.uri(path)
    }

    /// The URI of `path`.
    pub fn uri(&self, path: &str) -> String {
        let scheme = if self.certificates.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}{path}", self.address)
    }

    /// From now on answers 401 to requests without these credentials.
    pub fn require(&self, user_name: &str, password: &str) {
        let credentials =
            openssl::base64::encode_block(format!("{user_name}:{password}").as_bytes());
        self.shared
            .state
            .with(|state| state.authorization = Some(format!("Basic {credentials}")));
    }

    /// Adds a fault for the next request for `path` that has none yet.
    pub fn fault(&self, path: &str, fault: Fault) {
        self.shared.state.with(|state| {
            let faults = state.faults.entry(path.to_owned()).or_default();
            faults.push_back(fault);
        });
    }

    /// Waits until an answer has stalled after [`Fault::StallAfter`] bytes.
    #[track_caller]
    pub fn wait_for_stall(&self) {
        self.wait_for("an answer that stalls", |state| {
            (state.stalled > state.released).then_some(())
        });
    }

    /// Continues all stalled answers.
    pub fn release(&self) {
        self.shared
            .state
            .with(|state| state.released = state.stalled);
    }

    /// Waits for `count` requests for `path`, and returns them.
    #[track_caller]
    pub fn wait_for_requests(&self, path: &str, count: usize) -> Vec<OriginRequest> {
        self.wait_for(&format!("{count} requests for {path}"), |state| {
            let of_path = state.requests.iter().filter(|request| request.path == path);
            let requests: Vec<_> = of_path.cloned().collect();
            (requests.len() >= count).then_some(requests)
        })
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<OriginRequest> {
        self.shared.state.with(|state| state.requests.clone())
    }

    /// The number of body bytes sent so far.
    pub fn sent(&self) -> usize {
        self.shared.state.with(|state| state.sent)
    }

    /// The certificate of the CA, in PEM, for the client of [`Origin::https`] to trust.
    ///
    /// # Panics
    ///
    /// If it uses http.
    pub fn authority(&self) -> Vec<u8> {
        let made = self
            .certificates
            .as_ref()
            .expect("an origin that speaks https");
        made.authority()
    }

    #[track_caller]
    fn wait_for<T>(&self, what: &str, condition: impl FnMut(&mut State) -> Option<T>) -> T {
        let found = self.shared.state.wait_for(LIMIT, condition);
        found
            .unwrap_or_else(|| panic!("{what}: not within {LIMIT:?}; came: {:#?}", self.requests()))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.shared.state.with(|state| {
            for connection in state.connections.drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        });
        // accept() returns for this last connection.
        let _ = TcpStream::connect(self.address);
        if let Some(accepts) = self.accepts.take() {
            let _ = accepts.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        let Ok(connection) = connection else { continue };
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(connection, &shared));
    }
}

/// Serves one request on a connection, so that a cut connection affects no other answer.
fn serve(connection: TcpStream, shared: &Shared) {
    let Ok(kept) = connection.try_clone() else {
        return;
    };
    let Ok(closing) = connection.try_clone() else {
        return;
    };
    let _ = connection.set_read_timeout(Some(Duration::from_secs(30)));
    shared.state.with(|state| state.connections.push(kept));
    let stream: Option<Box<dyn Stream>> = match &shared.acceptor {
        None => Some(Box::new(connection)),
        Some(SslAcceptorBox(acceptor)) => match acceptor.accept(connection) {
            Ok(stream) => Some(Box::new(stream)),
            Err(_untrusting) => None,
        },
    };
    if let Some(mut stream) = stream
        && let Some(request) = read_request(&mut stream)
    {
        // A client may disconnect at any moment, which is no error of the origin.
        let _ = answer::answer(request, &mut stream, &shared.state);
    }
    let _ = closing.shutdown(Shutdown::Both);
}

fn read_request(stream: &mut dyn Stream) -> Option<OriginRequest> {
    let mut lines = BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    let first = lines.next()?;
    let mut words = first.split(' ');
    Some(OriginRequest {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        fields: lines
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect(),
        status: 0,
    })
}
