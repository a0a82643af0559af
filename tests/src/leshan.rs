//! Leshan's server, driven by lines of JSON (`tests/leshan`): an independent judge.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::{Map, Value, json};

use crate::{
    command::output_of,
    folder::Folder,
    made_once::made_once,
    process::{Lines, Process},
    programs::workspace,
};

const SOURCES: [&str; 6] = [
    "Main.java",
    "Commands.java",
    "Events.java",
    "Values.java",
    "Json.java",
    "Client.java",
];

/// A running server. A drop ends it.
#[derive(Debug)]
pub struct Leshan {
    process: Process,
    plain: SocketAddr,
    secure: SocketAddr,
    commands: u64,
}

/// The result of one command.
#[derive(Debug, Clone, PartialEq)]
pub struct LeshanAnswer {
    /// The response code as text: `2.04`.
    pub code: String,
    /// The value that was read, the links discovered, or the location created; else null.
    pub value: Value,
}

impl Leshan {
    /// Starts one at free ports of 127.0.0.1. It accepts a client without security unless it has a key for it.
    pub fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into())
    }

    /// The same at another address of this machine.
    pub fn at(address: IpAddr) -> Self {
        Self::bound((address, 0).into(), (address, 0).into())
    }

    /// Ends this one, and starts one without any state at its addresses.
    pub fn replaced(self) -> Self {
        let (plain, secure) = (self.plain, self.secure);
        drop(self);
        Self::bound(plain, secure)
    }

    fn bound(plain: SocketAddr, secure: SocketAddr) -> Self {
        let mut java = java("Main");
        java.arg(models())
            .arg(plain.ip().to_string())
            .args([plain.port(), secure.port()].map(|port| port.to_string()));
        let process = Process::spawn_with_input(&mut java);
        let ready = process.output().wait_for("READY ");
        let ready: Value = serde_json::from_str(&ready["READY ".len()..]).expect("its ports");
        let port = |name: &str| {
            let port = ready[name].as_u64().expect("a port");
            u16::try_from(port).expect("a port")
        };
        Self {
            process,
            plain: (plain.ip(), port("coap")).into(),
            secure: (secure.ip(), port("coaps")).into(),
            commands: 0,
        }
    }

    /// The URI for a client without security.
    pub fn uri(&self) -> String {
        format!("coap://{}", self.plain)
    }

    /// The URI for a client with a key.
    pub fn secure_uri(&self) -> String {
        format!("coaps://{}", self.secure)
    }

    /// Its address for DTLS.
    pub fn secure_address(&self) -> SocketAddr {
        self.secure
    }

    /// Adds a key: from then on this endpoint needs it. The key is hexadecimal.
    #[track_caller]
    pub fn know(&mut self, endpoint: &str, identity: &str, key: &str) {
        let (endpoint, identity) = (json!(endpoint), json!(identity));
        self.carry_out(
            json!({ "do": "know", "endpoint": endpoint, "identity": identity, "key": key }),
        );
    }

    /// Drops all DTLS sessions, like a server that is short of memory. It notifies no client.
    #[track_caller]
    pub fn forget_sessions(&mut self) {
        self.carry_out(json!({ "do": "forget-sessions" }));
    }

    /// All lines so far, in the order in which it wrote them.
    pub fn lines(&self) -> Vec<String> {
        self.process.output().all()
    }

    /// Read.
    #[track_caller]
    pub fn read(&mut self, endpoint: &str, path: &str) -> LeshanAnswer {
        self.command("read", endpoint, path, json!({}))
    }

    /// Read, in a format by its name (`TEXT`, `TLV`).
    #[track_caller]
    pub fn read_as(&mut self, endpoint: &str, path: &str, format: &str) -> LeshanAnswer {
        self.command("read", endpoint, path, json!({ "format": format }))
    }

    /// Discover.
    #[track_caller]
    pub fn discover(&mut self, endpoint: &str, path: &str) -> LeshanAnswer {
        self.command("discover", endpoint, path, json!({}))
    }

    /// Write of one resource, in the format that Leshan chooses.
    #[track_caller]
    pub fn write(&mut self, endpoint: &str, path: &str, value: impl Into<Value>) -> LeshanAnswer {
        self.command("write", endpoint, path, json!({ "value": value.into() }))
    }

    /// Write of one resource, in a format by its name.
    #[track_caller]
    pub fn write_as(
        &mut self,
        endpoint: &str,
        path: &str,
        value: impl Into<Value>,
        format: &str,
    ) -> LeshanAnswer {
        let more = json!({ "value": value.into(), "format": format });
        self.command("write", endpoint, path, more)
    }

    /// Write of the resources of a whole instance: `{"3": "https://…"}`.
    #[track_caller]
    pub fn write_instance(&mut self, endpoint: &str, path: &str, values: Value) -> LeshanAnswer {
        self.command(
            "write-instance",
            endpoint,
            path,
            json!({ "values": values }),
        )
    }

    /// Write of an opaque resource from a file; above 1,024 bytes in blocks.
    #[track_caller]
    pub fn push(&mut self, endpoint: &str, path: &str, file: &Path) -> LeshanAnswer {
        self.command("push", endpoint, path, json!({ "file": file }))
    }

    /// Execute, with arguments as Leshan writes them (`0='1'`), or none.
    #[track_caller]
    pub fn execute(&mut self, endpoint: &str, path: &str, arguments: Option<&str>) -> LeshanAnswer {
        let more = match arguments {
            Some(arguments) => json!({ "arguments": arguments }),
            None => json!({}),
        };
        self.command("execute", endpoint, path, more)
    }

    /// Create; without an id, the client chooses one.
    #[track_caller]
    pub fn create(
        &mut self,
        endpoint: &str,
        object: &str,
        instance: Option<u16>,
        values: Value,
    ) -> LeshanAnswer {
        let more = match instance {
            Some(instance) => json!({ "instance": instance, "values": values }),
            None => json!({ "values": values }),
        };
        self.command("create", endpoint, object, more)
    }

    /// Delete.
    #[track_caller]
    pub fn delete(&mut self, endpoint: &str, path: &str) -> LeshanAnswer {
        self.command("delete", endpoint, path, json!({}))
    }

    /// Observe; later notifications are in [`Self::story`].
    #[track_caller]
    pub fn observe(&mut self, endpoint: &str, path: &str) -> LeshanAnswer {
        self.command("observe", endpoint, path, json!({}))
    }

    /// Cancel Observation, by a request.
    #[track_caller]
    pub fn cancel(&mut self, endpoint: &str, path: &str) -> LeshanAnswer {
        self.command("cancel", endpoint, path, json!({}))
    }

    /// The clients that are registered now.
    #[track_caller]
    pub fn registrations(&mut self) -> Vec<Value> {
        let answer = self.carry_out(json!({ "do": "registrations" }));
        answer["value"].as_array().expect("a list").clone()
    }

    /// Waits for the `nth` event of this kind (`registered`, `updated`, `deregistered`, `expired`) of
    /// `endpoint`, counted from 1.
    #[track_caller]
    pub fn wait_for_event(&self, event: &str, endpoint: &str, nth: usize) -> Value {
        let head = json!(event);
        let of = json!(endpoint);
        let line = self
            .process
            .output()
            .wait_for_nth(&format!("{{\"event\":{head},\"endpoint\":{of}"), nth);
        serde_json::from_str(&line).expect("an event")
    }

    /// All notifications so far, as path and value, in the order in which they came.
    pub fn story(&self) -> Vec<(String, Value)> {
        let lines = self.process.output().all();
        lines.iter().filter_map(|line| notification(line)).collect()
    }

    /// Waits until `path` was notified with `value` after the first `since` notifications. Returns the number of
    /// notifications up to it.
    #[track_caller]
    pub fn wait_for_notification(
        &self,
        path: &str,
        value: impl Into<Value>,
        since: usize,
    ) -> usize {
        let value = value.into();
        let what = format!("notification {path} = {value}, after {since} others");
        self.process.output().wait_until(&what, |lines| {
            let notified = lines.iter().filter_map(|line| notification(line));
            let mut later = notified.enumerate().skip(since);
            later
                .find(|(_, notified)| notified.0 == path && notified.1 == value)
                .map(|(index, _)| index + 1)
        })
    }

    #[track_caller]
    fn command(&mut self, what: &str, endpoint: &str, path: &str, more: Value) -> LeshanAnswer {
        let mut command = Map::new();
        command.insert("do".to_owned(), json!(what));
        command.insert("endpoint".to_owned(), json!(endpoint));
        command.insert("path".to_owned(), json!(path));
        command.extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.carry_out(Value::Object(command));
        LeshanAnswer {
            code: answer["code"].as_str().expect("a code").to_owned(),
            value: answer["value"].clone(),
        }
    }

    /// Sends a command (`Commands.java`). Returns the number at the beginning of its response line.
    pub fn begin(&mut self, command: &Value) -> u64 {
        self.commands += 1;
        let mut command = command.clone();
        command["id"] = json!(self.commands);
        self.process.write_line(&command.to_string());
        self.commands
    }

    /// Its output: a line for each response and each event.
    pub fn output(&self) -> &Lines {
        self.process.output()
    }

    #[track_caller]
    fn carry_out(&mut self, command: Value) -> Value {
        let number = self.begin(&command);
        let head = format!("{{\"response\":{number},");
        let line = self.process.output().wait_for(&head);
        let answer: Value = serde_json::from_str(&line).expect("an answer");
        assert!(
            answer["error"].is_null(),
            "Leshan, to {command}: {}",
            answer["error"]
        );
        answer
    }
}

