//! The signer of a package, and whether the signature is trusted.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::Path,
    process::Command,
};

use wharf_frames::{
    Cause, Failure,
    inspect::{Form, Signed},
};
use wharf_installers::{
    inspector::{Held, Inspector, Terms},
    keyring::Keyring,
};

use crate::fixture::{
    Bench, CONTROL, JUDGED_AT, Members, Recipe, SIGNED, SIGNED_AT, Signer, refused, run,
};

fn sha256sum(path: &Path) -> String {
    let printed = run(Command::new("sha256sum").arg(path));
    String::from_utf8(printed[..64].to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn tells_the_signer_of_a_package_with_a_signature_beside_it() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    let verified = bench
        .verify(&package, Some(&signer.sign(&package)))
        .unwrap();
    let signed = verified.signed.unwrap();
    assert_eq!(signed.certificate.as_str(), signer.fingerprint);
    assert_eq!((signed.signed_at, signed.form), (SIGNED_AT, Form::Beside));
    assert_eq!(hex(&verified.digest), sha256sum(&package));
    assert_eq!(verified.length, fs::metadata(&package).unwrap().len());
}

#[test]
fn tells_the_signer_of_a_package_that_debsigs_signed() {
    for compression in ["none", "gzip", "xz"] {
        let (bench, signer) = Bench::with_signer();
        let package = Recipe::compressed(compression).build(&bench);
        signer.sign_inside(&package);
        let verified = bench.verify(&package, None).unwrap();
        let signed = verified.signed.unwrap();
        assert_eq!(signed.certificate.as_str(), signer.fingerprint);
        assert_eq!((signed.signed_at, signed.form), (SIGNED_AT, Form::Inside));
        assert_eq!(hex(&verified.digest), sha256sum(&package));
        assert_eq!(bench.describe(&package).unwrap().name.as_str(), "hello");
    }
}

/// debsigs 0.1.26 (Debian 12) does not support control.tar.zst, and then signs debian-binary alone.
#[test]
fn a_signature_over_less_than_the_three_members_does_not_fit() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    let mut members = Members::of(&package);
    let signed = bench.path("signed");
    fs::write(&signed, members.member("debian-binary")).unwrap();
    members.0.push(("_gpgorigin".into(), signer.sign(&signed)));
    refused(
        bench.verify(&bench.write(&members.bytes()), None),
        Cause::BadSignature,
    );
}

#[test]
fn a_package_without_any_signature_is_unsigned() {
    let (bench, _) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    refused(bench.verify(&package, None), Cause::Unsigned);
}

#[test]
fn an_unsigned_package_is_let_through_where_that_is_allowed_and_a_bad_signature_is_not() {
    let (bench, signer) = (Bench::new(), Signer::new());
    let package = Recipe::default().build(&bench);
    let keyring = Keyring::read(&bench.path("keys")).unwrap();
    let beside = signer.sign(&package);
    let verify = |signature| {
        let terms = Terms {
            signature,
            keyring: &keyring,
            at: JUDGED_AT,
            allow_unsigned: true,
        };
        bench
            .inspector()
            .verify(File::open(&package).unwrap().as_fd(), &terms)
            .map(|verified| verified.expect("a package"))
            .map_err(Failure::from)
    };
    let verified = verify(None).unwrap();
    assert_eq!(verified.signed, None);
    assert_eq!(hex(&verified.digest), sha256sum(&package));
    refused(verify(Some(&beside[..])), Cause::UntrustedSigner);
    signer.sign_inside(&package);
    refused(verify(None), Cause::UntrustedSigner);
}

#[test]
fn a_subkey_signs_for_its_certificate_until_it_expires() {
    let (bench, signer) = (Bench::new(), Signer::new());
    signer.add_subkey("2024-02-15");
    bench.trust("packages.asc", &signer.certificate());
    let package = Recipe::default().build(&bench);
    let signature = signer.sign(&package);
    let verified = bench
        .verify_at(&package, Some(&signature), SIGNED_AT + 86400)
        .unwrap();
    assert_eq!(
        verified.signed.unwrap().certificate.as_str(),
        signer.fingerprint
    );
    refused(bench.verify(&package, Some(&signature)), Cause::Expired);
}

