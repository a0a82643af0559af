//! The engine: takes one input, changes its state once, and lays out what is to be done.

use std::collections::VecDeque;

use crate::{Config, Input, Objects, Output, Time};

/// The LwM2M client of one server account.
pub struct Engine {
    outputs: VecDeque<Output>,
}

impl Engine {
    /// An engine that is silent until [`Input::Start`]. The seed must differ each time the program starts: Message
    /// IDs, tokens and pauses come from it.
    pub fn new(config: Config, objects: Objects, seed: u64) -> Self {
        let _ = (config, objects, seed);
        Self {
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input. Afterwards call [`poll_output`](Self::poll_output) until it returns `None`, then
    /// [`next_deadline`](Self::next_deadline).
    pub fn handle(&mut self, now: Time, input: Input) {
        let _ = (now, input);
    }

    /// What is to be done next, in order. To be called after each [`handle`](Self::handle), until `None`; it may be interrupted
    /// by another `handle`, with the answer to a request for example.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is to be handled, unless another input changes it first. To be called once no
    /// output is left; `None` means that nothing happens by itself.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }
}
