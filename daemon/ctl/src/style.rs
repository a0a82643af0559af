//! The width and the colours of printed text.

use std::{
    env,
    io::{IsTerminal as _, stdout},
};

/// The width and the colours of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// The width at which a line is cut.
    pub(crate) columns: usize,
    pub(crate) colours: bool,
}

/// The meaning of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Busy,
    Bad,
}

impl Style {
    /// No colours, and 80 columns.
    pub(crate) const PLAIN: Self = Self {
        columns: 80,
        colours: false,
    };

    /// The width of the terminal, with colours unless `NO_COLOR` (no-color.org) is set. A pipe has no colours.
    pub(crate) fn of_stdout() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            columns: size().1,
            colours: stdout().is_terminal() && !is_dumb() && !unwanted,
        }
    }

    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        let colour = match tone {
            Tone::Good => 32,
            Tone::Busy => 33,
            Tone::Bad => 31,
            Tone::Plain => return text.to_owned(),
        };
        match self.colours {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// Whether the terminal cannot move its cursor.
pub(crate) fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// The current lines and columns of the terminal.
pub(crate) fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => (24, 80), // a serial line does not know its size, and a pipe has none
    }
}
