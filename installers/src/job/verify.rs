//! The check of an upgrade that is activated in the same job: the services that it started stay up.

use std::{thread, time::Instant};

use wharf_frames::{Failure, PackageName, Step, installer::JobPhase};
use wharf_managers::Progress;
use wharf_root::limits;
use wharf_services::Pulse;

use super::Worker;
use crate::{
    log, progress,
    records::{Job, package},
    verdict::Sealed,
};

impl Worker<'_> {
    /// Leaves the activation of an upgrade out, unless its failure leads back to software that runs. Otherwise the new version
    /// would stay in place, and count as not installed. wharfd asks for the activation after this job.
    pub(super) fn leave_activation_out(&self, job: &mut Job) -> Result<(), Failure> {
        if activated(job).is_empty() {
            return Ok(());
        }
        let Some(why) = self.why_no_part(job)? else {
            return Ok(());
        };
        let is_activation = |step: &Step<Sealed>| matches!(step, Step::Activate(_));
        for step in job.steps.iter().filter(|step| is_activation(step)) {
            log::left_out(job, step, &why);
        }
        job.steps.retain(|step| !is_activation(step));
        Ok(())
    }

    /// The reason why going back would not lead to software that runs.
    fn why_no_part(&self, job: &Job) -> Result<Option<String>, Failure> {
        if job.bundle.as_ref().is_some_and(|bundle| !bundle.undo) {
            return Ok(Some("its bundle has undo = false".to_owned()));
        }
        for before in &job.before {
            let Some(found) = &before.found else {
                continue; // going back removes the package
            };
            if before.back.is_none() {
                return Ok(Some(format!("the file of {found} is not kept")));
            }
            if !found.active {
                return Ok(Some(format!("{found} does not run")));
            }
            // A service that is restarted again and again says nothing about a new version.
            let pulse = self.device.services.pulse(&before.package)?;
            if !pulse.is_steady(self.policy.steady) {
                return Ok(Some(format!("a service of {found} was just restarted")));
            }
        }
        Ok(None)
    }

    /// Fails as soon as a service that the job started has ended, or was started again.
    pub(super) fn verify(&self, job: &Job) -> Result<(), Failure> {
        let services = &self.device.services;
        let pulses = activated(job).into_iter().map(|name| services.pulse(name));
        let pulses = pulses.collect::<Result<Vec<Pulse>, _>>()?;
        if pulses.is_empty() || self.policy.steady.is_zero() {
            return Ok(());
        }
        let progress = Progress {
            phase: JobPhase::Watching,
            percent: None,
        };
        progress::write(self.root, job.operation, progress);
        let begun = Instant::now();
        loop {
            let left = self.policy.steady.saturating_sub(begun.elapsed());
            thread::sleep(left.min(limits::UNIT_POLL));
            let ended = pulses.iter().map(|pulse| services.ended(pulse));
            let ended: Result<Vec<Option<Failure>>, Failure> = ended.collect();
            match ended {
                // The service manager may answer again.
                Err(_) if !left.is_zero() => {}
                ended => match ended?.into_iter().flatten().next() {
                    Some(failure) => return Err(failure),
                    None if left.is_zero() => return Ok(()),
                    None => {}
                },
            }
        }
    }
}

/// The packages that a job both installs and activates.
fn activated(job: &Job) -> Vec<&PackageName> {
    let installs = |name: &PackageName| {
        let mut steps = job.steps.iter();
        steps.any(|step| step.file().is_some() && package(step) == name)
    };
    let steps = job.steps.iter();
    let activates = steps.filter(|step| matches!(step, Step::Activate(_)));
    activates
        .map(package)
        .filter(|name| installs(name))
        .collect()
}
