//! The engine and a server over thousands of links that lose, repeat and reorder datagrams.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use lwm2m::coap::{CoapType, Code, Message, OptionNumber};
use lwm2m::{
    Answer, Answered, Config, Content, Engine, Input, Objects, Output, Request, RequestId, Saved,
    Secret, Time,
};

use crate::pair::{OBJECTS, STATE, assert_number_kept, path_of};
use crate::script::{Step, script};

const SEEDS: u64 = 3_000;
const LOSS_PERCENT: u64 = 30;
const REPEAT_PERCENT: u64 = 15;
/// Longer than ACK_TIMEOUT, so that a retransmission can overtake its message.
const LONGEST_DELAY_MS: u64 = 2_500;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A scheduled event.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    ToDevice(Vec<u8>),
    ToServer(Vec<u8>),
    Answer(RequestId),
    ServerRepeats {
        id: u16,
        pause: u64,
        left: u32,
    },
    Commit,
    /// The program is killed and restarted, and a value changes in between.
    Restart,
    /// The device gets another address.
    Move,
}

struct Exchange {
    id: u16,
    token: Vec<u8>,
    datagram: Vec<u8>,
    acknowledged: bool,
    step: Step,
}

#[derive(Default)]
struct Server {
    script: VecDeque<Step>,
    exchange: Option<Exchange>,
    next_id: u16,
    registrations: u32,
    observing: Option<Vec<u8>>,
    /// (Observe number, value), in the order of receipt.
    notified: Vec<(u32, i64)>,
    seen: BTreeMap<u16, Option<Vec<u8>>>,
    /// Arguments of each Execute that got a 2.04.
    confirmed: Vec<u8>,
    given_up: usize,
    responses: usize,
}

