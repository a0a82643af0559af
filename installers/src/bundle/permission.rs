//! Permission to install a bundle: each of its packages is asked for as a package of its own, and so is the bundle itself.

use wharf_frames::{Cause, PackageName, Step};

use super::installed::{Bundles, InstalledBundle};
use crate::{
    not_done::NotDone,
    permission::{self, Witnesses, may_remove, may_sign},
    policy::Policy,
    room::Room,
    verdict::JudgedBundle,
};

/// Permits the installation of this bundle in the place of `before`, or refuses it.
pub(crate) fn may_install(
    bundle: &JudgedBundle,
    before: Option<&InstalledBundle>,
    policy: &Policy,
    witnesses: Witnesses<'_>,
) -> Result<(), NotDone> {
    meets_needs(bundle, before, policy, witnesses)?;
    permission::may_install(&bundle.judged, policy, witnesses)?;
    for member in bundle.members() {
        permission::may_install(member, policy, witnesses)?;
    }
    for removed in bundle.steps.iter().filter_map(Step::package) {
        may_be_removed(removed, bundle, policy, witnesses)?;
    }
    Ok(())
}

/// Like [`may_install`], in the place of the bundle that the device has.
pub(crate) fn may_install_now(
    bundle: &JudgedBundle,
    policy: &Policy,
    witnesses: Witnesses<'_>,
) -> Result<(), NotDone> {
    let before = Bundles::of(witnesses.root).entry(bundle.name())?;
    may_install(bundle, before.as_ref(), policy, witnesses)
}

/// The signer of a bundle removes only packages that it may sign, and that wharfd installed.
pub(crate) fn may_be_removed(
    name: &PackageName,
    bundle: &JudgedBundle,
    policy: &Policy,
    witnesses: Witnesses<'_>,
) -> Result<(), NotDone> {
    may_remove(name, policy)?;
    let found = witnesses.device.packages.found(name);
    if found.map_err(NotDone::unanswered)?.is_none() {
        return Ok(());
    }
    if !witnesses.ledger.is_managed(name)? {
        let detail = format!(
            "{} removes {name}, which wharfd did not install",
            bundle.name()
        );
        return Err(NotDone::refused(Cause::NotManaged, detail));
    }
    match &bundle.judged.package.signer {
        Some(signer) => may_sign(signer.as_str(), name, policy, witnesses.ledger),
        None => Ok(()),
    }
}

/// Refuses a bundle with the name of a package. Both are named in the same requests.
pub(crate) fn is_no_package(name: &PackageName, witnesses: Witnesses<'_>) -> Result<(), NotDone> {
    if Bundles::of(witnesses.root).entry(name)?.is_some() {
        return Ok(());
    }
    let found = witnesses.device.packages.found(name);
    let is_there = found.map_err(NotDone::unanswered)?.is_some();
    match is_there || witnesses.ledger.is_managed(name)? {
        false => Ok(()),
        true => {
            let detail =
                format!("{name} is a package of this device: the bundle needs another name");
            Err(NotDone::refused(Cause::Policy, detail))
        }
    }
}

/// Refuses a package with the name of a bundle.
pub(crate) fn is_no_bundle(name: &PackageName, witnesses: Witnesses<'_>) -> Result<(), NotDone> {
    match Bundles::of(witnesses.root).entry(name)? {
        None => Ok(()),
        Some(_) => {
            let detail = format!(
                "{name} is the name of a bundle on this device, also after its removal: the package needs another name"
            );
            Err(NotDone::refused(Cause::Policy, detail))
        }
    }
}

fn meets_needs(
    bundle: &JudgedBundle,
    before: Option<&InstalledBundle>,
    policy: &Policy,
    witnesses: Witnesses<'_>,
) -> Result<(), NotDone> {
    let package = &bundle.judged.package;
    let manager = witnesses.device.packages.as_ref();
    let in_place = before.and_then(InstalledBundle::in_place);
    // The same version again is no upgrade.
    let from = in_place.filter(|from| manager.compare_versions(from, &package.version).is_ne());
    if let Some(from) = from
        && let Some(range) = bundle.needs.upgrades_from.iter().find(|range| {
            let order = manager.compare_versions(from, &range.version);
            !range.relation.holds(order)
        })
    {
        let detail = format!(
            "{} {} upgrades from {range}, and here is {from}: install a version in between first",
            package.name, package.version
        );
        return Err(NotDone::refused(Cause::Policy, detail));
    }
    let Some(needed) = bundle.needs.free else {
        return Ok(());
    };
    let folder = witnesses.root.folder();
    let room = Room::on_disk_of(folder, &policy.quota).map_err(|error| {
        NotDone::not_now(format!("cannot statvfs {}: {error}", folder.display()))
    })?;
    if room.free >= needed {
        return Ok(());
    }
    let detail = format!(
        "{} {} needs {needed} free bytes, and {} has {}",
        package.name,
        package.version,
        folder.display(),
        room.free
    );
    Err(NotDone::refused(Cause::DiskFull, detail))
}
