//! The engine: takes one input, changes its state once, and lays out what is to be done.
//!
//! By direction: `receive` takes datagrams apart, `operations` turns requests of the server into
//! requests to the application, `answers` turns its answers into responses, `send` sends what waits
//! when the message layer is free.

mod answers;
mod operations;
mod receive;
mod send;

use std::collections::VecDeque;

use zeroize::Zeroizing;

use crate::{
    Answer, Answered, Config, Event, Input, InstanceId, ObjectId, Objects, Output, Path,
    ReadPurpose, Request, RequestId, Saved, Time, UpdateTiming,
    blockwise::{Assembly, Bodies, Streams},
    coap::{Kind, Message, OptionNumber},
    exchange::{Duplicates, Reply, Sender},
    link,
    observe::{Notification, Observations},
    random::Random,
    registration::{Registration, VERSION},
};
use answers::{Asker, Expected, News, Open};

/// The LwM2M client of one server account.
pub struct Engine {
    config: Config,
    objects: Objects,
    random: Random,
    outputs: VecDeque<Output>,
    sender: Sender<Purpose>,
    duplicates: Duplicates,
    open: Vec<Open>,
    next_request: u64,
    /// Separate responses that wait for the message layer.
    responses: VecDeque<Message>,
    registration: Registration,
    observations: Observations,
    assembly: Assembly,
    streams: Streams,
    bodies: Bodies,
}

/// What the confirmable message in flight is for.
enum Purpose {
    Response(Message),
    Registration,
    Notification(Notification),
}

/// Register and Update are sent before their Message ID is kept, since a start must not wait for a disk. Each run takes
/// the ID of the first one at random from so many, which no later message has: a run that ends before its ID is kept
/// rarely shares it with the next.
const FIRST_IDS: u32 = 256;

impl Engine {
    /// An engine that is silent until [`Input::Start`]. The seed must differ each time the program
    /// starts: tokens, pauses, and the first Message ID come from it.
    pub fn new(config: Config, objects: Objects, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (limits, lifetime) = (config.limits, config.transmission.exchange_lifetime);
        Self {
            sender: Sender::new(config.transmission, &mut random),
            duplicates: Duplicates::new(limits.remembered_messages, lifetime),
            registration: Registration::new(&config),
            observations: Observations::new(limits.observations, limits.queued_notifications),
            assembly: Assembly::new(limits.request_body, lifetime),
            streams: Streams::new(lifetime),
            bodies: Bodies::new(lifetime),
            outputs: VecDeque::new(),
            open: Vec::new(),
            next_request: 0,
            responses: VecDeque::new(),
            random,
            config,
            objects,
        }
    }

    /// An engine that goes on where an earlier one was: once started it sends an Update, and only if
    /// the server does not know it any more a Register. What was registered by another name or as
    /// another version is of no use any more, nor are its observations.
    pub fn restored(config: Config, objects: Objects, seed: u64, saved: Saved) -> Self {
        let mut engine = Self::new(config, objects, seed);
        let first = engine.random.next() as u32;
        let ids = engine.sender.ids();
        ids.resume_apart(saved.message_ceiling.into(), first, FIRST_IDS);
        engine.observations.resume_numbers(saved.observe_ceiling);
        if saved.endpoint == engine.config.endpoint && saved.version == VERSION {
            engine.registration.restore(saved.location);
            engine.restore_observations(saved.observations);
        }
        engine
    }

    /// What is to be kept; see [`Output::Save`].
    pub fn saved(&self) -> Saved {
        Saved {
            endpoint: self.config.endpoint.clone(),
            version: VERSION.to_owned(),
            location: self.registration.location().to_vec(),
            message_ceiling: self.sender.ceiling(),
            observe_ceiling: self.observations.ceiling(),
            observations: self.observations.saved(),
        }
    }

    /// What has to be kept in one step with what `request` changes: an engine that
    /// [remembers](Self::remember) it gives the same message the same answer, and asks nothing. `None` for
    /// what does not act. To be called before [`Input::Answer`].
    pub fn answered(&self, request: RequestId, answer: &Answer) -> Option<Answered> {
        let open = self.open.iter().find(|open| open.request == request)?;
        let (exchange, response) = (open.exchange()?, open.expected.brief(answer)?);
        let digest = self.duplicates.digest_of_acting(exchange.id)?;
        let response = exchange.echoed_by(response);
        let response = response.addressed(Kind::Acknowledgement, exchange.id, &exchange.token);
        Some(Answered {
            message_id: exchange.id,
            digest,
            reply: match exchange.confirmable {
                true => response.encode(),
                false => Vec::new(),
            },
        })
    }

    /// A message that acted in an earlier run, less than EXCHANGE_LIFETIME ago (RFC 7252 4.8.2): the server may
    /// still repeat it.
    pub fn remember(&mut self, now: Time, answered: Answered) {
        let reply = match answered.reply.is_empty() {
            true => Reply::Nothing,
            false => Reply::Datagram(answered.reply),
        };
        let (id, digest) = (answered.message_id, answered.digest);
        self.duplicates.remember(now, id, digest, true, reply);
    }

