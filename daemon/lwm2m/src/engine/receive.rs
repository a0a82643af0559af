//! Handles a datagram by the type and the code of its message (RFC 7252 4.2, 4.3, 5.2).

use super::{
    Engine, Purpose,
    answers::{AnswerFor, Exchange},
    operations::Handling,
};
use crate::{
    EngineEvent, ErrorCode, Output, RegistrationFailure, Time,
    coap::{BlockOption, CoapType, Code, Malformed, Message, OptionNumber},
    exchange::{Reply, digest},
    observe::Notification,
};

impl Engine {
    pub(super) fn receive(&mut self, now: Time, datagram: &[u8]) {
        let message = match Message::decode(datagram) {
            Ok(message) => message,
            Err(Malformed::Ignored) => return,
            Err(Malformed::Rejected(id)) => return self.reject(id),
        };
        match (message.kind(), message.code()) {
            (CoapType::Acknowledgement, code) if !code.is_request() => {
                self.concluded(now, &message)
            }
            (CoapType::Reset, Code::EMPTY) => self.reset(now, message.id()),
            (CoapType::Acknowledgement | CoapType::Reset, _) => {}
            (_, code) if code.is_request() => self.request(now, message, digest(datagram)),
            (_, code) if code.is_response() => self.response(now, &message, digest(datagram)),
            // A ping or a reserved class is rejected (RFC 7252 4.2, 4.3).
            (CoapType::Confirmable, _) => self.reject(message.id()),
            (CoapType::NonConfirmable, _) => {}
        }
    }

    fn reject(&mut self, id: u16) {
        self.transmit(Message::empty(CoapType::Reset, id).encode());
    }

    /// Sends a datagram after a save of the state that it relies on.
    pub(super) fn transmit(&mut self, datagram: Vec<u8>) {
        self.save();
        self.outputs.push_back(Output::Send(datagram));
    }

    fn request(&mut self, now: Time, message: Message, digest: u64) {
        let (id, confirmable) = (message.id(), message.kind() == CoapType::Confirmable);
        if let Some(reply) = self.duplicates.reply_to(now, id, digest) {
            let reply = reply.clone();
            return self.repeat(id, reply);
        }
        let block = message.option(OptionNumber::BLOCK1);
        let exchange = Exchange {
            id,
            token: message.token().to_vec(),
            acknowledge_by: confirmable.then(|| now + self.config.transmission.processing_delay),
            confirmable,
            block1: block.and_then(|value| BlockOption::decode(value).ok()),
        };
        let step = self.operation(now, message);
        let acts = matches!(&step, Ok(Handling::Ask(request, _)) if request.acts());
        let reply = match confirmable {
            true => Reply::Pending,
            false => Reply::Nothing,
        };
        self.duplicates.remember(now, id, digest, acts, reply);
        match step {
            Ok(Handling::Ask(request, expected)) => {
                self.ask(AnswerFor::Server(exchange), expected, request)
            }
            Ok(Handling::Join(request, expected)) => self.join(request, exchange, expected),
            Ok(Handling::Respond(response)) => self.respond(now, exchange, response),
            // An unknown critical option rejects a non-confirmable message silently (RFC 7252 5.4.1).
            Err(ErrorCode::BadOption) if !confirmable => {}
            Err(error) => self.respond(now, exchange, Message::response(error.into())),
        }
    }

    /// Repeats the reply to a duplicate (RFC 7252 4.5). Acknowledges it if there is no answer yet.
    fn repeat(&mut self, id: u16, reply: Reply) {
        match reply {
            Reply::Nothing => {}
            Reply::Datagram(datagram) => self.transmit(datagram),
            Reply::Pending => self.acknowledge(id),
        }
    }

    /// Acknowledges a request, whose response is then separate (RFC 7252 5.2.2).
    pub(super) fn acknowledge(&mut self, id: u16) {
        let datagram = Message::empty(CoapType::Acknowledgement, id).encode();
        for open in &mut self.open {
            open.acknowledged(id);
        }
        self.duplicates
            .answered(id, Reply::Datagram(datagram.clone()));
        self.transmit(datagram);
    }

    pub(super) fn acknowledge_late(&mut self, now: Time) {
        let is_late = |moment: Time| moment <= now;
        while let Some(id) = self.open.iter().find_map(|open| open.message_if(is_late)) {
            self.acknowledge(id);
        }
    }

    /// Handles an acknowledgement, empty or with a piggybacked response.
    fn concluded(&mut self, now: Time, message: &Message) {
        if !matches!(self.sender.purpose(), Some(Purpose::Registration)) {
            // A piggybacked response to a notification shows that the server treated it as a duplicate
            // of an earlier run's request, and dropped it.
            if message.code().is_response() {
                return;
            }
            if let Some(Purpose::Notification(it)) = self.sender.concluded(message.id()) {
                self.observations.acknowledged(&it);
            }
            return;
        }
        let is_response = message.code().is_response();
        if is_response && !self.registration.expects(message.token()) {
            return;
        }
        if self.sender.concluded(message.id()).is_none() {
            return;
        }
        if is_response {
            self.registration_response(now, message);
        } else {
            self.registration.acknowledged(now);
        }
    }

    /// Handles a separate response, which also acknowledges its request (RFC 7252 4.2).
    fn response(&mut self, now: Time, message: &Message, digest: u64) {
        let (id, confirmable) = (message.id(), message.kind() == CoapType::Confirmable);
        if let Some(reply) = self.duplicates.reply_to(now, id, digest) {
            let reply = reply.clone();
            return self.repeat(id, reply);
        }
        if !self.registration.expects(message.token()) {
            return if confirmable {
                self.reject(id)
            };
        }
        if confirmable {
            let datagram = Message::empty(CoapType::Acknowledgement, id).encode();
            let reply = Reply::Datagram(datagram.clone());
            self.duplicates.remember(now, id, digest, false, reply);
            self.transmit(datagram);
        }
        if matches!(self.sender.purpose(), Some(Purpose::Registration)) {
            self.sender.abandon();
        }
        self.registration_response(now, message);
    }

    fn registration_response(&mut self, now: Time, message: &Message) {
        let event = self.registration.responded(now, &mut self.random, message);
        if event == Some(EngineEvent::RegistrationLost) {
            self.duplicates.forget();
        }
        self.report(event);
    }

    fn reset(&mut self, now: Time, id: u16) {
        match self.sender.concluded(id) {
            Some(Purpose::Registration) => {
                let event =
                    self.registration
                        .failed(now, &mut self.random, RegistrationFailure::Reset);
                self.report(event);
            }
            Some(Purpose::Response(_) | Purpose::Notification(Notification::End { .. })) => {}
            Some(Purpose::Notification(Notification::Value { .. })) | None => {
                let ended = self
                    .observations
                    .reset(id)
                    .map(EngineEvent::ObservationEnded);
                self.report(ended);
            }
        }
    }
}
