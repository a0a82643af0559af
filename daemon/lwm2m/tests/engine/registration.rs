use std::time::Duration;

use lwm2m::coap::{CoapType, Code, Message, OptionNumber};
use lwm2m::{EngineEvent, Input, RegistrationFailure, UpdateTiming};

use crate::pair::{Pair, path_of, queries_of};

#[test]
fn registers_as_lwm2m_1_0_with_its_instances() {
    let mut pair = Pair::new();
    pair.input(Input::Start);
    let request = pair.take();
    assert_eq!(
        (request.kind(), request.code()),
        (CoapType::Confirmable, Code::POST)
    );
    assert_eq!(path_of(&request), "/rd");
    assert_eq!(
        queries_of(&request),
        ["ep=gateway-17", "lt=3600", "lwm2m=1.0", "b=U"]
    );
    assert_eq!(request.uint(OptionNumber::CONTENT_FORMAT), Some(40));
    let links = "</>;rt=\"oma.lwm2m\",</3/0>,</9/0>,</30000>";
    assert_eq!(
        request.payload().escape_ascii().to_string(),
        links.replace('"', "\\\"")
    );
}

#[test]
fn updates_before_the_lifetime_ends_and_deregisters_when_stopped() {
    let mut pair = Pair::registered();
    let registered = pair.now;
    pair.step();
    assert!(pair.now.since(registered) < Duration::from_secs(3600 - 93));
    let update = pair.take();
    assert_eq!(
        (update.code(), path_of(&update).as_str()),
        (Code::POST, "/rd/5a3f")
    );
    assert!(queries_of(&update).is_empty() && update.payload().is_empty());
    pair.respond(&update, Code::CHANGED, |it| it);
    pair.input(Input::Stop);
    let goodbye = pair.take();
    assert_eq!(
        (goodbye.code(), path_of(&goodbye).as_str()),
        (Code::DELETE, "/rd/5a3f")
    );
    pair.respond(&goodbye, Code::DELETED, |it| it);
    assert_eq!(
        pair.events,
        [EngineEvent::Updated, EngineEvent::Deregistered]
    );
    assert_eq!(pair.engine.next_deadline(), None);
}

#[test]
fn registers_anew_when_an_update_is_answered_4_04() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    pair.input(Input::Update { lifetime: None });
    let update = pair.take();
    pair.respond(&update, Code::NOT_FOUND, |it| it);
    assert_eq!(path_of(&pair.take()), "/rd");
    assert!(
        pair.events.contains(&EngineEvent::RegistrationLost),
        "{:?}",
        pair.events
    );
    assert!(
        matches!(pair.events.last(), Some(EngineEvent::ObservationEnded(_))),
        "{:?}",
        pair.events
    );
}

/// Its Message IDs start again, so that a new message may equal an old one.
#[test]
fn a_server_that_lost_its_state_gets_a_new_answer() {
    let mut pair = Pair::registered();
    let request = pair.message(Code::POST, "/9/0/4");
    pair.exchange(&request);
    pair.input(Input::Update { lifetime: None });
    let update = pair.take();
    pair.respond(&update, Code::NOT_FOUND, |it| it);
    let register = pair.take();
    pair.respond(&register, Code::CREATED, |it| {
        it.with(OptionNumber::LOCATION_PATH, "rd")
    });
    pair.exchange(&request);
    assert_eq!(pair.device.asked.len(), 2);
}

#[test]
fn keeps_trying_for_ever_with_growing_pauses() {
    let mut pair = Pair::new();
    pair.input(Input::Start);
    let mut pauses = Vec::new();
    while pauses.len() < 20 {
        pair.step();
        for event in pair.events.drain(..) {
            let EngineEvent::RegistrationFailed { failure, retry_at } = event else {
                continue;
            };
            assert_eq!(failure, RegistrationFailure::TimedOut);
            pauses.push(retry_at.since(pair.now).as_secs_f32());
        }
    }
    for (at, pause) in pauses.iter().enumerate() {
        let longest = (5.0 * 2_f32.powi(at as i32)).min(900.0);
        assert!(
            (longest / 2.0..=longest).contains(pause),
            "pause {at}: {pause} of {longest}"
        );
    }
    while path_of(&pair.sent.pop_back().unwrap()) != "/rd" {}
}

