//! The same files to rpmkeys, which judges as rpm does where it demands signatures. Each difference has its reason here;
//! docs/decisions/0041 has those of newer rpm too.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    fixture::{Entry, Parts, Recipe, bench, bench_with_signer},
    signatures::vector,
};
use crate::fixture::{Bench, Signer, run};

/// Whether wharf-inspect and rpmkeys accept the package now: rpmkeys judges at no other time.
fn who_takes(bench: &Bench, package: &Path) -> [bool; 2] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let verified = bench.verify_at(package, None, now.as_secs());
    let described = verified.and_then(|_| bench.describe(package));
    let database = tempfile::tempdir().unwrap();
    let rpmkeys = || {
        let mut rpmkeys = Command::new("rpmkeys");
        rpmkeys.env("HOME", database.path());
        rpmkeys.arg("--dbpath").arg(database.path());
        rpmkeys
    };
    for certificate in fs::read_dir(bench.path("keys")).unwrap() {
        run(rpmkeys().arg("--import").arg(certificate.unwrap().path()));
    }
    let mut judge = rpmkeys();
    judge.args(["--define", "_pkgverify_level all", "--checksig"]);
    let takes = judge.arg(package).output().unwrap().status.success();
    [described.is_ok(), takes]
}

type Change = (&'static str, fn(&mut Parts));

/// To a package that rpmsign signed. Both refuse it.
const REFUSED: &[Change] = &[
    ("a byte of the payload", |p| p.payload[30] ^= 1),
    ("a cut payload", |p| p.payload.truncate(p.payload.len() - 1)),
    ("a longer payload", |p| p.payload.push(0)),
    ("no payload", |p| p.payload.clear()),
    ("a byte of a text", |p| p.header.get(1004).data[0] ^= 1),
    ("another name", |p| p.header.put(Entry::text(1000, "hallo"))),
    ("another digest of the payload", |p| {
        p.header.get(5092).data[0] ^= 1
    }),
    ("a tag more", |p| p.header.put(Entry::numbers(20_000, &[1]))),
    ("a byte of the signature", |p| {
        p.signature.get(267).data[80] ^= 1
    }),
    ("no OpenPGP packet", |p| {
        p.signature.put(Entry::binary(267, b"signature"))
    }),
    ("no signature", |p| p.signature.remove(267)),
    ("a text for a signature", |p| {
        p.signature.put(Entry::text(267, "x"))
    }),
    ("another SHA-256 of the header", |p| {
        p.signature.get(273).data[0] ^= 1
    }),
    ("too many entries in the signature header", |p| {
        p.signature
            .0
            .extend((2000..2030).map(|tag| Entry::numbers(tag, &[1])))
    }),
    ("no lead", |p| p.lead[0] = 0),
    ("a lead of version 5", |p| p.lead[4] = 5),
];

/// To a package that rpmsign signed. Both take it.
const TAKEN: &[Change] = &[
    ("as it is", |_| {}),
    ("another name in the lead", |p| p.lead[10] = b'x'),
    ("another architecture in the lead", |p| p.lead[9] = 7),
    ("another system in the lead", |p| p.lead[77] = 7),
    ("no space for signatures", |p| p.signature.remove(1008)),
    ("another unpacked size", |p| {
        p.signature.get(1007).data[3] ^= 1
    }),
    ("an unknown tag in the signature header", |p| {
        p.signature.put(Entry::binary(300, &[1]))
    }),
];

/// To a package that rpmsign signed: rpmkeys takes it. No signature covers the lead and the signature header, so anybody
/// can make these, and rpmbuild and rpmsign make none.
const STRICTER: &[Change] = &[
    // rpm reads the type in the header alone.
    ("a source package by its lead", |p| p.lead[7] = 1),
    // rpm has no use for it. It tells a cut download from an altered package.
    ("another size", |p| p.signature.get(1000).data[3] ^= 1),
    // rpm 6 refuses it as well.
    ("no SHA-256 of the header", |p| p.signature.remove(273)),
    // rpm takes one of the two.
    ("a signature tag twice", |p| {
        p.signature.0.push(p.signature.0[0].clone())
    }),
    ("signature tags out of order", |p| p.signature.0.reverse()),
    // rpm takes 64 MiB.
    ("a long signature header", |p| {
        p.signature.put(Entry::binary(1008, &[0; 17 << 20]))
    }),
];

/// To a package that rpmsign signed: rpmkeys refuses it, for digests in the signature header that rpm 6 ignores, and that
/// are no reason to believe or to doubt a header with a signature that holds.
const OLD_DIGESTS: &[Change] = &[
    ("another SHA-1 of the header", |p| {
        p.signature.get(269).data[0] ^= 1
    }),
    ("another MD5 of the package", |p| {
        p.signature.get(1004).data[0] ^= 1
    }),
];

/// To a header that is signed again. Both refuse it.
const SIGNED_AND_REFUSED: &[Change] = &[
    ("no digest of the payload", |p| p.header.remove(5092)),
    ("a digest of another payload", |p| {
        p.header.put(Entry::texts(5092, &[&"0".repeat(64)]))
    }),
    ("an unknown type", |p| p.header.get(1000).kind = 10),
    ("no elements", |p| p.header.get(1000).count = 0),
    ("two texts in one", |p| p.header.get(1000).count = 2),
    ("a low tag", |p| p.header.0.insert(0, Entry::text(64, "x"))),
    ("a region in the region", |p| {
        p.header.0.insert(0, Entry::binary(63, &[0; 16]))
    }),
];

/// To a header that is signed again: rpmkeys takes it, and asks no more than a signature that holds.
const SIGNED_AND_STRICTER: &[Change] = &[
    // Not to be installed.
    ("a source package", |p| p.header.remove(1044)),
    ("a delta package", |p| {
        p.header.put(Entry::text(1124, "drpm"))
    }),
    ("no format of the payload", |p| p.header.remove(1124)),
    ("bzip2", |p| p.header.put(Entry::text(1125, "bzip2"))),
    ("version 5 of the format", |p| {
        p.header.put(Entry::numbers(5114, &[5]))
    }),
    // To be read in two ways.
    ("a tag twice", |p| {
        p.header.0.insert(2, p.header.0[1].clone())
    }),
    ("a tag twice, far apart", |p| {
        p.header.0.push(Entry::text(1000, "hallo"))
    }),
    ("tags out of order", |p| p.header.0.swap(1, 2)),
    ("a name of two texts", |p| {
        p.header.put(Entry::texts(1000, &["hello", "hallo"]))
    }),
    ("two epochs", |p| {
        p.header.put(Entry::numbers(1003, &[1, 2]))
    }),
    ("a version with a hyphen", |p| {
        p.header.put(Entry::text(1001, "2-10"))
    }),
    ("a name with a space", |p| {
        p.header.put(Entry::text(1000, "he llo"))
    }),
    ("no name", |p| p.header.remove(1000)),
    // rpm looks at the first one, and takes SHA-256 whatever the header calls it.
    ("two digests of the payload", |p| {
        let digest = p.header.get(5092);
        digest.count = 2;
        digest.data = digest.data.repeat(2);
    }),
    ("a digest by another algorithm", |p| {
        p.header.put(Entry::numbers(5093, &[10]))
    }),
    // rpm takes 256 MiB.
    ("a long header", |p| {
        p.header.put(Entry::binary(20_000, &[0; 33 << 20]))
    }),
];

#[test]
fn rpmkeys_agrees_about_each_change_or_the_reason_of_the_difference_is_here() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_rpm(&package);
    let sound = Parts::of(&package);
    for (changes, expected) in [
        (REFUSED, [false, false]),
        (TAKEN, [true, true]),
        (STRICTER, [false, true]),
        (OLD_DIGESTS, [true, false]),
    ] {
        for (what, change) in changes {
            let mut parts = sound.clone();
            change(&mut parts);
            let changed = bench.write(&parts.bytes());
            assert_eq!(who_takes(&bench, &changed), expected, "{what}");
        }
    }
}

