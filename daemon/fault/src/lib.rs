//! Fault points: a test ends a program at a chosen step. Without the feature `faults` they do nothing.

#![forbid(unsafe_code)]

/// The exit code of a program that a fault point ended.
pub const EXIT: i32 = 86;

/// A fault point. `WHARF_FAULT_AT=7` exits at the seventh one, `WHARF_FAULT_AT=job.applied=2` at the second one of this
/// name.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    imp::point(name);
}

/// A fault point, which does nothing in a shipped program.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn point(_name: &str) {}

#[cfg(feature = "faults")]
mod imp {
    use std::{
        env, process,
        sync::atomic::{AtomicU32, Ordering},
    };

    static PASSED: AtomicU32 = AtomicU32::new(0);

    pub(super) fn point(name: &str) {
        let Ok(wanted) = env::var("WHARF_FAULT_AT") else {
            return;
        };
        let count = match wanted.split_once('=') {
            Some((wanted, count)) if wanted == name => count,
            Some(_) => return,
            None => &wanted,
        };
        let passed = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
        if count.parse() == Ok(passed) {
            eprintln!("exit at step {passed}: {name}");
            process::exit(super::EXIT);
        }
    }
}
