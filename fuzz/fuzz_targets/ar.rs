//! An untrusted package: its ar framing, and its content if the framing is valid.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_inspect::format::{
    PackageFormat,
    deb::{Deb, ar},
};

fuzz_target!(|file: &[u8]| {
    let length = file.len() as u64;
    if let Ok(layout) = ar::layout(file, length) {
        let end = layout.origin.unwrap_or(layout.data.range).end;
        assert!(end.next_multiple_of(2) <= length);
        let _ = Deb.describe(&file, length);
        let _ = Deb.files(&file, length, &mut |_| Ok(()));
    }
});
