use lwm2m::coap::{Code, OptionNumber};
use lwm2m::{Request, ResourceValue, Secret, Value, WriteMode};

use crate::pair::Pair;

const TLV: u32 = 11542;

#[test]
fn a_read_answers_in_the_format_that_is_accepted_or_the_simplest() {
    let mut pair = Pair::registered();
    pair.device.values.insert(
        (30_000, 0),
        [(0, ResourceValue::Single(Value::Opaque(vec![1, 2])))].into(),
    );
    pair.input(lwm2m::Input::ObjectsChanged {
        instances: pair.device.instances(),
        update: lwm2m::UpdateTiming::WithNext,
    });
    for (path, accept, code, format, payload) in [
        (
            "/3/0/0",
            None,
            (2, 5),
            Some(0),
            &b"Open Mobile Alliance"[..],
        ),
        ("/3/0/0", Some(0), (2, 5), Some(0), b"Open Mobile Alliance"),
        (
            "/3/0/0",
            Some(TLV),
            (2, 5),
            Some(TLV),
            b"\xc8\x00\x14Open Mobile Alliance",
        ),
        ("/3/0/0", Some(42), (4, 6), None, b""),
        ("/3/0/0", Some(110), (4, 6), None, b""),
        ("/3/0/11", None, (2, 5), Some(TLV), b"\x83\x0b\x41\x00\x00"),
        ("/3/0/11", Some(0), (4, 6), None, b""),
        (
            "/9/0",
            None,
            (2, 5),
            Some(TLV),
            b"\xc0\x00\xc1\x07\x00\xc1\x08\x00\xc1\x09\x00\xc2\x1010",
        ),
        ("/9/0", Some(0), (4, 6), None, b""),
        (
            "/3",
            None,
            (2, 5),
            Some(TLV),
            b"\x08\x00\x1c\xc8\x00\x14Open Mobile Alliance\x83\x0b\x41\x00\x00",
        ),
        ("/30000/0/0", None, (2, 5), Some(42), b"\x01\x02"),
        ("/30000/0/0", Some(0), (2, 5), Some(0), b"AQI="),
    ] {
        let mut request = pair.message(Code::GET, path);
        if let Some(accept) = accept {
            request = request.with_uint(OptionNumber::ACCEPT, accept);
        }
        let response = pair.exchange(&request);
        assert_eq!(
            response.code(),
            Code::of(code.0, code.1),
            "{path} {accept:?}"
        );
        assert_eq!(
            response.uint(OptionNumber::CONTENT_FORMAT),
            format,
            "{path} {accept:?}"
        );
        assert_eq!(response.payload(), payload, "{path} {accept:?}");
    }
}

#[test]
fn a_missing_or_forbidden_target_is_rejected_without_the_application() {
    let mut pair = Pair::registered();
    for (method, path, code) in [
        (Code::GET, "/4", (4, 4)),
        (Code::GET, "/9/1", (4, 4)),
        (Code::GET, "/9/0/99", (4, 4)),
        (Code::GET, "/3/0/11/0", (4, 4)),
        (Code::GET, "/rd", (4, 4)),
        (Code::GET, "", (4, 4)),
        (Code::GET, "/0/0/0", (4, 1)),
        (Code::GET, "/9/0/2", (4, 5)),
        (Code::GET, "/9/0/4", (4, 5)),
        (Code::PUT, "/9", (4, 5)),
        (Code::PUT, "/9/0/7", (4, 5)),
        (Code::PUT, "/9/0/4", (4, 5)),
        (Code::POST, "/3", (4, 5)),
        (Code::POST, "/9/7", (4, 4)),
        (Code::POST, "/9/0/7", (4, 5)),
        (Code::POST, "/9/0/8", (4, 5)),
        (Code::DELETE, "/3/0", (4, 5)),
        (Code::DELETE, "/9", (4, 5)),
        (Code::DELETE, "/9/0/7", (4, 5)),
    ] {
        let request = pair.message(method, path);
        let response = pair.exchange(&request);
        assert_eq!(response.code(), Code::of(code.0, code.1), "{method} {path}");
    }
    assert_eq!(pair.device.asked, []);
}

