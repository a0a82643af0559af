//! The allocator of programs under test. It finds secrets in blocks that are freed before they are wiped.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    slice,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

static SECRETS: OnceLock<Vec<&[u8]>> = OnceLock::new();
static FOUND: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Watching = Watching;

struct Watching;

/// From now on looks for these secrets. Only the first call counts.
pub fn look_for(secrets: Vec<&'static [u8]>) {
    let _ = SECRETS.set(secrets);
}

/// The number of freed blocks with a secret so far. Standard error shows where each was freed.
pub fn found() -> usize {
    FOUND.load(Ordering::SeqCst)
}

// SAFETY: each block comes from the system's allocator, and goes back to it with its own layout.
#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match SECRETS.get() {
            None => unsafe { System.alloc(layout) },
            // Zeroed, since a C library may have freed this memory with a secret in it.
            Some(_) => unsafe { System.alloc_zeroed(layout) },
        }
    }

    // A block that grows is a new block, so that the old one comes by here as well.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(secrets) = SECRETS.get() {
            let bytes = unsafe { slice::from_raw_parts(block, layout.size()) };
            secrets.iter().for_each(|secret| search(bytes, secret));
        }
        unsafe { System.dealloc(block, layout) }
    }
}

fn search(bytes: &[u8], secret: &[u8]) {
    if bytes.windows(secret.len()).any(|part| part == secret) {
        FOUND.fetch_add(1, Ordering::SeqCst);
        eprintln!("freed with a secret in it: {}", Backtrace::force_capture());
    }
}
