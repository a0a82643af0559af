//! The way back of a job that failed after it began. The old versions are installed from their kept files, packages that the
//! device did not have are removed, and the units are enabled and run as before. Policy has no veto: the device had all of it.

use std::{collections::BTreeSet, path::Path};

use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, OperationId, PackageName, Step, Text,
    installer::{Found, JobPhase},
    packed::PackedFile,
};
use wharf_managers::{
    Dependencies, Install, InstallOptions, OrderError, PackageFile, Progress, Supervisor,
};
use wharf_root::Change;

use super::{
    Done, Stop, Worker, boot, has_begun, in_rounds, is_the_same, is_used_up,
    step::{Permit, nothing_kept},
};
use crate::{
    device::Installation,
    keep, log,
    not_done::NotDone,
    progress,
    records::{Before, Job, JobAttempt, JobState, Return, package},
    verdict::{Judged, Sealed},
};

/// A version that the device had, with its kept file.
struct Old {
    install: Install,
    unit_files: Vec<PackedFile>,
}

impl Worker<'_> {
    /// The kept file of the version in place. It is none if another program has installed that version, or other bytes.
    pub(super) fn way_back(&self, name: &PackageName, found: Option<&Found>) -> Option<Judged> {
        let found = found.filter(|found| found.is_whole() && self.policy.keeps(name))?;
        let kept = || -> Result<Option<Judged>, NotDone> {
            let kept = self.kept.installed(name, &found.version)?;
            let installed = self.ledger.entry(name)?.map(|entry| entry.digest);
            let is_unknown = installed.is_none_or(|digest| digest == [0; 32]);
            Ok(kept.filter(|kept| is_unknown || installed == Some(kept.digest)))
        };
        kept().unwrap_or_else(|not_done| {
            tracing::warn!("{name} has no way back: {not_done}");
            None
        })
    }

    /// Whether the device is not as before the job, and can go back.
    pub(super) fn leads_back(&self, job: &Job) -> Result<bool, Failure> {
        let is_alone = match job.steps.as_slice() {
            [Step::Install(_) | Step::Back(_)] => true,
            // A removal goes on where it was.
            [_] => return Ok(false),
            _ => false,
        };
        if !has_begun(job) || job.bundle.as_ref().is_some_and(|bundle| !bundle.undo) {
            return Ok(false);
        }
        let mut is_changed = !is_alone;
        for before in &job.before {
            let found = self.device.found(&before.package)?;
            if is_the_same(before.found.as_ref(), found.as_ref()) {
                continue;
            }
            let leads_back = match (&before.found, &before.back) {
                // A first installation leaves nothing, as far as the package manager can do that.
                (None, _) => !is_alone,
                (Some(_), Some(back)) => self.still_holds(job, back),
                (Some(_), None) => false,
            };
            if !leads_back {
                return Ok(false);
            }
            is_changed = true;
        }
        Ok(is_changed)
    }

    fn still_holds(&self, job: &Job, back: &Judged) -> bool {
        let held = self.kept.still_holds(back);
        if let Err(not_done) = &held {
            self.repairs(job, format_args!("there is no way back: {not_done}"));
        }
        held.is_ok()
    }

    /// Ends a failed job. If the device is not as before, it goes back first, where it can.
    pub(super) fn undo(&self, job: &mut Job, session: i32, failure: Failure) -> Result<Done, Stop> {
        if let JobState::Returning(back) = &job.state {
            let why = back.why.clone();
            return self.go_on_back(job, session, &why);
        }
        if !self.leads_back(job)? {
            self.settle_all(job);
            return Ok(Done {
                devices: self.devices(job)?,
                failure: Some(failure),
                is_back: false,
            });
        }
        let back = Return {
            why: failure.clone(),
            attempts_before: u32::try_from(job.attempts.len()).unwrap_or(u32::MAX),
        };
        self.advance(job, JobState::Returning(Box::new(back)))?;
        fault::point("job.returning");
        self.send_back(job, &failure)
    }

    /// Goes on going back after an interruption.
    fn go_on_back(&self, job: &mut Job, session: i32, why: &Failure) -> Result<Done, Stop> {
        let boot = boot();
        if is_used_up(job, &boot) {
            let detail = format!("given up after {} attempts", job.attempts.len());
            return self.not_back(job, why, &Failure::new(Cause::Interrupted, detail));
        }
        self.begin_attempt(job, JobAttempt { boot, session })?;
        self.send_back(job, why)
    }

    fn send_back(&self, job: &Job, why: &Failure) -> Result<Done, Stop> {
        log::returns(job, why);
        if is_of_the_file(why.cause) {
            for judged in job.tried() {
                let noted = self.ledger.send_back(judged, job.operation, &why.detail);
                noted.map_err(|not_done| Stop::Later(not_done.into()))?;
            }
            fault::point("back.noted");
        }
        match self.put_back(job) {
            Ok(devices) => Ok(Done {
                failure: Some(sent_back(why)),
                devices,
                is_back: true,
            }),
            Err(failure)
                if matches!(failure.cause, Cause::Locked | Cause::Unavailable)
                    && !is_used_up(job, &boot()) =>
            {
                Err(Stop::Later(failure))
            }
            Err(failure) => self.not_back(job, why, &failure),
        }
    }

    fn not_back(&self, job: &Job, why: &Failure, failure: &Failure) -> Result<Done, Stop> {
        self.settle_all(job);
        Ok(Done {
            failure: Some(not_sent_back(why, failure)),
            devices: self.devices(job)?,
            is_back: false,
        })
    }

    /// Puts the device back as it was before the job. Repeating it changes nothing.
    fn put_back(&self, job: &Job) -> Result<Vec<Option<Found>>, Failure> {
        let old: Vec<Old> = self.old_versions(job)?;
        self.tell_returning(job, None);
        for before in &job.before {
            self.recall_units(before)?;
        }
        if let Err(failure) = self.install_old(job, &old) {
            // New packages may stand in the way, or work that was interrupted.
            self.repairs(job, format_args!("going back is tried again: {failure}"));
            self.remove_new(job)?;
            self.repair_old(job, &old);
            self.install_old(job, &old)?;
        }
        fault::point("back.installed");
        self.remove_new(job)?;
        fault::point("back.removed");
        self.put_configuration_back(job)?;
        fault::point("back.configured");
        for before in job.before.iter().rev() {
            self.device
                .services
                .settle(&before.package, job.operation, false)?;
        }
        fault::point("back.settled");
        job.before
            .iter()
            .try_for_each(|before| self.is_as(before))?;
        self.devices(job)
    }

    /// Makes the units ready for the old version. A package that is back already runs as before.
    fn recall_units(&self, before: &Before) -> Result<(), Failure> {
        let (name, services) = (&before.package, &self.device.services);
        let found = self.device.found(name)?;
        let is_back = is_the_same(before.found.as_ref(), found.as_ref());
        if found.is_some() && before.found.is_some() && (before.units.is_some() || !is_back) {
            services.quiet(name)?;
        }
        match &before.units {
            Some(units) => services.recall(name, units),
            None => Ok(()),
        }
    }

    /// Installs the kept version before the one in place, with the configuration files that it had. It runs if the one in
    /// place did.
    pub(super) fn go_to_previous(
        &self,
        name: &PackageName,
        before: Option<Before>,
        operation: OperationId,
        cut_off: bool,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        let ran = before
            .as_ref()
            .and_then(|it| it.found.as_ref())
            .is_some_and(|it| it.active);
        let Some(previous) = before.and_then(|before| before.previous) else {
            return Err(nothing_kept(name).into());
        };
        let old = self.old(&previous.judged, cut_off)?;
        let installation = Installation {
            install: &old.install,
            unit_files: &old.unit_files,
            operation,
            adopts: false,
        };
        let services = &self.device.services;
        self.device
            .install_held(&[installation], &Dependencies::None, supervisor)?;
        if let Some(replaced) = previous.configuration {
            self.put_paths_back(&self.kept.configuration(name, replaced))?;
        }
        fault::point("previous.installed");
        services.settle(name, operation, true)?;
        if ran {
            services.activate(name, operation)?;
        }
        Ok(Change::Changed)
    }

    /// The versions that the device had and has no more, the last step first. Files may differ where the versions do not.
    fn old_versions(&self, job: &Job) -> Result<Vec<Old>, Failure> {
        let mut old = Vec::new();
        for before in job.before.iter().rev() {
            let Some(back) = &before.back else {
                continue;
            };
            let reinstall = job.cut_off || job.has_other_bytes(back);
            let found = self.device.found(&before.package)?;
            if reinstall || !is_the_same(before.found.as_ref(), found.as_ref()) {
                old.push(self.old(back, reinstall)?);
            }
        }
        Ok(old)
    }

    fn old(&self, back: &Judged, reinstall: bool) -> Result<Old, Failure> {
        self.kept.still_holds(back)?;
        let path = self.kept.file(back);
        let unit_files = self.device.unit_files(&path)?;
        let file = PackageFile {
            path,
            package: back.package.clone(),
        };
        let options = InstallOptions {
            allow_downgrade: true,
            reinstall,
        };
        Ok(Old {
            install: Install { file, options },
            unit_files,
        })
    }

    /// Keeps the configuration files of each package that can go back. If they cannot be kept, the way back leaves them as they
    /// are then.
    pub(super) fn keep_configuration(&self, job: &mut Job, permits: &[Step<Permit>]) {
        let (operation, steps) = (job.operation, job.steps.clone());
        for before in &mut job.before {
            let name = &before.package;
            let changes = |step: &&Step<Sealed>| {
                let is_change = !matches!(step, Step::Activate(_) | Step::Deactivate(_));
                is_change && package(step) == name
            };
            let Some(step) = steps.iter().find(changes).filter(|_| before.back.is_some()) else {
                continue;
            };
            let mut new = permits.iter().filter_map(Step::file);
            let new = new.find(|permit| permit.install.file.package.name == *name);
            let new = new.map(|permit| permit.install.file.path.as_path());
            let into = self.kept.configuration(name, operation);
            let paths = self.configuration_paths(name, new);
            let kept = paths.and_then(|paths| {
                let kept = keep::keep(self.root, &paths, &into);
                kept.map(|()| !paths.is_empty()).map_err(|error| {
                    let detail = format!("configuration files are not kept: {error}");
                    Failure::new(Cause::Unavailable, detail)
                })
            });
            match kept {
                Ok(any) => before.keeps_configuration = any,
                Err(failure) => tracing::warn!(
                    WHARF_PACKAGE = name.as_str(),
                    WHARF_OPERATION = %operation,
                    "{}: {failure}",
                    log::shown(step)
                ),
            }
        }
    }

    /// The configuration files of the old and of the new version, and the names beside them that may come.
    fn configuration_paths(
        &self,
        name: &PackageName,
        new: Option<&Path>,
    ) -> Result<Vec<String>, Failure> {
        let manager = self.manager();
        let mut files: BTreeSet<String> = manager.configuration(name)?.into_iter().collect();
        if let Some(new) = new {
            files.extend(manager.configuration_in(name, new)?);
        }
        let endings = manager.beside_configuration();
        let beside = files
            .iter()
            .flat_map(|file| endings.iter().map(move |ending| format!("{file}{ending}")));
        let beside: Vec<String> = beside.collect();
        Ok(files.into_iter().chain(beside).collect())
    }

    fn put_configuration_back(&self, job: &Job) -> Result<(), Failure> {
        for before in job.before.iter().filter(|it| it.keeps_configuration) {
            self.put_paths_back(&self.kept.configuration(&before.package, job.operation))?;
        }
        Ok(())
    }

    fn put_paths_back(&self, from: &Path) -> Result<(), Failure> {
        keep::put_back(self.root, from).map_err(|error| {
            let detail = format!(
                "cannot put configuration back from {}: {error}",
                from.display()
            );
            Failure::new(Cause::Unavailable, detail)
        })
    }

    /// Installs the old versions, in one run if the package manager can do that. Their units are held until all of them are
    /// back.
    fn install_old(&self, job: &Job, old: &[Old]) -> Result<(), Failure> {
        let most = match self.manager().takes_several() {
            true => old.len().max(1),
            false => 1,
        };
        old.chunks(most)
            .try_for_each(|old| self.install_run(job, old))
    }

    fn install_run(&self, job: &Job, old: &[Old]) -> Result<(), Failure> {
        let installations: Vec<Installation<'_>> = old
            .iter()
            .map(|old| Installation {
                install: &old.install,
                unit_files: &old.unit_files,
                operation: job.operation,
                adopts: false,
            })
            .collect();
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        let supervisor = Supervisor {
            report: &|progress| self.tell_returning(job, progress.percent),
            ..Supervisor::quiet(&printed)
        };
        self.device
            .install_held(&installations, &Dependencies::None, supervisor)?;
        Ok(())
    }

    fn repair_old(&self, job: &Job, old: &[Old]) {
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        for old in old {
            let file = &old.install.file;
            let repaired = self
                .manager()
                .redo(&file.package.name, &file.path, &printed);
            if let Err(failure) = repaired {
                self.repairs(job, format_args!("{failure}"));
            }
        }
    }

    /// Removes packages that the device did not have, with their configuration.
    fn remove_new(&self, job: &Job) -> Result<(), Failure> {
        let printed = |program: &str, text: &str| log::printed(job.operation, program, text);
        let supervisor = Supervisor {
            report: &|_| self.tell_returning(job, None),
            ..Supervisor::quiet(&printed)
        };
        let is_new = |before: &&Before| before.found.is_none();
        let new = job.before.iter().rev().filter(is_new);
        // They came for the version that is gone.
        let came = job.dependencies.iter().rev().map(|it| &it.name);
        let came = came.filter(|name| !self.policy.protects(name) && !job.is_about(name));
        let all: Vec<(&PackageName, Option<&Before>)> = new
            .map(|before| (&before.package, Some(before)))
            .chain(came.map(|name| (name, None)))
            .collect();
        let needed = in_rounds(all, |(name, before)| {
            match self.remove_one(name, before, supervisor) {
                Err(failure) if failure.cause != Cause::Plan && before.is_none() => {
                    self.repairs(job, format_args!("{name} stays: {failure}"));
                    Ok(())
                }
                removed => Ok(removed?),
            }
        })?;
        self.stay(job, needed)
    }

    fn remove_one(
        &self,
        name: &PackageName,
        new: Option<&Before>,
        supervisor: Supervisor<'_>,
    ) -> Result<(), Failure> {
        self.device.remove(name, supervisor)?;
        let purges = new.is_some_and(|before| !before.left_configuration);
        if purges && self.manager().leaves_configuration(name)? {
            self.device.purge(name, supervisor)?;
        }
        Ok(())
    }

    /// Packages that others need stay. Dependencies may, packages of the job may not.
    fn stay(
        &self,
        job: &Job,
        needed: Vec<((&PackageName, Option<&Before>), Failure)>,
    ) -> Result<(), Failure> {
        for ((name, before), failure) in needed {
            match before {
                Some(_) => return Err(failure),
                None => self.repairs(job, format_args!("{name} stays: {failure}")),
            }
        }
        Ok(())
    }

    /// Checks that a package is as it was.
    fn is_as(&self, before: &Before) -> Result<(), Failure> {
        let found = self.device.found(&before.package)?;
        if !is_the_same(before.found.as_ref(), found.as_ref()) {
            let has = found.map_or_else(
                || format!("nothing of {}", before.package),
                |it| it.to_string(),
            );
            let detail = format!("the device has {has} then");
            return Err(Failure::new(Cause::PackageManager, detail));
        }
        match (&before.found, &found) {
            (Some(before), Some(found)) if before.active && !found.active => {
                let detail = format!("{found} is in place, and does not run");
                Err(Failure::new(Cause::Unit, detail))
            }
            _ => Ok(()),
        }
    }

    fn tell_returning(&self, job: &Job, percent: Option<u8>) {
        let phase = JobPhase::Returning;
        progress::write(self.root, job.operation, Progress { phase, percent });
    }
}

impl Job {
    /// Whether it installs this version from another file.
    fn has_other_bytes(&self, back: &Judged) -> bool {
        let mut files = self.steps.iter().filter_map(Step::file);
        files.any(|file| {
            file.judged.package.name == back.package.name
                && file.judged.package.version == back.package.version
                && file.judged.digest != back.digest
        })
    }
}

/// Whether another try of the same file would fail as well, as far as anybody can tell. Policy may change its mind.
const fn is_of_the_file(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Script | Cause::Interrupted | Cause::PackageManager | Cause::Unit
    )
}

/// The failure of a job that went back. wharfd says what it was to bring, and what the device has.
fn sent_back(why: &Failure) -> Failure {
    Failure::new(why.cause, format!("it was sent back: {why}"))
}

fn not_sent_back(why: &Failure, failure: &Failure) -> Failure {
    let head = Text::from(format!(
        "it could not be sent back: {failure}: an operator has to look (`wharfctl doctor`)"
    ));
    let then = Text::from(format!("it was to go back since {why}"));
    Failure::new(why.cause, head.followed_by(&then))
}