/// Read-Composite and Write-Composite have no Uri-Path.
#[test]
fn the_methods_of_lwm2m_1_1_are_not_allowed_wherever_they_go() {
    let mut pair = Pair::registered();
    for method in [5, 6, 7] {
        for path in ["", "/9/0", "/9/9", "/rd", "/0/0/0"] {
            let response = pair.send(Code::of(0, method), path, Some(112), b"\x80");
            assert_eq!(response.code(), Code::of(4, 5), "0.0{method} {path}");
        }
        let observed = pair
            .message(Code::of(0, method), "")
            .with(OptionNumber(1), *b"an If-Match");
        assert_eq!(pair.exchange(&observed).code(), Code::of(4, 5));
    }
    assert_eq!(pair.device.asked, []);
}

#[test]
fn an_execute_passes_its_arguments_on_as_they_came() {
    let mut pair = Pair::registered();
    for (format, code, arguments) in [
        (None, Code::CHANGED, &b"1"[..]),
        (Some(0), Code::CHANGED, b"0='1',\xff"),
        (Some(1541), Code::CHANGED, b"1"),
        (Some(1543), Code::of(4, 15), b"1"),
        (Some(TLV), Code::of(4, 15), b"1"),
    ] {
        let response = pair.send(Code::POST, "/9/0/6", format, arguments);
        assert_eq!(response.code(), code, "{format:?}");
        if code == Code::CHANGED {
            let path = lwm2m::Path::Resource(9, 0, 6);
            let expected = Request::Execute {
                path,
                arguments: arguments.to_vec(),
            };
            assert_eq!(pair.device.asked.pop(), Some(expected));
        }
    }
}

/// FIWARE's server writes and executes with format 1541, and reads in a configured format.
#[test]
fn the_old_numbers_of_text_and_tlv_are_taken_and_given_as_they_came() {
    let mut pair = Pair::registered();
    for (path, format, payload) in [
        ("/9/0/3", 1541, &b"http://origin/a.deb"[..]),
        ("/9/0/8", 1541, b"1"),
        ("/9/0/8", 1542, b"\xc1\x08\x01"),
        ("/9/0", 1542, b"\xc1\x08\x01"),
        ("/9/0/2", 1541, b"YWJj"),
        ("/9/0/2", 1542, b"\xc3\x02abc"),
    ] {
        let response = pair.send(Code::PUT, path, Some(format), payload);
        assert_eq!(response.code(), Code::CHANGED, "{path} {format}");
    }
    for (path, accept, payload) in [
        ("/9/0/7", 1541, &b"0"[..]),
        ("/9/0/7", 1542, b"\xc1\x07\x00"),
        ("/3/0/11", 1542, b"\x83\x0b\x41\x00\x00"),
    ] {
        let read = pair.message(Code::GET, path);
        let response = pair.exchange(&read.with_uint(OptionNumber::ACCEPT, accept));
        let format = response.uint(OptionNumber::CONTENT_FORMAT);
        assert_eq!((format, response.payload()), (Some(accept), payload));
    }
    for (path, accept) in [("/9/0", 1541), ("/9/0/7", 1543), ("/9/0/7", 1544)] {
        let read = pair.message(Code::GET, path);
        let response = pair.exchange(&read.with_uint(OptionNumber::ACCEPT, accept));
        assert_eq!(response.code(), Code::of(4, 6), "{path} {accept}");
    }
    let observe = pair
        .message(Code::GET, "/9/0/7")
        .with_uint(OptionNumber::OBSERVE, 0)
        .with_uint(OptionNumber::ACCEPT, 1542);
    pair.exchange(&observe);
    pair.restart(lwm2m::Config::new("gateway-17"));
    pair.input(lwm2m::Input::Start);
    let update = pair.take();
    pair.respond(&update, Code::CHANGED, |it| it);
    pair.commit(crate::pair::STATE, 1);
    let notification = pair.take();
    let format = notification.uint(OptionNumber::CONTENT_FORMAT);
    assert_eq!(
        (format, notification.payload()),
        (Some(1542), &b"\xc1\x07\x01"[..])
    );
}

