//! Permission to change this device, by root's policy file and by the record of installed packages. It is asked for when a
//! file is sealed, when a job is accepted, when the job begins, and right before the device is changed. This module knows
//! no socket and no bytes of a package.

use wharf_frames::{Cause, Failure, PackageName, Text};
use wharf_journal::message;
use wharf_root::Root;

use crate::{
    clock::{self, JudgedTime},
    device::Device,
    inspector::InspectError,
    keyring::Keyring,
    ledger::Ledger,
    not_done::NotDone,
    policy::{Policy, Scoped},
    verdict::Judged,
};

/// The sources of facts about a package.
#[derive(Clone, Copy)]
pub(crate) struct Witnesses<'a> {
    /// The root of policy, keyring and clock.
    pub(crate) root: &'a Root,
    /// The record of installed packages.
    pub(crate) ledger: &'a Ledger,
    /// The package manager and wharf-inspect.
    pub(crate) device: &'a Device,
}

/// The policy of this root, for one question. A file with an error means "not now".
pub(crate) fn policy_now(root: &Root) -> Result<Policy, NotDone> {
    Policy::read(root).map_err(|error| NotDone::not_now(error.to_string()))
}

/// Refuses a package whose signer policy does not trust with it now. The administrator may have withdrawn its key.
pub(crate) fn is_trusted(
    judged: &Judged,
    policy: &Policy,
    witnesses: Witnesses<'_>,
) -> Result<(), NotDone> {
    let package = &judged.package;
    match &package.signer {
        None if !policy.allow_unsigned => {
            let detail = format!("{} is not signed, and policy asks for it", package.name);
            Err(NotDone::refused(Cause::Unsigned, detail))
        }
        None => Ok(()),
        Some(signer) => {
            may_sign(signer.as_str(), &package.name, policy, witnesses.ledger)?;
            still_holds(judged, signer, witnesses)
        }
    }
}

/// Permits the installation of this package, or refuses it.
pub(crate) fn may_install(
    judged: &Judged,
    policy: &Policy,
    witnesses: Witnesses<'_>,
) -> Result<(), NotDone> {
    is_trusted(judged, policy, witnesses)?;
    let manager = witnesses.device.packages.as_ref();
    witnesses.ledger.judge(judged, manager, policy)
}

/// Judges the signature again: since the seal, the certificate may have been removed or revoked, or have expired. The
/// signature was good then, so the refusal is the device's policy (57).
fn still_holds(judged: &Judged, signer: &Text, witnesses: Witnesses<'_>) -> Result<(), NotDone> {
    let name = &judged.package.name;
    let Some(signed) = &judged.signed else {
        let detail = format!(
            "the signature of {name} cannot be judged again, since an older wharfd did not keep it: deliver the package anew"
        );
        return Err(NotDone::refused(Cause::Policy, detail));
    };
    let keys = witnesses.root.keys();
    let keyring = Keyring::read(&keys)?;
    let now = clock::now(witnesses.root, &witnesses.device.database);
    let Device {
        inspector, held, ..
    } = witnesses.device;
    let holds = inspector.still_holds(signer, signed, &keyring, now.at, held);
    let failure = match in_time(&now, holds).map_err(NotDone::from) {
        Err(NotDone::Refused(failure)) => failure,
        held_or_not_now => return held_or_not_now,
    };
    let advice = match failure.cause {
        Cause::UntrustedSigner => format!("put it back into {}, or deliver", keys.display()),
        _ => "deliver".to_owned(),
    };
    let detail = format!(
        "the signature of {name} does not hold any more: {failure}: {advice} the package anew, signed by a key that is trusted"
    );
    Err(NotDone::refused(Cause::Policy, detail))
}

/// Logs a doubt about the clock, and adds it to a failure that the clock may have caused.
pub(crate) fn in_time<T>(
    now: &JudgedTime,
    judged: Result<T, InspectError>,
) -> Result<T, InspectError> {
    let Some(doubt) = &now.doubt else {
        return judged;
    };
    tracing::warn!(
        MESSAGE_ID = message::CLOCK_DOUBTED,
        "the time of signatures is in doubt: {doubt}"
    );
    now.heal();
    judged.map_err(|error| match error {
        InspectError::Refused(failure) if failure.cause == Cause::Expired => {
            Failure::new(Cause::Expired, format!("{failure} ({doubt})")).into()
        }
        other => other,
    })
}

