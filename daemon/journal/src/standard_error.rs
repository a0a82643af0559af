//! Logs to standard error without a journal: `wharfd: warning: TEXT`. A failed write is ignored, so that a closed pipe
//! does not end a program.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// The layer that writes to standard error.
pub(crate) struct StandardError {
    pub(crate) program: &'static str,
}

impl<S: Subscriber> Layer<S> for StandardError {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = line(self.program, event);
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

fn line(program: &str, event: &Event<'_>) -> String {
    let mut message = Message(String::new());
    event.record(&mut message);
    let level = match *event.metadata().level() {
        Level::WARN => "warning: ",
        _ => "",
    };
    format!("{program}: {level}{}\n", message.0)
}

/// The text of an event as one printable line. Other fields are left out.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(OneLine(&mut self.0), "{value:?}");
        }
    }
}

struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character.is_control() {
                true => self.0.extend(character.escape_default()),
                false => self.0.push(character),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// A layer that keeps the lines.
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(line("wharfd", event));
        }
    }

    #[test]
    fn a_line_has_program_severity_and_text_and_no_control_character() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let lines = tracing_subscriber::registry().with(Kept(Arc::clone(&kept)));
        tracing::subscriber::with_default(lines, || {
            tracing::info!(WHARF_PACKAGE = "hello", "hello 1.0-1 is installed");
            tracing::warn!("{} says \u{1b}[2J", "ä\nwharfd: all is well");
            tracing::error!("it is over");
        });
        let expected = [
            "wharfd: hello 1.0-1 is installed\n",
            "wharfd: warning: ä\\nwharfd: all is well says \\u{1b}[2J\n",
            "wharfd: it is over\n",
        ];
        assert_eq!(*kept.lock().unwrap(), expected);
    }
}
