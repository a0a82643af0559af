//! Where the lines of our programs go: to the journal with its fields where standard error leads there, else to standard
//! error. Knows nothing of what they say.
//!
//! A line is an event of `tracing` whose text says all of it; its fields are for searching. Their names are written as
//! the journal has them, so that a search for one finds where it is set:
//!
//! | field | what it holds |
//! | --- | --- |
//! | `MESSAGE_ID` | which event it is: one of [`message`], each explained in systemd/wharfd.catalog |
//! | `WHARF_PACKAGE` | the package |
//! | `WHARF_INSTANCE` | the instance of Object 9 |
//! | `WHARF_OPERATION` | the operation, in all of our programs the same |
//! | `WHARF_STATE`, `WHARF_RESULT` | Update State by its name, Update Result |

mod journal;
pub mod message;
mod standard_error;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::standard_error::StandardError;

/// From now on this program's lines go where they belong.
pub fn begin(program: &'static str) {
    let lines = tracing_subscriber::registry().with(LevelFilter::INFO);
    // Refused only where it was done before.
    let _ = match journal::layer(program) {
        Some(layer) => tracing::subscriber::set_global_default(lines.with(layer)),
        None => tracing::subscriber::set_global_default(lines.with(StandardError { program })),
    };
}
