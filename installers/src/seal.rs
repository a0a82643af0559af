//! The judgement of a staged file: signature, scope, kind and architecture. It combines policy, keyring and wharf-inspect,
//! which do not know each other.

use std::{fs::File, os::fd::AsFd};

use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure,
    inspect::{Described, Verified},
    installer::SealedPackage,
};
use wharf_journal::message;
use wharf_managers::PackageManager;

use crate::{
    clock,
    inner::Inner,
    inspector::{InspectError, Terms},
    keyring::Keyring,
    permission::{Witnesses, in_time, may_sign, policy_now},
    verdict::Judged,
};

/// Judges a file without writers, or the package inside it, and logs the verdict.
pub(crate) fn judge(
    file: &File,
    signature: Option<&[u8]>,
    inner: &mut Inner,
    witnesses: Witnesses<'_>,
) -> Result<Judged, InspectError> {
    let verdict = verdict(file, signature, inner, witnesses);
    match &verdict {
        Ok(judged) => tell(&judged.package),
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
    witnesses: Witnesses<'_>,
) -> Result<Judged, InspectError> {
    let policy = policy_now(witnesses.root)?;
    let keyring = Keyring::read(&witnesses.root.keys())?;
    let now = clock::now(witnesses.root, &witnesses.device.database);
    let inspector = &witnesses.device.inspector;
    let verify = |file: &File, signature| {
        let terms = Terms {
            signature,
            keyring: &keyring,
            at: now.at,
            allow_unsigned: policy.allow_unsigned,
        };
        in_time(&now, inspector.verify(file.as_fd(), &terms))
    };
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
    let described = inspector.describe(file.as_fd())?;
    fits_here(&described, witnesses.device.packages.as_ref())?;
    if let Some(signed) = &verified.signed {
        may_sign(
            signed.certificate.as_str(),
            &described.name,
            &policy,
            witnesses.ledger,
        )?;
    }
    Ok(judged(verified, described))
}

fn twice() -> Failure {
    let detail = "there is another OpenPGP message inside the message, and no package: sign once";
    Failure::new(Cause::WrongKind, detail)
}

fn fits_here(described: &Described, manager: &dyn PackageManager) -> Result<(), Failure> {
    if !manager.is_name(&described.name) {
        let detail = format!("'{}' is no name for {}", described.name, manager.name());
        return Err(Failure::new(Cause::Malformed, detail));
    }
    if !manager.takes(described.architecture.as_str()) {
        let detail = format!(
            "{} is for {}, and this device is {}",
            described.name,
            described.architecture,
            manager.architecture()
        );
        return Err(Failure::new(Cause::WrongArchitecture, detail));
    }
    Ok(())
}

fn judged(verified: Verified, described: Described) -> Judged {
    let signed = verified.signed;
    Judged {
        digest: verified.digest,
        signed_at: signed.as_ref().map_or(0, |signed| signed.signed_at),
        package: SealedPackage {
            name: described.name,
            version: described.version,
            architecture: described.architecture,
            length: verified.length,
            signer: signed.as_ref().map(|signed| signed.certificate.clone()),
            components: Vec::new(),
        },
        signed: signed.map(|signed| signed.signed),
    }
}
