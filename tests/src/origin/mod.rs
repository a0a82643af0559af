//! An HTTP origin that misbehaves as it is told to. For one that behaves as real ones do, see nginx.

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

/// A running origin; ends when this is dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    certificates: Option<Certificates>,
    shared: Arc<Shared>,
    accepts: Option<JoinHandle<()>>,
}

/// What stands at a path.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its bytes.
    pub content: Vec<u8>,
    /// What the origin says of their identity.
    pub validator: Validator,
}

/// What an origin says that tells one content from another (RFC 9110 8.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validator {
    /// A strong entity tag, made from the content.
    ETag,
    /// The date of the last change, as it is sent.
    LastModified(String),
    /// Nothing: no Range is understood either.
    None,
}

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut after so many bytes of the body.
    CutAfter(usize),
    /// Nothing more comes after so many bytes of the body, until [`Origin::release`].
    StallAfter(usize),
    /// 503, and when to come again, in seconds.
    Unavailable(Option<u32>),
    /// This status and no content.
    Status(u16),
    /// 302 to this place.
    Redirect(String),
    /// A Content-Length that is larger by so much than what comes.
    LengthTooLarge(usize),
    /// 200 and the whole content, whatever Range was asked for.
    RangeIgnored,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` as a rule.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The header fields, names in small letters.
    pub fields: BTreeMap<String, String>,
    /// The status it was answered with.
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
    resources: BTreeMap<String, Resource>,
    faults: BTreeMap<String, VecDeque<Fault>>,
    authorization: Option<String>,
    requests: Vec<Request>,
    /// Body bytes that were sent, of all answers together.
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
    /// One that speaks http.
    pub fn http() -> Self {
        Self::http_at(Ipv4Addr::LOCALHOST)
    }

    /// One that speaks http at this address.
    pub fn http_at(address: Ipv4Addr) -> Self {
        Self::start((address, 0), None)
    }

    /// One that speaks http at this port of 127.0.0.1.
    pub fn http_at_port(port: u16) -> Self {
        Self::start((Ipv4Addr::LOCALHOST, port), None)
    }

    /// One that speaks https with a certificate for `localhost` and 127.0.0.1, of a CA of its own.
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

    /// Puts `content` at `path`, with an entity tag; also in place of what is there.
    pub fn serve(&self, path: &str, content: impl Into<Vec<u8>>) -> String {
        self.serve_with(path, content, Validator::ETag)
    }

    /// Puts `content` at `path`, and gives its URI.
    pub fn serve_with(
        &self,
        path: &str,
        content: impl Into<Vec<u8>>,
        validator: Validator,
    ) -> String {
        let content = content.into();
        let resource = Resource { content, validator };
        self.shared
            .state
            .with(|state| state.resources.insert(path.to_owned(), resource));
        self.uri(path)
    }

    /// The URI of `path` here.
    pub fn uri(&self, path: &str) -> String {
        let scheme = if self.certificates.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}{path}", self.address)
    }

    /// From now on answers 401 to all that do not come with these.
    pub fn require(&self, user_name: &str, password: &str) {
        let credentials =
            openssl::base64::encode_block(format!("{user_name}:{password}").as_bytes());
        self.shared
            .state
            .with(|state| state.authorization = Some(format!("Basic {credentials}")));
    }

    /// Lets the next request for `path` that has no fault yet go wrong.
    pub fn fault(&self, path: &str, fault: Fault) {
        self.shared.state.with(|state| {
            let faults = state.faults.entry(path.to_owned()).or_default();
            faults.push_back(fault);
        });
    }

    /// Waits until an answer stands still after [`Fault::StallAfter`] bytes.
    #[track_caller]
    pub fn wait_for_stall(&self) {
        self.wait_for("an answer that stalls", |state| {
            (state.stalled > state.released).then_some(())
        });
    }

    /// Lets all answers that stand still go on.
    pub fn release(&self) {
        self.shared
            .state
            .with(|state| state.released = state.stalled);
    }

    /// Waits until `count` requests for `path` have come, and gives them.
    #[track_caller]
    pub fn wait_for_requests(&self, path: &str, count: usize) -> Vec<Request> {
        self.wait_for(&format!("{count} requests for {path}"), |state| {
            let of_path = state.requests.iter().filter(|request| request.path == path);
            let requests: Vec<_> = of_path.cloned().collect();
            (requests.len() >= count).then_some(requests)
        })
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state.with(|state| state.requests.clone())
    }

    /// The bytes of bodies that were sent so far.
    pub fn sent(&self) -> usize {
        self.shared.state.with(|state| state.sent)
    }

    /// The certificate of the CA, in PEM: what a client of [`Origin::https`] is to trust.
    ///
    /// # Panics
    ///
    /// Where this speaks http.
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
        // accept() returns for a last one.
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

/// One connection, one request: a client that is cut off has lost no other answer.
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
        // A client may go at any moment; that is its business.
        let _ = answer::answer(request, &mut stream, &shared.state);
    }
    let _ = closing.shutdown(Shutdown::Both);
}

fn read_request(stream: &mut dyn Stream) -> Option<Request> {
    let mut lines = BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    let first = lines.next()?;
    let mut words = first.split(' ');
    Some(Request {
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
