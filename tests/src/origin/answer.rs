//! The answer of an origin to one request: RFC 9110 as far as a download needs it, and the faults.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    ops::Range,
};

use super::{Fault, OriginRequest, ServedContent, State, ValidatorKind};
use crate::waiting::{LIMIT, Watched};

const PIECE: usize = 16 * 1024;

struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The position in the body at which it stops.
    cut: Option<Cut>,
    claimed_length: usize,
}

#[derive(Clone, Copy)]
enum Cut {
    ForGood(usize),
    UntilReleased(usize),
}

pub(super) fn answer(
    mut request: OriginRequest,
    stream: &mut dyn Write,
    state: &Watched<State>,
) -> io::Result<()> {
    let answer = state.with(|state| {
        let answer = choose(&request, state);
        request.status = answer.status;
        state.requests.push(request.clone());
        answer
    });
    write_head(&answer, stream)?;
    if request.method == "HEAD" {
        return Ok(());
    }
    match answer.cut {
        None => write_body(&answer.body, stream, state),
        Some(Cut::ForGood(at)) => write_body(until(&answer.body, at), stream, state),
        Some(Cut::UntilReleased(at)) => {
            write_body(until(&answer.body, at), stream, state)?;
            stall(state);
            write_body(&answer.body[at.min(answer.body.len())..], stream, state)
        }
    }
}

fn until(body: &[u8], at: usize) -> &[u8] {
    &body[..at.min(body.len())]
}

fn stall(state: &Watched<State>) {
    let turn = state.with(|state| {
        state.stalled += 1;
        state.stalled
    });
    let _ = state.wait_for(LIMIT, |state| (state.released >= turn).then_some(()));
}

fn choose(request: &OriginRequest, state: &mut State) -> Answer {
    if state.authorization.is_some()
        && request.fields.get("authorization") != state.authorization.as_ref()
    {
        return Answer::empty(401).field("WWW-Authenticate", "Basic realm=\"packages\"");
    }
    let fault = state
        .faults
        .get_mut(&request.path)
        .and_then(|faults| faults.pop_front());
    let found = || match state.resources.get(&request.path) {
        Some(resource) => content(request, resource),
        None => Answer::empty(404),
    };
    match fault {
        None => found(),
        Some(Fault::CutAfter(at)) => found().cut(Cut::ForGood(at)),
        Some(Fault::StallAfter(at)) => found().cut(Cut::UntilReleased(at)),
        Some(Fault::LengthTooLarge(by)) => found().claim_more(by),
        Some(Fault::Status(status)) => Answer::empty(status),
        Some(Fault::Redirect(to)) => Answer::empty(302).field("Location", &to),
        Some(Fault::Unavailable(None)) => Answer::empty(503),
        Some(Fault::Unavailable(Some(after))) => {
            Answer::empty(503).field("Retry-After", &after.to_string())
        }
        Some(Fault::RangeIgnored) => match state.resources.get(&request.path) {
            Some(resource) => whole(resource),
            None => Answer::empty(404),
        },
    }
}

fn content(request: &OriginRequest, resource: &ServedContent) -> Answer {
    let length = resource.content.len();
    match range(request, resource) {
        None => whole(resource),
        Some(range) if range.is_empty() => {
            Answer::empty(416).field("Content-Range", &format!("bytes */{length}"))
        }
        Some(range) => {
            let (first, last) = (range.start, range.end - 1);
            Answer::of(206, resource.content[range].to_vec())
                .field("Content-Range", &format!("bytes {first}-{last}/{length}"))
                .validated(resource)
        }
    }
}

fn whole(resource: &ServedContent) -> Answer {
    Answer::of(200, resource.content.clone()).validated(resource)
}

/// The Range that is to be answered: none if it was not asked for, is not understood, or If-Range
/// (RFC 9110 13.1.5) says that the client has bytes of another content.
fn range(request: &OriginRequest, resource: &ServedContent) -> Option<Range<usize>> {
    let current = validator(resource)?.1;
    let asked = request.fields.get("range")?.strip_prefix("bytes=")?;
    if request
        .fields
        .get("if-range")
        .is_some_and(|had| *had != current)
    {
        return None;
    }
    let length = resource.content.len();
    let (first, last) = asked.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let end = match last {
        "" => length,
        last => last.parse::<usize>().ok()?.saturating_add(1).min(length),
    };
    Some(first.min(end)..end)
}

fn validator(resource: &ServedContent) -> Option<(&'static str, String)> {
    match &resource.validator {
        ValidatorKind::ETag => {
            let mut hasher = DefaultHasher::new();
            resource.content.hash(&mut hasher);
            Some(("ETag", format!("\"{:016x}\"", hasher.finish())))
        }
        ValidatorKind::LastModified(date) => Some(("Last-Modified", date.clone())),
        ValidatorKind::None => None,
    }
}

impl Answer {
    fn of(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            fields: Vec::new(),
            claimed_length: body.len(),
            body,
            cut: None,
        }
    }

    fn empty(status: u16) -> Self {
        Self::of(status, Vec::new())
    }

    fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    fn validated(mut self, resource: &ServedContent) -> Self {
        self.fields.extend(validator(resource));
        self
    }

    fn cut(mut self, cut: Cut) -> Self {
        self.cut = Some(cut);
        self
    }

    fn claim_more(mut self, by: usize) -> Self {
        self.claimed_length += by;
        self
    }
}

fn write_head(answer: &Answer, stream: &mut dyn Write) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", answer.status);
    head += &format!("Content-Length: {}\r\n", answer.claimed_length);
    for (name, value) in &answer.fields {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    stream.flush()
}

fn write_body(body: &[u8], stream: &mut dyn Write, state: &Watched<State>) -> io::Result<()> {
    for piece in body.chunks(PIECE) {
        stream.write_all(piece)?;
        state.with(|state| state.sent += piece.len());
    }
    stream.flush()
}
