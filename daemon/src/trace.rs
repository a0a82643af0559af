//! The trace of CoAP messages for `wharfctl trace`: one line each, without secrets. It neither changes nor delays a
//! message.

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    os::fd::OwnedFd,
    str,
};

use lwm2m::coap::{BlockOption, CoapType, Code, Message, OptionNumber};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use wharf_frames::Text;

/// The largest number of watchers.
const WATCHERS: usize = 4;

/// The pipes of the watchers.
#[derive(Debug, Default)]
pub struct Trace(Vec<File>);

/// The direction of a message.
#[derive(Debug, Clone, Copy)]
enum Direction {
    In,
    Out,
}

impl Trace {
    /// Adds a watcher. Above the limit it replaces the oldest one.
    pub fn add(&mut self, watcher: OwnedFd) -> nix::Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&watcher, FcntlArg::F_GETFL)?);
        fcntl(&watcher, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        if self.0.len() >= WATCHERS {
            self.0.remove(0);
        }
        self.0.push(watcher.into());
        Ok(())
    }

    /// Traces a datagram from the server.
    pub fn received(&mut self, datagram: &[u8]) {
        self.tell(Direction::In, datagram);
    }

    /// Traces a datagram to the server.
    pub fn sent(&mut self, datagram: &[u8]) {
        self.tell(Direction::Out, datagram);
    }

    /// Writes a line to each watcher. A slow one misses lines; one that closed its pipe is removed.
    fn tell(&mut self, direction: Direction, datagram: &[u8]) {
        if self.0.is_empty() {
            return;
        }
        let arrow = match direction {
            Direction::In => '<',
            Direction::Out => '>',
        };
        let line = format!("{arrow} {}\n", line(datagram));
        self.0
            .retain_mut(|watcher| match watcher.write(line.as_bytes()) {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            });
    }
}

/// `CON 0.01 [31029] 7d34 GET /9/0/7 observe=0`, printable and bounded.
fn line(datagram: &[u8]) -> Text {
    let Ok(message) = Message::decode(datagram) else {
        return format!("{} bytes that are no CoAP message", datagram.len()).into();
    };
    let kind = match message.kind() {
        CoapType::Confirmable => "CON",
        CoapType::NonConfirmable => "NON",
        CoapType::Acknowledgement => "ACK",
        CoapType::Reset => "RST",
    };
    let token: String = message
        .token()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut words = vec![kind.to_owned(), format!("[{}]", message.id())];
    words.extend((!token.is_empty()).then_some(token));
    words.push(code(message.code()));
    words.extend(options(&message));
    words.extend(payload(&message));
    words.join(" ").into()
}

fn code(code: Code) -> String {
    match code {
        Code::EMPTY => "empty".to_owned(),
        Code::GET => "GET".to_owned(),
        Code::POST => "POST".to_owned(),
        Code::PUT => "PUT".to_owned(),
        Code::DELETE => "DELETE".to_owned(),
        other => format!("{}.{:02}", other.class(), other.detail()),
    }
}

fn options(message: &Message) -> Vec<String> {
    let mut words = Vec::new();
    if message.code().is_request() {
        words.push(format!(
            "/{}",
            segments(message, OptionNumber::URI_PATH).join("/")
        ));
    }
    let queries = segments(message, OptionNumber::URI_QUERY);
    words.extend((!queries.is_empty()).then(|| format!("?{}", queries.join("&"))));
    let location = segments(message, OptionNumber::LOCATION_PATH);
    words.extend((!location.is_empty()).then(|| format!("location=/{}", location.join("/"))));
    for (name, number) in [
        ("observe", OptionNumber::OBSERVE),
        ("accept", OptionNumber::ACCEPT),
        ("format", OptionNumber::CONTENT_FORMAT),
        ("size1", OptionNumber::SIZE1),
        ("size2", OptionNumber::SIZE2),
    ] {
        words.extend(message.uint(number).map(|value| format!("{name}={value}")));
    }
    for (name, number) in [
        ("block1", OptionNumber::BLOCK1),
        ("block2", OptionNumber::BLOCK2),
    ] {
        let block = message
            .option(number)
            .and_then(|value| BlockOption::decode(value).ok());
        let more = |block: &BlockOption| if block.more() { "+" } else { "" };
        words
            .extend(block.map(|block| {
                format!("{name}={}/{}{}", block.offset(), block.size(), more(&block))
            }));
    }
    words
}

fn segments(message: &Message, number: OptionNumber) -> Vec<String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    message.options(number).map(text).collect()
}

/// A payload of the server may be a secret or a part of one: only its length is shown, except for paths without
/// secrets. Payloads of the gateway have none: resources 2, 3, 14, 15 cannot be read (TS table 6.-2).
fn payload(message: &Message) -> Option<String> {
    let payload = message.payload();
    if payload.is_empty() {
        return None;
    }
    let path = segments(message, OptionNumber::URI_PATH);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let hidden = || Some(format!("({} bytes)", payload.len()));
    let text = match str::from_utf8(payload) {
        Ok(text) if !text.contains(|letter: char| letter.is_control()) => text,
        _ => return hidden(),
    };
    match (message.code().is_request(), path.as_slice()) {
        (true, ["9", _, "3"]) if message.option(OptionNumber::BLOCK1).is_none() => {
            Some(format!("{:?}", origin_and_path(text)))
        }
        (true, ["9", _, "4" | "6" | "8" | "10" | "11" | "13"] | ["1" | "3", ..] | ["rd", ..])
        | (false, _) => Some(format!("{text:?}")),
        (true, _) => hidden(),
    }
}

