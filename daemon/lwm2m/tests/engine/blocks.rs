use lwm2m::coap::{BlockOption, Code, Message, OptionNumber};
use lwm2m::{Input, Path, Request, ResourceValue, UpdateTiming, Value};

use crate::pair::{Pair, REASON};

fn block1(message: Message, number: usize, more: bool, exponent: u8) -> Message {
    let block = BlockOption::at(number << (exponent + 4), more, exponent).unwrap();
    message.with(OptionNumber::BLOCK1, block.encode())
}

/// Pushes one block of 64 bytes of `body` to /9/0/2.
fn push(pair: &mut Pair, body: &[u8], number: usize) -> Message {
    let chunks: Vec<_> = body.chunks(64).collect();
    let request = pair
        .message(Code::PUT, "/9/0/2")
        .with_uint(OptionNumber::CONTENT_FORMAT, 42)
        .with_uint(OptionNumber::SIZE1, body.len() as u32)
        .with_payload(chunks[number].to_vec());
    pair.exchange(&block1(request, number, number + 1 < chunks.len(), 2))
}

/// The blocks that the application got: (offset, length, last).
fn handed(pair: &Pair) -> Vec<(u64, usize, bool)> {
    let blocks = pair
        .device
        .asked
        .iter()
        .filter_map(|request| match request {
            Request::Block {
                path: Path::Resource(9, 0, 2),
                block,
            } => Some(block),
            _ => None,
        });
    blocks
        .map(|block| (block.offset, block.bytes.len(), block.last))
        .collect()
}

#[test]
fn a_push_is_handed_on_block_by_block() {
    let mut pair = Pair::registered();
    let body: Vec<u8> = (0..150).collect();
    for (number, code) in [(0, Code::CONTINUE), (1, Code::CONTINUE), (2, Code::CHANGED)] {
        let response = push(&mut pair, &body, number);
        assert_eq!(response.code(), code);
        let echo = BlockOption::decode(response.option(OptionNumber::BLOCK1).unwrap()).unwrap();
        assert_eq!(echo.offset(), 64 * number as u64);
    }
    assert_eq!(
        handed(&pair),
        [(0, 64, false), (64, 64, false), (128, 22, true)]
    );
    let Request::Block { block, .. } = &pair.device.asked[2] else {
        panic!("no block")
    };
    assert_eq!(
        (block.bytes.as_slice(), block.size),
        (&body[128..], Some(150))
    );
}

/// A library with 16-bit block options would confuse block 4,096 with block 0.
#[test]
fn a_push_goes_on_beyond_block_65535() {
    let mut pair = Pair::registered();
    for number in 0..70_000 {
        let request = pair.message(Code::PUT, "/9/0/2").with_payload(vec![7; 16]);
        let response = pair.exchange(&block1(request, number, true, 0));
        assert_eq!(response.code(), Code::CONTINUE, "block {number}");
    }
    assert_eq!(handed(&pair).last(), Some(&(16 * 69_999, 16, false)));
}

#[test]
fn a_block_repeated_in_another_message_gets_the_same_answer() {
    let mut pair = Pair::registered();
    let body = [7; 150];
    push(&mut pair, &body, 0);
    for (number, code) in [(1, Code::CONTINUE), (2, Code::CHANGED)] {
        assert_eq!(push(&mut pair, &body, number).code(), code);
        assert_eq!(push(&mut pair, &body, number).code(), code);
    }
    assert_eq!(handed(&pair).len(), 3);
}

#[test]
fn resumes_a_push_from_block_0() {
    let mut pair = Pair::registered();
    let body = [7; 150];
    push(&mut pair, &body, 0);
    push(&mut pair, &body, 1);
    for number in 0..3 {
        assert!(push(&mut pair, &body, number).code().is_success());
    }
    assert_eq!(
        handed(&pair)[2..],
        [(0, 64, false), (64, 64, false), (128, 22, true)]
    );
    let incomplete = push(&mut pair, &body, 1);
    assert_eq!(incomplete.code(), Code::of(4, 8));
}

