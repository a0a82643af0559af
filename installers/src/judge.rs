//! The terms of a judgement, and its parts that a package and a bundle share.

use std::{fs::File, os::fd::AsFd};

use wharf_frames::{
    Cause, Failure, PackageName, Text,
    inspect::{Described, Signed, Verified},
    installer::SealedPackage,
};
use wharf_managers::PackageManager;

use crate::{
    clock::JudgedTime,
    inspector::{InspectError, Terms},
    keyring::Keyring,
    not_done::NotDone,
    permission::{Witnesses, in_time, may_sign},
    policy::Policy,
    verdict::Judged,
};

/// The terms of a judgement.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    /// The sources of facts.
    pub(crate) witnesses: Witnesses<'a>,
    /// The policy of root.
    pub(crate) policy: &'a Policy,
    /// The certificates of signers.
    pub(crate) keyring: &'a Keyring,
    /// The time at which signatures are judged.
    pub(crate) now: &'a JudgedTime,
}

impl Judge<'_> {
    /// Verifies a file; none for a message.
    pub(crate) fn verify(
        &self,
        file: &File,
        signature: Option<&[u8]>,
        allow_unsigned: bool,
    ) -> Result<Option<Verified>, InspectError> {
        let terms = Terms {
            signature,
            keyring: self.keyring,
            at: self.now.at,
            allow_unsigned,
        };
        let inspector = &self.witnesses.device.inspector;
        in_time(self.now, inspector.verify(file.as_fd(), &terms))
    }

    /// Whether the signer may sign this package.
    pub(crate) fn may_sign(&self, signed: &Signed, name: &PackageName) -> Result<(), NotDone> {
        may_sign(
            signed.certificate.as_str(),
            name,
            self.policy,
            self.witnesses.ledger,
        )
    }
}

/// Whether the package manager can install the package.
pub(crate) fn fits_here(
    described: &Described,
    manager: &dyn PackageManager,
) -> Result<(), Failure> {
    is_name(&described.name, manager)?;
    takes(&described.name, &described.architecture, manager)
}

/// Whether it is a name of a package.
pub(crate) fn is_name(name: &PackageName, manager: &dyn PackageManager) -> Result<(), Failure> {
    match manager.is_name(name) {
        true => Ok(()),
        false => {
            let detail = format!("'{name}' is no name for {}", manager.name());
            Err(Failure::new(Cause::Malformed, detail))
        }
    }
}

/// Whether the device takes packages for this architecture.
pub(crate) fn takes(
    name: &PackageName,
    architecture: &Text,
    manager: &dyn PackageManager,
) -> Result<(), Failure> {
    match manager.takes(architecture.as_str()) {
        true => Ok(()),
        false => {
            let detail = format!(
                "{name} is for {architecture}, and this device is {}",
                manager.architecture()
            );
            Err(Failure::new(Cause::WrongArchitecture, detail))
        }
    }
}

/// The verdict on a package, or on a bundle as a whole.
pub(crate) fn judged(verified: Verified, described: Described) -> Judged {
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
