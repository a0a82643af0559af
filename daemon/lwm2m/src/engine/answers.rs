//! Turns the application's answers into responses and notifications.

use super::{Engine, Purpose};
use crate::{
    Answer, Content, EngineEvent, ErrorCode, ObjectId, Path, RegistrationFailure, RequestId,
    SavedObservation, Time,
    blockwise::slice,
    coap::{BlockOption, CoapType, Code, Message, OptionNumber},
    content::{self, ContentFormat},
    exchange::{Reply, digest},
    link,
    observe::{ObservationId, ObserveRequest},
};

/// A request that the application has not answered yet.
pub(super) struct OpenRequest {
    pub(super) request: RequestId,
    pub(super) requester: AnswerFor,
    pub(super) expected: ExpectedAnswer,
}

/// The recipient of the answer.
pub(super) enum AnswerFor {
    Server(Exchange),
    Observation(ObservationId, NotifyWhen),
}

/// The condition for a notification.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NotifyWhen {
    Always,
    /// The server has another value.
    Changed,
}

/// A message of the server that needs a response.
pub(super) struct Exchange {
    pub(super) id: u16,
    pub(super) token: Vec<u8>,
    pub(super) confirmable: bool,
    /// The deadline for a piggybacked response. `None` after the acknowledgement, or if the message
    /// needs none.
    pub(super) acknowledge_by: Option<Time>,
    /// The Block1 option that the response repeats (RFC 7959 2.3).
    pub(super) block1: Option<BlockOption>,
}

impl Exchange {
    pub(super) fn with_block1(&self, response: Message) -> Message {
        match self.block1 {
            Some(block) => response.with(OptionNumber::BLOCK1, block.encode()),
            None => response,
        }
    }
}

/// The expected answer, with the parameters of the response.
#[derive(Clone, Copy)]
pub(super) enum ExpectedAnswer {
    Content {
        path: Path,
        format: ContentFormat,
        observe: bool,
        block: Option<BlockOption>,
    },
    Notification,
    Discovered {
        path: Path,
        block: Option<BlockOption>,
    },
    Changed,
    Block {
        last: bool,
    },
    Created {
        object: ObjectId,
    },
    Deleted,
}

impl ExpectedAnswer {
    /// The code of a successful response.
    pub(super) fn code(self) -> Code {
        match self {
            Self::Content { .. } | Self::Notification | Self::Discovered { .. } => Code::CONTENT,
            Self::Block { last: false } => Code::CONTINUE,
            Self::Changed | Self::Block { last: true } => Code::CHANGED,
            Self::Created { .. } => Code::CREATED,
            Self::Deleted => Code::DELETED,
        }
    }

    /// The response to this answer, if it has no payload.
    pub(super) fn response_without_payload(self, answer: &Answer) -> Option<Message> {
        Some(match (self, answer) {
            (_, Answer::Error(error)) => Message::response((*error).into()),
            (Self::Created { object }, Answer::Created(instance)) => {
                Message::response(Code::CREATED)
                    .with(OptionNumber::LOCATION_PATH, object.to_string())
                    .with(OptionNumber::LOCATION_PATH, instance.to_string())
            }
            (Self::Changed | Self::Block { .. }, Answer::Changed)
            | (Self::Deleted, Answer::Deleted) => Message::response(self.code()),
            _ => return None,
        })
    }
}

impl OpenRequest {
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        if let AnswerFor::Server(exchange) = &self.requester {
            Some(exchange)
        } else {
            None
        }
    }

    pub(super) fn acknowledge_by(&self) -> Option<Time> {
        self.exchange()?.acknowledge_by
    }

    /// The Message ID, if the deadline of its acknowledgement is `due`.
    pub(super) fn message_if(&self, due: impl Fn(Time) -> bool) -> Option<u16> {
        let exchange = self.exchange()?;
        exchange
            .acknowledge_by
            .filter(|moment| due(*moment))
            .map(|_| exchange.id)
    }

    pub(super) fn acknowledged(&mut self, id: u16) {
        if self.exchange().is_some_and(|exchange| exchange.id == id) {
            self.answer_separately();
        }
    }

    /// Makes the response a separate one (RFC 7252 5.2.2).
    pub(super) fn answer_separately(&mut self) {
        if let AnswerFor::Server(exchange) = &mut self.requester {
            exchange.acknowledge_by = None;
        }
    }
}

impl Engine {
    /// Adds another message to a request that the application has not answered yet.
    pub(super) fn join(
        &mut self,
        request: RequestId,
        exchange: Exchange,
        expected: ExpectedAnswer,
    ) {
        self.open.push(OpenRequest {
            request,
            requester: AnswerFor::Server(exchange),
            expected,
        });
    }