/// Whether a certificate may sign packages of this name. A certificate that policy does not mention may sign only packages
/// whose last installation it signed. It can neither add a package nor take one over.
pub(crate) fn may_sign(
    certificate: &str,
    name: &PackageName,
    policy: &Policy,
    ledger: &Ledger,
) -> Result<(), NotDone> {
    let why = match policy.scope(certificate, name) {
        Scoped::Named => return Ok(()),
        Scoped::Outside => {
            let detail = format!(
                "the certificate {certificate} may not sign {name} ([[key]] in installer.toml): {}",
                how_to_allow(name)
            );
            return Err(NotDone::refused(Cause::OutOfScope, detail));
        }
        Scoped::Unmentioned => match ledger.entry(name)? {
            None => "was never installed here".to_owned(),
            Some(entry) => match entry.certificate {
                Some(last) if last.as_str() == certificate => return Ok(()),
                Some(last) => format!("was signed by {last} when it was installed last"),
                None => "has no known signer".to_owned(),
            },
        },
    };
    let detail = format!(
        "{name} {why}, and no scope names it for the certificate {certificate}: {}",
        how_to_allow(name)
    );
    Err(NotDone::refused(Cause::OutOfScope, detail))
}

/// The certificate is in the keyring, so its file exists.
fn how_to_allow(name: &PackageName) -> String {
    format!(
        "to allow it, run `wharfctl keys add FILE --allow {name}` with the file that `wharfctl keys list` shows"
    )
}

/// Permits the removal of a package, or refuses it.
pub(crate) fn may_remove(name: &PackageName, policy: &Policy) -> Result<(), NotDone> {
    match policy.protects(name) {
        false => Ok(()),
        true => {
            let detail = format!("{name} is protected: it is never removed");
            Err(NotDone::refused(Cause::Plan, detail))
        }
    }
}

