use std::time::Duration;

use lwm2m::coap::{CoapType, Code, Message, OptionNumber};
use lwm2m::{Config, EngineEvent, Input, Path, UpdateTiming};

use crate::pair::{Pair, REASON, RESULT, STATE, path_of};

fn number(message: &Message) -> u32 {
    message
        .uint(OptionNumber::OBSERVE)
        .expect("an Observe number")
}

fn body(message: &Message) -> String {
    message.payload().escape_ascii().to_string()
}

#[test]
fn each_value_of_the_state_is_notified_in_order_with_growing_numbers() {
    let mut pair = Pair::registered();
    let response = pair.observe("/9/0/7");
    for state in [1, 2, 3] {
        pair.commit(STATE, state);
    }
    let mut last = number(&response);
    for state in ["1", "2", "3"] {
        let notification = pair.take();
        pair.assert_silent();
        assert_eq!(
            (notification.kind(), notification.code()),
            (CoapType::Confirmable, Code::CONTENT)
        );
        assert_eq!(notification.token(), response.token());
        assert_eq!(body(&notification), state);
        assert!(number(&notification) > last);
        last = number(&notification);
        pair.acknowledge(&notification);
    }
    pair.assert_silent();
}

#[test]
fn other_resources_are_coalesced_while_a_notification_is_in_flight() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/16");
    for reason in ["20", "30", "40"] {
        pair.commit(REASON, reason);
    }
    let first = pair.take();
    pair.acknowledge(&first);
    let second = pair.take();
    pair.acknowledge(&second);
    assert_eq!([body(&first), body(&second)], ["20", "40"]);
    pair.assert_silent();
}

#[test]
fn notifications_of_one_commit_keep_its_order() {
    let mut pair = Pair::registered();
    for path in ["/9/0/7", "/9/0/16", "/9/0/9"] {
        pair.observe(path);
    }
    pair.device.set(REASON, "20: gone");
    pair.device.set(RESULT, 52);
    pair.device.set(STATE, 0);
    pair.input(Input::Changed(vec![REASON, RESULT, STATE]));
    for expected in ["20: gone", "52", "0"] {
        let notification = pair.take();
        assert_eq!(body(&notification), expected);
        pair.acknowledge(&notification);
    }
}

#[test]
fn the_response_comes_before_the_notifications_of_its_commit() {
    let mut pair = Pair::registered();
    let observed = pair.observe("/9/0/9");
    pair.device.waits = true;
    let execute = pair.message(Code::POST, "/9/0/4");
    pair.receive(&execute);
    pair.step();
    assert_eq!(pair.take().code(), Code::EMPTY);
    pair.answer_waiting();
    pair.device.waits = false;
    pair.commit(RESULT, 0);
    let response = pair.take();
    assert_eq!(response.token(), execute.token());
    pair.assert_silent();
    pair.acknowledge(&response);
    assert_eq!(pair.take().token(), observed.token());
}

#[test]
fn an_observation_ends_by_reset_and_by_deregistration_with_its_token() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    let notification = pair.take();
    pair.receive(&Message::empty(CoapType::Reset, notification.id()));
    pair.commit(STATE, 2);
    pair.assert_silent();

    let observed = pair.observe("/9/0/7");
    let response = pair.cancel("/9/0/7", &observed);
    assert_eq!(
        (response.code(), response.option(OptionNumber::OBSERVE)),
        (Code::CONTENT, None)
    );
    pair.commit(STATE, 4);
    pair.assert_silent();
    let ended = pair
        .events
        .iter()
        .filter(|it| **it == EngineEvent::ObservationEnded(STATE))
        .count();
    assert_eq!(ended, 2);
}

#[test]
fn a_second_token_on_a_path_is_a_second_observation() {
    let mut pair = Pair::registered();
    let first = pair.observe("/9/0/7");
    let second = pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    for observed in [&first, &second] {
        let notification = pair.take();
        assert_eq!(
            (notification.token(), body(&notification).as_str()),
            (observed.token(), "1")
        );
        assert!(number(&notification) > number(&second));
        pair.acknowledge(&notification);
    }
    pair.assert_silent();
}

#[test]
fn a_cancel_with_another_token_ends_nothing_else() {
    let mut pair = Pair::registered();
    let [first, second, other] = ["/9/0/7", "/9/0/7", "/9/0/9"].map(|path| pair.observe(path));
    let stranger = pair.message(Code::GET, "/9/0/7");
    for (path, token) in [
        ("/9/0/7", &stranger),
        ("/9/0/7", &other),
        ("/9/0/9", &first),
    ] {
        let response = pair.cancel(path, token);
        assert_eq!(response.code(), Code::CONTENT);
    }
    pair.cancel("/9/0/7", &first);
    pair.commit(STATE, 1);
    pair.commit(RESULT, 52);
    for observed in [&second, &other] {
        let notification = pair.take();
        assert_eq!(notification.token(), observed.token());
        pair.acknowledge(&notification);
    }
    pair.assert_silent();
}