    /// Takes one input. Afterwards call [`poll_output`](Self::poll_output) until it returns `None`,
    /// then [`next_deadline`](Self::next_deadline).
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Datagram(bytes) => self.receive(now, &Zeroizing::new(bytes)),
            Input::Timeout => self.tick(now),
            Input::Start => self.registration.start(now),
            Input::Moved => self.moved(now),
            Input::Answer { request, answer } => self.answer(now, request, answer),
            Input::Changed(paths) => self.changed(&paths, News::Always),
            Input::MayHaveChanged(paths) => self.changed(&paths, News::IfAny),
            Input::ObjectsChanged { instances, update } => self.objects_changed(instances, update),
            Input::Update { lifetime } => self.update(lifetime),
            Input::Stop => self.stop(),
        }
        self.send_what_waits(now);
        self.save();
    }

    /// Digests of the server's values are saved once all notifications are acknowledged. Before a
    /// value is sent, its digest is saved as unknown: at worst a restart sends the value again.
    fn save(&mut self) {
        let at_rest = self.sender.is_free();
        let unsaved = self.registration.take_unsaved() | self.sender.ids().take_unsaved();
        if unsaved | self.observations.take_unsaved(at_rest) {
            self.outputs.push_back(Output::Save);
        }
    }

    /// What is to be done next, in order. To be called after each [`handle`](Self::handle), until
    /// `None`; it may be interrupted by another `handle`, with the answer to a request for example.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is to be handled, unless another input changes it first. To be
    /// called once no output is left; `None` means that nothing happens by itself.
    pub fn next_deadline(&self) -> Option<Time> {
        Timer::ALL
            .into_iter()
            .filter_map(|timer| self.deadline(timer))
            .min()
    }

    fn deadline(&self, timer: Timer) -> Option<Time> {
        match timer {
            Timer::Retransmission => self.sender.deadline(),
            Timer::Acknowledgement => self.open.iter().filter_map(Open::acknowledge_by).min(),
            Timer::Registration => self.registration.deadline(),
        }
    }

    fn tick(&mut self, now: Time) {
        for timer in Timer::ALL {
            if self.deadline(timer).is_none_or(|moment| now < moment) {
                continue;
            }
            match timer {
                Timer::Retransmission => self.retransmit(now),
                Timer::Acknowledgement => self.acknowledge_late(now),
                Timer::Registration => {
                    let event = self.registration.tick(now, &mut self.random);
                    self.report(event);
                }
            }
        }
    }

    /// What is in flight went the old way, and no acknowledgement comes on it any more.
    fn moved(&mut self, now: Time) {
        match self.sender.abandon() {
            Some(Purpose::Notification(notification)) => self.observations.put_back(notification),
            Some(Purpose::Response(response)) => self.responses.push_front(response),
            Some(Purpose::Registration) | None => {}
        }
        self.open.iter_mut().for_each(Open::answer_separately);
        self.registration.moved(now);
    }

    /// Nothing is worth waiting for any more: a goodbye goes out at once.
    fn stop(&mut self) {
        self.sender.abandon();
        self.responses.clear();
        self.forget_observations();
        let event = self.registration.stop();
        self.report(event);
    }

    fn update(&mut self, lifetime: Option<u32>) {
        if let Some(lifetime) = lifetime {
            self.registration.change_lifetime(lifetime);
        }
        self.registration.update();
    }

    fn changed(&mut self, paths: &[Path], news: News) {
        for (observation, path) in self.observations.concerned(paths) {
            if news == News::Always {
                self.observations.replace(observation); // all before the first is sent
            }
            let request = Request::Read {
                path,
                purpose: ReadPurpose::Notification,
            };
            self.ask(
                Asker::Observation(observation, news),
                Expected::Notification,
                request,
            );
        }
    }

    fn objects_changed(&mut self, instances: Vec<(ObjectId, InstanceId)>, update: UpdateTiming) {
        self.objects.replace_instances(instances);
        let objects = &self.objects;
        self.streams.retain(|path| objects.exists(path));
        self.end_missing_observations();
        let is_news = !self.registration.knows(&link::registration(&self.objects));
        if update == UpdateTiming::Now && is_news {
            self.registration.update();
        }
    }

    fn end_missing_observations(&mut self) {
        let objects = &self.objects;
        for path in self.observations.end_missing(|path| objects.exists(path)) {
            self.outputs
                .push_back(Output::Event(Event::ObservationEnded(path)));
        }
    }

    /// A new registration begins without observations (TS Core 1.0 5.5), and so does silence. A
    /// response that still waits begins none.
    fn forget_observations(&mut self) {
        for response in core::mem::take(&mut self.responses) {
            self.responses
                .push_back(response.without(OptionNumber::OBSERVE));
        }
        for path in self.observations.clear() {
            self.outputs
                .push_back(Output::Event(Event::ObservationEnded(path)));
        }
    }

    fn ask(&mut self, asker: Asker, expected: Expected, request: Request) {
        let id = self.next_request_id();
        self.next_request += 1;
        self.open.push(Open {
            request: id,
            asker,
            expected,
        });
        self.outputs.push_back(Output::Request { id, request });
    }

    fn next_request_id(&self) -> RequestId {
        RequestId(self.next_request)
    }

    fn report(&mut self, event: Option<Event>) {
        self.outputs.extend(event.map(Output::Event));
    }
}

/// The deadlines that an engine waits for.
#[derive(Clone, Copy, Debug)]
enum Timer {
    /// The message in flight was not acknowledged: repeat it, or give it up.
    Retransmission,
    /// The application takes its time: acknowledge the request before the server repeats it.
    Acknowledgement,
    /// The registration needs an Update, a pause after a failure is over, or a response did not
    /// come.
    Registration,
}

impl Timer {
    const ALL: [Self; 3] = [
        Self::Retransmission,
        Self::Acknowledgement,
        Self::Registration,
    ];
}