#[test]
fn the_last_block_is_answered_when_the_application_answers() {
    let mut pair = Pair::registered();
    let body = [7; 100];
    push(&mut pair, &body, 0);
    pair.device.waits = true;
    let last = pair
        .message(Code::PUT, "/9/0/2")
        .with_payload(body[64..].to_vec());
    let last = block1(last, 1, false, 2);
    pair.receive(&last);
    let again = last.clone().addressed(last.kind(), 5000, b"another token");
    pair.receive(&again);
    pair.assert_silent();
    pair.answer_waiting();
    for request in [last, again] {
        let response = pair.take();
        assert_eq!(
            (response.code(), response.token()),
            (Code::CHANGED, request.token())
        );
    }
    assert_eq!(handed(&pair).len(), 2);
}

#[test]
fn a_rejected_block_ends_the_push() {
    let mut pair = Pair::registered();
    let body = [7; 150];
    pair.device.waits = true;
    let first = pair
        .message(Code::PUT, "/9/0/2")
        .with_payload(body[..64].to_vec());
    pair.receive(&block1(first, 0, true, 2));
    let (request, _) = pair.device.waiting.pop_front().unwrap();
    let answer = lwm2m::Answer::Error(lwm2m::ErrorCode::MethodNotAllowed);
    pair.input(Input::Answer { request, answer });
    assert_eq!(pair.take().code(), Code::of(4, 5));
    assert_eq!(push(&mut pair, &body, 1).code(), Code::of(4, 8));
}

#[test]
fn a_short_package_in_one_message_is_its_only_block() {
    let mut pair = Pair::registered();
    for (format, payload) in [
        (Some(42), &b"abc"[..]),
        (None, b"abc"),
        (Some(0), b"YWJj"),
        (Some(11542), b"\xc3\x02abc"),
    ] {
        let response = pair.send(Code::PUT, "/9/0/2", format, payload);
        assert_eq!(response.code(), Code::CHANGED, "{format:?}");
        let Some(Request::Block { block, .. }) = pair.device.asked.pop() else {
            panic!("{format:?}")
        };
        assert_eq!(
            (block.offset, block.bytes.as_slice(), block.last),
            (0, &b"abc"[..], true)
        );
    }
}

#[test]
fn a_body_may_be_as_long_in_one_message_as_in_blocks() {
    let mut pair = Pair::registered();
    let uri = format!("http://origin/{}", "a".repeat(4000));
    let answer = pair.send(Code::PUT, "/9/0/3", None, uri.as_bytes());
    assert_eq!(answer.code(), Code::CHANGED);
    let Some(Request::Write { values, .. }) = pair.device.asked.pop() else {
        panic!("no write")
    };
    assert_eq!(values, [(3, ResourceValue::from(uri.as_str()))]);
    for length in [1025, 8192] {
        let answer = pair.send(Code::PUT, "/9/0/2", Some(42), &vec![7; length]);
        assert_eq!(answer.code(), Code::CHANGED, "{length}");
        assert_eq!(handed(&pair), [(0, length, true)]);
        pair.device.asked.clear();
    }
    for path in ["/9/0/2", "/9/0/3"] {
        let answer = pair.send(Code::PUT, path, Some(0), &[b'A'; 8193]);
        let limit = answer.uint(OptionNumber::SIZE1);
        assert_eq!((answer.code(), limit), (Code::of(4, 13), Some(8192)));
    }
    let execute =
        |pair: &mut Pair, length| pair.send(Code::POST, "/9/0/6", None, &vec![b'1'; length]);
    assert_eq!(execute(&mut pair, 1024).code(), Code::CHANGED);
    let answer = execute(&mut pair, 1025);
    let limit = answer.uint(OptionNumber::SIZE1);
    assert_eq!((answer.code(), limit), (Code::of(4, 13), Some(1024)));
}

