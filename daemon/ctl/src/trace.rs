//! `wharfctl trace`: prints each CoAP message. wharfd writes the lines, without secrets.

use std::{
    io::{BufRead as _, BufReader, Write as _, pipe, stdout},
    time::SystemTime,
};

use serde::Serialize;

use crate::{agent::AgentClient, error::CommandError, text};

/// A message, for `--json`.
#[derive(Serialize)]
struct TracedMessage<'a> {
    at: u64,
    /// `in` from the server, `out` to it.
    way: &'static str,
    message: &'a str,
}

/// Runs until it is interrupted, or wharfd ends.
pub(crate) async fn trace(agent: &AgentClient, json: bool) -> Result<(), CommandError> {
    let (reader, writer) = pipe().map_err(CommandError::Runtime)?;
    agent.trace(writer.into()).await?;
    for line in BufReader::new(reader).lines() {
        let line = line.map_err(CommandError::Runtime)?;
        say(&line, json)?;
    }
    Err(CommandError::NoAgent)
}

fn say(line: &str, json: bool) -> Result<(), CommandError> {
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let at = at.map_or(0, |since| since.as_secs());
    let shown = match json {
        false => format!("{} {line}", text::time(at)),
        true => {
            let (arrow, message) = line.split_once(' ').unwrap_or(("", line));
            let way = if arrow == "<" { "in" } else { "out" };
            let message = TracedMessage { at, way, message };
            serde_json::to_string(&message).map_err(|error| CommandError::Runtime(error.into()))?
        }
    };
    writeln!(stdout(), "{shown}")?;
    Ok(stdout().flush()?)
}
