use std::time::Duration;

use lwm2m::coap::{CoapType, Code, Message, OptionNumber};
use lwm2m::{Config, Input, Request, Secret};

use crate::pair::Pair;

#[test]
fn a_ping_is_reset_and_malformed_datagrams_are_rejected_or_ignored() {
    let mut pair = Pair::registered();
    for (datagram, expected) in [
        (&b"\x40\x00\x01\x02"[..], Some((CoapType::Reset, 0x0102))),
        (b"\x40\x01\x01\x02\xff", Some((CoapType::Reset, 0x0102))),
        (b"\x40\x20\x01\x02", Some((CoapType::Reset, 0x0102))),
        (b"\x40\x45\x01\x02", Some((CoapType::Reset, 0x0102))),
        (b"\x50\x45\x01\x02", None),
        (b"\x50\x01\x01\x02\xff", None),
        (b"\x80\x01\x01\x02", None),
        (b"\x60\x01\x01\x02", None),
        (b"\x70\x45\x01\x02", None),
        (b"", None),
    ] {
        pair.input(Input::Datagram(Secret::new(datagram.to_vec())));
        let sent = pair.sent.pop_front().map(|it| (it.kind(), it.id()));
        assert_eq!(sent, expected, "{datagram:x?}");
    }
}

#[test]
fn a_request_that_comes_twice_acts_once_and_gets_the_same_answer() {
    let mut pair = Pair::registered();
    let request = pair.message(Code::POST, "/9/0/4");
    let first = pair.exchange(&request);
    assert!(pair.exchange(&request) == first);
    assert_eq!(pair.device.asked.len(), 1);
}

#[test]
fn a_late_answer_comes_in_a_message_of_its_own() {
    let mut pair = Pair::registered();
    pair.device.waits = true;
    let request = pair.message(Code::POST, "/9/0/4");
    pair.receive(&request);
    pair.assert_silent();
    pair.step();
    let empty = pair.take();
    assert_eq!(
        (empty.kind(), empty.code()),
        (CoapType::Acknowledgement, Code::EMPTY)
    );
    assert_eq!(empty.id(), request.id());
    pair.receive(&request);
    assert!(
        pair.take() == empty,
        "a duplicate gets the same acknowledgement"
    );
    pair.answer_waiting();
    let response = pair.take();
    assert_eq!(
        (response.kind(), response.code()),
        (CoapType::Confirmable, Code::CHANGED)
    );
    assert_eq!(response.token(), request.token());
    pair.step();
    assert!(pair.take() == response, "repeated until it is acknowledged");
    pair.acknowledge(&response);
    pair.pass(Duration::from_secs(300));
    pair.assert_silent();
    assert_eq!(pair.device.asked.len(), 1);
}

#[test]
fn a_duplicate_of_an_unanswered_request_is_acknowledged() {
    let mut pair = Pair::registered();
    pair.device.waits = true;
    let request = pair.message(Code::POST, "/9/0/4");
    pair.receive(&request);
    pair.receive(&request);
    assert_eq!(pair.take().code(), Code::EMPTY);
    pair.answer_waiting();
    assert_eq!(pair.take().kind(), CoapType::Confirmable);
}

#[test]
fn a_non_confirmable_request_is_answered_once_by_a_non_confirmable_response() {
    let mut pair = Pair::registered();
    let request = pair
        .message(Code::GET, "/3/0/0")
        .addressed(CoapType::NonConfirmable, 500, b"t");
    pair.receive(&request);
    pair.receive(&request);
    let response = pair.take();
    assert_eq!(
        (response.kind(), response.code()),
        (CoapType::NonConfirmable, Code::CONTENT)
    );
    assert_eq!(response.token(), b"t");
    pair.assert_silent();
}

#[test]
fn critical_options_that_are_unknown_or_repeated_are_refused() {
    let mut pair = Pair::registered();
    for (number, value, code) in [
        (OptionNumber(1), &b""[..], Code::of(4, 2)),
        (OptionNumber(9), b"", Code::of(4, 2)),
        (OptionNumber(2049), b"", Code::of(4, 2)),
        (OptionNumber::PROXY_URI, b"coap://a", Code::of(5, 5)),
        (OptionNumber(2048), b"", Code::CONTENT),
        (OptionNumber::URI_HOST, b"gateway", Code::CONTENT),
    ] {
        let request = pair.message(Code::GET, "/3/0/0").with(number, value);
        assert_eq!(pair.exchange(&request).code(), code, "{number:?}");
    }
    let twice = pair.message(Code::GET, "/3/0/0");
    let twice = twice
        .with_uint(OptionNumber::ACCEPT, 0)
        .with_uint(OptionNumber::ACCEPT, 0);
    assert_eq!(pair.exchange(&twice).code(), Code::of(4, 2));
    let request = pair.message(Code::GET, "/3/0/0").with(OptionNumber(9), "");
    pair.receive(&request.addressed(CoapType::NonConfirmable, 501, b""));
    pair.assert_silent();
}

#[test]
fn more_open_requests_than_the_bound_are_answered_5_03() {
    let mut config = Config::new("gateway-17");
    config.limits.open_requests = 2;
    let mut pair = Pair::with(config);
    pair.register();
    pair.device.waits = true;
    for expected in [None, None, Some(Code::of(5, 3))] {
        let request = pair.message(Code::GET, "/3/0/0");
        pair.receive(&request);
        assert_eq!(pair.sent.pop_front().map(|it| it.code()), expected);
    }
}

#[test]
fn a_server_that_lost_its_state_may_use_a_message_id_again() {
    let mut pair = Pair::registered();
    let request = Message::new(CoapType::Confirmable, Code::POST, 7, b"a");
    let on = |part| {
        request
            .clone()
            .with(OptionNumber::URI_PATH, "9")
            .with(OptionNumber::URI_PATH, "0")
            .with(OptionNumber::URI_PATH, part)
    };
    pair.exchange(&on("4"));
    pair.exchange(&on("6"));
    let executes = pair
        .device
        .asked
        .iter()
        .filter(|it| matches!(it, Request::Execute { .. }));
    assert_eq!(executes.count(), 2);
}

#[test]
fn a_late_duplicate_of_a_write_does_not_act_even_after_many_reads() {
    let mut pair = Pair::registered();
    let write = pair
        .message(Code::PUT, "/9/0/3")
        .with_payload(b"http://origin/a".to_vec());
    let first = pair.exchange(&write);
    for _ in 0..1000 {
        let read = pair.message(Code::GET, "/3/0/0");
        pair.exchange(&read);
    }
    assert!(pair.exchange(&write) == first);
    let writes = pair
        .device
        .asked
        .iter()
        .filter(|it| matches!(it, Request::Write { .. }));
    assert_eq!(writes.count(), 1);
}
