//! What may be done to this device: root's policy as its file says it now, and what was ever installed. Asked when a
//! file is sealed, when a job is accepted, and once more by wharf-job. Knows no socket and no bytes of a package.

use wharf_frames::{Cause, Failure, PackageName};

use crate::{
    backend::Installer,
    ledger::Ledger,
    policy::{Policy, Scoped},
    root::Root,
    verdict::Judged,
};

/// The policy of this root, for one question. A file that is wrong now answers none.
pub(crate) fn policy_now(root: &Root) -> Result<Policy, Failure> {
    Policy::read(root).map_err(|error| Failure::new(Cause::Unavailable, error.to_string()))
}

/// Whether this package may be installed.
pub(crate) fn may_install(
    judged: &Judged,
    policy: &Policy,
    ledger: &Ledger,
    backend: &dyn Installer,
) -> Result<(), Failure> {
    let package = &judged.package;
    match &package.signer {
        None if !policy.allow_unsigned => {
            let detail = format!("{} is not signed, and policy asks for it", package.name);
            return Err(Failure::new(Cause::Unsigned, detail));
        }
        None => {}
        Some(signer) => may_sign(signer.as_str(), &package.name, policy, ledger)?,
    }
    ledger.judge(judged, backend, policy)
}

/// Whether a certificate may sign packages of this name. One that policy does not mention may go on with what is
/// known here, and brings nothing new.
pub(crate) fn may_sign(
    certificate: &str,
    name: &PackageName,
    policy: &Policy,
    ledger: &Ledger,
) -> Result<(), Failure> {
    let detail = match policy.scope(certificate, name) {
        Scoped::Named => return Ok(()),
        Scoped::Unmentioned if ledger.entry(name)?.is_some() => return Ok(()),
        Scoped::Unmentioned => format!(
            "{name} was never installed here, and no scope names it for the certificate {certificate}: \
             write [[key]], fingerprint = \"{certificate}\", packages = [\"{name}\"] into installer.toml"
        ),
        Scoped::Outside => {
            format!("the certificate {certificate} may not sign {name} ([[key]] in installer.toml)")
        }
    };
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