#[test]
fn a_signer_who_is_not_in_the_keyring_is_untrusted() {
    let (bench, signer, other) = (Bench::new(), Signer::new(), Signer::new());
    let package = Recipe::default().build(&bench);
    let signature = signer.sign(&package);
    let failure = refused(
        bench.verify(&package, Some(&signature)),
        Cause::UntrustedSigner,
    );
    let expected = format!(
        "signed by {}, whose certificate is not in the keyring",
        signer.fingerprint
    );
    assert_eq!(failure.to_string(), expected);
    bench.trust("other.asc", &other.certificate());
    refused(
        bench.verify(&package, Some(&signature)),
        Cause::UntrustedSigner,
    );
    signer.sign_inside(&package);
    refused(bench.verify(&package, None), Cause::UntrustedSigner);
}

#[test]
fn one_signature_of_a_trusted_signer_among_others_is_enough() {
    let (bench, signer, other) = (Bench::new(), Signer::new(), Signer::new());
    bench.trust("packages.asc", &signer.certificate());
    let package = Recipe::default().build(&bench);
    let unarmored = |signer: &Signer| {
        let path = bench.path("signature");
        fs::write(&path, signer.sign(&package)).unwrap();
        run(signer
            .gpg(SIGNED)
            .args(["--output", "-", "--dearmor"])
            .arg(&path))
    };
    let both = [unarmored(&other), unarmored(&signer)].concat();
    let verified = bench.verify(&package, Some(&both)).unwrap();
    assert_eq!(
        verified.signed.unwrap().certificate.as_str(),
        signer.fingerprint
    );
    let trusted = unarmored(&signer);
    let four = trusted.repeat(4);
    bench.verify(&package, Some(&four)).unwrap();
    let five = trusted.repeat(5);
    refused(bench.verify(&package, Some(&five)), Cause::BadSignature);
}

/// A text-mode signature lets line ends change (RFC 9580 5.2.1.2), and so the commands that a shell reads.
#[test]
fn a_text_mode_signature_does_not_hold() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    let text = signer.sign_with(&package, &["--textmode"]);
    let failure = refused(bench.verify(&package, Some(&text)), Cause::BadSignature);
    assert!(failure.detail.as_str().contains("text mode"), "{failure}");
}

#[test]
fn a_changed_package_does_not_fit_its_signature() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    let signature = signer.sign(&package);
    for member in ["control.tar", "data.tar"] {
        let mut members = Members::of(&package);
        *members.member(member).last_mut().unwrap() ^= 1;
        let changed = bench.write(&members.bytes());
        refused(
            bench.verify(&changed, Some(&signature)),
            Cause::BadSignature,
        );
    }
}

#[test]
fn a_changed_member_does_not_fit_the_signature_in_the_package() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_inside(&package);
    for member in ["control.tar", "data.tar", "_gpgorigin"] {
        let mut members = Members::of(&package);
        *members.member(member).last_mut().unwrap() ^= 1;
        let changed = bench.write(&members.bytes());
        refused(bench.verify(&changed, None), Cause::BadSignature);
    }
}

#[test]
fn another_control_tar_does_not_fit_the_signature_in_the_package() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    signer.sign_inside(&package);
    let mut members = Members::of(&package);
    let control = CONTROL.replace("2.10", "2.11");
    let other = Recipe {
        control: &control,
        ..Recipe::default()
    };
    *members.member("control.tar") = Members::of(&other.build(&bench))
        .member("control.tar")
        .clone();
    let swapped = bench.write(&members.bytes());
    refused(bench.verify(&swapped, None), Cause::BadSignature);
}

#[test]
fn the_signature_beside_the_package_is_judged_before_one_within() {
    let (bench, signer, other) = (Bench::new(), Signer::new(), Signer::new());
    bench.trust("packages.asc", &signer.certificate());
    let package = Recipe::default().build(&bench);
    signer.sign_inside(&package);
    let beside = other.sign(&package);
    refused(
        bench.verify(&package, Some(&beside)),
        Cause::UntrustedSigner,
    );
}

#[test]
fn a_certificate_that_has_expired_vouches_for_nothing_even_if_it_signed_in_time() {
    let (bench, signer) = (Bench::new(), Signer::with("ed25519", "2024-02-15"));
    bench.trust("packages.asc", &signer.certificate());
    let package = Recipe::default().build(&bench);
    let signature = signer.sign(&package);
    bench
        .verify_at(&package, Some(&signature), SIGNED_AT + 86400)
        .unwrap();
    refused(bench.verify(&package, Some(&signature)), Cause::Expired);
}

