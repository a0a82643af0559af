//! Sends the log lines of our programs to the journal with its fields, or to standard error.
//!
//! A line is an event of `tracing`. Its text is complete; its fields are for searching. Field names in the code are
//! those of the journal, so that a search finds the line that sets one:
//!
//! | field | value |
//! | --- | --- |
//! | `MESSAGE_ID` | the event, one of [`message`]; systemd/wharfd.catalog explains each |
//! | `WHARF_PACKAGE` | the package |
//! | `WHARF_INSTANCE` | the instance of Object 9 |
//! | `WHARF_OPERATION` | the operation, the same in all our programs |
//! | `WHARF_STATE`, `WHARF_RESULT` | the name of the Update State, the Update Result |

mod journal;
pub mod message;
mod standard_error;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::standard_error::StandardError;

/// Starts logging. Call it once at the start of a program.
pub fn begin(program: &'static str) {
    let lines = tracing_subscriber::registry().with(LevelFilter::INFO);
    // This fails only if it was called before.
    let _ = match journal::layer(program) {
        Some(layer) => tracing::subscriber::set_global_default(lines.with(layer)),
        None => tracing::subscriber::set_global_default(lines.with(StandardError { program })),
    };
}
