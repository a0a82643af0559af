//! Recovery of a job: repair after an interrupted attempt, and the way back after a failed one.

use std::thread;

use wharf_frames::{Cause, Failure, PackageName, Step, installer::Dependency};
use wharf_managers::Supervisor;
use wharf_root::{Change, limits};

use super::{Stop, Worker, is_used_up, step::Permit};
use crate::{
    log,
    not_done::NotDone,
    records::{Job, package},
    verdict::{self, Sealed},
};

impl Worker<'_> {
    /// Repairs what an interrupted attempt left of each step.
    pub(super) fn repair(&self, job: &Job, permits: &mut [Step<Permit>]) -> Result<(), Stop> {
        let packages = job.steps.iter().filter(|step| step.file().is_some());
        let packages: Vec<_> = packages.map(package).collect();
        self.repair_dependencies(job, &packages);
        for (step, permit) in job.steps.iter().zip(permits) {
            let repaired = self.repair_step(job, step)?;
            if let Step::Install(install) = permit
                && repaired == Change::Changed
                && job.cut_off
            {
                // The repair installed the whole file.
                install.install.options.reinstall = false;
            }
        }
        Ok(())
    }

    /// Dependencies that cannot be made whole are removed: the device did not have them.
    fn repair_dependencies(&self, job: &Job, packages: &[&PackageName]) {
        let Some(step) = job.steps.first().filter(|_| !job.dependencies.is_empty()) else {
            return;
        };
        let names: Vec<&PackageName> = job.dependencies.iter().map(|it| &it.name).collect();
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        let repaired = self
            .manager()
            .repair_dependencies(&names, packages, &printed);
        let told = |names: &[&PackageName]| {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            names.join(", ")
        };
        let done = match repaired {
            Ok(Change::Unchanged) => return,
            Ok(Change::Changed) => Ok((told(&names), "finished")),
            Err(failure) if failure.cause == Cause::Interrupted => self
                .discard(job, failure)
                .map(|names| (told(&names), "removed")),
            Err(failure) => Err(failure),
        };
        match done {
            Ok((names, done)) => {
                log::repairs(job, step, format_args!("{names} was left half-way: {done}"));
            }
            Err(failure) => log::repairs(job, step, format_args!("dependencies: {failure}")),
        }
    }

    /// Removes the dependencies of the job that are half-way, and first installations that are, which may need them. Returns the
    /// dependencies, or the failure if there are none that it may remove.
    fn discard<'j>(&self, job: &'j Job, failure: Failure) -> Result<Vec<&'j PackageName>, Failure> {
        let (mut ours, mut rests) = (Vec::new(), Vec::new());
        for Dependency { name, version } in &job.dependencies {
            let found = self.manager().found(name)?;
            let Some(found) = found.filter(|found| found.version == *version) else {
                continue;
            };
            if !self.policy.protects(name) {
                ours.push(name);
                rests.extend((!found.is_whole()).then_some(name));
            }
        }
        if rests.is_empty() {
            return Err(failure);
        }
        let is_first = |step: &&Step<Sealed>| {
            step.file().is_some() && job.found_before(package(step)).is_none()
        };
        let packages: Vec<_> = job.steps.iter().filter(is_first).map(package).collect();
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        self.manager().discard(&ours, &packages, &printed)?;
        Ok(rests)
    }

    /// A removal continues from any state, so a failed repair does not stop it.
    fn repair_step(&self, job: &Job, step: &Step<Sealed>) -> Result<Change, Stop> {
        let path = |file: &Sealed| {
            Some(file.path(self.root))
                .filter(|path| verdict::still_holds(path, &file.judged).is_ok())
        };
        let file = step.file().and_then(path);
        let (name, manager) = (package(step), self.manager());
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        let repaired = match &file {
            Some(file) if job.cut_off => manager.redo(name, file, &printed),
            file => manager.repair(name, file.as_deref(), &printed),
        };
        match repaired {
            Ok(change) => {
                log::repairs(
                    job,
                    step,
                    match change {
                        Change::Unchanged => format_args!("the one before left nothing to repair"),
                        Change::Changed => format_args!("what the one before left is repaired"),
                    },
                );
                Ok(change)
            }
            Err(failure) if step.file().is_some() => Err(failure.into()),
            Err(failure) => {
                log::repairs(
                    job,
                    step,
                    format_args!("what the one before left: {failure}"),
                );
                Ok(Change::Unchanged)
            }
        }
    }

    /// Whether the job may start or go on. If nobody can say so now, it asks again, here and in the next attempt. Only a
    /// refusal or the last attempt ends that. Packages that an `interrupted` attempt has begun are made sound then.
    pub(super) fn may_go_on(
        &self,
        job: &Job,
        boot: &str,
        interrupted: bool,
    ) -> Result<Vec<Step<Permit>>, Stop> {
        let mut asked = 1;
        let refusal = loop {
            match self.permits(job) {
                Ok(permits) => return Ok(permits),
                Err(NotDone::Refused(failure)) => break failure,
                Err(NotDone::NotNow(failure)) if asked >= limits::JUDGEMENTS => {
                    match is_used_up(job, boot) {
                        true => break failure,
                        false => return Err(Stop::Later(failure)),
                    }
                }
                Err(NotDone::NotNow(failure)) => self.repairs(
                    job,
                    format_args!("whether it may go on is asked again: {failure}"),
                ),
            }
            asked += 1;
            thread::sleep(limits::JUDGEMENT_PAUSE);
        };
        // The way back needs no permission, and leaves nothing half-way.
        if !interrupted || self.leads_back(job)? {
            return Err(refusal.into());
        }
        self.repair_dependencies(job, &[]);
        let make_sound = |refusal, step| self.make_sound(job, step, refusal);
        Err(job.steps.iter().fold(refusal, make_sound).into())
    }

    /// Policy refuses a step that an interrupted attempt has begun. The package manager finishes what it can without the file, so
    /// that it can do other work. It installs nothing from the file. Returns the refusal, with a note of the repair.
    fn make_sound(&self, job: &Job, step: &Step<Sealed>, refusal: Failure) -> Failure {
        let name = package(step);
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        let done = match self.manager().repair(name, None, &printed) {
            Ok(Change::Unchanged) => return refusal,
            Ok(Change::Changed) => {
                format!("{name} was left half-way: it was finished, not installed from its file")
            }
            Err(failure) => {
                log::repairs(job, step, format_args!("{failure}"));
                match self.take_back(job, step) {
                    true => format!("{name} was left half-way: it was removed"),
                    false => format!(
                        "{name} was left half-way and cannot be finished without its file: {}, or deliver a version that is \
                         allowed",
                        self.manager().remedy()
                    ),
                }
            }
        };
        log::repairs(job, step, format_args!("{done}: {refusal}"));
        let cause = match step {
            // The policy of a purge says that nothing was done.
            Step::Purge(_) => Cause::Interrupted,
            _ => refusal.cause,
        };
        Failure::new(cause, format!("{done}: {refusal}"))
    }

    /// Removes a first installation that cannot be finished: it would block the package manager.
    fn take_back(&self, job: &Job, step: &Step<Sealed>) -> bool {
        let name = package(step);
        if step.file().is_none() || job.found_before(name).is_some() {
            return false;
        }
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        let removed = self.device.remove(name, Supervisor::quiet(&printed));
        if let Err(failure) = &removed {
            log::repairs(job, step, format_args!("{failure}"));
        }
        removed.is_ok()
    }

    /// Undoes failed steps in reverse: units that are still installed are enabled and run as before.
    pub(super) fn settle_all(&self, job: &Job) {
        for step in job.steps.iter().rev() {
            match step {
                Step::Install(_) | Step::Activate(_) | Step::Back(_) => {
                    self.settle(job, step, package(step))
                }
                Step::Uninstall(_) | Step::Purge(_) | Step::Deactivate(_) => {}
            }
        }
    }

    fn settle(&self, job: &Job, step: &Step<Sealed>, name: &PackageName) {
        if let Err(failure) = self.device.services.settle(name, job.operation, false) {
            log::repairs(
                job,
                step,
                format_args!("the units are not as they were before: {failure}"),
            );
        }
    }
}
