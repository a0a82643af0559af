//! The steps of a job: the permit by policy, the work on the device, a look at the result, and the entry in the ledger.
//! Installations that follow each other are one run of the package manager.

use std::{
    cell::{Cell, RefCell},
    slice,
};

use wharf_frames::{
    Cause, Failure, OperationId, PackageName, Step,
    installer::{Found, JobPhase},
    packed::PackedFile,
};
use wharf_managers::{
    Brought, Install, InstallOptions, OrderError, PackageFile, Progress, PutOff, Supervisor,
};
use wharf_root::Change;

use super::{Done, Stop, Worker, boot, has_begun, is_the_same, is_used_up};
use crate::{
    device::Installation,
    log,
    not_done::NotDone,
    permission::{Witnesses, is_trusted, may_install, may_purge, may_remove, policy_now},
    progress,
    records::{Job, package},
    verdict::{self, Judged, Sealed},
};

/// A sealed file that policy permits to install, with its unit files. Its bytes are those that were judged.
pub(super) struct Permit {
    pub(super) install: Install,
    unit_files: Vec<PackedFile>,
    judged: Judged,
    adopts: bool,
}

impl Worker<'_> {
    /// The steps, as policy permits them now. Since the job was accepted, another job may have been done, and root may
    /// have changed the policy.
    pub(super) fn permits(&self, job: &Job) -> Result<Vec<Step<Permit>>, NotDone> {
        let permit = |step| self.permit(job, step);
        job.steps.iter().map(permit).collect()
    }

    fn permit(&self, job: &Job, step: &Step<Sealed>) -> Result<Step<Permit>, NotDone> {
        Ok(match step {
            Step::Install(sealed) => Step::Install(self.permit_install(job, sealed)?),
            Step::Uninstall(name) => {
                may_remove(name, self.policy)?;
                Step::Uninstall(name.clone())
            }
            Step::Purge(name) => {
                may_purge(name, self.policy)?;
                Step::Purge(name.clone())
            }
            Step::Activate(name) => Step::Activate(name.clone()),
            Step::Deactivate(name) => Step::Deactivate(name.clone()),
            Step::Back(name) => {
                if let Some(previous) = job.previous(name) {
                    is_trusted(&previous.judged, self.policy, self.witnesses())?;
                }
                Step::Back(name.clone())
            }
        })
    }

    fn permit_install(&self, job: &Job, sealed: &Sealed) -> Result<Permit, NotDone> {
        let judged = &sealed.judged;
        may_install(judged, self.policy, self.witnesses())?;
        self.not_below_what_was_there(job, judged)?;
        let path = sealed.path(self.root);
        verdict::still_holds(&path, judged)?;
        let options = self.options(job, judged)?;
        let unit_files = self.device.unit_files(&path)?;
        let file = PackageFile {
            path,
            package: judged.package.clone(),
        };
        Ok(Permit {
            install: Install { file, options },
            unit_files,
            judged: judged.clone(),
            adopts: job.adopts(&judged.package.name),
        })
    }

    fn witnesses(&self) -> Witnesses<'_> {
        Witnesses {
            root: self.root,
            ledger: &self.ledger,
            device: self.device,
        }
    }

    /// The administrator may have installed a higher version than wharfd ever did.
    fn not_below_what_was_there(&self, job: &Job, judged: &Judged) -> Result<(), NotDone> {
        let package = &judged.package;
        let Some(before) = job.whole_before(&package.name) else {
            return Ok(());
        };
        let order = self
            .manager()
            .compare_versions(&package.version, &before.version);
        if order.is_ge() || self.policy.allows_downgrade(&package.name) {
            return Ok(());
        }
        let detail = format!(
            "{} {} is installed, and policy allows no way down to {} (allow-downgrade in installer.toml)",
            package.name, before.version, package.version
        );
        Err(NotDone::refused(Cause::Downgrade, detail))
    }

    fn options(&self, job: &Job, judged: &Judged) -> Result<InstallOptions, NotDone> {
        let name = &judged.package.name;
        let entry = self.ledger.entry(name)?;
        let other_bytes = entry.is_none_or(|entry| entry.digest != judged.digest);
        Ok(InstallOptions {
            allow_downgrade: self.policy.allows_downgrade(name),
            // An interrupted attempt of this job installed these bytes. The ledger knows no bytes after a job that did
            // not end well (`Ledger::doubt`).
            reinstall: job.cut_off || (was_there(job, judged) && other_bytes),
        })
    }

    /// Does a step, or installations that follow each other. Until the package manager is about to change the device, the job
    /// can be cancelled. If nobody can say then whether the steps are permitted, or what is in the packages, another attempt
    /// follows.
    pub(super) fn apply_run(
        &self,
        job: &RefCell<&mut Job>,
        permits: &[Step<Permit>],
    ) -> Result<(), Stop> {
        let (operation, cut_off) = (job.borrow().operation, job.borrow().cut_off);
        let (put_off, told) = (PutOff::default(), Cell::new(None));
        let supervisor = Supervisor {
            report: &|progress| {
                if told.replace(Some(progress)) != Some(progress) {
                    progress::write(self.root, operation, progress);
                }
            },
            // If the record cannot be read now, the question for consent decides.
            is_wanted: &|| self.is_open(operation).unwrap_or(true),
            printed: &|program, text| log::printed(operation, program, text),
            begin: &|brought| {
                let permitted = self.still_permitted(permits, brought);
                permitted.map_err(|not_done| put_off.note(not_done.into()))?;
                self.begin_applying(&mut job.borrow_mut(), permits, brought)?;
                Ok(())
            },
        };
        let done = match permits {
            [Step::Back(name)] => {
                let before = job.borrow().before_of(name).cloned();
                self.go_to_previous(name, before, operation, cut_off, supervisor)
            }
            [step] => self.perform(operation, cut_off, step, supervisor),
            installs => self.install(operation, installs, supervisor),
        };
        match done.map_err(|error| put_off.told(error)) {
            Ok(_) => Ok(()),
            Err(OrderError::NotNow(failure)) if !is_used_up(&job.borrow(), &boot()) => {
                Err(Stop::Later(failure))
            }
            Err(error) => Err(Failure::from(error).into()),
        }
    }

    fn install(
        &self,
        operation: OperationId,
        permits: &[Step<Permit>],
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        let installations: Vec<Installation<'_>> = permits
            .iter()
            .filter_map(Step::file)
            .map(|permit| Installation {
                install: &permit.install,
                unit_files: &permit.unit_files,
                operation,
                adopts: permit.adopts,
            })
            .collect();
        let dependencies = self.policy.dependencies();
        self.device
            .install(&installations, &dependencies, supervisor)
    }

    fn perform(
        &self,
        operation: OperationId,
        cut_off: bool,
        permit: &Step<Permit>,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, OrderError> {
        match permit {
            Step::Install(_) => self.install(operation, slice::from_ref(permit), supervisor),
            Step::Uninstall(name) => Ok(self.remove(name, cut_off, supervisor)?),
            Step::Purge(name) => {
                self.remove(name, cut_off, supervisor)?;
                Ok(match self.device.purge(name, supervisor)? {
                    Change::Unchanged if cut_off => {
                        self.manager().finish_purge(name, supervisor.printed)?
                    }
                    change => change,
                })
            }
            Step::Activate(name) => {
                (supervisor.begin)(&Brought::default())?;
                Ok(self.device.services.activate(name, operation)?)
            }
            Step::Deactivate(name) => {
                (supervisor.begin)(&Brought::default())?;
                Ok(self.device.services.deactivate(name)?)
            }
            // See [`Worker::go_to_previous`].
            Step::Back(_) => Ok(Change::Unchanged),
        }
    }

    /// The package manager may have waited for days for its lock.
    fn still_permitted(&self, permits: &[Step<Permit>], brought: &Brought) -> Result<(), NotDone> {
        for permit in permits {
            match permit {
                Step::Install(install) => {
                    let policy = policy_now(self.root)?;
                    may_install(&install.judged, &policy, self.witnesses())?;
                    let permitted = policy.dependencies().permit(&brought.dependencies);
                    permitted.map_err(NotDone::Refused)?;
                }
                Step::Purge(name) => may_purge(name, &policy_now(self.root)?)?,
                Step::Uninstall(_) | Step::Activate(_) | Step::Deactivate(_) | Step::Back(_) => {}
            }
        }
        Ok(())
    }

    /// Runs the last script of the removal again if a power cut followed it.
    fn remove(
        &self,
        name: &PackageName,
        cut_off: bool,
        supervisor: Supervisor<'_>,
    ) -> Result<Change, Failure> {
        match self.device.remove(name, supervisor)? {
            Change::Unchanged if cut_off => self.manager().finish_removal(name, supervisor.printed),
            change => Ok(change),
        }
    }

    /// Checks that the device has what each step asks for.
    pub(super) fn look(&self, job: &Job) -> Result<Vec<Option<Found>>, Failure> {
        progress::write(
            self.root,
            job.operation,
            Progress {
                phase: JobPhase::Verifying,
                percent: None,
            },
        );
        job.steps
            .iter()
            .map(|step| self.look_at(job, step))
            .collect()
    }

    fn look_at(&self, job: &Job, step: &Step<Sealed>) -> Result<Option<Found>, Failure> {
        let name = package(step);
        let device = self.device.found(name)?;
        let whole = device.as_ref().filter(|found| found.is_whole());
        let holds = match step {
            Step::Install(file) => {
                whole.is_some_and(|found| found.version == file.judged.package.version)
            }
            Step::Uninstall(_) => device.is_none(),
            Step::Purge(_) => device.is_none() && !self.manager().leaves_configuration(name)?,
            Step::Activate(_) => whole.is_some_and(|found| found.active),
            Step::Deactivate(_) => whole.is_some_and(|found| !found.active),
            Step::Back(_) => whole.is_some_and(|found| job.is_previous(found)),
        };
        if holds {
            return Ok(device);
        }
        let has = match &device {
            Some(found) => format!("{found}, {}", activity(found)),
            None if self.manager().leaves_configuration(name)? => {
                format!("the configuration of {name}")
            }
            None => format!("nothing of {name}"),
        };
        let detail = format!(
            "{} said that it was done, and the device has {has}",
            self.manager().name()
        );
        Err(Failure::new(Cause::PackageManager, detail))
    }

    /// Enters the steps into the ledger.
    pub(super) fn record(&self, job: &Job, done: &Done) -> Result<(), NotDone> {
        for (step, device) in job.steps.iter().zip(&done.devices) {
            self.record_step(job, step, done, device.as_ref())?;
        }
        self.record_bundle(job, done)
    }

    fn record_step(
        &self,
        job: &Job,
        step: &Step<Sealed>,
        done: &Done,
        device: Option<&Found>,
    ) -> Result<(), NotDone> {
        let name = package(step);
        match step {
            Step::Install(file) if done.failure.is_none() => {
                return self
                    .ledger
                    .record(&file.judged, self.manager(), self.policy);
            }
            Step::Install(file) => {
                self.record_failed_install(job, &file.judged, device, done.is_back)?;
            }
            Step::Uninstall(_) | Step::Purge(_) => self.raise(job, name, device)?,
            Step::Back(_) if done.failure.is_none() => {
                if let Some(previous) = job.previous(name) {
                    let judged = &previous.judged;
                    return self.ledger.record(judged, self.manager(), self.policy);
                }
            }
            Step::Activate(_) | Step::Deactivate(_) | Step::Back(_) => {}
        }
        match device {
            None => self.ledger.forget_beginning(name),
            Some(_) => Ok(()),
        }
    }

    fn record_failed_install(
        &self,
        job: &Job,
        judged: &Judged,
        device: Option<&Found>,
        is_back: bool,
    ) -> Result<(), NotDone> {
        let name = &judged.package.name;
        if is_the_same(job.found_before(name), device) {
            self.ledger.take_back(name, job.operation)?;
        }
        if brought(job, judged, device) {
            self.ledger.record(judged, self.manager(), self.policy)?;
        }
        // On the way back, the file of the old version was installed again.
        if has_begun(job) && !is_back {
            self.ledger.doubt(name)?;
        }
        match self.ledger.entry(name)? {
            Some(_) => self.raise(job, name, device),
            None => Ok(()),
        }
    }

    /// Somebody else may have installed a higher version than wharfd ever did.
    fn raise(&self, job: &Job, name: &PackageName, device: Option<&Found>) -> Result<(), NotDone> {
        let whole = device.filter(|found| found.is_whole());
        for found in job.whole_before(name).into_iter().chain(whole) {
            self.ledger.raise(name, &found.version, self.manager())?;
        }
        Ok(())
    }
}

/// There is no kept file of the version before.
pub(crate) fn nothing_kept(name: &PackageName) -> Failure {
    let detail = format!(
        "the file of the version of {name} before the one in place is not kept: install that version"
    );
    Failure::new(Cause::Policy, detail)
}

fn activity(found: &Found) -> &'static str {
    if found.active { "active" } else { "inactive" }
}

/// Whether the device had this version whole before the first attempt.
pub(super) fn was_there(job: &Job, judged: &Judged) -> bool {
    let package = &judged.package;
    job.whole_before(&package.name)
        .is_some_and(|before| before.version == package.version)
}

/// Whether a failed Install made its version whole on the device all the same.
fn brought(job: &Job, judged: &Judged, device: Option<&Found>) -> bool {
    let is_it = |found: &&Found| found.is_whole() && found.version == judged.package.version;
    device.filter(is_it).is_some() && !was_there(job, judged)
}
