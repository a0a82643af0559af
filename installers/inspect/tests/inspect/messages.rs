//! Packages inside a message that `gpg --sign` made.

use std::{
    fs::{self, File},
    io::Write,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use wharf_frames::{Cause, Failure, inspect::Form};

use crate::fixture::{
    Bench, JUDGED_AT, Recipe, SIGNED, SIGNED_AT, Signer, refused, refused_as, run,
};

/// A trusted signer, and a package.
fn stage() -> (Bench, Signer, PathBuf) {
    let (bench, signer) = Bench::with_signer();
    let package = Recipe::default().build(&bench);
    (bench, signer, package)
}

fn changed(bench: &Bench, message: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(message).unwrap();
    change(&mut bytes);
    let path = bench.path("changed.gpg");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn tells_the_signer_of_a_package_inside_a_message() {
    let (bench, signer, package) = stage();
    let bytes = fs::read(&package).unwrap();
    for options in [
        &[][..], // compressed by ZIP
        &["--compress-algo", "zlib"],
        &["--compress-algo", "none"],
        &["-z", "0"],
        &["--digest-algo", "SHA512"],
    ] {
        let message = signer.sign_around(&bench, &package, options);
        refused(bench.verify(&message, None), Cause::WrongKind); // not a package itself
        let (inside, _) = bench.unwrap(&message).unwrap();
        assert!(inside == bytes, "{options:?}");
        let verified = bench.verify_inside(&message).unwrap();
        let signed = verified.signed.unwrap();
        assert_eq!(signed.certificate.as_str(), signer.fingerprint);
        assert_eq!((signed.signed_at, signed.form), (SIGNED_AT, Form::Beside));
        assert_eq!(verified.length, bytes.len() as u64);
        bench.still_holds(&signed, JUDGED_AT).unwrap();
    }
}

/// The length is not known at its start (RFC 9580 4.2.1.4).
#[test]
fn takes_a_message_that_was_written_as_a_stream() {
    let (bench, signer, package) = stage();
    let bytes = fs::read(&package).unwrap();
    for compression in ["zip", "none"] {
        let mut gpg = signer.gpg(SIGNED);
        gpg.args(["--compress-algo", compression, "--sign"]);
        let mut gpg = gpg
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = gpg.stdin.take().unwrap();
        input.write_all(&bytes).unwrap();
        drop(input);
        let message = bench.path("stream.gpg");
        fs::write(&message, gpg.wait_with_output().unwrap().stdout).unwrap();
        bench.verify_inside(&message).unwrap();
    }
}

#[test]
fn one_of_several_signatures_around_a_package_is_enough() {
    let (bench, signer, package) = stage();
    signer.add_subkey("2024-02-15");
    let primary = format!("{}!", signer.fingerprint);
    let both = ["-u", &signer.fingerprint, "-u", &primary];
    let message = signer.sign_around(&bench, &package, &both);
    let (_, signatures) = bench.unwrap(&message).unwrap();
    assert!(signatures.len() > 200, "two of them: {}", signatures.len());
    bench.verify_inside(&message).unwrap();
}

#[test]
fn what_is_no_message_that_is_signed_in_binary_is_refused_with_what_to_do() {
    let (bench, signer, package) = stage();
    let message = bench.path("message.gpg");
    let gpg = |options: &[&str]| {
        let mut gpg = signer.gpg(SIGNED);
        gpg.args(["--yes", "--passphrase", "x", "--pinentry-mode", "loopback"]);
        run(gpg
            .arg("--output")
            .arg(&message)
            .args(options)
            .arg(&package));
    };
    for (options, cause, word) in [
        (&["--armor", "--sign"][..], Cause::WrongKind, "--armor"),
        (&["--clear-sign"], Cause::WrongKind, "--armor"),
        (&["--symmetric"], Cause::WrongKind, "gpg --sign"),
        (&["--symmetric", "--sign"], Cause::WrongKind, "gpg --sign"),
        (&["-z", "0", "--store"], Cause::WrongKind, "gpg --sign"),
    ] {
        gpg(options);
        let failure = refused_as(word, bench.verify(&message, None), cause);
        assert!(failure.detail.as_str().contains(word), "{failure}");
    }
    for (options, cause, word) in [
        (&["--store"][..], Cause::Unsigned, "not signed"),
        (
            &["--compress-algo", "bzip2", "--sign"],
            Cause::Malformed,
            "--compress-algo",
        ),
    ] {
        gpg(options);
        let failure = refused_as(word, bench.unwrap(&message), cause);
        assert!(failure.detail.as_str().contains(word), "{failure}");
    }
}

#[test]
fn a_message_that_is_broken_or_followed_by_anything_is_malformed() {
    let (bench, signer, package) = stage();
    for compression in ["zip", "none"] {
        let options = ["--compress-algo", compression];
        let message = signer.sign_around(&bench, &package, &options);
        let length = fs::metadata(&message).unwrap().len() as usize;
        for part in 1..8 {
            let cut = changed(&bench, &message, |bytes| bytes.truncate(length * part / 8));
            let what = format!("{compression}, {part} of 8");
            refused_as(&what, bench.unwrap(&cut), Cause::Malformed);
        }
    }
    // A compressed packet of gpg ends with its file. Bytes after the end of its stream are not part of the message.
    let message = signer.sign_around(&bench, &package, &["-z", "0"]);
    let again = changed(&bench, &message, |bytes| bytes.extend(bytes.clone()));
    refused_as("twice", bench.unwrap(&again), Cause::Malformed);
    let more = changed(&bench, &message, |bytes| bytes.extend(b"\xcb\x07bmore"));
    refused_as("more", bench.unwrap(&more), Cause::Malformed);
}

#[test]
fn a_message_inside_a_message_is_no_package() {
    let (bench, signer, package) = stage();
    let message = signer.sign_around(&bench, &package, &[]);
    let once = bench.path("once.gpg");
    fs::rename(&message, &once).unwrap();
    let twice = signer.sign_around(&bench, &once, &[]);
    refused(bench.verify_inside(&twice), Cause::WrongKind);
}

#[test]
fn a_sound_message_whose_signature_does_not_hold_is_refused_as_any_other() {
    let (bench, signer, package) = stage();
    let message = signer.sign_around(&bench, &package, &["-z", "0"]);
    for (what, at) in [("the package", 2), ("the signature", 1)] {
        let changed = changed(&bench, &message, |bytes| {
            let last = bytes.len() - 1;
            bytes[last / at] ^= 1;
        });
        refused_as(what, bench.verify_inside(&changed), Cause::BadSignature);
    }
    // gpg changes the line ends of the text that it signs.
    let text = signer.sign_around(&bench, &package, &["--textmode"]);
    refused(bench.verify_inside(&text), Cause::WrongKind);
    let strangers = Signer::new().sign_around(&bench, &package, &[]);
    refused(bench.verify_inside(&strangers), Cause::UntrustedSigner);
}

/// 64 MiB of zeros in 64 kB.
#[test]
fn a_message_that_unpacks_to_more_than_fits_is_ended_there() {
    const FITS: usize = 1024 * 1024;
    let (bench, signer, _) = stage();
    let zeros = bench.path("zeros");
    File::create(&zeros).unwrap().set_len(64 << 20).unwrap();
    let message = signer.sign_around(&bench, &zeros, &[]);
    assert!(fs::metadata(&message).unwrap().len() < 200_000);
    let mut length = 0;
    let each = |bytes: &[u8]| {
        length += bytes.len();
        match length <= FITS {
            true => Ok(()),
            false => Err(Failure::new(Cause::Quota, "it does not fit").into()),
        }
    };
    let message = File::open(message).unwrap();
    let unwrapped = bench.inspector().unwrap(message.as_fd(), each);
    refused(unwrapped.map_err(Failure::from), Cause::Quota);
    assert!(length < FITS + 128 * 1024, "{length}");
}

#[test]
fn what_gpg_unwraps_is_what_is_unwrapped_here() {
    let (bench, signer, package) = stage();
    let message = signer.sign_around(&bench, &package, &[]);
    let mut gpg: Command = signer.gpg(SIGNED);
    let by_gpg = run(gpg.args(["--output", "-", "--decrypt"]).arg(&message));
    assert!(bench.unwrap(&message).unwrap().0 == by_gpg);
}
