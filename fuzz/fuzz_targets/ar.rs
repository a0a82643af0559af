//! A package from anywhere: the framing, and what is behind it when that is sound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_installers::inspect::{ar, deb};

fuzz_target!(|file: &[u8]| {
    let length = file.len() as u64;
    if let Ok(layout) = ar::layout(file, length) {
        let end = layout.origin.unwrap_or(layout.data.range).end;
        assert!(end.next_multiple_of(2) <= length);
        let _ = deb::describe(file, length);
    }
});
