//! A file with more than one reading is not a package.

use std::fs;

use wharf_frames::Cause;

use crate::fixture::{Bench, Members, Recipe, refused, refused_as, run};

type Change = fn(&mut Members);

const STRANGE: &[(&str, Change)] = &[
    ("a member more at the end", |m| {
        m.0.push(("extra".into(), b"x".to_vec()))
    }),
    ("a member more in front", |m| {
        m.0.insert(0, ("_gpgorigin".into(), b"x".to_vec()))
    }),
    ("a member more between", |m| {
        m.0.insert(1, ("_gpgbuilder".into(), b"x".to_vec()))
    }),
    ("no data.tar", |m| {
        m.0.retain(|(name, _)| !name.starts_with("data"))
    }),
    ("two data.tar", |m| m.0.insert(3, m.0[2].clone())),
    ("two control.tar", |m| m.0.insert(2, m.0[1].clone())),
    ("control.tar after data.tar", |m| m.0.swap(1, 2)),
    ("the same signature twice", |m| m.0.push(m.0[3].clone())),
    ("debian-binary 2.1", |m| m.0[0].1 = b"2.1\n".to_vec()),
    ("debian-binary with more lines", |m| {
        m.0[0].1 = b"2.0\nmore\n".to_vec()
    }),
    ("an extended name", |m| m.0[1].0 = "#1/20".into()),
    ("a compression that is not taken", |m| {
        m.0[2].0 = "data.tar.bz2".into()
    }),
    ("a name that does not fit the compression", |m| {
        m.0[2].0 = "data.tar.gz".into()
    }),
];

#[test]
fn a_package_that_could_be_read_in_two_ways_is_malformed_however_it_is_signed() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_inside(&package);
    for (what, change) in STRANGE {
        let mut members = Members::of(&package);
        change(&mut members);
        let strange = bench.write(&members.bytes());
        let beside = signer.sign(&strange);
        for signature in [None, Some(&beside[..])] {
            let got = bench.verify(&strange, signature);
            refused_as(what, got, Cause::Malformed);
        }
    }
}

#[test]
fn bytes_after_the_last_member_are_malformed_where_dpkg_takes_them() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_inside(&package);
    for rest in ["\n", "trailing", &"x".repeat(60)] {
        let longer = bench.write(&[fs::read(&package).unwrap(), rest.into()].concat());
        run(std::process::Command::new("dpkg-deb")
            .arg("--info")
            .arg(&longer));
        refused(bench.verify(&longer, None), Cause::Malformed);
    }
}

#[test]
fn what_is_no_package_at_all_is_of_the_wrong_kind() {
    let bench = Bench::new();
    for bytes in [
        &b""[..],
        b"x",
        &[0; 20],
        b"\xed\xab\xee\xdb\x03\0 an rpm's lead",
        b"<html>",
    ] {
        refused(bench.verify(&bench.write(bytes), None), Cause::WrongKind);
        refused(bench.describe(&bench.write(bytes)), Cause::WrongKind);
    }
    refused(
        bench.verify(&bench.write(b"!<arch>\n"), None),
        Cause::Malformed,
    );
    refused(
        bench.verify(&bench.write(b"!<arch>\ndebian-binar"), None),
        Cause::Malformed,
    );
}

/// debsigs signs bytes, not names, and a member's name says how its bytes are unpacked.
#[test]
fn a_member_renamed_under_the_signature_is_malformed() {
    let endings = [
        ("none", ""),
        ("gzip", ".gz"),
        ("xz", ".xz"),
        ("zstd", ".zst"),
    ];
    for (compression, _) in endings {
        let (bench, signer) = Bench::with_signer();
        let package = Recipe::compressed(compression).build(&bench);
        signer.sign_inside_by_hand(&bench, &package);
        bench.verify(&package, None).unwrap();
        for (other, ending) in endings.iter().filter(|(other, _)| *other != compression) {
            for (position, stem) in [(1, "control.tar"), (2, "data.tar")] {
                let mut members = Members::of(&package);
                members.0[position].0 = format!("{stem}{ending}");
                let renamed = bench.write(&members.bytes());
                let what = format!("{stem} of {compression} as {other}");
                refused_as(&what, bench.verify(&renamed, None), Cause::Malformed);
            }
        }
    }
}

/// The compressors that dpkg has supported, under names that are rejected.
#[test]
fn a_member_of_another_compressor_is_no_uncompressed_one() {
    let (bench, signer) = Bench::with_signer();
    let recipe = Recipe::compressed("none");
    let plain = Members::of(&recipe.build(&bench));
    for compressor in ["bzip2", "xz --format=lzma"] {
        for position in [1, 2] {
            let unpacked = bench.path("unpacked");
            fs::write(&unpacked, &plain.0[position].1).unwrap();
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &format!("{compressor} -c {}", unpacked.display())]);
            let mut members = plain.clone();
            members.0[position].1 = run(&mut shell);
            let package = bench.write(&members.bytes());
            signer.sign_inside_by_hand(&bench, &package);
            let what = format!("{compressor} in {}", members.0[position].0);
            refused_as(&what, bench.verify(&package, None), Cause::Malformed);
        }
    }
}

/// The attack that the strict framing prevents: debsigs signs bytes, not boundaries.
#[test]
fn a_boundary_moved_under_the_signature_is_malformed() {
    for compression in ["none", "gzip", "xz", "zstd"] {
        let (bench, signer) = Bench::with_signer();
        let package = Recipe::compressed(compression).build(&bench);
        signer.sign_inside_by_hand(&bench, &package);
        let original = Members::of(&package);
        let (control, data) = (&original.0[1].1, &original.0[2].1);
        let bytes = [&control[..], &data[..]].concat();
        for boundary in [
            1,
            control.len() / 2,
            control.len() - 1,
            control.len() + 1,
            control.len() + 512,
            bytes.len(),
        ] {
            let mut moved = original.clone();
            let (first, second) = bytes.split_at(boundary.min(bytes.len()));
            moved.0[1].1 = first.to_vec();
            moved.0[2].1 = second.to_vec();
            let moved = bench.write(&moved.bytes());
            let got = bench
                .verify(&moved, None)
                .and_then(|_| bench.describe(&moved));
            refused_as(
                &format!("{compression}, {boundary} instead of {}", control.len()),
                got,
                Cause::Malformed,
            );
        }
    }
}
