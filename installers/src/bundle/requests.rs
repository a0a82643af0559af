//! Requests about a bundle: the job that each becomes.

use wharf_frames::{
    Action, Cause, OperationId, PackageName, StageId, Step, Transaction, installer::InstallerReply,
};

use super::{
    expansion::{self, Facts},
    installed::Bundles,
    permission::{is_no_bundle, is_no_package, may_install},
    work::{JobBundle, JobWork},
};
use crate::{
    answer::Responder,
    not_done::NotDone,
    permission::{may_purge, may_remove, policy_now},
    verdict::{JudgedBundle, Sealed},
};

impl Responder {
    /// Accepts the job of a transaction about a bundle. None if it is about none.
    pub(crate) fn perform_on_bundle(
        &self,
        operation: OperationId,
        transaction: &Transaction,
    ) -> Result<Option<InstallerReply>, NotDone> {
        let Some((first, then)) = transaction.steps.split_first() else {
            return Ok(None);
        };
        let work = match first {
            Step::Install(stage) => {
                // Kept until the job is recorded: from then on the record keeps the files.
                let Some(kept) = self.staging.bundle(*stage)? else {
                    return Ok(None);
                };
                let work = self.install_bundle(*stage, &kept.file, then)?;
                self.queue.accept(operation, work)?;
                return Ok(Some(InstallerReply::Accepted));
            }
            step => match step.package() {
                Some(name) => self.change_bundle(step.action(), name, then)?,
                None => None,
            },
        };
        let Some(work) = work else {
            return Ok(None);
        };
        self.queue.accept(operation, work)?;
        Ok(Some(InstallerReply::Accepted))
    }

    /// `then` may activate the new bundle in the same job.
    fn install_bundle(
        &self,
        stage: StageId,
        bundle: &JudgedBundle,
        then: &[Step],
    ) -> Result<JobWork, NotDone> {
        let name = bundle.name();
        self.is_at_rest(name)?;
        is_no_package(name, self.witnesses())?;
        let (policy, before) = (policy_now(&self.root)?, self.bundles().entry(name)?);
        may_install(bundle, before.as_ref(), &policy, self.witnesses())?;
        self.ledger.may_try(&bundle.judged)?;
        for member in bundle.members() {
            is_no_bundle(&member.package.name, self.witnesses())?;
        }
        // A bundle that was removed owns no package any more.
        let in_place = before.as_ref().filter(|before| before.is_here());
        let components = bundle.members().map(|it| it.package.name.clone());
        let components: Vec<PackageName> = components.collect();
        let known = in_place.iter().flat_map(|before| &before.components);
        let removed = bundle.steps.iter().filter_map(Step::package);
        let facts = self.facts(name, known.chain(removed))?;
        let mut steps = expansion::install(stage, bundle, in_place, &facts);
        may_be_removed(&steps, |name| may_remove(name, &policy))?;
        for step in then {
            match step {
                Step::Activate(package) if package == name => {
                    steps.extend(expansion::on(Action::Activate, &components, &facts));
                }
                _ => return Err(too_many(name)),
            }
        }
        let bundle = JobBundle {
            name: name.clone(),
            judged: Some(bundle.judged.clone()),
            components,
            before,
            undo: bundle.undo,
        };
        Ok(JobWork {
            steps,
            bundle: Some(bundle),
        })
    }

    /// Any other action; none if the name is no bundle's.
    fn change_bundle(
        &self,
        action: Action,
        name: &PackageName,
        then: &[Step],
    ) -> Result<Option<JobWork>, NotDone> {
        let Some(before) = self.bundles().entry(name)? else {
            return Ok(None);
        };
        if !then.is_empty() {
            return Err(too_many(name));
        }
        self.is_at_rest(name)?;
        if action != Action::Purge && !before.is_here() {
            let detail = format!("'{name}' is not installed");
            return Err(NotDone::refused(Cause::NotManaged, detail));
        }
        let facts = self.facts(name, before.components.iter())?;
        let mut steps = expansion::on(action, &before.components, &facts);
        if !before.is_here() {
            // A package that is there now came without the bundle.
            let is_gone = |name: &PackageName| !facts.present.contains(name);
            steps.retain(|step| step.package().is_some_and(is_gone));
        }
        let policy = policy_now(&self.root)?;
        match action {
            Action::Uninstall => may_be_removed(&steps, |name| may_remove(name, &policy))?,
            Action::Purge => may_be_removed(&steps, |name| may_purge(name, &policy))?,
            Action::Activate | Action::Deactivate => {
                for component in steps.iter().filter_map(Step::package) {
                    self.is_managed(component, true)?;
                }
            }
            Action::Back | Action::Install => {
                let detail = format!(
                    "{name} is a bundle: deliver the bundle of the version before, or go back with one of its packages"
                );
                return Err(NotDone::refused(Cause::Policy, detail));
            }
        }
        let bundle = JobBundle {
            name: name.clone(),
            judged: None,
            components: before.components.clone(),
            before: Some(before),
            // A removal goes on where it was: its scripts have deleted data.
            undo: matches!(action, Action::Activate | Action::Deactivate),
        };
        Ok(Some(JobWork {
            steps,
            bundle: Some(bundle),
        }))
    }

    fn bundles(&self) -> Bundles {
        Bundles::of(&self.root)
    }

    /// The steps of a job come from the ledger of bundles, so no other job may be about to change the bundle.
    fn is_at_rest(&self, name: &PackageName) -> Result<(), NotDone> {
        let is_about = |bundle: &JobBundle| bundle.name == *name;
        let jobs = self.open_jobs()?;
        let busy = jobs
            .iter()
            .find(|job| job.bundle.as_ref().is_some_and(is_about));
        match busy {
            None => Ok(()),
            Some(job) => {
                let detail = format!("the job {} still works on {name}", job.operation);
                Err(NotDone::not_now(detail))
            }
        }
    }

    fn facts<'n>(
        &self,
        bundle: &PackageName,
        packages: impl Iterator<Item = &'n PackageName>,
    ) -> Result<Facts, NotDone> {
        let (bundles, mut facts) = (self.bundles(), Facts::default());
        for name in packages {
            if self.is_present(name)? {
                facts.present.insert(name.clone());
            }
            if bundles.other_with(name, bundle)?.is_some() {
                facts.shared.insert(name.clone());
            }
        }
        Ok(facts)
    }
}

fn may_be_removed(
    steps: &[Step<Sealed>],
    permit: impl Fn(&PackageName) -> Result<(), NotDone>,
) -> Result<(), NotDone> {
    let removed = steps.iter().filter_map(|step| match step {
        Step::Uninstall(name) | Step::Purge(name) => Some(name),
        _ => None,
    });
    removed.into_iter().try_for_each(permit)
}

fn too_many(name: &PackageName) -> NotDone {
    let detail = format!(
        "a job about the bundle {name} has one step, or installs the bundle and activates it"
    );
    NotDone::refused(Cause::Policy, detail)
}
