//! The judgement of a staged file: signature, scope, kind and architecture. It combines policy, keyring and wharf-inspect,
//! which do not know each other.

use std::{fs::File, os::fd::AsFd};

use wharf_fault as fault;
use wharf_frames::{Cause, Failure, installer::SealedPackage};
use wharf_journal::message;

use crate::{
    bundle::{self, members::MemberFiles, permission::is_no_bundle},
    clock,
    inner::Inner,
    inspector::InspectError,
    judge::{Judge, fits_here, judged},
    keyring::Keyring,
    permission::{Witnesses, policy_now},
    verdict::Accepted,
};

/// Judges a file without writers, or the package inside it, and logs the verdict.
pub(crate) fn judge(
    file: &File,
    signature: Option<&[u8]>,
    inner: &mut Inner,
    members: &mut MemberFiles,
    witnesses: Witnesses<'_>,
) -> Result<Accepted, InspectError> {
    let verdict = verdict(file, signature, inner, members, witnesses);
    match &verdict {
        Ok(accepted) => tell(accepted.package()),
        Err(InspectError::NotNow(failure)) => {
            tracing::warn!("a staged file cannot be judged now: {failure}");
        }
        Err(error) => tracing::warn!(
            MESSAGE_ID = message::FILE_REFUSED,
            "a staged file is not taken: {error}"
        ),
    }
    verdict
}

fn tell(package: &SealedPackage) {
    let SealedPackage {
        name,
        version,
        signer,
        ..
    } = package;
    let signed = match signer {
        Some(signer) => format!("signed by {signer}"),
        None => "not signed, and policy takes such packages".to_owned(),
    };
    tracing::info!(
        MESSAGE_ID = message::FILE_ACCEPTED,
        WHARF_PACKAGE = name.as_str(),
        "{name} {version} is {signed}"
    );
}

/// Like [`judge`], without the log.
pub(crate) fn verdict(
    file: &File,
    signature: Option<&[u8]>,
    inner: &mut Inner,
    members: &mut MemberFiles,
    witnesses: Witnesses<'_>,
) -> Result<Accepted, InspectError> {
    let policy = policy_now(witnesses.root)?;
    let keyring = Keyring::read(&witnesses.root.keys())?;
    let now = clock::now(witnesses.root, &witnesses.device.database);
    let judge = Judge {
        witnesses,
        policy: &policy,
        keyring: &keyring,
        now: &now,
    };
    let inspector = &witnesses.device.inspector;
    let verify = |file, signature| judge.verify(file, signature, policy.allow_unsigned);
    // A signature beside a message signs the message, but the package inside is installed.
    let unwrapped;
    let (file, verified) = match verify(file, signature)? {
        Some(verified) => (file, verified),
        None => {
            let signatures = inspector.unwrap(file.as_fd(), |bytes| Ok(inner.append(bytes)?))?;
            unwrapped = inner.finish()?;
            fault::point("seal.unwrapped");
            let verified = verify(&unwrapped, Some(&signatures))?;
            (&unwrapped, verified.ok_or_else(twice)?)
        }
    };
    if verified.bundle {
        let bundle = bundle::seal::verdict(file, verified, &judge, inner, members)?;
        return Ok(Accepted::Bundle(bundle));
    }
    let described = inspector.describe(file.as_fd())?;
    fits_here(&described, witnesses.device.packages.as_ref())?;
    is_no_bundle(&described.name, witnesses)?;
    if let Some(signed) = &verified.signed {
        judge.may_sign(signed, &described.name)?;
    }
    Ok(Accepted::Package(judged(verified, described)))
}

fn twice() -> Failure {
    let detail = "there is another OpenPGP message inside the message, and no package: sign once";
    Failure::new(Cause::WrongKind, detail)
}