struct World {
    engine: Engine,
    server: Server,
    dice: Dice,
    now: u64,
    happenings: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    order: u64,
    waiting: BTreeMap<RequestId, Request>,
    state: i64,
    kept: Saved,
    /// Responses, stored in the same transaction as the change.
    answered: Vec<Answered>,
    /// Whether the program may be killed between a change and its answer.
    is_mortal: bool,
    executed: Vec<u8>,
    blocks: Vec<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            engine: Engine::new(Config::new("gateway-17"), objects(), seed),
            server: Server::default(),
            dice: Dice(seed),
            now: 0,
            happenings: BinaryHeap::new(),
            order: 0,
            waiting: BTreeMap::new(),
            state: 0,
            kept: Saved::default(),
            answered: Vec::new(),
            is_mortal: false,
            executed: Vec::new(),
            blocks: Vec::new(),
        };
        world.server.next_id = seed as u16;
        world.server.script = script();
        for value in 1..=8 {
            world.after(15_000 * value, Happening::Commit);
        }
        world.handle(Input::Start);
        world
    }

    fn after(&mut self, pause: u64, happening: Happening) {
        self.order += 1;
        self.happenings
            .push(Reverse((self.now + pause, self.order, happening)));
    }

    /// Delivers a datagram zero, one or two times, each with its own delay.
    fn link(&mut self, deliver: impl Fn() -> Happening) {
        let copies = 1 + u64::from(self.dice.roll(100) < REPEAT_PERCENT);
        for _ in 0..copies {
            if self.dice.roll(100) >= LOSS_PERCENT {
                let delay = self.dice.roll(LONGEST_DELAY_MS);
                self.after(delay, deliver());
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle(Time::from_millis(self.now), input);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(datagram) => {
                    assert_number_kept(&self.kept, &Message::decode(&datagram).unwrap());
                    self.link(|| Happening::ToServer(datagram.clone()));
                }
                Output::Request { id, request } => self.asked(id, request),
                Output::Save => self.kept = self.engine.saved(),
                Output::Event(_) => {}
            }
        }
    }

    /// Answers a Read for a notification at once, and other requests at once or later.
    fn asked(&mut self, id: RequestId, request: Request) {
        if let Request::Block { block, .. } = &request {
            self.blocks.push(block.offset);
        }
        let notification = matches!(
            request,
            Request::Read {
                purpose: lwm2m::ReadPurpose::Notification,
                ..
            }
        );
        self.waiting.insert(id, request);
        if notification || self.dice.roll(2) == 0 {
            self.answer(id);
        } else {
            let pause = self.dice.roll(4_000);
            self.after(pause, Happening::Answer(id));
        }
    }

    fn answer(&mut self, request: RequestId) {
        let answer = match self.waiting.remove(&request) {
            Some(Request::Read { .. }) => Answer::Content(Content::from(self.state)),
            Some(Request::Execute { arguments, .. }) => {
                self.executed.extend(arguments);
                Answer::Changed
            }
            Some(_) => Answer::Changed,
            None => return, // a request of an engine before a restart
        };
        self.answered.extend(self.engine.answered(request, &answer));
        if self.is_mortal && self.dice.roll(20) == 0 {
            return self.restart();
        }
        self.engine.handle(
            Time::from_millis(self.now),
            Input::Answer { request, answer },
        );
    }

    fn run(&mut self) {
        while self.now < 3_000_000 {
            let next = self.happenings.peek().map(|Reverse((at, _, _))| *at);
            let deadline = self.engine.next_deadline().map(Time::as_millis);
            if deadline.is_some_and(|deadline| next.is_none_or(|next| deadline < next)) {
                self.now = self.now.max(deadline.unwrap());
                self.handle(Input::Timeout);
                continue;
            }
            let Some(Reverse((at, _, happening))) = self.happenings.pop() else {
                break;
            };
            self.now = at;
            match happening {
                Happening::ToDevice(datagram) => {
                    self.handle(Input::Datagram(Secret::new(datagram)))
                }
                Happening::ToServer(datagram) => self.server_receives(&datagram),
                Happening::Answer(request) => {
                    self.answer(request);
                    self.handle(Input::Timeout);
                }
                Happening::ServerRepeats { id, pause, left } => {
                    self.server_repeats(id, pause, left)
                }
                Happening::Restart => self.restart(),
                Happening::Move => self.handle(Input::Moved),
                Happening::Commit => {
                    self.state += 1;
                    self.handle(Input::Changed(vec![STATE]));
                }
            }
        }
    }

    fn restart(&mut self) {
        let (config, objects) = (Config::new("gateway-17"), objects());
        let seed = self.dice.roll(u64::from(u32::MAX));
        self.engine = Engine::restored(config, objects, seed, self.kept.clone());
        for answered in self.answered.clone() {
            self.engine.remember(Time::from_millis(self.now), answered);
        }
        self.waiting.clear();
        self.server.seen.clear(); // a new DTLS session has new Message IDs
        self.state += 1;
        self.handle(Input::MayHaveChanged(vec![STATE]));
        self.handle(Input::Start);
    }

    fn send_to_device(&mut self, message: &Message) {
        let datagram = message.encode();
        self.link(|| Happening::ToDevice(datagram.clone()));
    }

    fn server_receives(&mut self, datagram: &[u8]) {
        let message = Message::decode(datagram).expect("the engine sends messages");
        match message.kind() {
            CoapType::Acknowledgement if message.code() == Code::EMPTY => {
                let exchange = self.server.exchange.as_mut();
                if let Some(exchange) = exchange.filter(|it| it.id == message.id()) {
                    exchange.acknowledged = true;
                }
            }
            CoapType::Acknowledgement => self.server_has_response(&message),
            CoapType::Confirmable => self.server_replies(&message),
            _ => {}
        }
    }

    /// Replies to a request, a separate response or a notification. A duplicate gets the same reply.
    fn server_replies(&mut self, message: &Message) {
        let id = message.id();
        if let Some(reply) = self.server.seen.get(&id).cloned() {
            if let Some(reply) = reply {
                self.link(|| Happening::ToDevice(reply.clone()));
            }
            return;
        }
        let reply = if message.code().is_request() {
            self.server_answers(message)
        } else {
            self.server_takes(message)
        };
        self.server.seen.insert(id, Some(reply.encode()));
        self.send_to_device(&reply);
    }

    fn server_answers(&mut self, request: &Message) -> Message {
        let acknowledge = |code| {
            Message::new(
                CoapType::Acknowledgement,
                code,
                request.id(),
                request.token(),
            )
        };
        match path_of(request).as_str() {
            "/rd" => {
                self.server.registrations += 1;
                self.server.observing = None;
                // An Observe of the registration before has no effect any more.
                if let Some(exchange) = &mut self.server.exchange
                    && matches!(exchange.step, Step::Observe)
                {
                    exchange.step = Step::Read;
                }
                if self.server.exchange.is_none() {
                    self.server_sends();
                }
                acknowledge(Code::CREATED)
                    .with(OptionNumber::LOCATION_PATH, "rd")
                    .with(OptionNumber::LOCATION_PATH, "1")
            }
            "/rd/1" => acknowledge(Code::CHANGED),
            other => panic!("the engine asked for {other}"),
        }
    }

    fn server_takes(&mut self, message: &Message) -> Message {
        if self
            .server
            .exchange
            .as_ref()
            .is_some_and(|it| it.token == message.token())
        {
            self.server_has_response(message);
        } else if self.server.observing.as_deref() == Some(message.token()) {
            self.server.notified.push(value_of(message));
        }
        Message::empty(CoapType::Acknowledgement, message.id())
    }

    fn server_has_response(&mut self, message: &Message) {
        let Some(exchange) = self
            .server
            .exchange
            .take_if(|it| it.token == message.token())
        else {
            return;
        };
        let code = message.code();
        // A block is missing only if the server gave up the previous one.
        let gap = code == Code::of(4, 8) && matches!(exchange.step, Step::Block { .. });
        assert!(
            code.is_success() || (gap && self.server.given_up > 0),
            "{code}"
        );
        self.server.responses += 1;
        match exchange.step {
            // A Register in between drops the Observe option.
            Step::Observe if message.option(OptionNumber::OBSERVE).is_none() => {}
            Step::Observe => {
                self.server.observing = Some(exchange.token);
                self.server.notified.push(value_of(message));
            }
            Step::Execute(argument) => self.server.confirmed.push(argument),
            Step::Read => {}
            Step::Block { .. } if gap => {}
            Step::Block { last, .. } => {
                assert_eq!(code, if last { Code::CHANGED } else { Code::CONTINUE });
            }
        }
        self.server_sends();
    }

    /// Sends the next request of the script, with ACK_TIMEOUT and MAX_RETRANSMIT of RFC 7252.
    fn server_sends(&mut self) {
        let Some(step) = self.server.script.pop_front() else {
            return;
        };
        self.server.next_id = self.server.next_id.wrapping_add(1);
        let id = self.server.next_id;
        let token = [&b"t"[..], &id.to_be_bytes()].concat();
        let message = step.message(id, &token);
        let datagram = message.encode();
        self.server.exchange = Some(Exchange {
            id,
            token,
            datagram,
            acknowledged: false,
            step,
        });
        self.send_to_device(&message);
        self.after(
            2_000,
            Happening::ServerRepeats {
                id,
                pause: 2_000,
                left: 4,
            },
        );
    }

    fn server_repeats(&mut self, id: u16, pause: u64, left: u32) {
        let Some(exchange) = self.server.exchange.as_ref().filter(|it| it.id == id) else {
            return;
        };
        if left == 0 && !exchange.acknowledged || left == u32::MAX {
            // The server gives up: no acknowledgement, or no response after one.
            self.server.exchange = None;
            self.server.given_up += 1;
            return self.server_sends();
        }
        if exchange.acknowledged {
            return self.after(
                247_000,
                Happening::ServerRepeats {
                    id,
                    pause,
                    left: u32::MAX,
                },
            );
        }
        let datagram = exchange.datagram.clone();
        self.link(|| Happening::ToDevice(datagram.clone()));
        let pause = pause * 2;
        self.after(
            pause,
            Happening::ServerRepeats {
                id,
                pause,
                left: left - 1,
            },
        );
    }
}