    pub(super) fn answer(&mut self, now: Time, request: RequestId, answer: Answer) {
        self.streams
            .answered(request, matches!(answer, Answer::Changed));
        while let Some(at) = self.open.iter().position(|open| open.request == request) {
            let OpenRequest {
                requester,
                expected,
                ..
            } = self.open.remove(at);
            match requester {
                AnswerFor::Observation(observation, when) => {
                    self.notify(observation, when, &answer)
                }
                AnswerFor::Server(exchange) => {
                    let response = self.response_to(now, &exchange, expected, &answer);
                    let response = response.unwrap_or_else(|error| Message::response(error.into()));
                    self.respond(now, exchange, response);
                }
            }
        }
    }

    fn response_to(
        &mut self,
        now: Time,
        exchange: &Exchange,
        expected: ExpectedAnswer,
        answer: &Answer,
    ) -> Result<Message, ErrorCode> {
        if let Some(response) = expected.response_without_payload(answer) {
            return Ok(response);
        }
        match (expected, answer) {
            (
                ExpectedAnswer::Content {
                    path,
                    format,
                    observe,
                    block,
                },
                Answer::Content(content),
            ) => {
                let body = self.encoded(path, content, format)?;
                let exponent = block.map_or(BlockOption::LARGEST_EXPONENT, BlockOption::exponent);
                let told = digest(&body);
                let response = self.body(now, path, format, body, block)?;
                let subject = || self.subject(path, exchange.token.clone(), format, exponent);
                Ok(match observe.then(subject) {
                    Some(subject) => self.observed(subject, told, response),
                    None => response,
                })
            }
            (ExpectedAnswer::Discovered { path, block }, Answer::Discovered(instances)) => {
                let version = self.objects.definition(path.object()).map(|it| it.version);
                let version = version.ok_or(ErrorCode::NotFound)?;
                let links = link::discovered(path, version, instances);
                self.body(now, path, ContentFormat::Link, links.into_bytes(), block)
            }
            _ => Err(ErrorCode::InternalServerError),
        }
    }

    fn encoded(
        &self,
        path: Path,
        content: &Content,
        format: ContentFormat,
    ) -> Result<Vec<u8>, ErrorCode> {
        let definition = self
            .objects
            .definition(path.object())
            .ok_or(ErrorCode::NotFound)?;
        let body = content::encode(definition, path, content, format)?;
        let fits = body.len() <= self.config.limits.response_body;
        if fits {
            Ok(body)
        } else {
            Err(ErrorCode::InternalServerError)
        }
    }

    pub(super) fn restore_observations(&mut self, saved: Vec<SavedObservation>) {
        for it in saved {
            // The engine saves no other format.
            let Some(format) = ContentFormat::from_number(it.format.into()) else {
                continue;
            };
            let subject = self.subject(it.path, it.token, format, it.block_exponent);
            self.observations.restore(subject, it.told);
        }
        self.end_missing_observations();
    }

    fn subject(
        &self,
        path: Path,
        token: Vec<u8>,
        format: ContentFormat,
        exponent: u8,
    ) -> ObserveRequest {
        let resource = self.objects.resource(path);
        let coalesced = resource.is_none_or(|resource| !resource.never_coalesced);
        ObserveRequest {
            path,
            token,
            format,
            exponent,
            coalesced,
        }
    }

    /// Begins an observation with this response. At the limit the response has no Observe option (RFC
    /// 7641 4.1).
    fn observed(&mut self, subject: ObserveRequest, told: u64, response: Message) -> Message {
        let path = subject.path;
        let Some((number, ended)) = self.observations.begin(subject, told) else {
            return response;
        };
        self.report(ended.map(EngineEvent::ObservationEnded));
        self.report(Some(EngineEvent::Observed(path)));
        response.with_uint(OptionNumber::OBSERVE, number)
    }

    /// 2.05 with the body, or with its requested block.
    pub(super) fn body(
        &mut self,
        now: Time,
        path: Path,
        format: ContentFormat,
        body: Vec<u8>,
        block: Option<BlockOption>,
    ) -> Result<Message, ErrorCode> {
        let response = content_message(&body, format, block, BlockOption::LARGEST_EXPONENT)?;
        if response.1 {
            self.bodies.keep(now, path, format, body);
        }
        Ok(response.0)
    }

