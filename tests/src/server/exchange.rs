//! The message layer (RFC 7252 4) of the scripted server: matches messages to requests, and retransmits.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use coap_lite::{MessageClass, MessageType, Packet};

use super::{
    ReceivedNotification, Shared, State,
    message::{Response, bytes, empty},
    registration,
};
use crate::waiting::LIMIT;

// Shorter than ACK_TIMEOUT, since all is on one machine. One more attempt, for lossy links.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const TRIES: u32 = 6;

type Token = Vec<u8>;

#[derive(Debug, Default, Clone)]
pub(super) struct Exchanges {
    last_id: u16,
    last_token: u32,
    /// Requests without a response.
    awaited: HashSet<Token>,
    responses: HashMap<Token, Response>,
    /// Message IDs of requests that were acknowledged without a response.
    acknowledged: HashSet<u16>,
    reset: HashSet<u16>,
    observations: HashMap<Token, String>,
    /// The answers to confirmable messages, for duplicates.
    answered: HashMap<(SocketAddr, u16), Vec<Vec<u8>>>,
}

impl Exchanges {
    fn start(&mut self, request: &mut Packet) {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_token += 1;
        request.header.message_id = self.last_id;
        request.header.set_type(MessageType::Confirmable);
        request.set_token(self.last_token.to_be_bytes().to_vec());
        self.awaited.insert(request.get_token().to_vec());
    }

    pub(super) fn observed(&mut self, token: Token, path: &str) {
        self.observations.insert(token, path.to_owned());
    }

    pub(super) fn forget_messages(&mut self) {
        self.answered.clear();
    }

    /// Ends the observations of `path`: further notifications are answered by RST.
    pub(super) fn forget(&mut self, path: &str) -> Vec<Token> {
        let tokens = self.observations.iter();
        let tokens = tokens.filter(|(_, observed)| *observed == path);
        let tokens: Vec<Token> = tokens.map(|(token, _)| token.clone()).collect();
        for token in &tokens {
            self.observations.remove(token);
        }
        tokens
    }
}

/// Sends `request` until a response arrives.
///
/// # Panics
///
/// If none arrives, or a Reset.
#[track_caller]
pub(super) fn exchange(
    shared: &Shared,
    to: SocketAddr,
    request: &mut Packet,
    observe: Option<&str>,
) -> Response {
    shared.state.with(|state| {
        state.exchanges.start(request);
        if let Some(path) = observe {
            state.exchanges.observed(request.get_token().to_vec(), path);
        }
    });
    for attempt in 0..TRIES {
        shared
            .socket
            .send_to(&bytes(request), to)
            .unwrap_or_else(|error| panic!("nothing can be sent to {to}: {error}"));
        match outcome(shared, request, FIRST_WAIT * 2_u32.pow(attempt)) {
            Some(Outcome::Response(response)) => return response,
            Some(Outcome::Acknowledged) => return separate_response(shared, to, request),
            Some(Outcome::Reset) => panic!("{to} answered {request:?} by Reset"),
            None => {}
        }
    }
    panic!("{to} did not answer {request:?}");
}

enum Outcome {
    Response(Response),
    Acknowledged,
    Reset,
}

fn outcome(shared: &Shared, request: &Packet, limit: Duration) -> Option<Outcome> {
    let id = request.header.message_id;
    shared.state.wait_for(limit, |State { exchanges, .. }| {
        if let Some(response) = exchanges.responses.remove(request.get_token()) {
            Some(Outcome::Response(response))
        } else if exchanges.reset.remove(&id) {
            Some(Outcome::Reset)
        } else {
            exchanges
                .acknowledged
                .remove(&id)
                .then_some(Outcome::Acknowledged)
        }
    })
}

#[track_caller]
fn separate_response(shared: &Shared, from: SocketAddr, request: &Packet) -> Response {
    let response = shared.state.wait_for(LIMIT, |state| {
        state.exchanges.responses.remove(request.get_token())
    });
    response.unwrap_or_else(|| panic!("{from} acknowledged {request:?}, but did not respond"))
}

/// Handles one message. Returns the datagrams to send back.
pub(super) fn received(state: &mut State, from: SocketAddr, message: Packet) -> Vec<Vec<u8>> {
    let id = message.header.message_id;
    match message.header.get_type() {
        MessageType::Acknowledgement => {
            if message.header.code == MessageClass::Empty {
                state.exchanges.acknowledged.insert(id);
            } else {
                take_response(state, &message);
            }
            Vec::new()
        }
        MessageType::Reset => {
            state.exchanges.reset.insert(id);
            Vec::new()
        }
        MessageType::Confirmable => {
            if let Some(answered) = state.exchanges.answered.get(&(from, id)) {
                return answered.clone();
            }
            let answers = act_on(state, from, &message);
            state.exchanges.answered.insert((from, id), answers.clone());
            answers
        }
        MessageType::NonConfirmable => {
            act_on(state, from, &message);
            Vec::new()
        }
    }
}

fn act_on(state: &mut State, from: SocketAddr, message: &Packet) -> Vec<Vec<u8>> {
    let id = message.header.message_id;
    match message.header.code {
        MessageClass::Request(_) => {
            let mut answer = registration::requested(&mut state.registrations, from, message);
            answer.header.message_id = id;
            answer.header.set_type(MessageType::Acknowledgement);
            answer.set_token(message.get_token().to_vec());
            vec![bytes(&answer)]
        }
        MessageClass::Response(_) if take_response(state, message) => {
            vec![empty(MessageType::Acknowledgement, id)]
        }
        // A ping is answered like a message without a request (RFC 7252 4.3).
        _ => vec![empty(MessageType::Reset, id)],
    }
}

fn take_response(state: &mut State, message: &Packet) -> bool {
    let token = message.get_token();
    let response = Response::of(message);
    if state.exchanges.awaited.remove(token) {
        state.exchanges.responses.insert(token.to_vec(), response);
        true
    } else if let Some(path) = state.exchanges.observations.get(token) {
        let path = path.clone();
        state
            .notifications
            .push(ReceivedNotification { path, response });
        true
    } else {
        // A request that was sent twice may get two responses.
        message.header.get_type() == MessageType::Acknowledgement
    }
}