#[test]
fn a_signature_that_has_expired_or_is_of_the_future_does_not_hold() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    let signature = signer.sign_with(&package, &["--default-sig-expire", "10"]);
    bench
        .verify_at(&package, Some(&signature), SIGNED_AT + 86400)
        .unwrap();
    refused(bench.verify(&package, Some(&signature)), Cause::Expired);
    let signature = signer.sign(&package);
    refused(
        bench.verify_at(&package, Some(&signature), SIGNED_AT - 86400),
        Cause::Expired,
    );
}

#[test]
fn a_revoked_certificate_vouches_for_nothing() {
    let (bench, signer) = (Bench::new(), Signer::new());
    let package = Recipe::default().build(&bench);
    let signature = signer.sign(&package);
    bench.trust("packages.asc", &signer.certificate());
    bench.verify(&package, Some(&signature)).unwrap();
    // Adds the revoked certificate beside the old one: the content of both files counts.
    signer.revoke();
    bench.trust("revoked.asc", &signer.certificate());
    refused(bench.verify(&package, Some(&signature)), Cause::Revoked);
}

#[test]
fn a_signature_over_sha_1_or_by_a_short_key_is_weak() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    let options = ["--digest-algo", "SHA1", "--allow-weak-digest-algos"];
    refused(
        bench.verify(&package, Some(&signer.sign_with(&package, &options))),
        Cause::Weak,
    );
    let short = Signer::with("rsa1024", "2034-01-01");
    bench.trust("short.asc", &short.certificate());
    refused(
        bench.verify(&package, Some(&short.sign(&package))),
        Cause::Weak,
    );
}

#[test]
fn what_is_no_signature_is_told_so() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    let certificate = signer.certificate();
    for nothing in [
        &b""[..],
        b"<html>404</html>",
        &certificate,
        &[0xff; 65536],
        &[0; 65537],
    ] {
        refused(bench.verify(&package, Some(nothing)), Cause::BadSignature);
    }
}

#[test]
fn a_file_of_the_keyring_that_is_no_certificate_is_named() {
    let (bench, signer) = (Bench::new(), Signer::new());
    let package = Recipe::default().build(&bench);
    let signature = signer.sign(&package);
    bench.trust("packages.asc", &signer.certificate());
    for broken in [&b"not a key"[..], b"", &signature] {
        bench.trust("broken.asc", broken);
        let failure = refused(bench.verify(&package, Some(&signature)), Cause::Unavailable);
        assert!(
            failure.detail.as_str().contains("keys/broken.asc"),
            "{failure}"
        );
    }
}

#[test]
fn a_certificate_that_was_renewed_stands_for_older_signatures_beside_the_one_of_before() {
    let (bench, signer) = (Bench::new(), Signer::new());
    let package = Recipe::default().build(&bench);
    bench.trust("before.asc", &signer.certificate());
    let signature = signer.sign(&package);
    let verified = bench.verify(&package, Some(&signature));
    let signed = verified.unwrap().signed.unwrap();

    signer.renew();
    bench.trust("renewed.asc", &signer.certificate());
    bench.still_holds(&signed, JUDGED_AT).unwrap();
    fs::remove_file(bench.path("keys/before.asc")).unwrap();
    let judged_anew = bench.verify(&package, Some(&signature)).map(drop);
    for judged in [bench.still_holds(&signed, JUDGED_AT), judged_anew] {
        let failure = refused(judged, Cause::BadSignature);
        for words in ["2024-02-01", "beside the renewed one"] {
            assert!(failure.detail.as_str().contains(words), "{failure}");
        }
    }
}

