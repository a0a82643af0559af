//! What has to hold before a staged file becomes a package: signature, scope, kind, architecture. Here meet the
//! policy, the keyring and wharf-inspect; none of them knows another.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use wharf_frames::{Cause, Failure, installer::Package};

use crate::{
    backend::Installer,
    inspect::{Described, Inspector, Keyring, Question, Verified},
    ledger::Ledger,
    permission::{may_sign, policy_now},
    root::Root,
    verdict::Judged,
};

/// Judges a file that nobody can write to any more.
pub fn judge(
    file: &File,
    signature: Option<&[u8]>,
    root: &Root,
    inspector: &Inspector,
    backend: &dyn Installer,
    ledger: &Ledger,
) -> Result<Judged, Failure> {
    let policy = policy_now(root)?;
    let keyring = Keyring::read(&root.keys())?;
    let question = Question {
        signature,
        keyring: &keyring,
        at: now(root),
        allow_unsigned: policy.allow_unsigned,
    };
    let verified = inspector.verify(file.as_fd(), &question)?;
    let described = inspector.describe(file.as_fd())?;
    fits_here(&described, backend)?;
    if let Some(signed) = &verified.signed {
        may_sign(
            signed.certificate.as_str(),
            &described.name,
            &policy,
            ledger,
        )?;
    }
    Ok(judged(verified, described))
}

fn fits_here(described: &Described, backend: &dyn Installer) -> Result<(), Failure> {
    if !backend.is_name(&described.name) {
        let detail = format!("'{}' is no name for {}", described.name, backend.name());
        return Err(Failure::new(Cause::Malformed, detail));
    }
    if !backend.takes(described.architecture.as_str()) {
        let detail = format!(
            "{} is for {}, and this device is {}",
            described.name,
            described.architecture,
            backend.architecture()
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
        package: Package {
            name: described.name,
            version: described.version,
            architecture: described.architecture,
            length: verified.length,
            signer: signed.map(|signed| signed.certificate),
        },
    }
}

/// The time by which signatures are judged, in Unix seconds: never before what this device has seen already, since a
/// gateway without a battery starts in 1970 and wharfd's word is not taken.
fn now(root: &Root) -> u64 {
    let program = std::env::current_exe().unwrap_or_default();
    let seen = [program, root.jobs(), root.path("var/lib/dpkg/status")];
    let seen = seen.iter().filter_map(|path| modified(path));
    seen.chain([SystemTime::now()])
        .filter_map(|time| time.duration_since(UNIX_EPOCH).ok())
        .map(|since| since.as_secs())
        .max()
        .unwrap_or_default()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
