//! An untrusted package of opkg: its framing, what it says of itself, and its files.

#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use wharf_inspect::{
    entry::{Entry, Kind},
    format::{
        PackageFormat,
        ipk::{
            Ipk,
            framing::{self, Framing},
        },
    },
};

fuzz_target!(|file: &[u8]| {
    let length = file.len() as u64;
    if let Ok(framing) = framing::of(&file, length) {
        if let Framing::Ar(layout) = framing {
            let end = layout.control.range.end.max(layout.data.range.end);
            assert_eq!(end.next_multiple_of(2), length);
        }
        let _ = Ipk.describe(&file, length);
        let _ = Ipk.files(&file, length, &mut |entry: Entry<'_>| {
            if let Kind::File(content) = entry.kind {
                io::copy(content, &mut io::sink())?;
            }
            Ok(())
        });
    }
});