#[test]
fn a_write_replaces_with_put_and_updates_with_post() {
    let mut pair = Pair::registered();
    let path = lwm2m::Path::Instance(9, 0);
    for (method, mode) in [
        (Code::PUT, WriteMode::Replace),
        (Code::POST, WriteMode::Update),
    ] {
        let response = pair.send(method, "/9/0", Some(TLV), b"\xc1\x08\x01");
        assert_eq!(response.code(), Code::CHANGED);
        let values = vec![(8, ResourceValue::from(true))];
        assert_eq!(
            pair.device.asked.pop(),
            Some(Request::Write { path, mode, values })
        );
    }
    let response = pair.send(Code::PUT, "/9/0/3", None, b"http://origin/a.deb");
    assert_eq!(response.code(), Code::CHANGED);
    let refused = pair.send(Code::PUT, "/9/0/8", Some(110), b"[]");
    assert_eq!(refused.code(), Code::of(4, 15));
}

#[test]
fn a_written_secret_is_not_shown() {
    let mut pair = Pair::registered();
    let request = pair
        .message(Code::PUT, "/9/0/15")
        .with_payload(b"hunter2".to_vec());
    let input = lwm2m::Input::Datagram(Secret::new(request.encode()));
    assert!(!format!("{input:?}").contains("hunter"));
    pair.exchange(&request);
    let shown = format!("{:?}", pair.device.asked);
    assert!(
        shown.contains("Secret") && !shown.contains("hunter"),
        "{shown}"
    );
}

#[test]
fn a_create_tells_where_the_instance_is() {
    let mut pair = Pair::registered();
    for (payload, path) in [
        (&b"\x20\x01\x00"[..], "9/256"),
        (b"\xc1\x08\x01", "9/7"),
        (b"", "9/7"),
    ] {
        let response = pair.send(Code::POST, "/9", Some(TLV), payload);
        assert_eq!(response.code(), Code::CREATED);
        let location: Vec<_> = response.options(OptionNumber::LOCATION_PATH).collect();
        assert_eq!(location.join(&b'/'), path.as_bytes());
    }
    let taken = pair.send(Code::POST, "/9", Some(TLV), b"\x00\x00");
    assert_eq!(taken.code(), Code::of(4, 0));
    let incomplete = pair.send(Code::POST, "/30000", Some(TLV), b"");
    assert_eq!(
        incomplete.code(),
        Code::of(4, 0),
        "a mandatory resource is missing"
    );
}

#[test]
fn a_delete_and_a_discover_are_answered() {
    let mut pair = Pair::registered();
    for (path, links) in [
        ("/3", "</3>,</3/0>,</3/0/0>,</3/0/11>;dim=1"),
        (
            "/9/0",
            "</9/0>,</9/0/0>,</9/0/7>,</9/0/8>,</9/0/9>,</9/0/16>",
        ),
        ("/9/0/7", "</9/0/7>"),
    ] {
        let request = pair
            .message(Code::GET, path)
            .with_uint(OptionNumber::ACCEPT, 40);
        let response = pair.exchange(&request);
        assert_eq!(response.uint(OptionNumber::CONTENT_FORMAT), Some(40));
        assert_eq!(response.payload(), links.as_bytes());
    }
    let request = pair.message(Code::DELETE, "/9/0");
    assert_eq!(pair.exchange(&request).code(), Code::DELETED);
}

#[test]
fn write_attributes_are_not_supported() {
    let mut pair = Pair::registered();
    for path in ["/9/0/7", "/9/0", "/9", "/9/0/8"] {
        let request = pair
            .message(Code::PUT, path)
            .with(OptionNumber::URI_QUERY, "pmin=10");
        assert_eq!(pair.exchange(&request).code(), Code::of(4, 5), "{path}");
    }
}
