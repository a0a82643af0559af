//! Exits of wharfd at every step: the same stories are run once for each step, with an exit there. Afterwards the state
//! is that before the step or after it, each effect happened once, and the history has no gap.
//!
//! - `line`, `kept`, `operator`, `vendor`: a server that retries, and a gateway whose programs are restarted;
//!   `observer`: a server that observes once.
//! - `left`: the database after an exit; `stories`: the requests, and their results.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is tests"
)]

mod kept;
mod left;
mod line;
mod observer;
mod operator;
mod stories;
mod vendor;
