//! Sends queued messages when none is in flight (NSTART = 1, RFC 7252 4.7): responses first, then
//! Register or Update, then notifications.

use super::{Engine, Purpose};
use crate::{
    Output, Time,
    coap::{CoapType, Message},
    exchange::Tick,
    link,
    observe::Notification,
    registration::RegistrationRequest,
};

impl Engine {
    pub(super) fn send_queued(&mut self, now: Time) {
        while self.sender.is_free() {
            let Some((message, purpose)) = self.next_message(now) else {
                return;
            };
            let (id, datagram) = (message.id(), message.encode());
            let registers = matches!(purpose, Purpose::Registration);
            self.sender
                .sent(now, &mut self.random, id, datagram.clone(), purpose);
            match registers {
                true => self.outputs.push_back(Output::Send(datagram)),
                false => self.transmit(datagram),
            }
        }
    }

    fn next_message(&mut self, now: Time) -> Option<(Message, Purpose)> {
        let response = match self.registration.is_moving() {
            true => None,
            false => self.responses.pop_front(),
        };
        if let Some(response) = response {
            return Some((response.clone(), Purpose::Response(response)));
        }
        if let Some(attempt) = self.registration.due() {
            return Some((self.registration_request(attempt), Purpose::Registration));
        }
        if !self.registration.is_registered() {
            return None;
        }
        loop {
            let notification = self.observations.next()?;
            if let Some(message) = self.notification_message(now, &notification) {
                return Some((message, Purpose::Notification(notification)));
            }
        }
    }

    fn registration_request(&mut self, attempt: RegistrationRequest) -> Message {
        if attempt == RegistrationRequest::Register {
            self.forget_observations();
        }
        let token = (self.random.next() as u32).to_be_bytes();
        let id = self.sender.next_id();
        let links = link::registration(&self.objects);
        self.registration.request(attempt, id, token, links)
    }

    fn notification_message(&mut self, now: Time, notification: &Notification) -> Option<Message> {
        let id = self.sender.next_id();
        match notification {
            Notification::Value { observation, body } => {
                self.notification(now, *observation, id, body)
            }
            Notification::End { token, code, .. } => {
                Some(Message::new(CoapType::Confirmable, *code, id, token))
            }
        }
    }

    pub(super) fn retransmit(&mut self, now: Time) {
        match self.sender.tick(now) {
            Tick::NotYet => {}
            Tick::Repeat(datagram) => self.outputs.push_back(Output::Send(datagram)),
            Tick::GaveUp(purpose) => self.gave_up(now, purpose),
        }
    }
}