fn objects() -> Objects {
    Objects::new(&OBJECTS, [(3, 0), (9, 0)])
}

fn value_of(message: &Message) -> (u32, i64) {
    let number = message
        .uint(OptionNumber::OBSERVE)
        .expect("an Observe number");
    let text = std::str::from_utf8(message.payload()).unwrap();
    (number, text.parse().unwrap())
}

fn assert_at_most_once(world: &World, seed: u64) {
    let mut executed = world.executed.clone();
    executed.sort_unstable();
    executed.dedup();
    assert_eq!(
        executed.len(),
        world.executed.len(),
        "seed {seed}: {:?}",
        world.executed
    );
    let confirmed = &world.server.confirmed;
    assert!(
        confirmed.iter().all(|it| executed.contains(it)),
        "seed {seed}: {confirmed:?}"
    );
    let blocks = &world.blocks;
    assert!(
        blocks.windows(2).all(|pair| pair[0] + 16 == pair[1]),
        "seed {seed}: {blocks:?}"
    );
}

fn assert_everything_ended(world: &World, seed: u64) {
    let server = &world.server;
    assert!(
        server.exchange.is_none() && server.script.is_empty(),
        "seed {seed}: the server waits"
    );
    assert!(world.waiting.is_empty(), "seed {seed}: a request is open");
    assert_eq!(
        server.responses + server.given_up,
        script().len(),
        "seed {seed}"
    );
}