#[test]
fn another_body_in_blocks_is_put_together_up_to_a_bound() {
    let mut pair = Pair::registered();
    let uri = format!("http://origin/{}", "a".repeat(2000));
    for (number, chunk) in uri.as_bytes().chunks(1024).enumerate() {
        let request = pair
            .message(Code::PUT, "/9/0/3")
            .with_payload(chunk.to_vec());
        assert!(
            pair.exchange(&block1(request, number, number == 0, 6))
                .code()
                .is_success()
        );
    }
    let Some(Request::Write { values, .. }) = pair.device.asked.pop() else {
        panic!("no write")
    };
    assert_eq!(values, [(3, ResourceValue::from(uri.as_str()))]);

    let mut codes = Vec::new();
    for number in 0..9 {
        let request = pair
            .message(Code::PUT, "/9/0/3")
            .with_payload(vec![b'a'; 1024]);
        let response = pair.exchange(&block1(request, number, true, 6));
        codes.push(response.code());
        if number == 8 {
            assert_eq!(response.uint(OptionNumber::SIZE1), Some(8192));
        }
    }
    assert_eq!(codes[8], Code::of(4, 13));
    let request = pair
        .message(Code::PUT, "/9/0/3")
        .with_payload(vec![b'a'; 16]);
    assert_eq!(
        pair.exchange(&block1(request, 9, false, 0)).code(),
        Code::of(4, 8)
    );
}

#[test]
fn a_block_shorter_than_its_size_is_a_bad_request() {
    let mut pair = Pair::registered();
    let request = pair.message(Code::PUT, "/9/0/2").with_payload(vec![7; 63]);
    assert_eq!(
        pair.exchange(&block1(request, 0, true, 2)).code(),
        Code::of(4, 0)
    );
    let request = pair
        .message(Code::PUT, "/9/0/2")
        .with(OptionNumber::BLOCK1, [0x07]);
    assert_eq!(pair.exchange(&request).code(), Code::of(4, 0));
}

#[test]
fn the_blocks_of_a_long_answer_come_from_one_moment() {
    let mut pair = Pair::registered();
    let bytes: Vec<u8> = (0..=255).cycle().take(2500).collect();
    let value = |bytes: &[u8]| ResourceValue::Single(Value::Opaque(bytes.to_vec()));
    pair.device
        .values
        .insert((30_000, 0), [(0, value(&bytes))].into());
    let instances = pair.device.instances();
    pair.input(Input::ObjectsChanged {
        instances,
        update: UpdateTiming::WithNext,
    });
    for exponent in [None, Some(4)] {
        pair.device.set(Path::Resource(30_000, 0, 0), value(&bytes));
        let (mut joined, mut etags, mut next) = (
            Vec::new(),
            Vec::new(),
            BlockOption::at(0, false, exponent.unwrap_or(6)),
        );
        while let Some(block) = next {
            let mut request = pair.message(Code::GET, "/30000/0/0");
            if exponent.is_some() || !joined.is_empty() {
                request = request.with(OptionNumber::BLOCK2, block.encode());
            }
            let response = pair.exchange(&request);
            pair.device
                .set(Path::Resource(30_000, 0, 0), value(b"changed meanwhile"));
            let got = BlockOption::decode(response.option(OptionNumber::BLOCK2).unwrap()).unwrap();
            assert_eq!(got.exponent(), block.exponent());
            joined.extend_from_slice(response.payload());
            etags.push(response.option(OptionNumber::ETAG).unwrap().to_vec());
            next = got
                .more()
                .then(|| BlockOption::at(joined.len(), false, got.exponent()).unwrap());
        }
        assert!(joined == bytes);
        assert!(etags.windows(2).all(|pair| pair[0] == pair[1]), "{etags:?}");
    }
}

#[test]
fn a_long_notification_carries_its_first_block() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/16");
    let reason = "60: ".to_owned() + &"because ".repeat(200);
    pair.commit(REASON, reason.as_str());
    let first = pair.take();
    let block = BlockOption::decode(first.option(OptionNumber::BLOCK2).unwrap()).unwrap();
    assert!(block.more() && first.option(OptionNumber::OBSERVE).is_some());
    pair.acknowledge(&first);
    pair.commit(REASON, "70");
    let rest = pair.message(Code::GET, "/9/0/16");
    let rest = rest.with(
        OptionNumber::BLOCK2,
        BlockOption::at(1024, false, 6).unwrap().encode(),
    );
    pair.sent.clear();
    let second = pair.exchange(&rest);
    assert_eq!(
        [first.payload(), second.payload()].concat(),
        reason.as_bytes()
    );
}