    /// 2.05 with a later block of a kept body. `None` if the body was not kept.
    pub(super) fn next_block(
        &mut self,
        now: Time,
        path: Path,
        format: ContentFormat,
        block: Option<BlockOption>,
    ) -> Option<Result<Message, ErrorCode>> {
        let body = self.bodies.find(now, path, format)?;
        let message = content_message(body, format, block, BlockOption::LARGEST_EXPONENT);
        Some(message.map(|(message, _)| message))
    }

    /// Queues the value of this commit for an observer.
    fn notify(&mut self, observation: ObservationId, when: NotifyWhen, answer: &Answer) {
        let Some(subject) = self.observations.subject(observation) else {
            return;
        };
        let (path, format) = (subject.path, subject.format);
        let body = match answer {
            Answer::Content(content) => self.encoded(path, content, format),
            Answer::Error(error) => Err(*error),
            _ => Err(ErrorCode::InternalServerError),
        };
        match body {
            Ok(body)
                if when == NotifyWhen::Changed
                    && self.observations.was_told(observation, &body) => {}
            Ok(body) => self.observations.enqueue(observation, body),
            Err(error) => {
                let ended = self.observations.end(observation, error.into());
                self.report(ended.map(EngineEvent::ObservationEnded));
            }
        }
    }

    /// Builds a notification. Keeps a long body for its later blocks (RFC 7959 2.6).
    pub(super) fn notification(
        &mut self,
        now: Time,
        observation: ObservationId,
        id: u16,
        body: &[u8],
    ) -> Option<Message> {
        let number = self.observations.sent(observation, id)?;
        let subject = self.observations.subject(observation)?;
        let (path, format) = (subject.path, subject.format);
        let (message, more) = content_message(body, format, None, subject.exponent).ok()?;
        let message = message.with_uint(OptionNumber::OBSERVE, number).addressed(
            CoapType::Confirmable,
            id,
            &subject.token,
        );
        if more {
            self.bodies.keep(now, path, format, body.to_vec());
        }
        Some(message)
    }

    /// Sends a response: piggybacked, separate or non-confirmable (RFC 7252 5.2).
    pub(super) fn respond(&mut self, now: Time, exchange: Exchange, response: Message) {
        let response = exchange.with_block1(response);
        let Exchange {
            id,
            token,
            confirmable,
            acknowledge_by,
            ..
        } = exchange;
        if acknowledge_by.is_some() {
            let datagram = response
                .addressed(CoapType::Acknowledgement, id, &token)
                .encode();
            self.duplicates
                .answered(id, Reply::Datagram(datagram.clone()));
            self.transmit(datagram);
        } else if confirmable {
            if self.responses.len() >= self.config.limits.open_requests {
                self.responses.pop_front();
            }
            let id = self.sender.next_id();
            self.responses
                .push_back(response.addressed(CoapType::Confirmable, id, &token));
            self.send_queued(now);
        } else {
            let id = self.sender.next_id();
            self.transmit(
                response
                    .addressed(CoapType::NonConfirmable, id, &token)
                    .encode(),
            );
        }
    }

    /// Handles a message that got no acknowledgement.
    pub(super) fn gave_up(&mut self, now: Time, purpose: Purpose) {
        if let Purpose::Registration = purpose {
            let failure = RegistrationFailure::TimedOut;
            let event = self.registration.failed(now, &mut self.random, failure);
            return self.report(event);
        }
        // A deviation from RFC 7641 4.5, which would end the observation: notifications wait for the
        // next Update, so that the server gets them after an outage.
        if let Purpose::Notification(notification) = purpose {
            let ended = self.observations.gave_up(notification);
            self.report(ended.map(EngineEvent::ObservationEnded));
        }
        self.report(Some(EngineEvent::Unreachable));
        self.registration.update();
    }
}

/// 2.05 with the requested block of the body, and whether more blocks follow.
fn content_message(
    body: &[u8],
    format: ContentFormat,
    wanted: Option<BlockOption>,
    exponent: u8,
) -> Result<(Message, bool), ErrorCode> {
    let slice = slice(body, wanted, exponent).ok_or(ErrorCode::BadRequest)?;
    let mut message =
        Message::response(Code::CONTENT).with_uint(OptionNumber::CONTENT_FORMAT, format.number());
    if let Some(etag) = slice.etag {
        message = message.with(OptionNumber::ETAG, etag.to_be_bytes());
    }
    let mut more = false;
    if let Some(block) = slice.block {
        more = block.more();
        message = message.with(OptionNumber::BLOCK2, block.encode());
        if block.offset() == 0 {
            message = message.with_uint(OptionNumber::SIZE2, slice.size as u32);
        }
    }
    Ok((message.with_payload(slice.bytes), more))
}
