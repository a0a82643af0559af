//! A server and a device without a network between them. The test is the server, and `Device` is the
//! application.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lwm2m::coap::{CoapType, Code, Message, OptionNumber};
use lwm2m::{
    Answer, Answered, Config, Content, Engine, EngineEvent, ErrorCode, Input, ObjectDefinition,
    Objects, Operations, Output, Path, Request, RequestId, ResourceDefinition, ResourceValue,
    Resources, Saved, Secret, Time, Type, Value,
};

const fn resource(id: u16, operations: Operations, kind: Type) -> ResourceDefinition {
    ResourceDefinition::new(id, operations, kind)
}

const READ: Operations = Operations::READ;
const WRITE: Operations = Operations::WRITE;
const READ_WRITE: Operations = Operations::READ_WRITE;
const EXECUTE: Operations = Operations::EXECUTE;

pub(crate) static OBJECTS: [ObjectDefinition; 4] = [
    ObjectDefinition::new(0, &[resource(0, Operations::NONE, Type::String)]).multiple(),
    ObjectDefinition::new(
        3,
        &[
            resource(0, READ, Type::String),
            resource(4, EXECUTE, Type::None),
            resource(11, READ, Type::Integer).multiple(),
        ],
    ),
    ObjectDefinition::new(
        9,
        &[
            resource(0, READ, Type::String),
            resource(2, WRITE, Type::Opaque).streamed(),
            resource(3, WRITE, Type::String),
            resource(4, EXECUTE, Type::None),
            resource(6, EXECUTE, Type::None),
            resource(7, READ, Type::Integer).never_coalesced(),
            resource(8, READ_WRITE, Type::Boolean),
            resource(9, READ, Type::Integer).never_coalesced(),
            resource(14, WRITE, Type::String),
            resource(15, WRITE, Type::String).secret(),
            resource(16, READ, Type::String),
        ],
    )
    .multiple(),
    ObjectDefinition::new(
        30_000,
        &[
            resource(0, READ, Type::Opaque),
            resource(1, READ_WRITE, Type::String).mandatory(),
        ],
    )
    .multiple(),
];

pub(crate) const STATE: Path = Path::Resource(9, 0, 7);
pub(crate) const RESULT: Path = Path::Resource(9, 0, 9);
pub(crate) const REASON: Path = Path::Resource(9, 0, 16);

/// The application. It holds values, records the requests, and answers at once unless `waits` is set.
pub(crate) struct Device {
    pub(crate) values: BTreeMap<(u16, u16), BTreeMap<u16, ResourceValue>>,
    pub(crate) waits: bool,
    pub(crate) waiting: VecDeque<(RequestId, Request)>,
    pub(crate) asked: Vec<Request>,
}

impl Device {
    fn new() -> Self {
        let software = [
            (0, "".into()),
            (7, 0.into()),
            (8, false.into()),
            (9, 0.into()),
        ];
        let errors = ResourceValue::Multiple(vec![(0, Value::Integer(0))]);
        let values = [
            ((0, 0), BTreeMap::new()),
            (
                (3, 0),
                BTreeMap::from([(0, "Open Mobile Alliance".into()), (11, errors)]),
            ),
            (
                (9, 0),
                software.into_iter().chain([(16, "10".into())]).collect(),
            ),
        ];
        Self {
            values: BTreeMap::from(values),
            waits: false,
            waiting: VecDeque::new(),
            asked: Vec::new(),
        }
    }

    pub(crate) fn instances(&self) -> Vec<(u16, u16)> {
        self.values.keys().copied().collect()
    }

    pub(crate) fn set(&mut self, path: Path, value: impl Into<ResourceValue>) {
        let instance = self
            .values
            .get_mut(&(path.object(), path.instance().unwrap()))
            .unwrap();
        instance.insert(path.resource().unwrap(), value.into());
    }

    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        let content = |content: Option<Content>| match content {
            Some(content) => Answer::Content(content),
            None => Answer::Error(ErrorCode::NotFound),
        };
        match request {
            Request::Read { path, .. } => content(self.read(*path)),
            Request::Discover { path } => Answer::Discovered(
                self.of(*path)
                    .map(|(id, it)| (id, it.iter().map(dimension).collect()))
                    .collect(),
            ),
            Request::Create {
                object,
                instance,
                values,
            } => {
                let id = instance.unwrap_or(7);
                self.values
                    .insert((*object, id), values.iter().cloned().collect());
                Answer::Created(id)
            }
            Request::Delete { object, instance } => {
                self.values.remove(&(*object, *instance));
                Answer::Deleted
            }
            Request::Write { .. } | Request::Execute { .. } | Request::Block { .. } => {
                Answer::Changed
            }
        }
    }

    fn of(&self, path: Path) -> impl Iterator<Item = (u16, &BTreeMap<u16, ResourceValue>)> {
        self.values
            .iter()
            .filter(move |((object, id), _)| {
                *object == path.object() && path.instance().is_none_or(|it| it == *id)
            })
            .map(|((_, id), values)| (*id, values))
    }

    fn read(&self, path: Path) -> Option<Content> {
        let resources = |values: &BTreeMap<u16, ResourceValue>| -> Resources {
            values.clone().into_iter().collect()
        };
        Some(match path {
            Path::Object(_) => {
                Content::Object(self.of(path).map(|(id, it)| (id, resources(it))).collect())
            }
            Path::Instance(..) => Content::Instance(resources(self.of(path).next()?.1)),
            Path::Resource(_, _, id) => {
                Content::Resource(self.of(path).next()?.1.get(&id)?.clone())
            }
        })
    }
}