impl Default for Leshan {
    fn default() -> Self {
        Self::new()
    }
}

fn notification(line: &str) -> Option<(String, Value)> {
    let event: Value = serde_json::from_str(line).ok()?;
    let path = event["path"].as_str()?.to_owned();
    (event["event"] == "notification").then(|| (path, event["value"].clone()))
}

/// A client on Leshan's library that registers at `server`, until it is dropped or its input is closed.
pub fn client(server: &str, endpoint: &str) -> Process {
    Process::spawn_with_input(java("Client").args([server, endpoint]).arg(models()))
}

fn java(class: &str) -> Command {
    let folder = built();
    let mut java = Command::new("java");
    java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(format!("{0}/classes:{0}/jars/*", folder.display()))
        .arg(class);
    java
}

fn sources() -> PathBuf {
    workspace().join("tests/leshan")
}

fn models() -> PathBuf {
    sources().join("models")
}

/// `jars` has Leshan and its dependencies, `classes` the program on them.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let read = |file| {
            let path = sources().join(file);
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("no {path:?}: {error}"))
        };
        let jars = made_once("leshan-jars", &read("pom.xml"), fetch);
        let sources: String = SOURCES.map(read).concat();
        made_once("leshan", &format!("{jars:?}{sources}"), |folder| {
            compile(&jars, folder);
        })
    })
}

fn fetch(into: &Path) {
    let scratch = Folder::new();
    std::fs::copy(sources().join("pom.xml"), scratch.join("pom.xml")).expect("a pom");
    output_of(
        Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies"])
            .arg(format!("-DoutputDirectory={}", into.display()))
            .current_dir(scratch.path()),
    );
}

fn compile(jars: &Path, into: &Path) {
    output_of(
        Command::new("cp")
            .arg("-r")
            .arg(jars)
            .arg(into.join("jars")),
    );
    output_of(
        Command::new("javac")
            .args(["-Xlint:all", "-Werror", "-encoding", "UTF-8"])
            .arg("-d")
            .arg(into.join("classes"))
            .arg("-cp")
            .arg(format!("{}/*", jars.display()))
            .args(SOURCES.map(|file| sources().join(file))),
    );
}
