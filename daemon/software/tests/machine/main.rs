//! What the machine must hold. The decisions over the specification, row by row: `writes`, `downloads`, `installs`,
//! `uninstalls`, `purges`, `activations`, `back`, `busy`, `by_hand`, `creates_and_deletes`, `in_place`, `components`. All
//! cells: `table`, of the `sections`. Random events: `sequences`.
//! The database's form: `stored`. The text that everybody on the device reads: `public`.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod activations;
mod back;
mod busy;
mod by_hand;
mod cells;
mod components;
mod creates_and_deletes;
mod downloads;
mod in_place;
mod installs;
mod public;
mod purges;
mod sections;
mod sequences;
mod steps;
mod stored;
mod table;
mod uninstalls;
mod writes;
