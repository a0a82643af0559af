//! Lines for the journal, on standard error. A job must not end because nobody reads them any more.

use std::{
    fmt,
    io::{self, Write},
};

/// Says one line.
pub(crate) fn say(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{words}");
}
