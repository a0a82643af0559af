use std::collections::BTreeSet;

use lwm2m::coap::{BlockOption, CoapType, Code, Message, OptionNumber};
use lwm2m::{Config, EngineEvent, Input, Path, Saved};

use crate::pair::{Pair, REASON, RESULT, STATE, path_of, queries_of};

/// The observed resources, in the order of a commit.
const ALL: [Path; 3] = [REASON, RESULT, STATE];

fn config() -> Config {
    Config::new("gateway-17")
}

fn token_and_body(message: &Message) -> (Vec<u8>, String) {
    let body = message.payload().escape_ascii().to_string();
    (message.token().to_vec(), body)
}

impl Pair {
    /// Restarts the engine and answers its Update.
    fn comes_back(&mut self) {
        self.restart(config());
        self.input(Input::MayHaveChanged(ALL.to_vec()));
        self.input(Input::Start);
        let update = self.take();
        assert_eq!(
            (update.code(), path_of(&update)),
            (Code::POST, "/rd/5a3f".to_owned())
        );
        self.assert_silent();
        self.respond(&update, Code::CHANGED, |it| it);
    }

    fn takes_notification(&mut self) -> (Vec<u8>, String) {
        let notification = self.take();
        self.acknowledge(&notification);
        token_and_body(&notification)
    }
}

#[test]
fn after_a_restart_an_update_comes_first_and_then_what_changed_meanwhile_the_state_last() {
    let mut pair = Pair::registered();
    let [state, result, reason] =
        ["/9/0/7", "/9/0/9", "/9/0/16"].map(|path| pair.observe(path).token().to_vec());
    pair.device.set(RESULT, 56);
    pair.device.set(REASON, "20: gone");
    pair.device.set(STATE, 1);
    pair.comes_back();
    for expected in [(reason, "20: gone"), (result, "56"), (state, "1")] {
        let (token, body) = pair.takes_notification();
        assert_eq!((token, body.as_str()), expected);
    }
    pair.assert_silent();
}

#[test]
fn what_the_server_has_is_not_notified_again_after_a_restart() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    pair.observe("/9/0");
    pair.comes_back();
    pair.assert_silent();

    pair.commit(STATE, 1);
    pair.takes_notification();
    pair.takes_notification();
    pair.comes_back();
    pair.assert_silent();
}

#[test]
fn both_observations_of_a_path_go_on_after_a_restart() {
    let mut pair = Pair::registered();
    let [first, second] = ["/9/0/7", "/9/0/7"].map(|path| pair.observe(path).token().to_vec());
    pair.device.set(STATE, 1);
    pair.comes_back();
    for token in [first, second] {
        assert_eq!(pair.takes_notification(), (token, "1".to_owned()));
    }
    pair.assert_silent();
}

#[test]
fn an_unacknowledged_value_is_notified_again_after_a_restart() {
    let mut pair = Pair::registered();
    let observed = pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    let lost = pair.take();
    pair.comes_back();
    let again = pair.take();
    assert_eq!(
        token_and_body(&again),
        (observed.token().to_vec(), "1".to_owned())
    );
    assert!(again.uint(OptionNumber::OBSERVE) > lost.uint(OptionNumber::OBSERVE));
}

#[test]
fn a_response_to_an_earlier_run_s_message_does_not_acknowledge_a_notification() {
    let mut pair = Pair::registered();
    let observed = pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    // For the server it is a duplicate of an earlier run's Update with this Message ID.
    let dropped = pair.take();
    pair.respond(&dropped, Code::CHANGED, |it| it);
    pair.comes_back();
    assert_eq!(
        pair.takes_notification(),
        (observed.token().to_vec(), "1".to_owned())
    );
}

#[test]
fn a_value_that_went_and_came_back_is_notified_again_after_a_restart() {
    let mut pair = Pair::registered();
    let observed = pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    pair.take(); // the server has it, but its acknowledgement is lost
    pair.device.set(STATE, 0);
    pair.comes_back();
    assert_eq!(
        pair.takes_notification(),
        (observed.token().to_vec(), "0".to_owned())
    );
    pair.comes_back();
    pair.assert_silent();
}

#[test]
fn a_value_in_flight_is_saved_as_unknown_while_an_older_one_is_acknowledged() {
    let mut pair = Pair::registered();
    let observed = pair.observe("/9/0/7");
    pair.commit(STATE, 1);
    pair.commit(STATE, 0);
    let first = pair.take();
    pair.acknowledge(&first);
    pair.take(); // the server has the second one, but its acknowledgement is lost
    pair.observe("/9/0/9"); // causes a save
    pair.device.set(STATE, 1);
    pair.comes_back();
    assert_eq!(
        pair.takes_notification(),
        (observed.token().to_vec(), "1".to_owned())
    );
}

