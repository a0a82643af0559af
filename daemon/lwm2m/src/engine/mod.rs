//! The engine. Each input changes its state once and queues outputs.
//!
//! `receive` handles datagrams, `operations` turns requests of the server into requests to the
//! application, `answers` turns the answers into responses, and `send` sends queued messages.

mod answers;
mod operations;
mod receive;
mod send;

use std::collections::VecDeque;

use crate::{
    Answer, Answered, Config, EngineEvent, Input, ObjectId, ObjectInstanceId, Objects, Output,
    Path, ReadPurpose, Request, RequestId, Saved, Time, UpdateTiming,
    blockwise::{Assembly, Bodies, Streams},
    coap::{CoapType, Message, OptionNumber},
    exchange::{Duplicates, Reply, Sender},
    link,
    observe::{Notification, Observations},
    random::Random,
    registration::{Registration, VERSION},
};
use answers::{AnswerFor, ExpectedAnswer, NotifyWhen, OpenRequest};

/// The LwM2M client of one server account.
pub struct Engine {
    config: Config,
    objects: Objects,
    random: Random,
    outputs: VecDeque<Output>,
    sender: Sender<Purpose>,
    duplicates: Duplicates,
    open: Vec<OpenRequest>,
    next_request: u64,
    /// Queued separate responses.
    responses: VecDeque<Message>,
    registration: Registration,
    observations: Observations,
    assembly: Assembly,
    streams: Streams,
    bodies: Bodies,
}

/// The purpose of the confirmable message in flight.
enum Purpose {
    Response(Message),
    Registration,
    Notification(Notification),
}

/// The range of the first Message ID. Register and Update are sent before the Message-ID ceiling is
/// saved, since a start must not wait for a disk. The first ID is random in a range that no later
/// message uses, so that a crash in between rarely reuses one.
const FIRST_IDS: u32 = 256;

impl Engine {
    /// An engine that sends nothing before [`Input::Start`]. The seed must differ at each start:
    /// tokens, pauses and the first Message ID come from it.
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

    /// An engine that continues from a saved state. Its first message is an Update; a 4.04 makes it
    /// register. A registration with another endpoint name or LwM2M version is dropped with its
    /// observations.
    pub fn restored(config: Config, objects: Objects, seed: u64, saved: Saved) -> Self {
        let mut engine = Self::new(config, objects, seed);
        let first = engine.random.next() as u32;
        let ids = engine.sender.ids();
        ids.resume_with_first(saved.message_ceiling.into(), first, FIRST_IDS);
        engine.observations.resume_numbers(saved.observe_ceiling);
        if saved.endpoint == engine.config.endpoint && saved.version == VERSION {
            engine.registration.restore(saved.location);
            engine.restore_observations(saved.observations);
        }
        engine
    }

    /// The state to store on [`Output::Save`].
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

    /// The response to store in the same transaction as the change of `request`. An engine that
    /// [remembers](Self::remember) it repeats the response without another request (RFC 7252 4.5).
    /// `None` if the request changes nothing. Call it before [`Input::Answer`].
    pub fn answered(&self, request: RequestId, answer: &Answer) -> Option<Answered> {
        let open = self.open.iter().find(|open| open.request == request)?;
        let (exchange, response) = (
            open.exchange()?,
            open.expected.response_without_payload(answer)?,
        );
        let digest = self.duplicates.digest_of_acting(exchange.id)?;
        let response = exchange.with_block1(response);
        let response = response.addressed(CoapType::Acknowledgement, exchange.id, &exchange.token);
        Some(Answered {
            message_id: exchange.id,
            digest,
            reply: match exchange.confirmable {
                true => response.encode(),
                false => Vec::new(),
            },
        })
    }

    /// Restores a response of an earlier run. Its message is at most EXCHANGE_LIFETIME old (RFC 7252
    /// 4.8.2), so that the server may still repeat it.
    pub fn remember(&mut self, now: Time, answered: Answered) {
        let reply = match answered.reply.is_empty() {
            true => Reply::Nothing,
            false => Reply::Datagram(answered.reply),
        };
        let (id, digest) = (answered.message_id, answered.digest);
        self.duplicates.remember(now, id, digest, true, reply);
    }

