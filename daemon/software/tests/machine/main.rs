//! What the machine must hold: `rows` by the decisions, `table` in every cell, `sequences` over random events,
//! `stored` through the database's form.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod cells;
mod rows;
mod sequences;
mod stored;
mod table;