#[test]
fn observe_numbers_only_grow_however_often_the_program_restarts() {
    let mut pair = Pair::registered();
    let mut last = pair.observe("/9/0/7").uint(OptionNumber::OBSERVE);
    for state in 0..1000 {
        if state % 150 == 149 {
            pair.comes_back();
        }
        pair.commit(STATE, state % 5);
        let notification = pair.take();
        let number = notification.uint(OptionNumber::OBSERVE);
        assert!(number > last, "{number:?} after {last:?}");
        last = number;
        pair.acknowledge(&notification);
    }
}

#[test]
fn no_message_id_is_used_by_two_runs() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    let mut used = BTreeSet::new();
    for state in 0..2000 {
        if state % 100 == 99 {
            pair.comes_back();
        }
        pair.commit(STATE, state % 5);
        let notification = pair.take();
        pair.acknowledge(&notification);
        let id = notification.id();
        assert!(used.insert(id), "{id}, of notification {state}");
    }
}

#[test]
fn a_run_that_ends_before_its_message_id_is_kept_is_not_repeated_by_the_next() {
    let mut pair = Pair::registered();
    let kept = pair.kept.clone();
    let mut updates = BTreeSet::new();
    for _ in 0..10 {
        pair.kept = kept.clone();
        pair.restart(config());
        pair.input(Input::Start);
        updates.insert(pair.take().id());
    }
    assert_eq!(updates.len(), 10, "{updates:?}");
}

/// Otherwise the server would acknowledge the notification as a duplicate, and drop it.
#[test]
fn no_notification_has_the_id_of_an_update_that_was_sent_before_its_id_was_kept() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    for _ in 0..6 {
        let kept = pair.kept.clone();
        pair.restart(config());
        pair.input(Input::Start);
        let update = pair.take().id();
        pair.kept = kept; // the power failed
        pair.comes_back();
        for state in 0..300 {
            pair.commit(STATE, state % 5);
            let notification = pair.take();
            assert_ne!(notification.id(), update, "notification {state}");
            pair.acknowledge(&notification);
        }
    }
}

#[test]
fn another_endpoint_name_or_lwm2m_version_registers_and_drops_observations() {
    let other_name = |_: &mut Saved| Config::new("gateway-18");
    let other_version = |kept: &mut Saved| {
        kept.version = "1.1".to_owned();
        config()
    };
    for change in [other_name as fn(&mut Saved) -> Config, other_version] {
        let mut pair = Pair::registered();
        let before = pair.observe("/9/0/7");
        let config = change(&mut pair.kept);
        let name = format!("ep={}", config.endpoint);
        pair.restart(config);
        pair.device.set(STATE, 1);
        pair.input(Input::MayHaveChanged(ALL.to_vec()));
        pair.input(Input::Start);
        let register = pair.take();
        assert_eq!(path_of(&register), "/rd");
        assert_eq!(queries_of(&register)[0], name);
        pair.respond(&register, Code::CREATED, |it| {
            it.with(OptionNumber::LOCATION_PATH, "rd")
        });
        pair.assert_silent();
        let after = pair.observe("/9/0/7");
        assert!(after.uint(OptionNumber::OBSERVE) > before.uint(OptionNumber::OBSERVE));
    }
}

#[test]
fn a_server_that_forgot_the_registration_of_an_earlier_run_gets_a_register() {
    let mut pair = Pair::registered();
    pair.observe("/9/0/7");
    pair.device.set(STATE, 1);
    pair.restart(config());
    pair.input(Input::MayHaveChanged(ALL.to_vec()));
    pair.input(Input::Start);
    let update = pair.take();
    pair.respond(&update, Code::NOT_FOUND, |it| it);
    let register = pair.take();
    assert_eq!(path_of(&register), "/rd");
    assert_eq!(pair.kept.location, Vec::<Vec<u8>>::new());
    assert_eq!(pair.kept.observations, []);
    pair.respond(&register, Code::CREATED, |it| {
        it.with(OptionNumber::LOCATION_PATH, "rd")
            .with(OptionNumber::LOCATION_PATH, "77")
    });
    assert_eq!(pair.kept.location, [b"rd", b"77"]);
    pair.assert_silent();
}

