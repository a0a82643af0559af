use std::time::Duration;

use lwm2m::coap::{CoapType, Code, Message, OptionNumber};
use lwm2m::{EngineEvent, Input, RegistrationFailure};

use crate::pair::{Pair, STATE, path_of, queries_of};

fn body(message: &Message) -> String {
    message.payload().escape_ascii().to_string()
}

impl Pair {
    fn moves(&mut self) -> Message {
        self.input(Input::Moved);
        let update = self.take();
        assert_eq!(path_of(&update), "/rd/5a3f");
        self.assert_silent();
        update
    }
}

#[test]
fn a_new_way_is_told_by_an_update_before_the_notification_in_flight_goes_there() {
    let mut pair = Pair::registered();
    let observed = pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    let lost = pair.take();
    let update = pair.moves();
    assert_eq!(queries_of(&update), ["lt=3600"]);
    assert!(
        update.payload().starts_with(b"</>"),
        "the Update carries all links again"
    );
    pair.commit(STATE, 2);
    pair.receive(&Message::empty(CoapType::Acknowledgement, lost.id()));
    pair.assert_silent();

    pair.respond(&update, Code::CHANGED, |it| it);
    let mut last = lost.uint(OptionNumber::OBSERVE);
    for state in ["1", "2"] {
        let notification = pair.take();
        assert_eq!(
            (notification.token(), body(&notification).as_str()),
            (observed.token(), state)
        );
        assert!(notification.uint(OptionNumber::OBSERVE) > last);
        last = notification.uint(OptionNumber::OBSERVE);
        pair.acknowledge(&notification);
    }
    pair.assert_silent();
    let location = "/rd/5a3f".to_owned();
    assert_eq!(
        pair.events.last(),
        Some(&EngineEvent::StillRegistered { location })
    );
}

#[test]
fn a_separate_response_waits_until_the_server_knows_the_new_way() {
    for in_flight in [true, false] {
        let mut pair = Pair::registered();
        pair.device.waits = true;
        let execute = pair.message(Code::POST, "/9/0/4");
        pair.receive(&execute);
        if in_flight {
            pair.step();
            assert_eq!(pair.take().code(), Code::EMPTY);
            pair.answer_waiting();
            assert_eq!(pair.take().token(), execute.token());
        }
        let update = pair.moves();
        if !in_flight {
            pair.answer_waiting();
            pair.assert_silent();
        }
        pair.respond(&update, Code::CHANGED, |it| it);
        let response = pair.take();
        assert_eq!(
            (response.kind(), response.token()),
            (CoapType::Confirmable, execute.token()),
            "in flight: {in_flight}"
        );
    }
}

#[test]
fn a_server_that_does_not_know_who_moved_gets_a_register_and_observes_anew() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    pair.take();
    let update = pair.moves();
    pair.respond(&update, Code::NOT_FOUND, |it| it);
    let register = pair.take();
    assert_eq!(path_of(&register), "/rd");
    pair.respond(&register, Code::CREATED, |it| {
        it.with(OptionNumber::LOCATION_PATH, "rd")
    });
    pair.assert_silent();
    assert!(pair.events.contains(&EngineEvent::ObservationEnded(STATE)));
}

#[test]
fn a_request_in_flight_is_sent_again_after_a_move() {
    let mut pair = Pair::new();
    pair.input(Input::Moved);
    pair.assert_silent();
    pair.input(Input::Start);
    let first = pair.take();
    pair.input(Input::Moved);
    let again = pair.take();
    assert_eq!(
        (path_of(&first), path_of(&again)),
        ("/rd".into(), "/rd".into())
    );
    assert_ne!(first.token(), again.token());

    let mut pair = Pair::registered();
    pair.input(Input::Stop);
    assert_eq!(pair.take().code(), Code::DELETE);
    pair.input(Input::Moved);
    assert_eq!(pair.take().code(), Code::DELETE);
}

#[test]
fn silence_ends_no_observation_before_the_lifetime_does() {
    let mut pair = Pair::registered();
    let observed = pair.observe("/9/0/7");
    let registered = pair.now;
    pair.commit(STATE, 1);
    while pair.now.since(registered) < Duration::from_secs(3000) {
        pair.step();
    }
    assert!(pair.events.contains(&EngineEvent::Unreachable));
    let timed_out = |event: &EngineEvent| {
        matches!(
            event,
            EngineEvent::RegistrationFailed {
                failure: RegistrationFailure::TimedOut,
                ..
            }
        )
    };
    assert!(pair.events.iter().any(timed_out), "{:?}", pair.events);
    assert!(!pair.sent.iter().any(|it| path_of(it) == "/rd"));

    pair.sent.clear();
    let update = pair.moves();
    pair.respond(&update, Code::CHANGED, |it| it);
    assert_eq!(pair.take().token(), observed.token());
}

#[test]
fn a_registration_that_nobody_heard_of_for_its_lifetime_is_made_anew() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    let registered = pair.now;
    pair.input(Input::Update { lifetime: None });
    while pair.now.since(registered) < Duration::from_secs(3600 + 900 + 93) {
        pair.step();
    }
    assert_eq!(path_of(pair.sent.back().unwrap()), "/rd");
    assert!(pair.events.contains(&EngineEvent::ObservationEnded(STATE)));
}
