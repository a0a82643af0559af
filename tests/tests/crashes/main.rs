//! Every step of wharfd may be the last: the same stories are run once for each step, with an exit there. Afterwards
//! the state is that before the step or after it, each effect is there once, the history has no gap.
//!
//! - `line`, `kept`, `operator`, `vendor`: a server that asks again, and a gateway that is started again;
//!   `observer`: one that observes once.
//! - `left`: the database after an end; `stories`: what is done, and what comes of it.

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
