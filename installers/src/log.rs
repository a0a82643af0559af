//! The lines of jobs in the journal, with the fields that find them.

use std::fmt;

use wharf_frames::{
    Failure, OperationId, PackageName, Step, Text,
    installer::{Dependency, Outcome},
};
use wharf_journal::message;
use wharf_root::limits;

use crate::{
    records::{Job, package},
    verdict::Sealed,
};

/// A job is done: one line for each step.
pub(crate) fn done(job: &Job) {
    for step in &job.steps {
        tracing::info!(
            MESSAGE_ID = message::JOB_DONE,
            WHARF_PACKAGE = package(step).as_str(),
            WHARF_OPERATION = %job.operation,
            "{}: done",
            Shown(step)
        );
    }
}

/// The packages that an installation brought from the sources, and those that a removal left unused.
pub(crate) fn brought(job: &Job, outcome: &Outcome) {
    let tell = |what: &str, names: Vec<String>| {
        let Some(step) = job.steps.first() else {
            return;
        };
        for names in lines_of(names) {
            tracing::info!(
                WHARF_PACKAGE = package(step).as_str(),
                WHARF_OPERATION = %job.operation,
                "{}: {what}: {names}",
                Shown(step)
            );
        }
    };
    let dependencies = outcome.dependencies.iter().map(Dependency::to_string);
    let fetched = match outcome.refreshed {
        true => "came from sources of the device, whose lists were stale and were fetched again",
        false => "came from sources of the device",
    };
    tell(fetched, dependencies.collect());
    let unused = outcome.unused.iter().map(PackageName::to_string);
    tell(
        "came as dependencies, and nothing needs them any more",
        unused.collect(),
    );
}

/// The names in as few lines as have room for all of them.
fn lines_of(names: Vec<String>) -> Vec<Text> {
    let mut lines: Vec<String> = Vec::new();
    for name in names {
        match lines.last_mut() {
            Some(line) if line.len() + ", ".len() + name.len() <= Text::MAX => {
                line.push_str(", ");
                line.push_str(&name);
            }
            _ => lines.push(name),
        }
    }
    lines.into_iter().map(Text::from).collect()
}

/// A job failed: one line for each step.
pub(crate) fn failed(job: &Job, failure: &Failure) {
    for step in &job.steps {
        tracing::warn!(
            MESSAGE_ID = message::JOB_FAILED,
            WHARF_PACKAGE = package(step).as_str(),
            WHARF_OPERATION = %job.operation,
            "{}: {failure}",
            Shown(step)
        );
    }
}

/// An attempt was interrupted, and the next one continues this step.
pub(crate) fn repairs(job: &Job, step: &Step<Sealed>, what: fmt::Arguments<'_>) {
    tracing::warn!(
        MESSAGE_ID = message::JOB_REPAIRS,
        WHARF_PACKAGE = package(step).as_str(),
        WHARF_OPERATION = %job.operation,
        "{}: attempt {}: {what}",
        Shown(step),
        job.attempts.len()
    );
}

/// A job failed, and goes back.
pub(crate) fn returns(job: &Job, why: &Failure) {
    for step in &job.steps {
        tracing::warn!(
            MESSAGE_ID = message::JOB_RETURNS,
            WHARF_PACKAGE = package(step).as_str(),
            WHARF_OPERATION = %job.operation,
            "{}: it failed, and goes back: {why}",
            Shown(step)
        );
    }
}

/// A step is not done, since there is no way back.
pub(crate) fn left_out(job: &Job, step: &Step<Sealed>, why: &str) {
    tracing::info!(
        WHARF_PACKAGE = package(step).as_str(),
        WHARF_OPERATION = %job.operation,
        "{}: it is no part of this job, since {why}",
        Shown(step)
    );
}

/// The output of a program in a job, with the maintainer scripts that it ran. These lines have no field but the operation:
/// a search for a package stays short.
pub(crate) fn printed(operation: OperationId, program: &str, text: &str) {
    let (left_out, lines) = last_lines(text);
    if left_out {
        tracing::info!(WHARF_OPERATION = %operation, "{program}: what it printed before is not kept");
    }
    for line in lines {
        tracing::info!(WHARF_OPERATION = %operation, "{program}: {line}");
    }
}

/// The last lines of the kept output, each as a terminal shows it, and whether lines before them are left out.
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

/// A step in the words of its action.
pub(crate) fn shown(step: &Step<Sealed>) -> String {
    Shown(step).to_string()
}

/// A step in the words of its action: `install hello 1.0-1`.
struct Shown<'a>(&'a Step<Sealed>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.0.action().as_str();
        write!(f, "{action} {}", package(self.0))?;
        match self.0.file() {
            Some(file) => write!(f, " {}", file.judged.package.version),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_frames::{Action, PackageName};

    use super::*;

    fn kept(text: &str) -> (bool, Vec<String>) {
        let (left_out, lines) = last_lines(text);
        (left_out, lines.iter().map(Text::to_string).collect())
    }

    #[test]
    fn many_dependencies_are_all_told_in_lines_that_have_room_for_them() {
        assert_eq!(lines_of(Vec::new()), []);
        let names: Vec<String> = (0..128).map(|at| format!("libfoo{at} 2:1.0-1")).collect();
        let lines = lines_of(names.clone());
        let told: Vec<&str> = lines
            .iter()
            .flat_map(|line| line.as_str().split(", "))
            .collect();
        assert_eq!(told, names);
        let length: usize = lines.iter().map(|line| line.as_str().len()).sum();
        assert!(lines.len() <= length / Text::MAX + 2, "{lines:?}");
    }

    #[test]
    fn a_step_is_logged_in_the_words_of_its_action() {
        for action in Action::ALL {
            let name = PackageName::new("acme").unwrap();
            if let Some(step) = Step::on(action, name) {
                assert_eq!(
                    Shown(&step).to_string(),
                    format!("{} acme", action.as_str())
                );
            }
        }
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
