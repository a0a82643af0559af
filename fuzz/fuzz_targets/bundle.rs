//! An untrusted bundle: its manifest and its packages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_bundle::Manifest;
use wharf_frames::packed::Frames;
use wharf_inspect::bundle::{write_manifest, write_members};

fuzz_target!(|file: &[u8]| {
    let length = file.len() as u64;
    let (mut manifest, mut members) = (Vec::new(), Vec::new());
    let manifests = write_manifest(&file, length, &mut manifest);
    let Ok(number) = write_members(&file, length, &mut members) else {
        return;
    };
    assert_eq!(manifests, Ok(1), "its packages are read, and its manifest is not");
    let mut parsed = None;
    let mut frames = Frames::default();
    let taken = frames.append(&manifest, |it: Manifest| {
        parsed = Some(it);
        Ok(())
    });
    assert!(taken.is_ok() && frames.finish().is_ok());
    let parsed = parsed.expect("a manifest");
    assert_eq!(Manifest::parse(&parsed.to_toml()), Ok(parsed.clone()));
    assert_eq!(parsed.installs().count(), number as usize);
    let mut rest = members.as_slice();
    for _ in 0..number {
        let (head, after) = rest.split_first_chunk().expect("a length");
        let length = usize::try_from(u64::from_be_bytes(*head)).expect("a short package");
        rest = after.get(length..).expect("a whole package");
    }
    assert!(rest.is_empty(), "bytes behind the last package");
});