#[test]
fn rpmkeys_agrees_about_the_padding_of_the_signature_header_but_for_its_zeros() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_rpm(&package);
    let parts = Parts::of(&package);
    let end = 96 + parts.signature.bytes(62).len();
    assert_ne!(end % 8, 0);
    let mut bytes = fs::read(&package).unwrap();
    bytes[end] = 1;
    assert_eq!(who_takes(&bench, &bench.write(&bytes)), [false, true]);
    bytes.splice(end..end.next_multiple_of(8), []);
    assert_eq!(who_takes(&bench, &bench.write(&bytes)), [false, false]);
}

#[test]
fn rpmkeys_agrees_about_each_signed_header_or_the_reason_of_the_difference_is_here() {
    let (bench, signer) = bench_with_signer();
    let sound = Parts::of(&Recipe::default().build(&bench));
    for (changes, expected) in [
        (SIGNED_AND_REFUSED, [false, false]),
        (SIGNED_AND_STRICTER, [false, true]),
    ] {
        for (what, change) in changes {
            let mut parts = sound.clone();
            change(&mut parts);
            parts.sign(&bench, &signer);
            let changed = bench.write(&parts.bytes());
            assert_eq!(who_takes(&bench, &changed), expected, "{what}");
        }
    }
}

/// rpm 4.18 takes one signature of a tag, and demands that it holds. rpm 6.1 takes several, and demands that each holds.
#[test]
fn rpmkeys_demands_that_no_signature_is_by_an_unknown_signer() {
    let (bench, signer) = bench_with_signer();
    let mut parts = Parts::of(&Recipe::default().build(&bench));
    let header = parts.header.bytes(63);
    let packets = [Signer::new(), signer].map(|signer| signer.packet(&bench, &header));
    parts.signature.put(Entry::binary(267, &packets.concat()));
    let package = bench.write(&parts.bytes());
    assert_eq!(who_takes(&bench, &package), [true, false]);
}

