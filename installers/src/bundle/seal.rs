//! The judgement of a bundle: its manifest, and each package in it.

use std::{collections::BTreeSet, fs::File, os::fd::AsFd};

use wharf_bundle::{Manifest, ManifestStep};
use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, PackageName, Step, encode,
    inspect::{Described, Signed, Verified},
    installer::Component,
};

use super::{
    members::{MemberFile, MemberFiles},
    permission::{is_no_bundle, is_no_package},
};
use crate::{
    inner::Inner,
    inspector::InspectError,
    judge::{self, Judge, judged},
    verdict::{Judged, JudgedBundle},
};

/// The architecture of a bundle that names none.
const ANY: &str = "any";

/// Judges a bundle whose signature holds. Its packages and its manifest are beside it then.
pub(crate) fn verdict(
    file: &File,
    verified: Verified,
    judge: &Judge<'_>,
    inner: &mut Inner,
    members: &mut MemberFiles,
) -> Result<JudgedBundle, InspectError> {
    let inspector = &judge.witnesses.device.inspector;
    let manifest = inspector.manifest(file.as_fd())?;
    fits_here(&manifest, judge)?;
    if let Some(signed) = &verified.signed {
        judge.may_sign(signed, &manifest.name)?;
    }
    members.spare(inner.length());
    let members = inspector.members(file.as_fd(), members)?;
    fault::point("seal.members");
    let steps = steps(&manifest, &members, verified.signed.as_ref(), judge)?;
    inner.replace(&encoded(&manifest)?)?;
    fault::point("seal.manifest");
    let described = Described {
        name: manifest.name,
        version: manifest.version,
        architecture: manifest.architecture.unwrap_or_else(|| ANY.into()),
    };
    let mut judged = judged(verified, described);
    judged.package.components = steps.iter().filter_map(Step::file).map(component).collect();
    Ok(JudgedBundle {
        judged,
        undo: manifest.undo,
        needs: manifest.needs,
        steps,
    })
}

/// The bytes that are kept in the place of the bundle.
fn encoded(manifest: &Manifest) -> Result<Vec<u8>, Failure> {
    let bytes = encode(manifest);
    bytes.map_err(|error| Failure::new(Cause::Malformed, error.to_string()))
}

/// The packages that its steps remove.
fn removed(manifest: &Manifest) -> impl Iterator<Item = &PackageName> {
    manifest.steps.iter().filter_map(|step| match step {
        ManifestStep::Remove(name) => Some(name),
        ManifestStep::Install { .. } => None,
    })
}

fn component(member: &Judged) -> Component {
    Component {
        name: member.package.name.clone(),
        version: member.package.version.clone(),
    }
}

fn fits_here(manifest: &Manifest, judge: &Judge<'_>) -> Result<(), InspectError> {
    let manager = judge.witnesses.device.packages.as_ref();
    for name in removed(manifest).chain([&manifest.name]) {
        judge::is_name(name, manager)?;
    }
    if let Some(architecture) = &manifest.architecture {
        judge::takes(&manifest.name, architecture, manager)?;
    }
    Ok(is_no_package(&manifest.name, judge.witnesses)?)
}

/// The steps with the verdict on each package.
fn steps(
    manifest: &Manifest,
    members: &[MemberFile],
    around: Option<&Signed>,
    judge: &Judge<'_>,
) -> Result<Vec<Step<Judged>>, InspectError> {
    let mut names: BTreeSet<PackageName> = removed(manifest).cloned().collect();
    names.insert(manifest.name.clone());
    let (mut steps, mut members) = (Vec::new(), members.iter());
    for step in &manifest.steps {
        steps.push(match step {
            ManifestStep::Remove(name) => Step::Uninstall(name.clone()),
            ManifestStep::Install { sha256, .. } => {
                let next = members.next().filter(|member| member.digest == *sha256);
                let member = member(next.ok_or_else(|| other_files(manifest))?, around, judge)?;
                let name = &member.package.name;
                if !names.insert(name.clone()) {
                    let detail = format!("{} names {name} twice", manifest.name);
                    return Err(Failure::new(Cause::Malformed, detail).into());
                }
                Step::Install(member)
            }
        });
    }
    match members.next() {
        None => Ok(steps),
        Some(_) => Err(other_files(manifest).into()),
    }
}

fn other_files(manifest: &Manifest) -> Failure {
    let detail = format!("{} has other files than its manifest says", manifest.name);
    Failure::new(Cause::WrongDigest, detail)
}

/// Judges a package as if it had been sent alone. If its own signature does not let it in, the signature of the bundle covers
/// it, whose signer must then be allowed to sign the package.
fn member(
    member: &MemberFile,
    around: Option<&Signed>,
    judge: &Judge<'_>,
) -> Result<Judged, InspectError> {
    let MemberFile {
        file,
        length,
        digest,
    } = member;
    let inspector = &judge.witnesses.device.inspector;
    let own = match judge.verify(file, None, true) {
        Ok(None) => Err(in_a_bundle("an OpenPGP message")),
        Ok(Some(verified)) if verified.bundle => Err(in_a_bundle("another bundle")),
        Ok(Some(verified)) => Ok(verified.signed),
        Err(InspectError::Refused(failure)) if failure.cause == Cause::UntrustedSigner => {
            around.map(|_| None).ok_or(failure)
        }
        Err(error) => return Err(error),
    }?;
    let described = inspector.describe(file.as_fd())?;
    judge::fits_here(&described, judge.witnesses.device.packages.as_ref())?;
    is_no_bundle(&described.name, judge.witnesses)?;
    let is_enough = |signed: &Signed| judge.may_sign(signed, &described.name);
    let signed = match (own, around) {
        (Some(own), Some(around)) if is_enough(&own).is_err() => Some(around.clone()),
        (Some(own), _) => Some(own),
        (None, around) => around.cloned(),
    };
    signed.iter().try_for_each(is_enough)?;
    let verified = Verified {
        digest: *digest,
        length: *length,
        signed,
        bundle: false,
    };
    Ok(judged(verified, described))
}

fn in_a_bundle(what: &str) -> Failure {
    let detail = format!("a bundle has packages only, and there is {what} in it");
    Failure::new(Cause::WrongKind, detail)
}
