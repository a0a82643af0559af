//! Standard output: one line of JSON, or text for a person.

use std::io::{Write as _, stdout};

use serde::Serialize;

use crate::error::CommandError;

/// Prints the result as text. With --json it is printed already.
pub(crate) fn tell(json: bool, text: impl FnOnce() -> String) {
    if !json {
        say(&(text() + "\n"));
    }
}

/// Prints the result of a change, and ignores errors: the change is done.
pub(crate) fn say(text: &str) {
    let mut output = stdout();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}

/// Prints a value as one line of JSON, or as text.
pub(crate) fn print<T: Serialize>(
    json: bool,
    value: &T,
    text: impl FnOnce() -> String,
) -> Result<(), CommandError> {
    let text = match json {
        true => serde_json::to_string(value).map_err(std::io::Error::from)? + "\n",
        false => text(),
    };
    Ok(stdout().write_all(text.as_bytes())?)
}
