//! Only what can be read in one way is a package, whoever signed it.

use std::{fs, process::Command};

use wharf_frames::Cause;

use super::fixture::{Entry, Parts, Recipe, bench, bench_with_signer};
use crate::fixture::{Bench, Signer, refused, refused_as, run};

/// A change to the parts of a package, and the words of its refusal.
type Change = (&'static str, fn(&mut Parts), &'static str);

const CHANGES: &[Change] = &[
    (
        "a source package by its lead",
        |p| p.lead[7] = 1,
        "source package",
    ),
    (
        "another type in the lead",
        |p| p.lead[7] = 2,
        "unknown type",
    ),
    ("a lead of version 2", |p| p.lead[4] = 2, "version 2.0"),
    ("a lead of version 5", |p| p.lead[4] = 5, "version 5.0"),
    (
        "a lead without signature header",
        |p| p.lead[79] = 0,
        "no signature header",
    ),
    (
        "no tag of the source",
        |p| p.header.remove(1044),
        "source package",
    ),
    (
        "a tag of source packages",
        |p| p.header.put(Entry::numbers(1106, &[1])),
        "source package",
    ),
    (
        "a delta package",
        |p| p.header.put(Entry::text(1124, "drpm")),
        "delta package",
    ),
    (
        "a payload of another format",
        |p| p.header.put(Entry::text(1124, "tar")),
        "not cpio",
    ),
    (
        "no format of the payload",
        |p| p.header.remove(1124),
        "not cpio",
    ),
    (
        "bzip2",
        |p| p.header.put(Entry::text(1125, "bzip2")),
        "compressed by \"bzip2\"",
    ),
    (
        "lzma",
        |p| p.header.put(Entry::text(1125, "lzma")),
        "compressed by \"lzma\"",
    ),
    (
        "version 5 of the format",
        |p| p.header.put(Entry::numbers(5114, &[5])),
        "version 5 of the format",
    ),
    (
        "version 7 of the format",
        |p| p.header.put(Entry::numbers(5114, &[7])),
        "version 7 of the format",
    ),
    (
        "no digest of the payload",
        |p| p.header.remove(5092),
        "no SHA-256",
    ),
    (
        "an empty digest",
        |p| p.header.put(Entry::texts(5092, &[""])),
        "no SHA-256",
    ),
    (
        "a digest by MD5",
        |p| p.header.put(Entry::numbers(5093, &[1])),
        "no SHA-256",
    ),
    (
        "two digests of the payload",
        |p| {
            let digest = "0".repeat(64);
            p.header.put(Entry::texts(5092, &[&digest, &digest]));
        },
        "no SHA-256",
    ),
    (
        "a digest of another type",
        |p| p.header.put(Entry::binary(5092, &[0; 32])),
        "tag 5092",
    ),
    (
        "a tag twice",
        |p| p.header.0.insert(2, p.header.0[1].clone()),
        "occurs twice",
    ),
    (
        "tags out of order",
        |p| p.header.0.swap(1, 2),
        "out of order",
    ),
    (
        "a region in the region",
        |p| p.header.0.insert(0, Entry::binary(63, &[0; 16])),
        "out of order",
    ),
    (
        "an unknown type",
        |p| p.header.get(1000).kind = 10,
        "unknown type",
    ),
    (
        "two texts in one",
        |p| p.header.get(1000).count = 2,
        "elements",
    ),
    ("no elements", |p| p.header.get(1000).count = 0, "elements"),
    (
        "a signature tag twice",
        |p| p.signature.0.push(p.signature.0[0].clone()),
        "occurs twice",
    ),
    (
        "too many entries in the signature header",
        |p| p.signature.0 = (1000..1032).map(|tag| Entry::numbers(tag, &[0])).collect(),
        "33 entries",
    ),
    (
        "too much data in the signature header",
        |p| p.signature.put(Entry::binary(1008, &[0; 17 << 20])),
        "bytes of data",
    ),
    (
        "much data in the header",
        |p| p.header.put(Entry::binary(20_000, &[0; 33 << 20])),
        "bytes of data",
    ),
    (
        "a size of other bytes",
        |p| p.signature.put(Entry::numbers(1000, &[1])),
        "follow its end",
    ),
    (
        "a size of missing bytes",
        |p| p.signature.put(Entry::numbers(1000, &[1 << 30])),
        "missing at its end",
    ),
];

/// Refused as malformed for this reason, however it is signed.
#[track_caller]
fn refused_for(what: &str, bench: &Bench, signer: &Signer, bytes: &[u8], why: &str) {
    let package = bench.write(bytes);
    let beside = signer.sign(&package);
    for signature in [None, Some(&beside[..])] {
        let got = bench.verify(&package, signature);
        let failure = refused_as(what, got, Cause::Malformed);
        let detail = failure.detail.as_str();
        assert!(detail.contains(why), "{what}: {detail}");
    }
    let got = bench.describe(&package);
    refused_as(what, got, Cause::Malformed);
}

#[test]
fn a_package_that_could_be_read_in_two_ways_is_malformed_however_it_is_signed() {
    let (bench, signer) = bench_with_signer();
    let sound = Parts::of(&Recipe::default().build(&bench));
    for (what, change, why) in CHANGES {
        let mut parts = sound.clone();
        let size = parts.signature.get(1000).clone();
        change(&mut parts);
        if *parts.signature.get(1000) == size {
            parts.signature.remove(1000);
        }
        refused_for(what, &bench, &signer, &parts.bytes(), why);
    }
}