/// Asserts that values grow with their Observe number, and that the newest is the device's.
fn assert_notified_in_order(world: &World, seed: u64) {
    let mut notified = world.server.notified.clone();
    notified.sort_unstable();
    notified.dedup(); // a server that forgets Message IDs accepts a duplicate
    let grows = |pair: &[(u32, i64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
    assert!(notified.windows(2).all(grows), "seed {seed}: {notified:?}");
    if world.server.observing.is_some() {
        assert_eq!(
            notified.last().map(|it| it.1),
            Some(world.state),
            "seed {seed}: {notified:?}"
        );
    }
}

#[test]
fn restarts_and_moves_on_a_lossy_link_end_no_observation_lose_no_newest_value_and_repeat_no_act() {
    let mut observing = 0; // worlds whose Observe succeeded after the last Register
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        let is_block = |step: &Step| matches!(step, Step::Block { .. });
        world.server.script.retain(|step| !is_block(step)); // a push does not survive a restart
        world.is_mortal = true;
        for value in 0..4 {
            let pause = world.dice.roll(60_000) + 60_000 * value;
            world.after(pause, Happening::Restart);
            let pause = world.dice.roll(240_000);
            world.after(pause, Happening::Move);
        }
        world.run();
        assert_at_most_once(&world, seed);
        assert_notified_in_order(&world, seed);
        observing += usize::from(world.server.observing.is_some());
    }
    assert!(observing * 4 > SEEDS as usize * 3, "{observing} of {SEEDS}");
}

#[test]
fn a_lossy_link_ends_every_exchange_and_acts_at_most_once() {
    let mut answered = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        world.run();
        assert_everything_ended(&world, seed);
        assert_at_most_once(&world, seed);
        assert_notified_in_order(&world, seed);
        answered += world.server.responses;
    }
    let all = script().len() * SEEDS as usize;
    assert!(answered * 10 > all * 9, "{answered} of {all} were answered");
}
