//! The same questions to sqv and gpgv. They agree with wharf-inspect, except for the difference that a test names and
//! its comment explains.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::fixture::{Bench, MADE, Members, Recipe, SIGNED_AT, Signer, run};

const YEAR: u64 = 366 * 86400;

/// Whether wharf-inspect, sqv 1.1 and gpgv 2.2 accept the signature now: the other two cannot judge at another time.
fn who_takes(bench: &Bench, signer: &Signer, signature: &[u8], package: &Path) -> [bool; 3] {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(
        now > SIGNED_AT + YEAR,
        "the clock of this machine is wrong: {now}"
    );
    let (certificate, file) = (bench.path("keys/packages.asc"), bench.path("signature"));
    let ring = bench.path("ring.gpg");
    bench.trust("packages.asc", &signer.certificate());
    fs::write(
        &ring,
        run(signer
            .gpg(MADE)
            .args(["--output", "-", "--dearmor"])
            .arg(&certificate)),
    )
    .unwrap();
    fs::write(&file, signature).unwrap();
    let takes = |program, keyring| {
        let mut judge = Command::new(program);
        judge.arg("--keyring").arg(keyring).args([&file, package]);
        judge.output().unwrap().status.success()
    };
    [
        bench.verify_at(package, Some(signature), now).is_ok(),
        takes("sqv", &certificate),
        takes("gpgv", &ring),
    ]
}

#[test]
fn all_take_a_sound_signature_and_none_takes_another() {
    let (bench, signer) = (Bench::new(), Signer::new());
    let package = Recipe::default().build(&bench);
    let signature = signer.sign(&package);
    assert_eq!(
        who_takes(&bench, &signer, &signature, &package),
        [true, true, true]
    );
    assert_eq!(
        who_takes(&bench, &Signer::new(), &signature, &package),
        [false; 3]
    );
    let mut changed = Members::of(&package);
    changed.member("data.tar")[20] ^= 1;
    let changed = bench.write(&changed.bytes());
    assert_eq!(who_takes(&bench, &signer, &signature, &changed), [false; 3]);
}

/// Its list of weak digests has MD5 alone.
#[test]
fn gpgv_takes_sha_1() {
    let (bench, signer) = (Bench::new(), Signer::new());
    let package = Recipe::default().build(&bench);
    let signature = signer.sign_with(
        &package,
        &["--digest-algo", "SHA1", "--allow-weak-digest-algos"],
    );
    assert_eq!(
        who_takes(&bench, &signer, &signature, &package),
        [false, false, true]
    );
}

/// gpgv leaves this to the one who fills its keyring.
#[test]
fn gpgv_takes_a_revoked_certificate() {
    let (bench, signer) = (Bench::new(), Signer::new());
    let package = Recipe::default().build(&bench);
    let signature = signer.sign(&package);
    signer.revoke();
    assert_eq!(
        who_takes(&bench, &signer, &signature, &package),
        [false, false, true]
    );
}

/// sqv judges a certificate at the time in the signature, which an attacker with an old key can choose freely.
#[test]
fn sqv_and_gpgv_take_a_certificate_that_expired_after_it_signed() {
    let (bench, signer) = (Bench::new(), Signer::with("ed25519", "2024-02-15"));
    let package = Recipe::default().build(&bench);
    let signature = signer.sign(&package);
    assert_eq!(
        who_takes(&bench, &signer, &signature, &package),
        [false, true, true]
    );
}
