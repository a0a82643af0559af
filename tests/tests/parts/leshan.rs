use std::fs;

use serde_json::json;
use wharf_tests::{
    folder::Folder,
    leshan::{self, Leshan},
    package::incompressible,
    server::{RegistrationEvent, TestServer, format},
};

use crate::server::libcoap_client;

const TOLD: &str = "/9/0/16";

#[test]
fn leshan_tells_of_a_registration_by_anybody() {
    let mut leshan = Leshan::new();
    let uri = format!("{}/rd?ep=by-hand&lt=300&lwm2m=1.0&b=U", leshan.uri());
    libcoap_client(&["-m", "post", "-t", "40", "-e", "</3/0>,</9/0>", &uri]);
    let event = leshan.wait_for_event("registered", "by-hand", 1);
    assert_eq!(event["lifetime"], 300);
    assert_eq!(event["version"], "1.0");
    assert_eq!(event["links"], "</3/0>,</9/0>");
    assert_eq!(leshan.registrations(), [event]);
}

#[test]
fn leshan_drives_a_client_of_its_own() {
    let mut leshan = Leshan::new();
    let name = "of-leshan";
    let mut client = leshan::client(&leshan.uri(), name);
    leshan.wait_for_event("registered", name, 1);
    assert_eq!(leshan.read(name, "/3/0/0").value, "Eclipse Leshan");
    assert_eq!(
        leshan.read_as(name, "/9/0", "TLV").value,
        json!({"7": 0, "16": ""})
    );
    let links = leshan.discover(name, "/9/0").value;
    assert!(links.to_string().contains("</9/0/16>"), "{links}");

    let observed = leshan.observe(name, TOLD);
    assert_eq!(
        (observed.code.as_str(), observed.value),
        ("2.05", json!(""))
    );
    assert_eq!(
        leshan.write(name, "/9/0/3", "http://é.example/").code,
        "2.04"
    );
    let mut seen = leshan.wait_for_notification(TOLD, "write 3 http://é.example/", 0);
    leshan.write_as(name, "/9/0/14", "user", "TEXT");
    seen = leshan.wait_for_notification(TOLD, "write 14 user", seen);
    leshan.execute(name, "/9/0/4", None);
    seen = leshan.wait_for_notification(TOLD, "execute 4 ", seen);
    leshan.execute(name, "/9/0/6", Some("1"));
    seen = leshan.wait_for_notification(TOLD, "execute 6 1", seen);

    let folder = Folder::new();
    let file = folder.join("package");
    fs::write(&file, incompressible(5_000)).unwrap();
    assert_eq!(leshan.push(name, "/9/0/2", &file).code, "2.04");
    seen = leshan.wait_for_notification(TOLD, "write 2 5000", seen);
    assert_eq!(leshan.cancel(name, TOLD).code, "2.05");
    assert_eq!(
        leshan
            .create(name, "/9", Some(7), json!({"15": "secret"}))
            .code,
        "2.01"
    );
    assert_eq!(
        leshan
            .write_instance(name, "/9/7", json!({"3": "http://a/"}))
            .code,
        "2.04"
    );
    assert_eq!(leshan.delete(name, "/9/7").code, "2.02");
    assert_eq!(leshan.delete(name, "/9/7").code, "4.04");
    assert_eq!(leshan.story().len(), seen, "{:?}", leshan.story());

    client.close_input();
    leshan.wait_for_event("deregistered", name, 1);
}

#[test]
fn the_scripted_server_drives_a_client_of_leshans() {
    let server = TestServer::new();
    let mut leshans = leshan::client(&server.uri(), "of-leshan");
    let client = server.wait_for_client();
    assert_eq!(client.registration().lifetime, Some(300));
    assert!(client.registration().links.contains("</9/0>"));
    assert_eq!(client.read_text("/3/0/0"), "Eclipse Leshan");
    assert_eq!(
        client.read_as("/9/0", format::TLV).format,
        Some(format::TLV)
    );
    assert!(client.discover("/9/0").text().contains("</9/0/16>"));

    assert_eq!(client.observe(TOLD).text(), "");
    assert_eq!(client.write_text("/9/0/3", "http://a/").code, "2.04");
    let mut seen = server.wait_for_notification(TOLD, "write 3 http://a/", 0);
    assert_eq!(client.execute("/9/0/6", "1").code, "2.04");
    seen = server.wait_for_notification(TOLD, "execute 6 1", seen);
    let pushed = client.push("/9/0/2", format::OPAQUE, &incompressible(5_000), 1024);
    assert_eq!(pushed.code, "2.04", "{pushed:?}");
    server.wait_for_notification(TOLD, "write 2 5000", seen);

    let resources: [(u16, &[u8]); 1] = [(15, b"secret")];
    assert_eq!(client.create("/9", Some(7), &resources).code, "2.01");
    assert_eq!(
        client.write_instance("/9/7", &[(3, b"http://b/")]).code,
        "2.04"
    );
    assert_eq!(client.delete("/9/7").code, "2.02");
    leshans.close_input();
    server.wait_for_event(&RegistrationEvent::Deregistered("of-leshan".to_owned()), 1);
}
