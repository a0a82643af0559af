//! The signer of the header, and whether the signature holds.

use std::{fs, os::fd::AsFd, path::PathBuf};

use wharf_frames::{Cause, Failure, inspect::Form};
use wharf_installers::{inspector::Terms, keyring::Keyring};

use super::fixture::{Entry, PAYLOADS, Parts, Recipe, bench, bench_with_signer};
use crate::fixture::{Bench, JUDGED_AT, SIGNED_AT, Signer, refused, refused_as};

/// A package of version 6, and a bench with the certificates that signed it. README.md says how they were made.
pub(super) fn vector(name: &str) -> (Bench, PathBuf) {
    let (bench, vectors) = (
        bench(),
        format!("{}/tests/inspect/rpm/vectors", env!("CARGO_MANIFEST_DIR")),
    );
    let read = |name: &str| fs::read(format!("{vectors}/{name}")).unwrap();
    bench.trust("ed25519.asc", &read("ed25519.asc"));
    let package = bench.write(&read(name));
    (bench, package)
}

#[test]
fn tells_the_signer_of_a_package_that_rpmsign_signed() {
    for (payload, algorithm) in PAYLOADS
        .iter()
        .zip(["ed25519", "rsa2048", "rsa4096", "rsa3072"])
    {
        let (bench, signer) = (bench(), Signer::with(algorithm, "2034-01-01"));
        bench.trust("packages.asc", &signer.certificate());
        let recipe = Recipe {
            payload,
            ..Recipe::default()
        };
        let package = recipe.build(&bench);
        signer.sign_rpm(&package);
        let verified = bench.verify(&package, None).unwrap();
        assert_eq!(verified.length, fs::metadata(&package).unwrap().len());
        let signed = verified.signed.unwrap();
        assert_eq!(signed.certificate.as_str(), signer.fingerprint);
        assert_eq!((signed.signed_at, signed.form), (SIGNED_AT, Form::Inside));
        bench.still_holds(&signed, JUDGED_AT).unwrap();
        assert_eq!(bench.describe(&package).unwrap().name.as_str(), "hello");
    }
}

#[test]
fn tells_the_signer_of_a_package_of_version_6() {
    for name in [
        "one-signature.rpm",
        "two-signatures.rpm",
        "of-version-4.rpm",
    ] {
        let (bench, package) = vector(name);
        let signed = bench.verify(&package, None).unwrap().signed.unwrap();
        assert_eq!((signed.signed_at, signed.form), (SIGNED_AT, Form::Inside));
        bench.still_holds(&signed, JUDGED_AT).unwrap();
        let mut bytes = fs::read(&package).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        refused_as(
            name,
            bench.verify(&bench.write(&bytes), None),
            Cause::BadSignature,
        );
    }
    let (bench, package) = vector("unsigned.rpm");
    refused(bench.verify(&package, None), Cause::Unsigned);
}

/// Whichever of them is trusted.
#[test]
fn one_trusted_signer_of_several_is_enough() {
    let (bench, package) = vector("two-signatures.rpm");
    let first = bench.verify(&package, None).unwrap().signed.unwrap();
    fs::remove_file(bench.path("keys/ed25519.asc")).unwrap();
    refused(bench.verify(&package, None), Cause::UntrustedSigner);
    let rsa = format!(
        "{}/tests/inspect/rpm/vectors/rsa3072.asc",
        env!("CARGO_MANIFEST_DIR")
    );
    bench.trust("rsa3072.asc", &fs::read(rsa).unwrap());
    let second = bench.verify(&package, None).unwrap().signed.unwrap();
    assert_ne!(first.certificate, second.certificate);
}

#[test]
fn tells_the_signer_of_a_package_with_a_signature_beside_it() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    let beside = signer.sign(&package);
    let signed = bench
        .verify(&package, Some(&beside))
        .unwrap()
        .signed
        .unwrap();
    assert_eq!(signed.certificate.as_str(), signer.fingerprint);
    assert_eq!(signed.form, Form::Beside);
    // It covers the whole file, lead and signature header too.
    for at in [20, 200, 5000] {
        let mut bytes = fs::read(&package).unwrap();
        bytes[at] ^= 1;
        let got = bench.verify(&bench.write(&bytes), Some(&beside));
        assert!(got.is_err(), "{at}: {got:?}");
    }
}

#[test]
fn the_signature_beside_the_package_is_judged_before_one_within() {
    let (bench, signer) = bench_with_signer();
    let (other, package) = (Signer::new(), Recipe::default().build(&bench));
    signer.sign_rpm(&package);
    let beside = other.sign(&package);
    refused(
        bench.verify(&package, Some(&beside)),
        Cause::UntrustedSigner,
    );
}