/// A URI without what may be a secret: user, query, fragment.
fn origin_and_path(uri: &str) -> String {
    let Some((scheme, after)) = uri.split_once("://") else {
        return format!("({} bytes)", uri.len());
    };
    // An unescaped password may contain characters that end a host.
    let (user, after) = match after.rsplit_once('@') {
        Some((_, after)) => ("…@", after),
        None => ("", after),
    };
    let (shown, rest) = after.split_at(after.find(['?', '#']).unwrap_or(after.len()));
    let masked = if rest.is_empty() { "" } else { "?…" };
    format!("{scheme}://{user}{shown}{masked}")
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _};

    use super::*;

    fn request(code: Code, path: &str) -> Message {
        let message = Message::new(CoapType::Confirmable, code, 31029, &[0x7d, 0x34]);
        path.split('/').fold(message, |message, segment| {
            message.with(OptionNumber::URI_PATH, segment)
        })
    }

    fn shown(message: &Message) -> String {
        line(&message.encode()).to_string()
    }

    #[test]
    fn a_message_is_one_line() {
        let observe = request(Code::GET, "9/0/7").with_uint(OptionNumber::OBSERVE, 0);
        assert_eq!(shown(&observe), "CON [31029] 7d34 GET /9/0/7 observe=0");
        let content = Message::new(
            CoapType::Acknowledgement,
            Code::CONTENT,
            31029,
            &[0x7d, 0x34],
        )
        .with_uint(OptionNumber::CONTENT_FORMAT, 0)
        .with_payload(b"2".to_vec());
        assert_eq!(shown(&content), "ACK [31029] 7d34 2.05 format=0 \"2\"");
        assert_eq!(shown(&Message::empty(CoapType::Reset, 7)), "RST [7] empty");
        assert_eq!(
            line(b"\x16\xfe").to_string(),
            "2 bytes that are no CoAP message"
        );
    }

    #[test]
    fn nothing_that_a_server_writes_is_shown_if_it_may_be_secret() {
        for (path, payload, expected) in [
            ("9/0/14", "hunter2", "(7 bytes)"),
            ("9/0/15", "hunter2", "(7 bytes)"),
            ("9/0/2", "hunter2", "(7 bytes)"),
            ("9/0", "hunter2", "(7 bytes)"),
            ("9", "hunter2", "(7 bytes)"),
            ("0/1/5", "hunter2", "(7 bytes)"),
            ("9/0/3", "hunter2", "\"(7 bytes)\""),
            (
                "9/0/3",
                "https://u:hunter2@h/p.deb?hunter2#hunter2",
                "\"https://…@h/p.deb?…\"",
            ),
            ("9/0/3", "https://u:hunter2@h", "\"https://…@h\""),
            ("9/0/3", "https://u:hunter/2@h/p", "\"https://…@h/p\""),
            ("9/0/3", "https://u:hunter?2@h/p", "\"https://…@h/p\""),
            ("9/0/3", "http://h:80/p.deb", "\"http://h:80/p.deb\""),
            ("9/0/6", "1", "\"1\""),
            ("1/0/1", "300", "\"300\""),
        ] {
            let message = request(Code::PUT, path).with_payload(payload.into());
            let shown = shown(&message);
            assert!(shown.ends_with(expected), "{path} {payload}: {shown}");
            assert!(!shown.contains("hunter"), "{path} {payload}: {shown}");
        }
    }

    #[test]
    fn a_block_of_a_uri_is_a_part_of_a_secret() {
        let first = BlockOption::at(0, true, 0).unwrap().encode();
        let message = request(Code::PUT, "9/0/3")
            .with(OptionNumber::BLOCK1, first)
            .with_payload(b"://hunter2".to_vec());
        assert_eq!(
            shown(&message),
            "CON [31029] 7d34 PUT /9/0/3 block1=0/16+ (10 bytes)"
        );
    }

    fn read(pipe: &mut PipeReader) -> String {
        let mut buffer = [0; 1024];
        let length = pipe.read(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn who_does_not_read_holds_nothing_up_and_who_is_gone_is_forgotten() {
        let mut trace = Trace::default();
        let (mut first, writer) = std::io::pipe().unwrap();
        trace.add(writer.into()).unwrap();
        let (second, writer) = std::io::pipe().unwrap();
        trace.add(writer.into()).unwrap();
        let datagram = request(Code::GET, "3/0").encode();
        trace.received(&datagram);
        assert_eq!(read(&mut first), "< CON [31029] 7d34 GET /3/0\n");
        for _ in 0..10_000 {
            trace.sent(&datagram); // more than a pipe holds
        }
        assert!(read(&mut first).starts_with("> CON [31029] 7d34 GET /3/0\n"));
        drop(second);
        trace.sent(&datagram);
        assert_eq!(trace.0.len(), 1);
    }
}