#[test]
fn a_reset_ends_only_the_observation_of_its_notification() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    let second = pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    let forgotten = pair.take();
    pair.receive(&Message::empty(CoapType::Reset, forgotten.id()));
    for state in ["1", "2"] {
        let notification = pair.take();
        assert_eq!(
            (notification.token(), body(&notification).as_str()),
            (second.token(), state)
        );
        pair.acknowledge(&notification);
        pair.commit(STATE, 2);
    }
}

/// The server loses its observations at each restart, but keeps its registrations.
#[test]
fn a_server_that_forgets_its_tokens_can_always_observe_anew() {
    let mut pair = Pair::registered();
    let kept = pair.observe("/9/0/9");
    let mut newest = None;
    for _ in 0..200 {
        let observed = pair.observe("/9/0/7");
        assert!(observed.option(OptionNumber::OBSERVE).is_some());
        newest = Some(observed);
    }
    let limit = Config::new("gateway-17").limits.observations;
    assert_eq!(pair.kept.observations.len(), limit);
    pair.commit(STATE, 1);
    for _ in 2..limit {
        let forgotten = pair.take();
        pair.receive(&Message::empty(CoapType::Reset, forgotten.id()));
    }
    pair.commit(RESULT, 52);
    for observed in [newest.unwrap(), kept] {
        let notification = pair.take();
        assert_eq!(notification.token(), observed.token());
        pair.acknowledge(&notification);
    }
    pair.assert_silent();
    assert_eq!(pair.kept.observations.len(), 2);
}

#[test]
fn a_deleted_instance_is_notified_with_4_04_and_no_longer_observed() {
    let mut pair = Pair::registered();
    let observed = pair.observe("/9/0/7");
    let instances = vec![(3, 0)];
    pair.input(Input::ObjectsChanged {
        instances,
        update: UpdateTiming::WithNext,
    });
    let notification = pair.take();
    assert_eq!(
        (notification.code(), notification.token()),
        (Code::NOT_FOUND, observed.token())
    );
    assert_eq!(notification.option(OptionNumber::OBSERVE), None);
    assert_eq!(
        pair.events.last(),
        Some(&EngineEvent::ObservationEnded(STATE))
    );
}

#[test]
fn notifications_wait_for_an_update_when_the_server_is_unreachable() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    while !pair.events.contains(&EngineEvent::Unreachable) {
        pair.step();
    }
    pair.commit(STATE, 2);
    while path_of(pair.sent.front().unwrap()) != "/rd/5a3f" {
        assert_eq!(body(&pair.take()), "1", "the same notification is repeated");
    }
    pair.pass(Duration::from_secs(600));
    pair.sent.clear();
    while pair.sent.is_empty() {
        pair.step();
    }
    let update = pair.take();
    assert_eq!(path_of(&update), "/rd/5a3f");
    pair.respond(&update, Code::CHANGED, |it| it);
    for state in ["1", "2"] {
        let notification = pair.take();
        assert_eq!(body(&notification), state);
        pair.acknowledge(&notification);
    }
}

#[test]
fn an_observed_instance_is_notified_once_a_commit() {
    let mut pair = Pair::registered();
    pair.observe("/9/0");
    pair.device.set(RESULT, 52);
    pair.device.set(STATE, 1);
    pair.input(Input::Changed(vec![RESULT, STATE, Path::Resource(9, 0, 2)]));
    let notification = pair.take();
    assert_eq!(notification.uint(OptionNumber::CONTENT_FORMAT), Some(11542));
    pair.acknowledge(&notification);
    pair.assert_silent();
}

#[test]
fn an_observation_over_the_limit_is_a_plain_read() {
    let mut config = Config::new("gateway-17");
    config.limits.observations = 1;
    let mut pair = Pair::with(config);
    pair.register();
    assert!(
        pair.observe("/9/0/7")
            .option(OptionNumber::OBSERVE)
            .is_some()
    );
    let read = pair.observe("/9/0/9");
    assert_eq!(
        (read.code(), read.option(OptionNumber::OBSERVE)),
        (Code::CONTENT, None)
    );
}

#[test]
fn unacknowledged_notifications_end_an_observation_while_updates_are_answered() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    let ended = EngineEvent::ObservationEnded(STATE);
    for _ in 0..200 {
        while let Some(message) = pair.sent.pop_front() {
            if path_of(&message) == "/rd/5a3f" {
                pair.respond(&message, Code::CHANGED, |it| it);
            }
        }
        if pair.events.contains(&ended) {
            return;
        }
        pair.step();
    }
    panic!("still observed: {:?}", pair.events);
}