    /// Handles one input. Then call [`poll_output`](Self::poll_output) until it returns `None`, and
    /// [`next_deadline`](Self::next_deadline) after that.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Datagram(datagram) => self.receive(now, datagram.expose()),
            Input::Timeout => self.tick(now),
            Input::Start => self.registration.start(now),
            Input::Moved => self.moved(now),
            Input::Answer { request, answer } => self.answer(now, request, answer),
            Input::Changed(paths) => self.changed(&paths, NotifyWhen::Always),
            Input::MayHaveChanged(paths) => self.changed(&paths, NotifyWhen::Changed),
            Input::ObjectsChanged { instances, update } => self.objects_changed(instances, update),
            Input::Update { lifetime } => self.update(lifetime),
            Input::Stop => self.stop(),
        }
        self.send_queued(now);
        self.save();
    }

    /// Requests a save. Digests of values are saved once all notifications are acknowledged. Before a
    /// value is sent its digest is saved as unknown, so that a restart at worst repeats the value.
    fn save(&mut self) {
        let at_rest = self.sender.is_free();
        let unsaved = self.registration.take_unsaved() | self.sender.ids().take_unsaved();
        if unsaved | self.observations.take_unsaved(at_rest) {
            self.outputs.push_back(Output::Save);
        }
    }

    /// The next output. Call it after each [`handle`](Self::handle) until it returns `None`, and
    /// carry out the outputs in order. Calls of `handle` in between are allowed.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The time of the next [`Input::Timeout`]. Call it when no output is left, since each input may
    /// change it. `None` means that no timer runs.
    pub fn next_deadline(&self) -> Option<Time> {
        Timer::ALL
            .into_iter()
            .filter_map(|timer| self.deadline(timer))
            .min()
    }

    fn deadline(&self, timer: Timer) -> Option<Time> {
        match timer {
            Timer::Retransmission => self.sender.deadline(),
            Timer::Acknowledgement => self
                .open
                .iter()
                .filter_map(OpenRequest::acknowledge_by)
                .min(),
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

    /// Queues the message in flight again, since no acknowledgement comes over the old connection.
    fn moved(&mut self, now: Time) {
        match self.sender.abandon() {
            Some(Purpose::Notification(notification)) => self.observations.put_back(notification),
            Some(Purpose::Response(response)) => self.responses.push_front(response),
            Some(Purpose::Registration) | None => {}
        }
        self.open
            .iter_mut()
            .for_each(OpenRequest::answer_separately);
        self.registration.moved(now);
    }

    /// Deregisters at once, without waiting for the message in flight.
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

    fn changed(&mut self, paths: &[Path], when: NotifyWhen) {
        for (observation, path) in self.observations.affected(paths) {
            if when == NotifyWhen::Always {
                self.observations.replace(observation); // all of them before the first is sent
            }
            let request = Request::Read {
                path,
                purpose: ReadPurpose::Notification,
            };
            self.ask(
                AnswerFor::Observation(observation, when),
                ExpectedAnswer::Notification,
                request,
            );
        }
    }

    fn objects_changed(
        &mut self,
        instances: Vec<(ObjectId, ObjectInstanceId)>,
        update: UpdateTiming,
    ) {
        self.objects.replace_instances(instances);
        let objects = &self.objects;
        self.streams.retain(|path| objects.exists(path));
        self.end_missing_observations();
        let is_changed = !self.registration.knows(&link::registration(&self.objects));
        if update == UpdateTiming::Now && is_changed {
            self.registration.update();
        }
    }

    fn end_missing_observations(&mut self) {
        let objects = &self.objects;
        for path in self.observations.end_missing(|path| objects.exists(path)) {
            self.outputs
                .push_back(Output::Event(EngineEvent::ObservationEnded(path)));
        }
    }

    /// Drops all observations: a new registration begins without any (TS Core 1.0 5.5). A queued
    /// response must not begin one either.
    fn forget_observations(&mut self) {
        for response in core::mem::take(&mut self.responses) {
            self.responses
                .push_back(response.without(OptionNumber::OBSERVE));
        }
        for path in self.observations.clear() {
            self.outputs
                .push_back(Output::Event(EngineEvent::ObservationEnded(path)));
        }
    }

    fn ask(&mut self, requester: AnswerFor, expected: ExpectedAnswer, request: Request) {
        let id = self.next_request_id();
        self.next_request += 1;
        self.open.push(OpenRequest {
            request: id,
            requester,
            expected,
        });
        self.outputs.push_back(Output::Request { id, request });
    }

    fn next_request_id(&self) -> RequestId {
        RequestId(self.next_request)
    }

    fn report(&mut self, event: Option<EngineEvent>) {
        self.outputs.extend(event.map(Output::Event));
    }
}

/// The timers of the engine.
#[derive(Clone, Copy, Debug)]
enum Timer {
    /// The message in flight needs a retransmission, or is given up.
    Retransmission,
    /// The application has not answered in time, and the request needs an empty acknowledgement.
    Acknowledgement,
    /// The registration needs an Update or a retry, or a separate response timed out.
    Registration,
}

impl Timer {
    const ALL: [Self; 3] = [
        Self::Retransmission,
        Self::Acknowledgement,
        Self::Registration,
    ];
}
