//! The story of one package as it happens: a server orders it, wharfd brings it, root judges it, apt installs it.
//! Then another one, that somebody else signed.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a demonstration ends where it fails"
)]

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use wharf_tests::{
    folder::Folder,
    gateway::Gateway,
    keys::{Keys, Signer},
    origin::Origin,
    package::Package,
    server::{Client, Server},
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
    let (server, origin, keys) = (Server::new(), Origin::http(), Keys::new());
    keys.trust(Signer::Vendor, &gateway.path());
    origin.require("fleet", "correct horse");
    gateway.configure(&server.uri(), "");
    gateway.start();
    let client = server.wait_for_client();
    say(
        "server",
        &format!(
            "\"{}\" registered at {}",
            client.registration().endpoint,
            server.uri()
        ),
    );

    let told = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| tell_notifications(&server, &told));
        installs(&gateway, &origin, &keys, &client);
        refuses(&gateway, &origin, &keys, &client);
        wait_until("the last notification", || {
            (told.load(Ordering::SeqCst) == server.notifications().len()).then_some(())
        });
        told.store(usize::MAX, Ordering::SeqCst);
    });
    act(&format!(
        "Done in {:.1} s. The same by hand: docs/server.md",
        began.elapsed().as_secs_f32()
    ));
}

fn installs(gateway: &Gateway, origin: &Origin, keys: &Keys, client: &Client<'_>) {
    act(
        "The server observes /9/0, writes User Name, Password and Package URI, and waits for DELIVERED",
    );
    for resource in [16, 9, 7] {
        client.observe(&format!("/9/0/{resource}")).expect("2.05");
    }
    let uri = publish(
        origin,
        keys,
        &Package::new("hello-gateway", "1.0-1"),
        Signer::Vendor,
    );
    client.write_text("/9/0/14", "fleet").expect("2.04");
    client.write_text("/9/0/15", "correct horse").expect("2.04");
    client.write_text("/9/0/3", &uri).expect("2.04");
    wait_for_state(client, "3");

    act("It executes Install");
    client.execute("/9/0/4", "").expect("2.04");
    wait_for_state(client, "4");
    let version = gateway.debian_root().installed_version("hello-gateway");
    say(
        "dpkg",
        &format!(
            "hello-gateway {} is installed",
            version.expect("hello-gateway")
        ),
    );
}

fn refuses(gateway: &Gateway, origin: &Origin, keys: &Keys, client: &Client<'_>) {
    act(
        "The server prepares an upgrade (Uninstall, ForUpdate), but the new package is signed by a stranger",
    );
    client.execute("/9/0/6", "1").expect("2.04");
    wait_for_state(client, "0");
    let uri = publish(
        origin,
        keys,
        &Package::new("hello-gateway", "2.0-1"),
        Signer::Stranger,
    );
    client.write_text("/9/0/14", "fleet").expect("2.04");
    client.write_text("/9/0/15", "correct horse").expect("2.04");
    client.write_text("/9/0/3", &uri).expect("2.04");
    wait_until("the refusal", || {
        (client.read_text("/9/0/9") == "53").then_some(())
    });
    let version = gateway.debian_root().installed_version("hello-gateway");
    say(
        "dpkg",
        &format!("hello-gateway is {} still", version.expect("hello-gateway")),
    );
}

fn publish(origin: &Origin, keys: &Keys, package: &Package, signer: Signer) -> String {
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

fn wait_for_state(client: &Client<'_>, state: &str) {
    wait_until("the Update State", || {
        (client.read_text("/9/0/7") == state).then_some(())
    });
}

/// Tells each notification when it comes, until `told` is taken away.
fn tell_notifications(server: &Server, told: &AtomicUsize) {
    loop {
        let next = told.load(Ordering::SeqCst);
        if next == usize::MAX {
            return;
        }
        match server.story().get(next) {
            Some((path, value)) => {
                say("server", &notified(path, value));
                let _ = told.compare_exchange(next, next + 1, Ordering::SeqCst, Ordering::SeqCst);
            }
            None => thread::sleep(Duration::from_millis(5)),
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