/// Permits the purge of a package, or refuses it.
pub(crate) fn may_purge(name: &PackageName, policy: &Policy) -> Result<(), NotDone> {
    may_remove(name, policy)?;
    match policy.allows_purge(name) {
        true => Ok(()),
        false => {
            let detail = format!(
                "policy does not allow purging {name}: write allow-purge = [\"{name}\"] into installer.toml, or \
                 uninstall it without --purge"
            );
            Err(NotDone::refused(Cause::Policy, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_frames::{inspect::SignedDigest, installer::SealedPackage};

    use super::*;
    use crate::device;
    use wharf_root::durable;

    const OURS: &str = "0123456789ABCDEF0123456789ABCDEF01234567";
    const OTHER: &str = "89ABCDEF0123456789ABCDEF0123456789ABCDEF";

    struct Bench {
        _folder: tempfile::TempDir,
        root: Root,
        ledger: Ledger,
        device: Device,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path());
            durable::private_folder(&root.ledger()).unwrap();
            std::fs::create_dir_all(root.keys()).unwrap();
            Self {
                ledger: Ledger::of(&root),
                device: device::simulated(&root),
                root,
                _folder: folder,
            }
        }

        fn policy(&self, text: &str) -> Policy {
            std::fs::write(self.root.policy(), text).unwrap();
            policy_now(&self.root).unwrap()
        }

        fn record(&self, judged: &Judged) {
            let policy = Policy::default();
            let recorded = self
                .ledger
                .record(judged, self.device.packages.as_ref(), &policy);
            recorded.unwrap();
        }

        fn may_install(&self, judged: &Judged, policy: &Policy) -> Result<(), Cause> {
            let witnesses = Witnesses {
                root: &self.root,
                ledger: &self.ledger,
                device: &self.device,
            };
            may_install(judged, policy, witnesses).map_err(|error| Failure::from(error).cause)
        }
    }

    fn acme() -> PackageName {
        PackageName::new("acme").unwrap()
    }

    fn judged(version: &str, signer: Option<&str>) -> Judged {
        Judged {
            package: SealedPackage {
                name: acme(),
                version: wharf_frames::PackageVersion::new(version).unwrap(),
                architecture: "all".into(),
                length: 1,
                signer: signer.map(Into::into),
                components: Vec::new(),
            },
            digest: [0; 32],
            signed_at: 0,
            signed: None,
        }
    }

    #[test]
    fn a_policy_that_is_wrong_answers_no_question() {
        let bench = Bench::new();
        assert!(bench.policy("allow-unsigned = true").allow_unsigned);
        std::fs::write(bench.root.policy(), "surprise = 1").unwrap();
        let answer = policy_now(&bench.root);
        assert!(
            matches!(&answer, Err(NotDone::NotNow(failure)) if failure.cause == Cause::Unavailable),
            "{answer:?}"
        );
    }

    #[test]
    fn a_certificate_signs_what_a_scope_names_or_else_what_it_signed_last() {
        let scope =
            |names: &str| format!("[[key]]\nfingerprint = \"{OURS}\"\npackages = [{names}]\n");
        for (policy, installed, expected, words) in [
            (scope("\"acme\""), None, true, ""),
            (scope("\"acme\""), Some(Some(OTHER)), true, ""),
            (scope("\"other\""), Some(Some(OURS)), false, "may not sign"),
            (String::new(), None, false, "was never installed here"),
            (String::new(), Some(Some(OURS)), true, ""),
            (String::new(), Some(Some(OTHER)), false, OTHER),
            (String::new(), Some(None), false, "no known signer"),
        ] {
            let bench = Bench::new();
            let told = format!("{policy:?}, {installed:?}");
            let policy = bench.policy(&policy);
            if let Some(signer) = installed {
                bench.record(&judged("1.0", signer));
            }
            match may_sign(OURS, &acme(), &policy, &bench.ledger) {
                Ok(()) => assert!(expected, "{told}"),
                Err(refused) => {
                    let failure = Failure::from(refused);
                    assert!(!expected, "{told}: {failure}");
                    assert_eq!(failure.cause, Cause::OutOfScope, "{told}");
                    let command = "`wharfctl keys add FILE --allow acme`";
                    for words in [words, command] {
                        assert!(failure.detail.as_str().contains(words), "{told}: {failure}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_unsigned_package_needs_a_policy_that_takes_it_and_the_ledger_is_asked_all_the_same() {
        let bench = Bench::new();
        let strict = bench.policy("");
        let lenient = bench.policy("allow-unsigned = true");
        assert_eq!(
            bench.may_install(&judged("1.0", None), &strict),
            Err(Cause::Unsigned)
        );
        assert_eq!(bench.may_install(&judged("1.0", None), &lenient), Ok(()));
        bench.record(&judged("2.0", None));
        assert_eq!(
            bench.may_install(&judged("1.0", None), &lenient),
            Err(Cause::Downgrade)
        );
    }

    #[test]
    fn a_signed_package_needs_a_scope_and_a_signature_that_can_be_judged_again() {
        let bench = Bench::new();
        let policy = bench.policy("allow-unsigned = true");
        let signed = judged("1.0", Some(OURS));
        assert_eq!(bench.may_install(&signed, &policy), Err(Cause::OutOfScope));
        bench.record(&signed);
        assert_eq!(bench.may_install(&signed, &policy), Err(Cause::Policy));
        // The answer of a wharf-inspect that does not start is not a refusal.
        let signed = Judged {
            signed: Some(SignedDigest {
                packet: Vec::new().into(),
                digest: Vec::new().into(),
            }),
            ..signed
        };
        assert_eq!(bench.may_install(&signed, &policy), Err(Cause::Unavailable));
        let witnesses = Witnesses {
            root: &bench.root,
            ledger: &bench.ledger,
            device: &bench.device,
        };
        let answer = may_install(&signed, &policy, witnesses);
        assert!(matches!(answer, Err(NotDone::NotNow(_))), "{answer:?}");
    }

    #[test]
    fn what_is_protected_is_never_removed() {
        let bench = Bench::new();
        let policy = bench.policy("protected = [\"acme\"]");
        let cause = |name: &str| {
            let name = PackageName::new(name).unwrap();
            may_remove(&name, &policy).map_err(|refused| Failure::from(refused).cause)
        };
        assert_eq!(cause("acme"), Err(Cause::Plan));
        assert_eq!(cause("wharfd"), Err(Cause::Plan));
        assert_eq!(cause("other"), Ok(()));
    }

    #[test]
    fn what_policy_does_not_name_is_not_purged_and_the_refusal_names_the_key() {
        let bench = Bench::new();
        let purged =
            |policy: &str| may_purge(&acme(), &bench.policy(policy)).map_err(Failure::from);
        assert_eq!(purged("allow-purge = [\"ac*\"]"), Ok(()));
        for policy in ["", "allow-purge = [\"other\"]"] {
            let failure = purged(policy).unwrap_err();
            assert_eq!(failure.cause, Cause::Policy, "{policy:?}");
            let key = "write allow-purge = [\"acme\"] into installer.toml";
            assert!(failure.detail.as_str().contains(key), "{failure}");
        }
        let protected = purged("allow-purge = [\"*\"]\nprotected = [\"acme\"]");
        assert_eq!(protected.unwrap_err().cause, Cause::Plan);
    }

    #[test]
    fn what_expired_by_a_doubted_clock_says_so_and_nothing_else_does() {
        let failed = |cause| -> Result<(), InspectError> { Err(Failure::new(cause, "no").into()) };
        for (cause, doubt, told) in [
            (Cause::Expired, Some("the clock"), "no (the clock)"),
            (Cause::Expired, None, "no"),
            (Cause::BadSignature, Some("the clock"), "no"),
        ] {
            let now = JudgedTime::doubted(doubt);
            let failure = in_time(&now, failed(cause)).map_err(Failure::from);
            assert_eq!(
                failure,
                Err(Failure::new(cause, told)),
                "{cause:?} {doubt:?}"
            );
        }
        let broke = in_time::<()>(
            &JudgedTime::doubted(Some("x")),
            Err(InspectError::Broke("b".into())),
        );
        assert_eq!(broke, Err(InspectError::Broke("b".into())));
        assert_eq!(in_time(&JudgedTime::doubted(Some("x")), Ok(1)), Ok(1));
    }
}
