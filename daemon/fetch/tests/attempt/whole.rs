//! The download of a whole package.

use wharf_frames::fetch::{DURABLE_EVERY, FetchEvent, Validator};

use crate::support::{
    as_user,
    origin::{Origin, answer, nothing, serve_package},
    package,
    program::Fetch,
    request,
};

#[test]
fn writes_every_byte_and_reports_each_durable_8_mib() {
    let bytes = package(20 << 20);
    let served = bytes.clone();
    let origin = Origin::http(move |asked, to| serve_package(&served, "\"1\"", asked, to));

    let ended = Fetch::start(&request(&origin.uri("/p.deb"))).ended();

    assert!(ended.complete() == bytes, "other bytes than the origin's");
    let started = FetchEvent::Started {
        offset: 0,
        total: Some(20 << 20),
        validator: Some(Validator::ETag("\"1\"".into())),
    };
    assert_eq!(ended.events.first(), Some(&started));
    let durable = ended.events.iter().filter_map(|event| match event {
        FetchEvent::Durable(durable) => Some(*durable),
        _ => None,
    });
    let durable: Vec<_> = durable.collect();
    assert_eq!(durable.len(), 2, "{durable:?}");
    assert!(
        durable[0] >= DURABLE_EVERY && durable[1] >= durable[0] + DURABLE_EVERY,
        "{durable:?}"
    );
}

#[test]
fn an_empty_file_and_one_without_a_length_are_packages_too() {
    for (head, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &b""[..]),
        ("HTTP/1.0 200 OK\r\n\r\n", b"until the end"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nuntil\r\n0\r\n\r\n",
            b"until",
        ),
    ] {
        let message = match body {
            b"until the end" => [head.as_bytes(), body].concat(),
            _ => head.as_bytes().to_vec(),
        };
        let origin = Origin::http(move |asked, to| match asked.is_for_signature() {
            true => nothing(to),
            false => to.write_all(&message).unwrap(),
        });
        let ended = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
        assert_eq!(ended.complete(), body, "{head}");
    }
}

#[test]
fn sends_user_name_and_password_to_the_origin_from_the_first_request_on() {
    let origin = Origin::http(|asked, to| {
        // gateway:s3cret
        match asked.field("authorization") {
            Some("Basic Z2F0ZXdheTpzM2NyZXQ=") => serve_package(b"for you", "\"1\"", asked, to),
            _ => answer(
                to,
                "401 Unauthorized",
                &[("WWW-Authenticate", "Basic")],
                b"",
            ),
        }
    });
    let request = as_user("gateway", "s3cret", request(&origin.uri("/p.deb")));
    assert_eq!(Fetch::start(&request).ended().complete(), b"for you");
}

#[test]
fn requests_the_unencoded_bytes_with_the_expected_fields_only() {
    let origin = Origin::http(|asked, to| serve_package(b"bytes", "\"1\"", asked, to));
    Fetch::start(&request(&origin.uri("/p.deb?a=b%20c#sha256=00")))
        .ended()
        .complete();
    for asked in origin.asked() {
        assert_eq!(asked.field("accept-encoding"), Some("identity"));
        for absent in ["authorization", "cookie", "referer", "range", "if-range"] {
            assert_eq!(asked.field(absent), None, "{absent}");
        }
    }
    let targets: Vec<_> = origin
        .asked()
        .into_iter()
        .map(|asked| asked.target)
        .collect();
    assert_eq!(
        targets,
        ["/p.deb.asc?a=b%20c", "/p.deb.sig?a=b%20c", "/p.deb?a=b%20c"]
    );
}

#[test]
fn a_compressed_answer_is_stored_as_received() {
    let origin = Origin::http(|asked, to| match asked.is_for_signature() {
        true => nothing(to),
        false => answer(
            to,
            "200 OK",
            &[("Content-Encoding", "gzip")],
            b"\x1f\x8b not unpacked",
        ),
    });
    let ended = Fetch::start(&request(&origin.uri("/p.deb"))).ended();
    assert_eq!(ended.complete(), b"\x1f\x8b not unpacked");
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    let origin = Origin::http(|asked, to| serve_package(b"bytes", "\"1\"", asked, to));
    let mut command = crate::support::program::program();
    command
        .env("http_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1");
    let ended = Fetch::start_as(command, b"", &request(&origin.uri("/p.deb"))).ended();
    assert_eq!(ended.complete(), b"bytes");
}
