use std::{net::SocketAddr, process::Command};

use wharf_tests::{
    command::text_of,
    package::incompressible,
    process::Process,
    server::{RegistrationEvent, TestServer, format, tlv},
};

/// libcoap's client, which is independent of this project.
pub(crate) fn libcoap_client(arguments: &[&str]) -> String {
    text_of(
        Command::new("coap-client-notls")
            .args(["-B", "60", "-v", "6"])
            .args(arguments),
    )
}

/// libcoap's server at a free port.
struct LibcoapServer {
    address: SocketAddr,
    process: Process,
}

impl LibcoapServer {
    fn new() -> Self {
        let process = Process::spawn(
            Command::new("coap-server-notls")
                .args(["-A", "127.0.0.1", "-p", "0"])
                .args(["-d", "10", "-v", "7"]),
        );
        let line = process.output().wait_for("created UDP  endpoint ");
        let address = line.split_whitespace().last().unwrap().parse().unwrap();
        Self { address, process }
    }
}

#[test]
fn reads_what_comes_in_blocks_and_what_comes_later() {
    let (server, libcoap) = (TestServer::new(), LibcoapServer::new());
    let client = server.client_at(libcoap.address);
    let links = client.discover("/.well-known/core");
    assert_eq!(
        (links.code, links.format),
        (links.code, Some(format::LINKS))
    );
    assert!(links.text().contains("</time>"), "{links:?}");
    assert_eq!(
        client.read("/async?1").text(),
        "done",
        "a separate response"
    );
    assert_eq!(client.read("/nowhere").code, "4.04");
}

#[test]
fn pushes_in_blocks_of_any_size() {
    let (server, libcoap) = (TestServer::new(), LibcoapServer::new());
    let client = server.client_at(libcoap.address);
    client.write_text("/example_data", "there");
    for (size, length) in [(16, 1_000), (64, 1_024), (512, 513), (1024, 100_000)] {
        let content = incompressible(length);
        let pushed = client.push("/example_data", format::OPAQUE, &content, size);
        assert_eq!(pushed.code, "2.04", "{length} bytes in blocks of {size}");
        let read = client.read("/example_data");
        assert!(
            read.payload == content,
            "{length} bytes in blocks of {size}: {} bytes",
            read.payload.len()
        );
    }
}

#[test]
fn creates_and_deletes() {
    let (server, libcoap) = (TestServer::new(), LibcoapServer::new());
    let client = server.client_at(libcoap.address);
    assert_eq!(client.write_text("/made", "of this").code, "2.01");
    assert_eq!(client.read("/made").text(), "of this");
    assert_eq!(client.delete("/made").code, "2.02");
    assert_eq!(client.read("/made").code, "4.04");
}

#[test]
fn keeps_notifications_in_their_order() {
    let (server, libcoap) = (TestServer::new(), LibcoapServer::new());
    let client = server.client_at(libcoap.address);
    client.write_text("/example_data", "zero");
    assert!(client.observe("/example_data").observe.is_some());
    for (since, text) in ["one", "two", "three"].into_iter().enumerate() {
        client.write_text("/example_data", text);
        let seen = server.wait_for_notification("/example_data", text, since);
        assert_eq!(seen, since + 1, "notifications: {:?}", server.story());
    }
    let story: Vec<_> = server.story().into_iter().map(|(_, text)| text).collect();
    assert_eq!(story, ["one", "two", "three"]);
}

#[test]
fn a_reset_ends_an_observation() {
    let (server, libcoap) = (TestServer::new(), LibcoapServer::new());
    let client = server.client_at(libcoap.address);
    client.write_text("/example_data", "zero");
    client.observe("/example_data");
    client.forget("/example_data");
    client.write_text("/example_data", "one");
    libcoap.process.output().wait_for("t:RST");
    assert!(server.notifications().is_empty(), "{:?}", server.story());
}

#[test]
fn a_client_registers_updates_and_deregisters() {
    let server = TestServer::new();
    let uri = |path: &str| format!("{}{path}", server.uri());
    let register = uri("/rd?ep=gateway&lt=300&lwm2m=1.0&b=U");
    libcoap_client(&["-m", "post", "-t", "40", "-e", "</1/0>,</9/0>", &register]);
    let client = server.wait_for_client();
    let registration = client.registration();
    assert_eq!(registration.endpoint, "gateway");
    assert_eq!(registration.lifetime, Some(300));
    assert_eq!(registration.version.as_deref(), Some("1.0"));
    assert_eq!(registration.binding.as_deref(), Some("U"));
    assert_eq!(registration.links, "</1/0>,</9/0>");

    let location = format!("/rd/{}", registration.location);
    libcoap_client(&["-m", "post", &uri(&format!("{location}?lt=60"))]);
    server.wait_for_event(&RegistrationEvent::Updated("gateway".to_owned()), 1);
    let updated = client.registration();
    assert_eq!(
        (updated.lifetime, updated.links),
        (Some(60), registration.links)
    );
    libcoap_client(&["-m", "delete", &uri(&location)]);
    server.wait_for_event(&RegistrationEvent::Deregistered("gateway".to_owned()), 1);
    assert_eq!(server.registration("gateway"), None);
}

#[test]
fn an_update_after_the_server_forgot_is_refused() {
    let server = TestServer::new();
    let register = format!("{}/rd?ep=gateway", server.uri());
    libcoap_client(&["-m", "post", "-e", "</3/0>", &register]);
    let location = server.wait_for_client().registration().location;
    server.forget_registrations();
    let update = format!("{}/rd/{location}", server.uri());
    let answer = Command::new("coap-client-notls")
        .args(["-m", "post", &update])
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(answer.contains("4.04"), "{answer}");
}

#[test]
fn tlv_is_as_in_the_specification() {
    // LwM2M Core 1.0, 6.4.3.1: Manufacturer "Open Mobile Alliance"; 6.4.3.2: Object Instance 0.
    let manufacturer = tlv::resources(&[(0, b"Open Mobile Alliance")]);
    assert_eq!(manufacturer[..3], [0xC8, 0x00, 0x14]);
    let instance = tlv::instance(0, &tlv::resources(&[(0, &[1]), (2, &[3]), (256, b"xyz")]));
    let resources = [0xC1, 0, 1, 0xC1, 2, 3, 0xE3, 1, 0, b'x', b'y', b'z'];
    assert_eq!(instance[..3], [0x08, 0x00, 0x0C]);
    assert_eq!(instance[3..], resources);
    let long = vec![7; 70_000];
    let entries = tlv::entries(&tlv::resources(&[(2, &long), (3, b"")]));
    assert_eq!(entries, [(2, long), (3, Vec::new())]);
}