/// Changes of bytes that no part has: position from the start of a header, new byte.
#[test]
fn a_region_that_is_not_the_whole_header_is_malformed() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    let parts = Parts::of(&package);
    let sound = fs::read(&package).unwrap();
    let signature = parts.signature.bytes(62).len();
    let start = (96 + signature).next_multiple_of(8);
    let end = start + parts.header.bytes(63).len();
    let trailer = |at: usize| {
        if at == 96 {
            96 + signature - 16
        } else {
            end - 16
        }
    };
    for at in [96, start] {
        for (what, position, byte, why) in [
            ("another magic", at, 0x8f, "begin as a header"),
            ("another version", at + 3, 2, "begin as a header"),
            ("reserved bytes", at + 7, 1, "begin as a header"),
            ("the region of another header", at + 19, 61, "region"),
            ("a region of another type", at + 23, 6, "region"),
            ("a region elsewhere", at + 26, 0xff, "region"),
            ("a long region", at + 31, 32, "region"),
            ("a trailer of another header", trailer(at) + 3, 61, "region"),
            ("a trailer of another type", trailer(at) + 7, 6, "region"),
            (
                "a region of fewer entries",
                trailer(at) + 11,
                sound[trailer(at) + 11].wrapping_add(16),
                "region",
            ),
            ("a long trailer", trailer(at) + 15, 32, "region"),
        ] {
            let mut changed = sound.clone();
            changed[position] = byte;
            let what = format!("{what} at {at}");
            refused_for(&what, &bench, &signer, &changed, why);
        }
    }
    let mut padded = sound.clone();
    assert!(start - (96 + signature) > 0, "no padding");
    padded[start - 1] = 1;
    refused_for("padding", &bench, &signer, &padded, "padding");
}

/// An entry behind the region is what rpm's database has, and no signature covers it.
#[test]
fn an_entry_behind_the_region_is_malformed() {
    let (bench, signer) = bench_with_signer();
    let parts = Parts::of(&Recipe::default().build(&bench));
    let region = parts.header.bytes(63);
    let mut longer = parts.clone();
    longer.header.0.push(Entry::numbers(20_000, &[7]));
    let mut header = longer.header.bytes(63);
    // The trailer still has the extent of the shorter region, and stands where it stood.
    let trailer = header.len() - 16;
    header[trailer + 8..trailer + 12].copy_from_slice(&region[region.len() - 8..region.len() - 4]);
    let mut bytes = [&parts.lead[..], &parts.signature.bytes(62)].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let bytes = [bytes, header, parts.payload].concat();
    refused_for("an entry more", &bench, &signer, &bytes, "region");
}

#[test]
fn missing_and_trailing_bytes_are_malformed() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_rpm(&package);
    let sound = fs::read(&package).unwrap();
    for (cut, why) in [
        (1, "1 bytes are missing at its end"),
        (Parts::of(&package).payload.len(), "are missing at its end"),
        (sound.len() / 2, "the file ends within it"),
        (sound.len() - 97, "the file ends within it"),
        (sound.len() - 96, "the file ends within it"),
    ] {
        let cut = &sound[..sound.len() - cut];
        refused_for("cut", &bench, &signer, cut, why);
    }
    for rest in ["\n", "trailing", &"\0".repeat(512)] {
        let longer = [&sound[..], rest.as_bytes()].concat();
        refused_for(rest, &bench, &signer, &longer, "bytes follow its end");
    }
    let twice = sound.repeat(2);
    refused_for("twice", &bench, &signer, &twice, "bytes follow its end");
}

#[test]
fn source_packages_of_rpmbuild_are_malformed() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build_source(&bench);
    let bytes = fs::read(&package).unwrap();
    refused_for("source", &bench, &signer, &bytes, "source package");
    // rpm reads the type in the header alone.
    let mut binary = bytes.clone();
    binary[7] = 0;
    refused_for(
        "source as binary",
        &bench,
        &signer,
        &binary,
        "source package",
    );
}

#[test]
fn what_is_no_rpm_package_at_all_is_of_the_wrong_kind() {
    let bench = bench();
    let deb = Bench::new();
    let deb = crate::fixture::Recipe::default().build(&deb);
    for bytes in [
        &b""[..],
        b"x",
        &[0; 200],
        b"<html>",
        b"\xed\xab\xee\xdb",
        &[0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0, 0],
        &fs::read(deb).unwrap(),
    ] {
        refused(bench.verify(&bench.write(bytes), None), Cause::WrongKind);
        refused(bench.describe(&bench.write(bytes)), Cause::WrongKind);
    }
}

/// The most that the two headers may have fits into the memory of wharf-inspect, and so does a payload of any length.
#[test]
fn memory_does_not_grow_with_the_package() {
    let (bench, signer) = bench_with_signer();
    let recipe = Recipe {
        payload: "w.ufdio",
        ..Recipe::default()
    };
    let mut parts = Parts::of(&recipe.build(&bench));
    let length = parts.header.bytes(63).len() as u32;
    let most = (32 << 20) - length as usize;
    parts.header.put(Entry::binary(20_000, &vec![0; most]));
    parts.signature.remove(1000);
    parts.signature.remove(1004);
    let payload = bench.path("payload");
    fs::File::create(&payload)
        .unwrap()
        .set_len(300 << 20)
        .unwrap();
    let printed = run(Command::new("sha256sum").arg(&payload));
    let digest = String::from_utf8(printed[..64].to_vec()).unwrap();
    parts.header.put(Entry::texts(5092, &[&digest]));
    parts.payload.clear();
    parts.sign(&bench, &signer);
    parts.signature.put(Entry::binary(1008, &vec![0; 15 << 20]));
    let package = bench.write(&parts.bytes());
    let head = fs::metadata(&package).unwrap().len();
    let file = fs::File::options().write(true).open(&package).unwrap();
    file.set_len(head + (300 << 20)).unwrap();
    bench.verify(&package, None).unwrap();
    bench.describe(&package).unwrap();
}
