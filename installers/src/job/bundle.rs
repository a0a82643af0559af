//! The bundle of a job: its removal, its entry in the ledger of bundles, and what the device has of it.

use std::{cell::RefCell, slice};

use wharf_fault as fault;
use wharf_frames::{Failure, Step, installer::Found};

use super::{Done, Stop, Worker, in_rounds, is_the_same, step::Permit};
use crate::{
    bundle::{
        found::found_bundle,
        installed::{Bundles, InstalledBundle, State},
    },
    not_done::NotDone,
    records::Job,
};

impl Worker<'_> {
    /// From here on the packages belong to the bundle, also after a crash.
    pub(super) fn begin_bundle(&self, job: &Job) -> Result<(), NotDone> {
        let Some((bundle, judged)) = job
            .bundle
            .as_ref()
            .and_then(|bundle| Some((bundle, bundle.judged.as_ref()?)))
        else {
            return Ok(());
        };
        let (components, before) = (&bundle.components, bundle.before.as_ref());
        let version = &judged.package.version;
        Bundles::of(self.root).begin(&bundle.name, version, components, before)?;
        fault::point("bundle.begun");
        Ok(())
    }

    /// Enters the end of a job.
    pub(super) fn record_bundle(&self, job: &Job, done: &Done) -> Result<(), NotDone> {
        let (is_done, devices) = (done.failure.is_none(), done.devices.as_slice());
        let Some(bundle) = &job.bundle else {
            return Ok(());
        };
        let (bundles, name) = (Bundles::of(self.root), &bundle.name);
        let Some(judged) = &bundle.judged else {
            return match &bundle.before {
                Some(before) if is_done && job.removes() => bundles.write(name, &before.removed()),
                _ => Ok(()),
            };
        };
        if is_done || (!done.is_back && is_in_place(job, devices)) {
            self.ledger.record(judged, self.manager(), self.policy)?;
            let version = judged.package.version.clone();
            let entry = InstalledBundle::new(version, bundle.components.clone(), State::Whole);
            return bundles.write(name, &entry);
        }
        let mut packages = job.packages().zip(devices);
        match packages.all(|(name, device)| is_the_same(job.found_before(name), device.as_ref())) {
            true => bundles.restore(name, bundle.before.as_ref()),
            false => Ok(()),
        }
    }

    /// Removes packages that may need each other.
    pub(super) fn apply_removals(
        &self,
        job: &RefCell<&mut Job>,
        permits: &[Step<Permit>],
    ) -> Result<(), Stop> {
        let mut needed = in_rounds(permits.iter().collect(), |permit| {
            self.apply_run(job, slice::from_ref(permit))
        })?;
        match needed.pop() {
            None => Ok(()),
            Some((_, failure)) => Err(failure.into()),
        }
    }

    /// The software on the device that the job is about: the bundle, or the package of its first step.
    pub(super) fn software(
        &self,
        job: &Job,
        devices: Vec<Option<Found>>,
    ) -> Result<Option<Found>, Failure> {
        let bundle = job
            .bundle
            .as_ref()
            .map(|bundle| found_bundle(self.root, self.device, &self.ledger, &bundle.name));
        if let Some(Some(found)) = bundle.transpose()? {
            return Ok(found);
        }
        let device = devices.into_iter().flatten().next();
        Ok(self.ledger.with_managed(device)?)
    }
}

/// Whether a step removes its package.
pub(super) const fn is_removal(step: &Step<Permit>) -> bool {
    matches!(step, Step::Uninstall(_) | Step::Purge(_))
}

/// Whether a failed Install has brought all that it asked for.
fn is_in_place(job: &Job, devices: &[Option<Found>]) -> bool {
    let mut steps = job.steps.iter().zip(devices);
    steps.all(|(step, device)| match (step, device) {
        (Step::Install(file), Some(found)) => {
            found.is_whole() && found.version == file.judged.package.version
        }
        (Step::Uninstall(_) | Step::Purge(_), found) => found.is_none(),
        (Step::Install(_), None) => false,
        _ => true,
    })
}
