//! What may be done to this device: root's policy as its file says it now, and what was ever installed. Asked when a
//! file is sealed, when a job is accepted, and once more by wharf-job. Knows no socket and no bytes of a package.

use wharf_frames::{Cause, Failure, PackageName, Text};
use wharf_journal::message;

use crate::{
    backend::Installer,
    clock::{self, Time},
    inspect::{InspectError, Inspector, Keyring},
    ledger::Ledger,
    policy::{Policy, Scoped},
    root::Root,
    verdict::Judged,
};

/// Who is asked about a package.
#[derive(Clone, Copy)]
pub(crate) struct Witnesses<'a> {
    /// Where policy, keyring and clock are.
    pub(crate) root: &'a Root,
    /// Who looks into packages and certificates.
    pub(crate) inspector: &'a Inspector,
    /// What was ever installed.
    pub(crate) ledger: &'a Ledger,
    /// The package manager.
    pub(crate) backend: &'a dyn Installer,
}

/// The policy of this root, for one question. A file that is wrong now answers none.
pub(crate) fn policy_now(root: &Root) -> Result<Policy, Failure> {
    Policy::read(root).map_err(|error| Failure::new(Cause::Unavailable, error.to_string()))
}

/// Whether this package may be installed.
pub(crate) fn may_install(
    judged: &Judged,
    policy: &Policy,
    witnesses: Witnesses<'_>,
) -> Result<(), Failure> {
    let package = &judged.package;
    match &package.signer {
        None if !policy.allow_unsigned => {
            let detail = format!("{} is not signed, and policy asks for it", package.name);
            return Err(Failure::new(Cause::Unsigned, detail));
        }
        None => {}
        Some(signer) => {
            may_sign(signer.as_str(), &package.name, policy, witnesses.ledger)?;
            still_stands(judged, signer, witnesses)?;
        }
    }
    witnesses.ledger.judge(judged, witnesses.backend, policy)
}

/// A certificate or a key of it may have been removed, revoked or have expired since the file was sealed, and a
/// signature may expire. It was good then, so it is this device that says no.
fn still_stands(judged: &Judged, signer: &Text, witnesses: Witnesses<'_>) -> Result<(), Failure> {
    let name = &judged.package.name;
    let Some(signed) = &judged.signed else {
        let detail = format!(
            "the signature of {name} cannot be judged again, since an older wharfd did not keep it: deliver the package anew"
        );
        return Err(Failure::new(Cause::Policy, detail));
    };
    let keys = witnesses.root.keys();
    let keyring = Keyring::read(&keys)?;
    let now = clock::now(witnesses.root);
    let stands = witnesses.inspector.stands(signer, signed, &keyring, now.at);
    let Err(failure) = in_time(&now, stands).map_err(Failure::from) else {
        return Ok(());
    };
    let advice = match failure.cause {
        Cause::Unavailable => return Err(failure),
        Cause::UntrustedSigner => format!("put it back into {}, or deliver", keys.display()),
        _ => "deliver".to_owned(),
    };
    let detail = format!(
        "the signature of {name} does not hold any more: {failure}: {advice} the package anew, signed by a key that is trusted"
    );
    Err(Failure::new(Cause::Policy, detail))
}

/// Tells in the journal that the clock is doubted, and in a failure that may have come of it.
pub(crate) fn in_time<T>(now: &Time, judged: Result<T, InspectError>) -> Result<T, InspectError> {
    let Some(doubt) = &now.doubt else {
        return judged;
    };
    tracing::warn!(
        MESSAGE_ID = message::CLOCK_DOUBTED,
        "the time of signatures is in doubt: {doubt}"
    );
    now.heal();
    judged.map_err(|error| match error {
        InspectError::Failed(failure) if failure.cause == Cause::Expired => {
            Failure::new(Cause::Expired, format!("{failure} ({doubt})")).into()
        }
        other => other,
    })
}

/// Whether a certificate may sign packages of this name. One that policy does not mention may go on with what it signed
/// last itself: it brings nothing new, and takes over nothing of another.
pub(crate) fn may_sign(
    certificate: &str,
    name: &PackageName,
    policy: &Policy,
    ledger: &Ledger,
) -> Result<(), Failure> {
    let why = match policy.scope(certificate, name) {
        Scoped::Named => return Ok(()),
        Scoped::Outside => {
            let detail = format!(
                "the certificate {certificate} may not sign {name} ([[key]] in installer.toml)"
            );
            return Err(Failure::new(Cause::OutOfScope, detail));
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
        "{name} {why}, and no scope names it for the certificate {certificate}: \
         write [[key]], fingerprint = \"{certificate}\", packages = [\"{name}\"] into installer.toml"
    );
    Err(Failure::new(Cause::OutOfScope, detail))
}

/// Whether a package may be removed.
pub(crate) fn may_remove(name: &PackageName, policy: &Policy) -> Result<(), Failure> {
    match policy.protects(name) {
        false => Ok(()),
        true => {
            let detail = format!("{name} is protected: it is never removed");
            Err(Failure::new(Cause::Plan, detail))
        }
    }
}
