//! Exits at a chosen step, to show that every step may be the last. Without the feature `faults` there is
//! nothing here.

#![forbid(unsafe_code)]

/// What a program exits with that was told to.
pub const EXIT: i32 = 86;

/// A step that may be the last: `WHARF_FAULT_AT=7` exits at the seventh, `WHARF_FAULT_AT=job.applied=2` at the
/// second of this name.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    imp::point(name);
}

/// A step that may be the last, in tests.
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
