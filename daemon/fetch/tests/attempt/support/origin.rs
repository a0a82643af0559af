//! A scripted origin on loopback, with one request for each connection.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use openssl::ssl::SslAcceptor;

/// A request to the origin.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The path and the query.
    pub(crate) target: String,
    fields: Vec<(String, String)>,
}

impl Asked {
    /// A header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether this is a request for a detached signature.
    pub(crate) fn is_for_signature(&self) -> bool {
        let path = self.target.split('?').next().unwrap();
        path.ends_with(".asc") || path.ends_with(".sig")
    }

    /// The first byte of the requested range.
    pub(crate) fn first(&self) -> Option<usize> {
        self.field("range")?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }
}

/// The connection of the script.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A scripted origin, which runs until the test ends.
pub(crate) struct Origin {
    address: SocketAddr,
    scheme: &'static str,
    log: Arc<Log>,
}

/// The requests, and a condition to wait for more.
#[derive(Default)]
struct Log {
    asked: Mutex<Vec<Asked>>,
    more: Condvar,
}

impl Origin {
    /// Serves http.
    pub(crate) fn http(script: impl Fn(&Asked, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::start(None, script)
    }

    /// Serves https.
    pub(crate) fn https(
        tls: SslAcceptor,
        script: impl Fn(&Asked, &mut dyn Stream) + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(tls), script)
    }

    fn start(
        tls: Option<SslAcceptor>,
        script: impl Fn(&Asked, &mut dyn Stream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let log = Arc::<Log>::default();
        let origin = Self {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            log: Arc::clone(&log),
        };
        let shared = Arc::new((tls, script, log));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (tls, script, log) = &*shared;
                    match tls {
                        None => serve(connection, script, log),
                        Some(tls) => {
                            // A client that does not trust the CA ends the handshake.
                            if let Ok(stream) = tls.accept(connection) {
                                serve(stream, script, log);
                            }
                        }
                    }
                });
            }
        });
        origin
    }

    /// A URI of this origin with its address.
    pub(crate) fn uri(&self, target: &str) -> String {
        format!("{}://{}{target}", self.scheme, self.address)
    }

    /// A URI of this origin with the host localhost.
    pub(crate) fn uri_by_name(&self, target: &str) -> String {
        format!(
            "{}://localhost:{}{target}",
            self.scheme,
            self.address.port()
        )
    }

    /// The requests in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log.asked.lock().unwrap().clone()
    }

    /// Waits for a request.
    pub(crate) fn wait_until_asked(&self) {
        let asked = self.log.asked.lock().unwrap();
        drop(
            self.log
                .more
                .wait_while(asked, |asked| asked.is_empty())
                .unwrap(),
        );
    }

    /// The requests that are not for signatures.
    pub(crate) fn packages_asked(&self) -> Vec<Asked> {
        self.asked()
            .into_iter()
            .filter(|asked| !asked.is_for_signature())
            .collect()
    }
}

fn serve(stream: impl Stream, script: &impl Fn(&Asked, &mut dyn Stream), log: &Log) {
    let mut reader = BufReader::new(stream);
    let Some(asked) = read(&mut reader) else {
        return;
    };
    log.asked.lock().unwrap().push(asked.clone());
    log.more.notify_all();
    script(&asked, reader.get_mut());
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut lines = reader.lines().map_while(Result::ok);
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let fields = lines.take_while(|line| !line.is_empty());
    let fields = fields.filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    });
    Some(Asked {
        target,
        fields: fields.collect(),
    })
}

/// Writes a response. A closed connection is ignored.
pub(crate) fn answer(to: &mut dyn Stream, status: &str, fields: &[(&str, &str)], body: &[u8]) {
    head(to, status, fields, body.len());
    let _ = to.write_all(body);
}

/// Writes the head of a response with `length` bytes.
pub(crate) fn head(to: &mut dyn Stream, status: &str, fields: &[(&str, &str)], length: usize) {
    let mut text =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let _ = to.write_all((text + "\r\n").as_bytes());
}

/// Sends nothing more until the client closes the connection.
pub(crate) fn fall_silent(to: &mut dyn Stream) {
    let _ = to.flush();
    while matches!(to.read(&mut [0; 64]), Ok(1..)) {}
}

/// 404.
pub(crate) fn nothing(to: &mut dyn Stream) {
    answer(
        to,
        "404 Not Found",
        &[("Content-Type", "text/html")],
        b"<html>not here</html>",
    );
}

/// Serves one package without a signature, and honours Range with If-Range.
pub(crate) fn serve_package(bytes: &[u8], etag: &str, asked: &Asked, to: &mut dyn Stream) {
    if asked.is_for_signature() {
        return nothing(to);
    }
    let total = bytes.len();
    match asked
        .first()
        .filter(|_| asked.field("if-range") == Some(etag))
    {
        None => answer(to, "200 OK", &[("ETag", etag)], bytes),
        Some(first) if first >= total => {
            let range = format!("bytes */{total}");
            answer(
                to,
                "416 Range Not Satisfiable",
                &[("Content-Range", &range)],
                b"",
            );
        }
        Some(first) => {
            let range = format!("bytes {first}-{}/{total}", total - 1);
            let fields = [("ETag", etag), ("Content-Range", &*range)];
            answer(to, "206 Partial Content", &fields, &bytes[first..]);
        }
    }
}
