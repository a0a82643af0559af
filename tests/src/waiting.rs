//! Waits for conditions, for as long as a loaded machine may need, never for a guessed time.

use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

/// The time limit of any wait: far beyond the needs of a slow machine.
pub const LIMIT: Duration = Duration::from_secs(60);

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Polls until `condition` returns a value, for state without events (a file, a process).
///
/// # Panics
///
/// After [`LIMIT`]. The message names `what`.
#[track_caller]
pub fn wait_until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_at_most(LIMIT, condition).unwrap_or_else(|| panic!("{what}: not within {LIMIT:?}"))
}

/// Polls until `condition` returns a value; none after `limit`. For a drop, which must not panic.
pub fn wait_at_most<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let give_up = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= give_up {
            return None;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// A value that one thread changes and others wait on.
#[derive(Debug, Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    /// Reads or changes the value, and wakes all waiting threads.
    pub fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let result = act(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `condition` returns a value; none after `limit`.
    pub fn wait_for<R>(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        let give_up = Instant::now() + limit;
        let mut value = self.lock();
        loop {
            if let Some(result) = condition(&mut value) {
                return Some(result);
            }
            let left = give_up.checked_duration_since(Instant::now())?;
            (value, _) = self.changed.wait_timeout(value, left).unwrap();
        }
    }

    // A test that failed while it held the lock must not hide its failure behind a poisoned lock.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.value
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
