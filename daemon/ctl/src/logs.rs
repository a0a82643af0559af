//! `wharfctl logs`: the journal of an instance, a package or an operation. journalctl prints it and decides who may
//! read it. This also works while wharfd does not run.

use std::{
    collections::HashSet,
    convert::Infallible,
    io::{BufRead as _, BufReader},
    iter::once,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::User;
use serde::Deserialize;

use crate::{
    agent::reads_all,
    arguments::{Logged, Named},
    error::CommandError,
};

/// The number of operations whose lines are printed, counted from the last.
const OPERATIONS: usize = 200;

/// The users of our programs that write lines, besides root. journald accepts any other field from every user.
const WRITERS: [&str; 2] = ["wharfd", "wharf-fetch"];

/// The fields that are read from a line.
#[derive(Deserialize)]
struct LogLine {
    #[serde(rename = "WHARF_OPERATION")]
    operation: Option<String>,
}

/// Replaces this process by journalctl.
pub(crate) fn logs(root: &Path, subject: &Logged, json: bool) -> Result<Infallible, CommandError> {
    let field = field(subject);
    let trusted = trusted();
    let operations = operations(root, &field, &trusted)?;
    let mut journal = journalctl(root);
    let format = if json { "json" } else { "short-iso" };
    journal.args(["--utc", "--no-hostname", "--output", format]);
    Err(not_started(
        journal.args(matches(field, operations, &trusted)).exec(),
    ))
}

fn field(subject: &Logged) -> String {
    match subject {
        Logged::Instance(Named::Number(id)) => format!("WHARF_INSTANCE={id}"),
        Logged::Instance(Named::Package(name)) => format!("WHARF_PACKAGE={name}"),
        Logged::Operation(id) => format!("WHARF_OPERATION={id}"),
    }
}

/// Matches for trusted writers, by the uid that journald adds: root and our users.
fn trusted() -> Vec<String> {
    let users = WRITERS.iter().map(|name| User::from_name(name));
    let users = users.filter_map(|user| user.ok().flatten());
    let uids = once(0).chain(users.map(|user| user.uid.as_raw()));
    uids.map(|uid| format!("_UID={uid}")).collect()
}

/// Matches lines with this field, and lines of these operations: the output of a package manager has no other field.
/// Values of one field are alternatives, fields are conditions, and `+` starts another group (journalctl(1)).
fn matches(field: String, operations: Vec<String>, trusted: &[String]) -> Vec<String> {
    let mut words = vec![field];
    words.extend_from_slice(trusted);
    if !operations.is_empty() {
        words.push("+".to_owned());
        let operation = |id| format!("WHARF_OPERATION={id}");
        words.extend(operations.into_iter().map(operation));
        words.extend_from_slice(trusted);
    }
    words
}

/// The operations in the lines with this field.
fn operations(root: &Path, field: &str, trusted: &[String]) -> Result<Vec<String>, CommandError> {
    let mut journal = journalctl(root);
    journal.args(["--quiet", "--no-pager", "--output", "json"]);
    journal.args(["--output-fields", "WHARF_OPERATION", field]);
    journal.args(trusted);
    let mut journal = journal
        .stdout(Stdio::piped())
        .spawn()
        .map_err(not_started)?;
    let (mut operations, mut known, mut is_empty) = (Vec::new(), HashSet::new(), true);
    for line in journal
        .stdout
        .take()
        .into_iter()
        .flat_map(|out| BufReader::new(out).lines())
    {
        let line = line.map_err(not_started)?;
        is_empty = false;
        let operation = serde_json::from_str(&line).ok();
        let operation = operation.and_then(|line: LogLine| line.operation);
        operations.extend(operation.filter(|id| known.insert(id.clone())));
    }
    let _ = journal.wait();
    if is_empty {
        let readable = match reads_all() {
            true => "",
            false => " that this user may read. Root reads all of them",
        };
        return Err(CommandError::Refused(format!(
            "the journal has no line with {field}{readable}"
        )));
    }
    Ok(operations.split_off(operations.len().saturating_sub(OPERATIONS)))
}

fn journalctl(root: &Path) -> Command {
    let mut command = Command::new("journalctl");
    if root != Path::new("/") {
        command.arg("--root").arg(root);
    }
    command
}

fn not_started(source: std::io::Error) -> CommandError {
    CommandError::Refused(format!(
        "cannot ask journalctl: {source}. Without systemd the programs write to standard error"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_package_are_those_that_name_it_and_those_of_its_operations() {
        let named = field(&"hello".parse().unwrap());
        let trusted = ["_UID=0".to_owned(), "_UID=998".to_owned()];
        let alone = matches(named.clone(), Vec::new(), &trusted);
        assert_eq!(alone, ["WHARF_PACKAGE=hello", "_UID=0", "_UID=998"]);
        let both = matches(named, vec!["a".to_owned(), "b".to_owned()], &trusted);
        let (of_package, of_operations) = both.split_at(3);
        assert_eq!(of_package, alone);
        assert_eq!(
            of_operations.join(" "),
            "+ WHARF_OPERATION=a WHARF_OPERATION=b _UID=0 _UID=998"
        );
        assert_eq!(field(&"7".parse().unwrap()), "WHARF_INSTANCE=7");
        let id = "9b5746512777dcb8103546d64be0a825";
        assert_eq!(field(&id.parse().unwrap()), format!("WHARF_OPERATION={id}"));
    }
}