#[test]
fn an_instance_that_was_removed_meanwhile_is_notified_with_4_04() {
    let mut pair = Pair::registered();
    let observed = pair.observe("/9/0/7");
    pair.device.values.remove(&(9, 0));
    pair.comes_back();
    let last = pair.take();
    assert_eq!(
        (last.code(), last.token()),
        (Code::NOT_FOUND, observed.token())
    );
    assert_eq!(pair.kept.observations, []);
}

#[test]
fn an_ended_observation_is_not_saved() {
    for ends in ["cancel", "reset", "goodbye"] {
        let mut pair = Pair::registered();
        let observed = pair.observe("/9/0/7");
        assert_eq!(pair.kept.observations.len(), 1);
        match ends {
            "cancel" => drop(pair.cancel("/9/0/7", &observed)),
            "reset" => {
                pair.commit(STATE, 1);
                let notification = pair.take();
                assert_eq!(notification.token(), observed.token());
                pair.receive(&Message::empty(CoapType::Reset, notification.id()));
            }
            _ => {
                pair.input(Input::Stop);
                let goodbye = pair.take();
                pair.respond(&goodbye, Code::DELETED, |it| it);
                assert_eq!(pair.kept.location, Vec::<Vec<u8>>::new());
                assert_eq!(pair.events.last(), Some(&EngineEvent::Deregistered));
            }
        }
        assert_eq!(pair.kept.observations, [], "{ends}");
    }
}

/// One request of each kind that changes something. Its body fits one block of 64 bytes and needs two
/// of 16.
const ACTS: [(Code, &str, u32, &[u8]); 5] = [
    (Code::POST, "/9/0/6", 0, b"1, and some more of it"),
    (Code::PUT, "/9/0/3", 0, URI),
    (Code::POST, "/9/0", 11542, INSTANCE),
    (Code::PUT, "/9/0/2", 42, b"a package that is quite short"),
    (Code::POST, "/9", 11542, INSTANCE),
];
const URI: &[u8] = b"http://origin/package.deb";
const INSTANCE: &[u8] = b"\xc8\x03\x19http://origin/package.deb";

impl Pair {
    /// Builds one block of a request.
    fn block(&mut self, act: usize, number: usize, exponent: u8) -> Message {
        let (code, path, format, body) = ACTS[act];
        let size = 16 << exponent;
        let block =
            BlockOption::at(number * size, body.len() > (number + 1) * size, exponent).unwrap();
        let part = body.chunks(size).nth(number).unwrap().to_vec();
        self.message(code, path)
            .with_uint(OptionNumber::CONTENT_FORMAT, format)
            .with(OptionNumber::BLOCK1, block.encode())
            .with_payload(part)
    }

    /// Sends the message to two runs. Both give the same answer, and only the first one acts.
    fn acts_once(&mut self, message: &Message) {
        let path = path_of(message);
        self.device.asked.clear();
        let answer = self.exchange(message);
        assert!(answer.code().is_success(), "{path}: {:?}", answer.code());
        self.comes_back();
        let again = self.exchange(message);
        let asked = self.device.asked.len();
        assert_eq!(
            (again.code(), asked),
            (answer.code(), 1),
            "{:?} {path}",
            message.code()
        );
        assert!(again == answer, "{path}");
    }
}

#[test]
fn an_act_in_one_message_is_not_repeated_by_the_next_run() {
    let mut pair = Pair::registered();
    for act in 0..ACTS.len() {
        let message = pair.block(act, 0, 2).without(OptionNumber::BLOCK1);
        pair.acts_once(&message);
    }
}

#[test]
fn an_act_in_a_single_block_is_not_repeated_by_the_next_run() {
    let mut pair = Pair::registered();
    for act in 0..ACTS.len() {
        let message = pair.block(act, 0, 2);
        pair.acts_once(&message);
    }
}

#[test]
fn the_last_block_of_an_act_is_not_repeated_by_the_next_run() {
    let mut pair = Pair::registered();
    for act in 0..ACTS.len() {
        let first = pair.block(act, 0, 0);
        assert_eq!(pair.exchange(&first).code(), Code::CONTINUE);
        let last = pair.block(act, 1, 0);
        pair.acts_once(&last);
    }
}

#[test]
fn the_first_block_of_a_push_that_comes_to_the_next_run_begins_the_push_anew() {
    let mut pair = Pair::registered();
    let first = pair.block(3, 0, 0);
    pair.exchange(&first);
    pair.comes_back();
    assert_eq!(pair.exchange(&first).code(), Code::CONTINUE);
    let last = pair.block(3, 1, 0);
    assert_eq!(pair.exchange(&last).code(), Code::CHANGED);
    assert_eq!(pair.device.asked.len(), 3);
}
