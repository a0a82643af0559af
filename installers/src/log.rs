//! The lines of jobs in the journal, each with the fields by which it is found.

use std::fmt;

use wharf_frames::{Failure, OperationId, Text};
use wharf_journal::message;
use wharf_root::limits;

use crate::records::{Job, Order};

/// A job is done.
pub(crate) fn done(job: &Job) {
    tracing::info!(
        MESSAGE_ID = message::JOB_DONE,
        WHARF_PACKAGE = job.order.package().as_str(),
        WHARF_OPERATION = %job.operation,
        "{}: done",
        Ordered(&job.order)
    );
}

/// A job failed.
pub(crate) fn failed(job: &Job, failure: &Failure) {
    tracing::warn!(
        MESSAGE_ID = message::JOB_FAILED,
        WHARF_PACKAGE = job.order.package().as_str(),
        WHARF_OPERATION = %job.operation,
        "{}: {failure}",
        Ordered(&job.order)
    );
}

/// An attempt at a job was interrupted, and another one takes up what it left.
pub(crate) fn repairs(job: &Job, what: fmt::Arguments<'_>) {
    tracing::warn!(
        MESSAGE_ID = message::JOB_REPAIRS,
        WHARF_PACKAGE = job.order.package().as_str(),
        WHARF_OPERATION = %job.operation,
        "{}: attempt {}: {what}",
        Ordered(&job.order),
        job.attempts.len()
    );
}

/// What a program printed in a job, with the maintainer scripts that it ran. These lines have no field but the operation,
/// as the story of a package is to stay a handful of lines.
pub(crate) fn printed(operation: OperationId, program: &str, text: &str) {
    let (left_out, lines) = last_lines(text);
    if left_out {
        tracing::info!(WHARF_OPERATION = %operation, "{program}: what it printed before is not kept");
    }
    for line in lines {
        tracing::info!(WHARF_OPERATION = %operation, "{program}: {line}");
    }
}

/// The last lines of what was kept, each as a terminal would show it, and whether there were others before them.
fn last_lines(text: &str) -> (bool, Vec<Text>) {
    let shown = text
        .lines()
        .filter_map(|line| line.trim_end().rsplit('\r').next());
    let said = shown.filter(|line| !line.trim().is_empty());
    let lines: Vec<Text> = said.map(Text::new).collect();
    let first = lines.len().saturating_sub(limits::OUTPUT_LINES);
    let is_cut = u64::try_from(text.len()).is_ok_and(|length| length >= limits::OUTPUT);
    (is_cut || first > 0, lines.into_iter().skip(first).collect())
}

/// An order as a person says it: `install hello 1.0-1`.
struct Ordered<'a>(&'a Order);

impl fmt::Display for Ordered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Order::Install { judged, .. } => {
                let package = &judged.package;
                write!(f, "install {} {}", package.name, package.version)
            }
            Order::Remove(name) => write!(f, "remove {name}"),
            Order::Purge(name) => write!(f, "purge {name}"),
            Order::Activate(name) => write!(f, "activate {name}"),
            Order::Deactivate(name) => write!(f, "deactivate {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> (bool, Vec<String>) {
        let (left_out, lines) = last_lines(text);
        (left_out, lines.iter().map(Text::to_string).collect())
    }

    #[test]
    fn what_was_printed_becomes_printable_lines_as_a_terminal_shows_them() {
        for (text, expected) in [
            ("", vec![]),
            ("one\n\n  \ntwo\r\n", vec!["one", "two"]),
            (
                "(Reading database ... \r(Reading database ... 5%\r(Reading database ... 6691 files.)\nlast",
                vec!["(Reading database ... 6691 files.)", "last"],
            ),
            ("\u{1b}[2Jcleared\u{7}", vec!["\\u{1b}[2Jcleared\\u{7}"]),
        ] {
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(kept(text), (false, expected), "{text:?}");
        }
    }

    #[test]
    fn of_much_that_was_printed_the_last_lines_are_kept_and_the_gap_is_told() {
        let many: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let (left_out, lines) = kept(&many.join("\n"));
        assert!(left_out);
        assert_eq!(lines, many[many.len() - limits::OUTPUT_LINES..]);
        let (left_out, lines) = kept(&"x".repeat(usize::try_from(limits::OUTPUT).unwrap()));
        assert!(left_out);
        assert!(lines.len() == 1 && lines[0].len() <= Text::MAX, "{lines:?}");
    }
}
