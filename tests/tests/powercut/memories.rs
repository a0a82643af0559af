//! The memory of a server at each position of a disk's log. A power cut of the gateway leaves the server with the
//! memory of that position.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use wharf_tests::{
    disk::Disk,
    server::{Memory, ReceivedNotification, TestServer},
};

use crate::story::{RESTS, SERVER};

/// The observed resources of `/9/0`, each with its value when it was observed.
pub(crate) const OBSERVED: [(u16, &str); 4] = [(0, ""), (1, ""), (9, "0"), (7, "0")];

/// Each memory, with its position in the log. Later writes may rely on it.
#[derive(Clone, Default)]
pub(crate) struct Memories(Arc<Mutex<Vec<(usize, Memory)>>>);

impl Memories {
    /// Begins with this memory.
    pub(crate) fn from(memory: Memory) -> Self {
        Self(Arc::new(Mutex::new(vec![(0, memory)])))
    }

    /// A server with the last memory, whose changes are recorded by the position of this disk's log.
    pub(crate) fn server(&self, disk: &Disk) -> TestServer {
        let (position, memories) = (disk.position(), Arc::clone(&self.0));
        TestServer::remembering(SERVER, self.at(usize::MAX), move |memory| {
            memories.lock().unwrap().push((position.now(), memory));
        })
    }

    /// The memory at this position of the log.
    pub(crate) fn at(&self, position: usize) -> Memory {
        let memories = self.0.lock().unwrap();
        let before = memories.iter().rev().find(|(at, _)| *at <= position);
        before.map(|(_, memory)| memory.clone()).unwrap_or_default()
    }
}

/// The last one of [`RESTS`] that these notifications report. They arrive in the order of `RESTS`.
pub(crate) fn told_by(notifications: &[ReceivedNotification]) -> usize {
    let (mut told, mut values) = (0, BTreeMap::new());
    for notified in notifications {
        values.insert(notified.path.as_str(), notified.response.text());
        let value = |path| values.get(path).map_or("", String::as_str);
        let update = format!("{}/{}", value("/9/0/7"), value("/9/0/9"));
        let next = RESTS.get(told + 1);
        let is_next =
            |rest: &crate::story::Rest| rest.is(&update, value("/9/0/0"), value("/9/0/1"));
        if notified.path == "/9/0/7" && next.is_some_and(is_next) {
            told += 1;
        }
    }
    told
}
