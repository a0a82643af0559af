//! The engine handles any datagrams at any time. Its messages are bounded, and its deadlines lie ahead.
//!
//! The input is a list of steps: two bytes of length, two bytes of seconds to wait, and a datagram. An empty datagram
//! restarts the program. A datagram of one byte changes the connection to the server.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use lwm2m::{
    Answer, Config, Content, Engine, ErrorCode, Input, ObjectDefinition, ObjectInstanceId, Objects,
    Operations, Output, Path, Request, RequestId, ResourceDefinition, Saved, Secret, Time, Type,
};

static OBJECTS: [ObjectDefinition; 2] = [
    ObjectDefinition::new(0, &[]).multiple(),
    ObjectDefinition::new(
        9,
        &[
            ResourceDefinition::new(0, Operations::READ, Type::String),
            ResourceDefinition::new(2, Operations::WRITE, Type::Opaque).streamed(),
            ResourceDefinition::new(3, Operations::WRITE, Type::String).secret(),
            ResourceDefinition::new(4, Operations::EXECUTE, Type::None),
            ResourceDefinition::new(7, Operations::READ, Type::Integer).never_coalesced(),
            ResourceDefinition::new(8, Operations::READ_WRITE, Type::Boolean),
            ResourceDefinition::new(13, Operations::READ_WRITE, Type::Objlnk),
            ResourceDefinition::new(20, Operations::READ_WRITE, Type::Float).multiple(),
        ],
    )
    .multiple(),
];

fuzz_target!(|steps: &[u8]| {
    let mut engine = Engine::new(Config::new("fuzz"), objects(), 1);
    let mut now = Time::from_millis(0);
    handle(&mut engine, now, Input::Start);
    let mut rest = steps;
    while let [high, low, seconds @ ..] = rest.get(..4).unwrap_or_default() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let pause = seconds
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        now = now + Duration::from_secs(pause);
        let after = &rest[4..];
        let (datagram, left) = after.split_at(length.min(after.len()));
        rest = left;
        handle(&mut engine, now, Input::Timeout);
        match datagram {
            [] => engine = restarted(&engine, now),
            [_] => handle(&mut engine, now, Input::Moved),
            _ => handle(&mut engine, now, Input::Datagram(Secret::new(datagram.to_vec()))),
        }
        handle(
            &mut engine,
            now,
            Input::Changed(vec![Path::Resource(9, 0, 7)]),
        );
    }
    // Without input, each new deadline is later than the last one.
    for _ in 0..20 {
        let Some(deadline) = engine.next_deadline() else {
            return;
        };
        now = now.max(deadline);
        handle(&mut engine, now, Input::Timeout);
        assert!(engine.next_deadline().is_none_or(|next| next > now));
    }
});

fn objects() -> Objects {
    Objects::new(&OBJECTS, [(9, 0)])
}

fn restarted(engine: &Engine, now: Time) -> Engine {
    let saved = engine.saved();
    let mut engine = Engine::restored(Config::new("fuzz"), objects(), 2, saved.clone());
    // Only the Message-ID ceiling may differ, since a restart skips IDs.
    let message_ceiling = saved.message_ceiling;
    let again = Saved {
        message_ceiling,
        ..engine.saved()
    };
    assert_eq!(again, saved);
    let all = vec![Path::Resource(9, 0, 0), Path::Resource(9, 0, 7)];
    handle(&mut engine, now, Input::MayHaveChanged(all));
    handle(&mut engine, now, Input::Start);
    engine
}

fn handle(engine: &mut Engine, now: Time, input: Input) {
    engine.handle(now, input);
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Send(datagram) => assert!(datagram.len() <= 1280, "{} bytes", datagram.len()),
            Output::Request { id, request } => answer(engine, now, id, &request),
            Output::Save | Output::Event(_) => {}
        }
    }
}

fn answer(engine: &mut Engine, now: Time, request: RequestId, asked: &Request) {
    let values = || vec![(0, "x".repeat(2000).into()), (7, 1.into())];
    let answer = match asked {
        Request::Read {
            path: Path::Object(_),
            ..
        } => Answer::Content(Content::Object(vec![(0, values())])),
        Request::Read {
            path: Path::Instance(..),
            ..
        } => Answer::Content(Content::Instance(values())),
        Request::Read { .. } => Answer::Content(Content::from(1)),
        Request::Discover { .. } => Answer::Discovered(vec![(0, vec![(0, None), (20, Some(2))])]),
        Request::Create { .. } => Answer::Created(ObjectInstanceId::MAX - 1),
        Request::Delete { .. } => Answer::Deleted,
        Request::Execute { .. } => Answer::Error(ErrorCode::MethodNotAllowed),
        Request::Write { .. } | Request::Block { .. } => Answer::Changed,
    };
    engine.handle(now, Input::Answer { request, answer });
}