type Change = (&'static str, fn(&mut Parts));

const CHANGES: &[Change] = &[
    ("a byte of the payload", |p| p.payload[30] ^= 1),
    ("a byte of a text", |p| p.header.get(1004).data[0] ^= 1),
    ("another name", |p| p.header.put(Entry::text(1000, "hallo"))),
    ("another version", |p| {
        p.header.put(Entry::text(1001, "2.11"))
    }),
    ("another digest of the payload", |p| {
        let digit = &mut p.header.get(5092).data[0];
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }),
    ("a script more", |p| {
        p.header.put(Entry::text(1024, "touch /owned"))
    }),
    ("a tag more", |p| p.header.put(Entry::numbers(20_000, &[1]))),
    ("a tag less", |p| p.header.remove(1004)),
    ("another order of data", |p| {
        let copyright = p.header.get(1014).data.clone();
        let name = std::mem::replace(&mut p.header.get(1000).data, copyright);
        p.header.get(1014).data = name;
    }),
    ("a signature over nothing", |p| {
        p.signature.get(267).data[70] ^= 1
    }),
    ("no OpenPGP packet", |p| {
        p.signature.put(Entry::binary(267, b"signature"))
    }),
    ("half a packet", |p| {
        let half = p.signature.get(267).data[..60].to_vec();
        p.signature.put(Entry::binary(267, &half));
    }),
    ("a certificate for a signature", |p| {
        p.signature.put(Entry::binary(267, &[0x98, 1, 4]))
    }),
];

#[test]
fn a_changed_package_does_not_fit_the_signature_in_it() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_rpm(&package);
    let sound = Parts::of(&package);
    for (what, change) in CHANGES {
        let mut parts = sound.clone();
        change(&mut parts);
        // The sizes are right again, so that nothing but the signature refuses it.
        let size = parts.header.bytes(63).len() + parts.payload.len();
        parts.signature.put(Entry::numbers(1000, &[size as u32]));
        let got = bench.verify(&bench.write(&parts.bytes()), None);
        refused_as(what, got, Cause::BadSignature);
    }
}

/// Each part is signed, but not with the other.
#[test]
fn parts_of_two_signed_packages_are_none() {
    let (bench, signer) = bench_with_signer();
    let build = |version: &str| {
        let preamble = format!("Name: hello\nVersion: {version}\nRelease: 1\n");
        let install =
            format!("mkdir -p $RPM_BUILD_ROOT/opt; echo {version} > $RPM_BUILD_ROOT/opt/x\n");
        let recipe = Recipe {
            preamble: &preamble,
            install: &install,
            files: "/opt/x\n",
            ..Recipe::default()
        };
        let package = recipe.build(&bench);
        signer.sign_rpm(&package);
        bench.verify(&package, None).unwrap();
        Parts::of(&package)
    };
    let (old, new) = (build("1.0"), build("2.0"));
    for (what, header, payload, signature) in [
        ("another payload", &new, &old, &new),
        ("another header", &old, &new, &new),
        ("another signature", &new, &new, &old),
    ] {
        let mut parts = Parts {
            lead: new.lead.clone(),
            signature: signature.signature.clone(),
            header: header.header.clone(),
            payload: payload.payload.clone(),
        };
        let size = parts.header.bytes(63).len() + parts.payload.len();
        parts.signature.put(Entry::numbers(1000, &[size as u32]));
        let got = bench.verify(&bench.write(&parts.bytes()), None);
        refused_as(what, got, Cause::BadSignature);
    }
}

#[test]
fn a_package_with_no_signature_or_one_of_old_over_all_is_unsigned() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    refused(bench.verify(&package, None), Cause::Unsigned);
    // Before rpm 4.14 the signature was over header and payload together.
    let mut parts = Parts::of(&package);
    let both = [&parts.header.bytes(63)[..], &parts.payload].concat();
    let packet = signer.packet(&bench, &both);
    for tag in [1002, 1005] {
        parts.signature.put(Entry::binary(tag, &packet));
    }
    refused(
        bench.verify(&bench.write(&parts.bytes()), None),
        Cause::Unsigned,
    );
}

