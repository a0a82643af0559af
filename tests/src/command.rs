//! Runs programs to their end.

use std::{
    process::{Command, Output, Stdio},
    str,
};

/// Runs `command` without a terminal or input, and returns its standard output.
///
/// # Panics
///
/// If it cannot be started or fails. The message has all of its output.
#[track_caller]
pub fn output_of(command: &mut Command) -> Vec<u8> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    assert!(output.status.success(), "{}", failure(command, &output));
    output.stdout
}

/// Like [`output_of`], for a program that writes UTF-8. Drops the last line end.
#[track_caller]
pub fn text_of(command: &mut Command) -> String {
    let output = output_of(command);
    let text = str::from_utf8(&output)
        .unwrap_or_else(|error| panic!("{command:?} wrote something else than UTF-8: {error}"));
    text.trim_end().to_owned()
}

fn failure(command: &Command, output: &Output) -> String {
    format!(
        "{command:?}: {}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    )
}
