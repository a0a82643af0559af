//! Exits at a chosen step, to show that every step may be the last. Without the feature `faults` there is nothing here.

/// A step that may be the last: `WHARF_FAULT_AT=7` exits at the seventh, `WHARF_FAULT_AT=job.applied=2` at the
/// second of this name.
#[cfg(feature = "faults")]
pub(crate) fn point(name: &str) {
    imp::point(name);
}

/// A step that may be the last, in tests.
#[cfg(not(feature = "faults"))]
#[inline]
pub(crate) fn point(_name: &str) {}

#[cfg(feature = "faults")]
mod imp {
    use std::{
        env, process,
        sync::atomic::{AtomicU32, Ordering},
    };

    /// What a program exits with that was told to.
    const EXIT: i32 = 86;

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
            process::exit(EXIT);
        }
    }
}