#[test]
fn an_unsigned_package_is_let_through_where_that_is_allowed_and_a_bad_signature_is_not() {
    let (bench, signer) = (bench(), Signer::new());
    let package = Recipe::default().build(&bench);
    let keyring = Keyring::read(&bench.path("keys")).unwrap();
    let verify = || {
        let terms = Terms {
            signature: None,
            keyring: &keyring,
            at: JUDGED_AT,
            allow_unsigned: true,
        };
        let verified = bench
            .inspector()
            .verify(fs::File::open(&package).unwrap().as_fd(), &terms);
        verified.map_err(Failure::from)
    };
    assert_eq!(verify().unwrap().unwrap().signed, None);
    signer.sign_rpm(&package);
    refused(verify(), Cause::UntrustedSigner);
}

#[test]
fn a_signer_is_judged_as_beside_a_package() {
    let (bench, expires) = (bench(), Signer::with("ed25519", "2024-02-15"));
    bench.trust("packages.asc", &expires.certificate());
    let package = Recipe::default().build(&bench);
    expires.sign_rpm(&package);
    bench.verify_at(&package, None, SIGNED_AT + 86400).unwrap();
    refused(bench.verify(&package, None), Cause::Expired);

    let signer = Signer::new();
    let mut parts = Parts::of(&package);
    parts.sign(&bench, &signer);
    let package = bench.write(&parts.bytes());
    refused(bench.verify(&package, None), Cause::UntrustedSigner);
    bench.trust("packages.asc", &signer.certificate());
    bench.verify(&package, None).unwrap();
    signer.revoke();
    bench.trust("packages.asc", &signer.certificate());
    refused(bench.verify(&package, None), Cause::Revoked);

    let short = Signer::with("rsa1024", "2034-01-01");
    bench.trust("short.asc", &short.certificate());
    parts.sign(&bench, &short);
    refused(
        bench.verify(&bench.write(&parts.bytes()), None),
        Cause::Weak,
    );
}

#[test]
fn four_signatures_are_tried_and_more_are_refused() {
    let (bench, signer) = bench_with_signer();
    let mut parts = Parts::of(&Recipe::default().build(&bench));
    let header = parts.header.bytes(63);
    let others: Vec<_> = (0..4)
        .map(|_| Signer::new().packet(&bench, &header))
        .collect();
    let trusted = signer.packet(&bench, &header);
    let mut judge = |packets: &[&[u8]]| {
        parts.signature.put(Entry::binary(267, &packets.concat()));
        bench.verify(&bench.write(&parts.bytes()), None)
    };
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| &others[at][..]);
    judge(&[a, b, c, &trusted]).unwrap();
    refused(judge(&[a, b, c, d]), Cause::UntrustedSigner);
    refused(judge(&[a, b, c, d, &trusted]), Cause::BadSignature);
}

/// rpmsign of Debian 12 does not write one.
#[test]
fn tells_the_signer_by_ecdsa() {
    let (bench, signer) = (bench(), Signer::with("nistp256", "2034-01-01"));
    bench.trust("packages.asc", &signer.certificate());
    let mut parts = Parts::of(&Recipe::default().build(&bench));
    parts.sign(&bench, &signer);
    let verified = bench.verify(&bench.write(&parts.bytes()), None);
    let signed = verified.unwrap().signed.unwrap();
    assert_eq!(signed.certificate.as_str(), signer.fingerprint);
}

#[test]
fn a_signature_header_whose_signatures_cannot_be_read_is_malformed() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_rpm(&package);
    let sound = Parts::of(&package);
    for (entry, why) in [
        (Entry::texts(278, &["{}"]), "tag 278"),
        (Entry::texts(278, &["Zm9v\n"]), "tag 278"),
        (Entry::text(278, "Zm9v"), "tag 278"),
        (Entry::texts(278, &["Zm9v"; 17]), "too many"),
        (Entry::binary(268, &[0; 65536]), "too long"),
        (Entry::text(267, "x"), "tag 267"),
    ] {
        let mut parts = sound.clone();
        parts.signature.put(entry);
        let got = bench.verify(&bench.write(&parts.bytes()), None);
        let failure = refused_as(why, got, Cause::Malformed);
        assert!(failure.detail.as_str().contains(why), "{why}: {failure}");
    }
}

#[test]
fn a_package_inside_a_message_is_judged_by_the_signature_around_it() {
    let (bench, signer) = bench_with_signer();
    let package = Recipe::default().build(&bench);
    let message = signer.sign_around(&bench, &package, &[]);
    let signed = bench.verify_inside(&message).unwrap().signed.unwrap();
    assert_eq!(signed.certificate.as_str(), signer.fingerprint);
    assert_eq!(signed.form, Form::Beside);
}
