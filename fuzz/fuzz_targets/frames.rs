//! Packets of the sockets between our programs: no packet causes a panic, and a decoded request survives its encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_frames::{decode, encode, fetch, inspect, installer, packed::PackedFiles};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = installer::InstallerRequest::read(bytes) {
        let again = encode(&request).expect("a decoded frame fits into a frame");
        assert_eq!(decode::<installer::InstallerRequest>(&again).expect("our own frame"), request);
    }
    let _ = decode::<installer::InstallerReply>(bytes);
    let _ = decode::<fetch::FetchRequest>(bytes);
    let _ = decode::<fetch::FetchEvent>(bytes);
    let _ = decode::<inspect::Question>(bytes);
    let _ = PackedFiles::default().take(bytes);
    if let Ok(packet) = <&[u8; inspect::FINDING_LENGTH]>::try_from(bytes) {
        let _ = inspect::Finding::from_packet(packet);
    }
});