pub(crate) struct Pair {
    pub(crate) engine: Engine,
    pub(crate) device: Device,
    pub(crate) now: Time,
    /// Sent messages that the test has not taken yet.
    pub(crate) sent: VecDeque<Message>,
    pub(crate) events: Vec<EngineEvent>,
    /// The last saved state of the engine.
    pub(crate) kept: Saved,
    /// The responses that the application stored.
    answered: Vec<Answered>,
    next_id: u16,
    seed: u64,
}

/// The seed of the first run.
const SEED: u64 = 42;

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(Config::new("gateway-17"))
    }

    pub(crate) fn with(config: Config) -> Self {
        let device = Device::new();
        let objects = Objects::new(&OBJECTS, device.instances());
        Self {
            engine: Engine::new(config, objects, SEED),
            seed: SEED,
            device,
            now: Time::from_millis(1000),
            sent: VecDeque::new(),
            events: Vec::new(),
            kept: Saved::default(),
            answered: Vec::new(),
            next_id: 0,
        }
    }

    /// Kills the program and starts an engine from the saved state.
    pub(crate) fn restart(&mut self, config: Config) {
        let objects = Objects::new(&OBJECTS, self.device.instances());
        self.seed += 1;
        self.engine = Engine::restored(config, objects, self.seed, self.kept.clone());
        for answered in self.answered.clone() {
            self.engine.remember(self.now, answered);
        }
        self.sent.clear();
        self.events.clear();
    }

    /// A pair whose registration the server accepted.
    pub(crate) fn registered() -> Self {
        let mut pair = Self::new();
        pair.register();
        pair
    }

    pub(crate) fn register(&mut self) {
        self.input(Input::Start);
        let request = self.take();
        self.respond(&request, Code::CREATED, |it| {
            it.with(OptionNumber::LOCATION_PATH, "rd")
                .with(OptionNumber::LOCATION_PATH, "5a3f")
        });
        assert_eq!(
            self.events,
            [EngineEvent::Registered {
                location: "/rd/5a3f".into()
            }]
        );
        self.events.clear();
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(datagram) => {
                    let message = Message::decode(&datagram).unwrap();
                    assert_kept(&self.kept, &message);
                    self.sent.push_back(message);
                }
                Output::Save => self.kept = self.engine.saved(),
                Output::Event(event) => self.events.push(event),
                Output::Request { id, request } => {
                    self.device.asked.push(request.clone());
                    if self.device.waits {
                        self.device.waiting.push_back((id, request));
                    } else {
                        let answer = self.device.answer(&request);
                        self.answered.extend(self.engine.answered(id, &answer));
                        self.engine.handle(
                            self.now,
                            Input::Answer {
                                request: id,
                                answer,
                            },
                        );
                    }
                }
            }
        }
    }

    /// Answers the oldest waiting request.
    pub(crate) fn answer_waiting(&mut self) {
        let (request, asked) = self.device.waiting.pop_front().expect("a request waits");
        let answer = self.device.answer(&asked);
        self.input(Input::Answer { request, answer });
    }

    /// Takes the next message of the engine.
    pub(crate) fn take(&mut self) -> Message {
        self.sent.pop_front().expect("the engine sent something")
    }

    pub(crate) fn assert_silent(&mut self) {
        let sent: Vec<_> = self
            .sent
            .drain(..)
            .map(|it| (it.kind(), it.code()))
            .collect();
        assert!(sent.is_empty(), "{sent:?}");
    }

    /// Moves the clock to the engine's next deadline.
    pub(crate) fn step(&mut self) {
        let deadline = self
            .engine
            .next_deadline()
            .expect("the engine waits for something");
        self.now = deadline.max(self.now);
        self.input(Input::Timeout);
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self
            .engine
            .next_deadline()
            .is_some_and(|deadline| deadline <= end)
        {
            self.step();
        }
        self.now = end;
    }

    pub(crate) fn receive(&mut self, message: &Message) {
        self.input(Input::Datagram(Secret::new(message.encode())));
    }

    /// Builds a confirmable request with a new Message ID and token.
    pub(crate) fn message(&mut self, code: Code, path: &str) -> Message {
        self.next_id = self.next_id.wrapping_add(1);
        let token = self.next_id.to_be_bytes();
        let message = Message::new(CoapType::Confirmable, code, self.next_id, &token);
        path.split('/')
            .skip(1)
            .fold(message, |it, part| it.with(OptionNumber::URI_PATH, part))
    }

    /// Sends a request and takes the piggybacked response.
    pub(crate) fn exchange(&mut self, request: &Message) -> Message {
        self.receive(request);
        let response = self.take();
        assert_eq!(response.kind(), CoapType::Acknowledgement);
        assert_eq!(
            (response.id(), response.token()),
            (request.id(), request.token())
        );
        response
    }

    pub(crate) fn observe(&mut self, path: &str) -> Message {
        let request = self
            .message(Code::GET, path)
            .with_uint(OptionNumber::OBSERVE, 0);
        self.exchange(&request)
    }

    /// Cancels the observation of this path with the token of `observed`.
    pub(crate) fn cancel(&mut self, path: &str, observed: &Message) -> Message {
        let request = self
            .message(Code::GET, path)
            .with_uint(OptionNumber::OBSERVE, 1);
        let id = request.id();
        self.exchange(&request.addressed(CoapType::Confirmable, id, observed.token()))
    }

    /// Sends a request with a body of this format.
    pub(crate) fn send(
        &mut self,
        code: Code,
        path: &str,
        format: Option<u32>,
        body: &[u8],
    ) -> Message {
        let mut request = self.message(code, path).with_payload(body.to_vec());
        if let Some(format) = format {
            request = request.with_uint(OptionNumber::CONTENT_FORMAT, format);
        }
        self.exchange(&request)
    }

    /// Sends a piggybacked response to a request of the engine.
    pub(crate) fn respond(
        &mut self,
        request: &Message,
        code: Code,
        with: impl FnOnce(Message) -> Message,
    ) {
        let response = Message::new(
            CoapType::Acknowledgement,
            code,
            request.id(),
            request.token(),
        );
        self.receive(&with(response));
    }

    pub(crate) fn acknowledge(&mut self, message: &Message) {
        self.receive(&Message::empty(CoapType::Acknowledgement, message.id()));
    }

    /// Commits a value in the application.
    pub(crate) fn commit(&mut self, path: Path, value: impl Into<ResourceValue>) {
        self.device.set(path, value);
        self.input(Input::Changed(vec![path]));
    }
}