/// rpm judges a certificate at the time that the signature names, which anybody with an old key can choose freely.
#[test]
fn rpmkeys_takes_a_certificate_that_expired_after_it_signed() {
    let (bench, signer) = (bench(), Signer::with("ed25519", "2024-02-15"));
    bench.trust("packages.asc", &signer.certificate());
    let package = Recipe::default().build(&bench);
    signer.sign_rpm(&package);
    assert_eq!(who_takes(&bench, &package), [false, true]);
}

/// The header states the digest of the payload before and after its compression, and either is enough for rpm.
#[test]
fn rpmkeys_takes_a_payload_that_was_uncompressed_after_it_was_signed() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_rpm(&package);
    let mut parts = Parts::of(&package);
    let packed = bench.path("payload.gz");
    fs::write(&packed, &parts.payload).unwrap();
    parts.payload = run(Command::new("zcat").arg(&packed));
    for tag in [1000, 1004] {
        parts.signature.remove(tag);
    }
    let package = bench.write(&parts.bytes());
    assert_eq!(who_takes(&bench, &package), [false, true]);
}

#[test]
fn rpmkeys_agrees_about_signers() {
    let package = |bench: &Bench, signer: &Signer| {
        let package = Recipe::default().build(bench);
        signer.sign_rpm(&package);
        package
    };
    for algorithm in ["ed25519", "rsa2048"] {
        let (bench, signer) = (bench(), Signer::with(algorithm, "2034-01-01"));
        let package = package(&bench, &signer);
        assert_eq!(who_takes(&bench, &package), [false, false], "{algorithm}");
        bench.trust("packages.asc", &signer.certificate());
        assert_eq!(who_takes(&bench, &package), [true, true], "{algorithm}");
    }
}

/// rpm 4 does not know tag 278. rpm 6.1 takes each but the unsigned one.
#[test]
fn rpmkeys_before_6_sees_no_signature_in_a_package_of_version_6() {
    for (name, expected) in [
        ("one-signature.rpm", [true, false]),
        ("two-signatures.rpm", [true, false]),
        ("of-version-4.rpm", [true, true]),
        ("unsigned.rpm", [false, false]),
    ] {
        let (bench, package) = vector(name);
        assert_eq!(who_takes(&bench, &package), expected, "{name}");
    }
}
