//! What the machine must hold: `rows` by the decisions.

mod cells;
mod rows;
mod sequences;
mod stored;
