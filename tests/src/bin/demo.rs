//! The path of one package: a server requests it, wharfd downloads it, root judges it, apt installs it. Then the same
//! with a package of an untrusted signer.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a demonstration ends where it fails"
)]

use std::{fs, time::Instant};

use wharf_tests::{
    folder::Folder,
    gateway::Gateway,
    keys::{GnupgKeys, Signer},
    origin::Origin,
    package::Package,
    server::{Client, TestServer},
    waiting::wait_until,
};

const STATES: [&str; 5] = [
    "INITIAL",
    "DOWNLOAD STARTED",
    "DOWNLOADED",
    "DELIVERED",
    "INSTALLED",
];

fn main() {
    let began = Instant::now();
    act(
        "A Debian root, an origin that wants a password, an LwM2M server, and a gateway that registers",
    );
    let mut gateway = Gateway::debian();
    let (server, origin, keys) = (TestServer::new(), Origin::http(), GnupgKeys::new());
    keys.trust(Signer::Vendor, &gateway.path());
    origin.require("fleet", "correct horse");
    gateway.configure(&server.uri(), "");
    gateway.allow_credentials_over_http(&[&origin.uri("")]);
    gateway.start();
    let client = server.wait_for_client();
    let endpoint = client.registration().endpoint;
    say(
        "server",
        &format!("\"{endpoint}\" registered at {}", server.uri()),
    );

    let mut story = Story {
        server: &server,
        told: 0,
    };
    installs(&gateway, &origin, &keys, &client, &mut story);
    refuses(&gateway, &origin, &keys, &client, &mut story);
    let seconds = began.elapsed().as_secs_f32();
    act(&format!(
        "Done in {seconds:.1} s. The same by hand: docs/server.md"
    ));
}

fn installs(
    gateway: &Gateway,
    origin: &Origin,
    keys: &GnupgKeys,
    client: &Client<'_>,
    story: &mut Story<'_>,
) {
    act(
        "The server observes /9/0, writes User Name, Password and Package URI, and waits for DELIVERED",
    );
    for resource in [16, 9, 7] {
        client.observe(&format!("/9/0/{resource}")).expect("2.05");
    }
    let package = Package::new("hello-gateway", "1.0-1");
    order(client, &publish(origin, keys, &package, Signer::Vendor));
    story.follow_to(3);

    act("It executes Install");
    client.execute("/9/0/4", "").expect("2.04");
    story.follow_to(4);
    let version = gateway.debian_root().installed_version("hello-gateway");
    say(
        "dpkg",
        &format!(
            "hello-gateway {} is installed",
            version.expect("hello-gateway")
        ),
    );
}

fn refuses(
    gateway: &Gateway,
    origin: &Origin,
    keys: &GnupgKeys,
    client: &Client<'_>,
    story: &mut Story<'_>,
) {
    act("The server prepares an upgrade: Uninstall, ForUpdate. The software stays in place");
    client.execute("/9/0/6", "1").expect("2.04");
    story.follow_to(0);

    act("But the new package is signed by a stranger");
    let package = Package::new("hello-gateway", "2.0-1");
    order(client, &publish(origin, keys, &package, Signer::Stranger));
    story.follow_to(0);
    let version = gateway.debian_root().installed_version("hello-gateway");
    say(
        "dpkg",
        &format!("hello-gateway is {} still", version.expect("hello-gateway")),
    );
}

fn order(client: &Client<'_>, uri: &str) {
    client.write_text("/9/0/14", "fleet").expect("2.04");
    client.write_text("/9/0/15", "correct horse").expect("2.04");
    client.write_text("/9/0/3", uri).expect("2.04");
}

fn publish(origin: &Origin, keys: &GnupgKeys, package: &Package, signer: Signer) -> String {
    let folder = Folder::new();
    let file = package.build(folder.path());
    let signature = keys.sign_beside(signer, &file);
    let path = format!("/{}", file.file_name().expect("a name").to_string_lossy());
    origin.serve(
        &format!("{path}.asc"),
        fs::read(signature).expect("the signature"),
    );
    origin.serve(&path, fs::read(file).expect("the package"))
}

/// Prints the notifications to the server as they arrive.
struct Story<'a> {
    server: &'a TestServer,
    told: usize,
}

impl Story<'_> {
    /// Prints them until Update State is this.
    fn follow_to(&mut self, state: usize) {
        loop {
            let next = || self.server.story().get(self.told).cloned();
            let (path, value) = wait_until("a notification", next);
            self.told += 1;
            say("server", &notified(&path, &value));
            if path == "/9/0/7" && value == state.to_string() {
                return;
            }
        }
    }
}

fn notified(path: &str, value: &str) -> String {
    let state = value
        .parse()
        .ok()
        .and_then(|value: usize| STATES.get(value));
    match (path, state) {
        ("/9/0/7", Some(state)) => format!("{path} Update State  = {value} {state}"),
        ("/9/0/9", _) => format!("{path} Update Result = {value}"),
        _ => format!("{path} Status Reason = {value}"),
    }
}

fn act(text: &str) {
    println!("\n== {text}");
}

fn say(who: &str, text: &str) {
    println!("   {who:7} {text}");
}
