//! Fault points: a test ends a program at a chosen step. Without the feature `faults` they do nothing.

#![deny(unsafe_code)]

#[cfg(feature = "faults")]
pub mod freed;

/// The exit code of a program that a fault point ended.
pub const EXIT: i32 = 86;

/// A fault point. `WHARF_FAULT_AT=7` exits at the seventh one, `WHARF_FAULT_AT=job.applied=2` at the second one of this
/// name. `WHARF_FAULT_FREED=a,b` exits at the first one after memory with the bytes `a` or `b` in it was freed.
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
        sync::{
            Once,
            atomic::{AtomicU32, Ordering},
        },
    };

    use super::freed;

    static PASSED: AtomicU32 = AtomicU32::new(0);
    static LOOK: Once = Once::new();

    pub(super) fn point(name: &str) {
        LOOK.call_once(look_for_secrets);
        if freed::found() > 0 {
            eprintln!("exit at {name}: freed memory has a secret");
            process::exit(super::EXIT);
        }
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

    fn look_for_secrets() {
        if let Ok(secrets) = env::var("WHARF_FAULT_FREED") {
            let secrets = secrets.leak().split(',');
            freed::look_for(secrets.map(str::as_bytes).collect());
        }
    }
}
