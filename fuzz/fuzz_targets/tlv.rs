//! TLV entries survive their encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lwm2m::tlv::{entries, push};

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = entries(bytes) else { return };
    let mut written = Vec::new();
    for entry in &read {
        push(&mut written, entry.kind, entry.id, entry.value);
    }
    assert!(written.len() <= bytes.len(), "our form is the shortest");
    assert_eq!(entries(&written), Ok(read));
});
