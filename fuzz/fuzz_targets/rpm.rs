//! An untrusted package of rpm: its parts, what it says of itself, and its files.

#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use wharf_inspect::{
    entry::{Entry, Kind},
    format::{
        PackageFormat,
        rpm::{Rpm, layout::layout},
    },
};

fuzz_target!(|file: &[u8]| {
    let length = file.len() as u64;
    if let Ok(layout) = layout(&file, length) {
        assert_eq!(layout.covered.end, layout.payload.range.start);
        assert_eq!(layout.payload.range.end, length);
        let _ = Rpm.signature_inside(&file, length);
        let _ = Rpm.describe(&file, length);
        let _ = Rpm.files(&file, length, &mut |entry: Entry<'_>| {
            if let Kind::File(content) = entry.kind {
                io::copy(content, &mut io::sink())?;
            }
            Ok(())
        });
    }
});