/// A verdict may be months old when its file is installed: key, certificate or signature may have expired meanwhile.
#[test]
fn a_signature_that_was_judged_stands_while_it_and_its_key_and_its_certificate_do() {
    let bench = Bench::new();
    let package = Recipe::default().build(&bench);
    let [signer, expires, ends, revoked, subkey, stranger] = [
        "2034-01-01",
        "2024-02-15",
        "2034-01-01",
        "2034-01-01",
        "2034-01-01",
        "2034-01-01",
    ]
    .map(|expires| Signer::with("ed25519", expires));
    subkey.add_subkey("2034-01-01");
    let judged = |name: &str, signer: &Signer, options: &[&str]| {
        bench.trust(name, &signer.certificate());
        let signature = signer.sign_with(&package, options);
        let verified = bench.verify_at(&package, Some(&signature), SIGNED_AT + 5);
        verified.unwrap().signed.unwrap()
    };
    let of_signer = judged("a", &signer, &[]);
    let of_expires = judged("b", &expires, &[]);
    let of_ends = judged("c", &ends, &["--default-sig-expire", "10"]);
    let of_revoked = judged("d", &revoked, &[]);
    let of_subkey = judged("e", &subkey, &[]);
    let of_stranger = judged("f", &stranger, &[]);
    for signed in [
        &of_signer,
        &of_expires,
        &of_ends,
        &of_revoked,
        &of_subkey,
        &of_stranger,
    ] {
        bench.still_holds(signed, SIGNED_AT + 5).unwrap();
    }

    revoked.revoke();
    bench.trust("d", &revoked.certificate());
    subkey.revoke_subkey();
    bench.trust("e", &subkey.certificate());
    fs::remove_file(bench.path("keys/f")).unwrap();
    bench.still_holds(&of_signer, JUDGED_AT).unwrap();
    refused(bench.still_holds(&of_expires, JUDGED_AT), Cause::Expired);
    refused(bench.still_holds(&of_ends, JUDGED_AT), Cause::Expired);
    refused(bench.still_holds(&of_revoked, JUDGED_AT), Cause::Revoked);
    let failure = refused(bench.still_holds(&of_subkey, JUDGED_AT), Cause::Revoked);
    assert!(failure.detail.as_str().contains("the key"), "{failure}");
    refused(
        bench.still_holds(&of_stranger, JUDGED_AT),
        Cause::UntrustedSigner,
    );

    let mut of_another = of_signer.clone();
    of_another.certificate = of_expires.certificate.clone();
    refused(
        bench.still_holds(&of_another, SIGNED_AT),
        Cause::BadSignature,
    );
    let mut other_digest = of_signer.clone();
    other_digest.signed.digest[0] ^= 1;
    refused(
        bench.still_holds(&other_digest, JUDGED_AT),
        Cause::BadSignature,
    );
}

#[test]
fn the_same_question_about_a_signature_is_asked_once_and_every_other_one_anew() {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    let verified = bench.verify(&package, Some(&signer.sign(&package)));
    let signed = verified.unwrap().signed.unwrap();
    let (keyring, held) = (Keyring::read(&bench.path("keys")).unwrap(), Held::default());
    let (there, gone) = (bench.inspector(), bench.inspector());
    let gone = Inspector {
        program: bench.path("gone"),
        ..gone
    };
    let holds = |inspector: &Inspector, signed: &Signed, keyring: &Keyring, at| {
        inspector.still_holds(&signed.certificate, &signed.signed, keyring, at, &held)
    };
    holds(&there, &signed, &keyring, JUDGED_AT).unwrap();
    holds(&gone, &signed, &keyring, JUDGED_AT).unwrap();

    bench.trust("other.asc", &Signer::new().certificate());
    let other_keyring = Keyring::read(&bench.path("keys")).unwrap();
    let mut other_digest = signed.clone();
    other_digest.signed.digest[0] ^= 1;
    let mut other_signer = signed.clone();
    other_signer.certificate = "0".into();
    for (what, signed, keyring, at) in [
        ("time", &signed, &keyring, JUDGED_AT + 1),
        ("keyring", &signed, &other_keyring, JUDGED_AT),
        ("digest", &other_digest, &keyring, JUDGED_AT),
        ("certificate", &other_signer, &keyring, JUDGED_AT),
    ] {
        let asked = holds(&gone, signed, keyring, at).map_err(Failure::from);
        refused(asked, Cause::Unavailable);
        let refusal = holds(&there, &other_digest, keyring, at).map_err(Failure::from);
        refused(refusal, Cause::BadSignature);
        assert!(
            holds(&gone, &other_digest, keyring, at).is_err(),
            "{what}: no is not kept"
        );
    }
}