fn dimension((id, value): (&u16, &ResourceValue)) -> (u16, Option<u16>) {
    match value {
        ResourceValue::Single(_) => (*id, None),
        ResourceValue::Multiple(values) => (*id, u16::try_from(values.len()).ok()),
    }
}

/// Asserts that the saved state has everything that the message relies on.
fn assert_kept(kept: &Saved, message: &Message) {
    let is_ours = matches!(
        message.kind(),
        CoapType::Confirmable | CoapType::NonConfirmable
    );
    if is_ours && message.code().is_response() {
        let left = kept.message_ceiling.wrapping_sub(message.id());
        assert!(left < 64, "{} of {kept:?}", message.id());
    }
    if message.code().is_response() && message.option(OptionNumber::OBSERVE).is_some() {
        let observes = |token| kept.observations.iter().any(|it| it.token == token);
        assert!(
            observes(message.token()),
            "{:?} of {kept:?}",
            message.token()
        );
        assert_number_kept(kept, message);
    }
}

pub(crate) fn assert_number_kept(kept: &Saved, message: &Message) {
    let number = message.uint(OptionNumber::OBSERVE);
    assert!(
        number <= Some(kept.observe_ceiling),
        "{number:?} of {kept:?}"
    );
}

pub(crate) fn path_of(message: &Message) -> String {
    let segments = message.options(OptionNumber::URI_PATH);
    segments
        .map(|it| format!("/{}", it.escape_ascii()))
        .collect()
}

pub(crate) fn queries_of(message: &Message) -> Vec<String> {
    let queries = message.options(OptionNumber::URI_QUERY);
    queries.map(|it| it.escape_ascii().to_string()).collect()
}