#[test]
fn a_rejected_or_reset_registration_is_retried() {
    let mut pair = Pair::new();
    pair.input(Input::Start);
    let request = pair.take();
    pair.respond(&request, Code::of(4, 3), |it| it);
    pair.step();
    let request = pair.take();
    pair.receive(&Message::empty(CoapType::Reset, request.id()));
    pair.step();
    let request = pair.take();
    pair.respond(&request, Code::CREATED, |it| it);
    let failures: Vec<_> = pair
        .events
        .iter()
        .filter_map(|event| match event {
            EngineEvent::RegistrationFailed { failure, .. } => Some(*failure),
            _ => None,
        })
        .collect();
    assert_eq!(
        failures,
        [
            RegistrationFailure::Refused(4, 3),
            RegistrationFailure::Reset,
            RegistrationFailure::Malformed
        ]
    );
}

#[test]
fn a_separate_response_is_acknowledged_again_when_it_is_repeated() {
    let mut pair = Pair::new();
    pair.input(Input::Start);
    let request = pair.take();
    pair.acknowledge(&request);
    let response = Message::new(CoapType::Confirmable, Code::CREATED, 900, request.token())
        .with(OptionNumber::LOCATION_PATH, "rd")
        .with(OptionNumber::LOCATION_PATH, "1");
    for _ in 0..2 {
        pair.receive(&response);
        let acknowledgement = pair.take();
        assert_eq!(
            (acknowledgement.kind(), acknowledgement.id()),
            (CoapType::Acknowledgement, 900)
        );
    }
    assert_eq!(
        pair.events,
        [EngineEvent::Registered {
            location: "/rd/1".into()
        }]
    );
}

#[test]
fn an_acknowledged_request_without_a_response_times_out() {
    let mut pair = Pair::new();
    pair.input(Input::Start);
    let request = pair.take();
    pair.acknowledge(&request);
    pair.step();
    let failed = |event: &EngineEvent| {
        matches!(
            event,
            EngineEvent::RegistrationFailed {
                failure: RegistrationFailure::TimedOut,
                ..
            }
        )
    };
    assert!(pair.events.iter().any(failed), "{:?}", pair.events);
}

#[test]
fn changed_instances_are_sent_at_once_or_with_the_next_update() {
    let mut pair = Pair::registered();
    let instances = vec![(3, 0), (9, 0), (9, 1)];
    let update = UpdateTiming::WithNext;
    pair.input(Input::ObjectsChanged {
        instances: instances.clone(),
        update,
    });
    pair.assert_silent();
    pair.input(Input::ObjectsChanged {
        instances,
        update: UpdateTiming::Now,
    });
    let update = pair.take();
    assert!(update.payload().ends_with(b"</9/0>,</9/1>,</30000>"));
    pair.respond(&update, Code::CHANGED, |it| it);
    pair.input(Input::Update { lifetime: Some(60) });
    let update = pair.take();
    assert_eq!(
        (queries_of(&update), update.payload()),
        (vec!["lt=60".to_owned()], &b""[..])
    );
}

#[test]
fn a_change_during_an_update_causes_another_one() {
    let mut pair = Pair::registered();
    pair.input(Input::Update { lifetime: None });
    let first = pair.take();
    let instances = vec![(3, 0), (9, 0), (9, 1)];
    pair.input(Input::ObjectsChanged {
        instances,
        update: UpdateTiming::Now,
    });
    pair.assert_silent();
    pair.respond(&first, Code::CHANGED, |it| it);
    assert!(pair.take().payload().ends_with(b"</9/1>,</30000>"));
}

#[test]
fn stops_at_once_without_a_registration() {
    let mut pair = Pair::new();
    pair.input(Input::Start);
    pair.take();
    pair.input(Input::Stop);
    assert_eq!(pair.events, [EngineEvent::Deregistered]);
    assert_eq!(pair.engine.next_deadline(), None);
}
