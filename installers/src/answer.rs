//! Each question of the job socket, and its answer. This module knows no socket: for `watch` it says only that one is to
//! be watched.

use std::{fs::File, io, os::fd::OwnedFd};

use wharf_frames::{
    Cause, OperationId, PackageName, StageId, Step, Text, Transaction,
    installer::{Found, InstallerReply, InstallerRequest, JobStatus, PROTOCOL},
};
use wharf_root::{Root, session::RunningProcess};

use crate::{
    back::KeptPackages,
    bundle::{found::found_bundle, members::MemberFiles, permission::is_no_bundle},
    device::Device,
    inner::Inner,
    job::step::nothing_kept,
    ledger::Ledger,
    not_done::NotDone,
    permission::{Witnesses, may_install, may_purge, may_remove, policy_now},
    queue::Queue,
    records::Job,
    room::Room,
    seal,
    staging::Staging,
    verdict::Sealed,
};

/// The parts that answers need.
pub struct Responder {
    /// The root of all files.
    pub root: Root,
    /// Package manager, services and wharf-inspect.
    pub device: Device,
    /// The staged files.
    pub staging: Staging,
    /// The jobs.
    pub queue: Queue,
    /// The record of installed packages.
    pub ledger: Ledger,
}

/// The answer to a question.
pub(crate) enum SocketAnswer {
    /// One frame.
    Reply(InstallerReply),
    /// One frame and a descriptor.
    WithDescriptor(InstallerReply, OwnedFd),
    /// A frame at each change of the job, until its end.
    Watch(OperationId),
}

impl Responder {
    /// Answers one question.
    pub(crate) fn answer(&self, request: InstallerRequest) -> SocketAnswer {
        let answered = match request {
            InstallerRequest::Watch { operation } => return SocketAnswer::Watch(operation),
            InstallerRequest::Stage { stage, keep, size } => return self.stage(stage, keep, size),
            InstallerRequest::Hello { .. } => Ok(self.hello()),
            InstallerRequest::Seal { stage, signature } => {
                self.seal(stage, signature.as_ref().map(|bytes| bytes.as_slice()))
            }
            InstallerRequest::Discard { stage } => self.discard(stage),
            InstallerRequest::List => self.list(),
            InstallerRequest::Perform {
                operation,
                transaction,
            } => self.perform(operation, &transaction),
            InstallerRequest::State { package } => self.state(&package),
            InstallerRequest::Cancel { operation } => self.cancel(operation),
        };
        SocketAnswer::Reply(answered.unwrap_or_else(InstallerReply::from))
    }

    fn hello(&self) -> InstallerReply {
        let database = self.root.seen_inside(&self.device.database);
        InstallerReply::Hello {
            protocol: PROTOCOL,
            package_manager: self.device.packages.name().into(),
            architecture: self.device.packages.architecture().into(),
            database: Some(Text::new(&database.to_string_lossy())),
        }
    }

    fn stage(&self, stage: StageId, keep: u64, size: Option<u64>) -> SocketAnswer {
        if let Err(error) = self.expire() {
            tracing::warn!("cannot look for old files: {error}");
        }
        let needs = |stage| self.job_that_needs(stage);
        let staged = loop {
            match self.staging.stage(stage, keep, size, &needs) {
                Err(NotDone::Refused(failure))
                    if failure.cause == Cause::DiskFull && self.make_room(size) => {}
                staged => break staged,
            }
        };
        match staged {
            Ok(staged) => SocketAnswer::WithDescriptor(
                InstallerReply::Staged {
                    kept: staged.kept,
                    limit: staged.limit,
                },
                staged.file,
            ),
            Err(not_done) => SocketAnswer::Reply(not_done.into()),
        }
    }

    /// Removes a kept file for a download of this size, if that can help: a download goes before the way back of an earlier one.
    /// Kept files are left alone while a job may need them.
    fn make_room(&self, size: Option<u64>) -> bool {
        let no_job = self.open_jobs().is_ok_and(|jobs| jobs.is_empty());
        let Ok(policy) = policy_now(&self.root) else {
            return false;
        };
        let kept = KeptPackages::of(&self.root, &policy);
        let bytes: u64 = kept.list().iter().map(|it| it.bytes).sum();
        let fits = |room: Room| {
            room.free.saturating_add(bytes) > room.reserve.saturating_add(size.unwrap_or_default())
        };
        no_job
            && Room::on_disk_of(&self.root.staged(), &policy.quota).is_ok_and(fits)
            && kept.make_room()
    }

    /// Deletes old files, except those of open jobs.
    fn expire(&self) -> io::Result<()> {
        self.staging.expire(&|stage| self.job_that_needs(stage))
    }

    fn seal(&self, stage: StageId, signature: Option<&[u8]>) -> Result<InstallerReply, NotDone> {
        let judge = |file: &File, inner: &mut Inner, members: &mut MemberFiles| {
            seal::judge(file, signature, inner, members, self.witnesses())
        };
        let package = self.staging.seal(stage, judge)?;
        Ok(InstallerReply::Sealed(package))
    }

    fn discard(&self, stage: StageId) -> Result<InstallerReply, NotDone> {
        let needs = |stage| self.job_that_needs(stage);
        self.staging
            .discard(stage, &needs)
            .map(|()| InstallerReply::Done)
    }

    fn list(&self) -> Result<InstallerReply, NotDone> {
        let stages = self
            .staging
            .list()
            .map_err(|error| NotDone::not_now(format!("cannot list staged files: {error}")))?;
        let open = self.open_jobs()?.iter().map(|job| job.operation).collect();
        Ok(InstallerReply::List { stages, open })
    }

    fn perform(
        &self,
        operation: OperationId,
        transaction: &Transaction,
    ) -> Result<InstallerReply, NotDone> {
        if self.is_known(operation)? {
            return Ok(InstallerReply::Accepted);
        }
        if let Some(reply) = self.perform_on_bundle(operation, transaction)? {
            return Ok(reply);
        }
        let step = match transaction.steps.as_slice() {
            [step] => step,
            [Step::Install(stage), Step::Activate(package)] => {
                return self.upgrade(operation, *stage, package);
            }
            steps => {
                let why = format!(
                    "a transaction of {} steps: no job here has them",
                    steps.len()
                );
                return Err(NotDone::refused(Cause::Policy, why));
            }
        };
        let step = match step {
            Step::Install(stage) => return self.install(operation, *stage),
            Step::Uninstall(package) => {
                self.is_managed(package, true)?;
                may_remove(package, &policy_now(&self.root)?)?;
                Step::Uninstall(package.clone())
            }
            Step::Purge(package) => {
                self.is_managed(package, false)?;
                may_purge(package, &policy_now(&self.root)?)?;
                Step::Purge(package.clone())
            }
            Step::Activate(package) => {
                self.is_managed(package, true)?;
                Step::Activate(package.clone())
            }
            Step::Deactivate(package) => {
                self.is_managed(package, true)?;
                Step::Deactivate(package.clone())
            }
            Step::Back(package) => {
                self.is_managed(package, true)?;
                self.has_previous(package)?;
                Step::Back(package.clone())
            }
        };
        self.queue.accept(operation, vec![step])?;
        Ok(InstallerReply::Accepted)
    }

    fn install(&self, operation: OperationId, stage: StageId) -> Result<InstallerReply, NotDone> {
        self.accept_install(operation, stage, |_| Ok(None))
    }

    /// An Install with the Activate of the same package: it is confirmed or sent back as a whole.
    fn upgrade(
        &self,
        operation: OperationId,
        stage: StageId,
        package: &PackageName,
    ) -> Result<InstallerReply, NotDone> {
        self.accept_install(operation, stage, |file| {
            match file.judged.package.name == *package {
                true => Ok(Some(Step::Activate(package.clone()))),
                false => {
                    let why = format!(
                        "the file has {}, and {package} is to be activated: no job here does both",
                        file.judged.package.name
                    );
                    Err(NotDone::refused(Cause::Policy, why))
                }
            }
        })
    }

    fn accept_install(
        &self,
        operation: OperationId,
        stage: StageId,
        then: impl FnOnce(&Sealed) -> Result<Option<Step<Sealed>>, NotDone>,
    ) -> Result<InstallerReply, NotDone> {
        // Kept until the job is recorded: from then on the record keeps the file.
        let kept = self.staging.sealed(stage)?;
        // Policy may have changed since the file was sealed.
        let policy = policy_now(&self.root)?;
        may_install(&kept.file.judged, &policy, self.witnesses())?;
        is_no_bundle(&kept.file.judged.package.name, self.witnesses())?;
        self.ledger.may_try(&kept.file.judged)?;
        let then = then(&kept.file)?;
        let install = Step::Install(kept.file.clone());
        let steps: Vec<_> = [install].into_iter().chain(then).collect();
        self.queue.accept(operation, steps)?;
        Ok(InstallerReply::Accepted)
    }

    pub(crate) fn witnesses(&self) -> Witnesses<'_> {
        Witnesses {
            root: &self.root,
            ledger: &self.ledger,
            device: &self.device,
        }
    }

    /// Accepts the valid name of a package that a job installed or began to install. All but a purge need the package on the
    /// device: a purge may find only its configuration, or nothing.
    pub(crate) fn is_managed(&self, package: &PackageName, needs_it: bool) -> Result<(), NotDone> {
        let why = if !self.device.packages.is_name(package) {
            "is no name of a package"
        } else if !self.ledger.is_managed(package)? {
            "was never installed by wharfd"
        } else if needs_it && !self.is_present(package)? {
            "is not installed"
        } else {
            return Ok(());
        };
        Err(NotDone::refused(
            Cause::NotManaged,
            format!("'{package}' {why}"),
        ))
    }

    fn has_previous(&self, package: &PackageName) -> Result<(), NotDone> {
        let kept = KeptPackages::of(&self.root, &policy_now(&self.root)?).kept(package)?;
        match kept.and_then(|kept| kept.previous) {
            Some(_) => Ok(()),
            None => Err(NotDone::Refused(nothing_kept(package))),
        }
    }

    pub(crate) fn is_present(&self, package: &PackageName) -> Result<bool, NotDone> {
        let found = self.device.packages.found(package);
        Ok(found.map_err(NotDone::unanswered)?.is_some())
    }

    fn state(&self, package: &PackageName) -> Result<InstallerReply, NotDone> {
        match self.device.packages.is_name(package) {
            true => Ok(InstallerReply::State(self.found(package)?)),
            false => Ok(InstallerReply::State(None)),
        }
    }

    fn cancel(&self, operation: OperationId) -> Result<InstallerReply, NotDone> {
        let recognise = &|process: &RunningProcess| self.device.packages.role(process);
        self.queue
            .cancel(operation, recognise, |package| self.found(package))?;
        Ok(InstallerReply::Done)
    }

    fn found(&self, package: &PackageName) -> Result<Option<Found>, NotDone> {
        if let Some(found) = found_bundle(&self.root, &self.device, &self.ledger, package)? {
            return Ok(found);
        }
        let found = self.device.found(package);
        self.ledger
            .with_managed(found.map_err(NotDone::unanswered)?)
    }

    /// The status of a job.
    pub(crate) fn status(&self, operation: OperationId) -> Result<JobStatus, NotDone> {
        let status = self.queue.records().status(operation);
        Ok(status?)
    }

    /// Whether the job is recorded. An open job runs, also if an earlier answer said that recording failed.
    fn is_known(&self, operation: OperationId) -> Result<bool, NotDone> {
        let job = self.queue.records().job(operation)?;
        if job.as_ref().is_some_and(Job::is_open) {
            self.queue.wake();
        }
        Ok(job.is_some())
    }

    fn job_that_needs(&self, stage: StageId) -> Result<Option<OperationId>, NotDone> {
        let open = self.open_jobs()?;
        let job = open.iter().find(|job| job.needs(stage));
        Ok(job.map(|job| job.operation))
    }

    pub(crate) fn open_jobs(&self) -> Result<Vec<Job>, NotDone> {
        let mut jobs = self.queue.records().jobs()?;
        jobs.retain(Job::is_open);
        Ok(jobs)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wharf_frames::{Cause, PackageVersion};

    use super::*;
    use crate::{device, policy::Policy, verdict::Judged};

    const OPERATION: OperationId = OperationId::from_bytes([1; 16]);
    const STAGE: StageId = StageId::from_bytes([2; 16]);

    /// A device with acme 1, which a job installed. Nothing runs the jobs.
    struct Bench {
        _folder: tempfile::TempDir,
        responder: Responder,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path());
            let queue = Queue::new(&root, "/nonexistent".into()).unwrap();
            let responder = Responder {
                device: device::simulated(&root),
                staging: Staging::new(&root, Policy::default().quota).unwrap(),
                ledger: Ledger::of(&root),
                queue,
                root,
            };
            let bench = Self {
                _folder: folder,
                responder,
            };
            bench.write(VERSION, "1");
            bench.write(POLICY, "allow-unsigned = true");
            let version = PackageVersion::new("1").unwrap();
            let judged = Judged {
                package: wharf_frames::installer::SealedPackage {
                    name: acme(),
                    version,
                    architecture: "all".into(),
                    length: 1,
                    signer: None,
                    components: Vec::new(),
                },
                digest: [0; 32],
                signed_at: 0,
                signed: None,
            };
            let (ledger, packages) = (&bench.responder.ledger, &bench.responder.device.packages);
            let recorded = ledger.record(&judged, packages.as_ref(), &Policy::default());
            recorded.unwrap();
            bench
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.responder.root.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn path(&self, path: &str) -> std::path::PathBuf {
            self.responder.root.path(path)
        }
    }

    const POLICY: &str = "etc/wharfd/installer.toml";
    const VERSION: &str = "var/lib/wharf-simulated/acme_version";

    fn acme() -> PackageName {
        PackageName::new("acme").unwrap()
    }

    fn perform(step: Step) -> InstallerRequest {
        InstallerRequest::Perform {
            operation: OPERATION,
            transaction: step.into(),
        }
    }

    fn seal(bench: &Bench) -> InstallerRequest {
        bench.write(&format!("var/lib/wharf-installer/staged/{STAGE}"), "bytes");
        InstallerRequest::Seal {
            stage: STAGE,
            signature: None,
        }
    }

    type Spoil = fn(&Bench) -> InstallerRequest;

    const UNINSTALL: fn() -> InstallerRequest = || perform(Step::Uninstall(acme()));
    const CANCEL: InstallerRequest = InstallerRequest::Cancel {
        operation: OPERATION,
    };

    /// Each source of "not now", with a question that needs it.
    const NOT_NOW: [(&str, Spoil); 12] = [
        ("the policy, for a removal", |bench| {
            bench.write(POLICY, "surprise = 1");
            UNINSTALL()
        }),
        ("the policy, for a seal", |bench| {
            bench.write(POLICY, "surprise = 1");
            seal(bench)
        }),
        ("the keyring", |bench| {
            fs::create_dir_all(bench.path("etc/wharfd/keys/folder.asc")).unwrap();
            seal(bench)
        }),
        ("wharf-inspect", seal),
        ("the ledger", |bench| {
            fs::write(bench.responder.root.ledger().join("acme"), "garbage").unwrap();
            UNINSTALL()
        }),
        ("the record of the job, for a step", |bench| {
            let path = bench.responder.root.jobs().join(OPERATION.to_string());
            fs::write(path, "garbage").unwrap();
            UNINSTALL()
        }),
        ("the record of the job, for a cancel", |bench| {
            let path = bench.responder.root.jobs().join(OPERATION.to_string());
            fs::write(path, "garbage").unwrap();
            CANCEL
        }),
        ("the records, for the list", |bench| {
            fs::remove_dir_all(bench.responder.root.jobs()).unwrap();
            InstallerRequest::List
        }),
        ("the verdict", |bench| {
            bench.write(
                &format!("var/lib/wharf-installer/staged/{STAGE}.verdict"),
                "garbage",
            );
            perform(Step::Install(STAGE))
        }),
        ("the package database, for a step", |bench| {
            fs::remove_file(bench.path(VERSION)).unwrap();
            fs::create_dir(bench.path(VERSION)).unwrap();
            UNINSTALL()
        }),
        ("the package database, for the state", |bench| {
            fs::remove_file(bench.path(VERSION)).unwrap();
            fs::create_dir(bench.path(VERSION)).unwrap();
            InstallerRequest::State { package: acme() }
        }),
        ("room in the queue", |bench| {
            for number in 0..wharf_root::limits::OPEN_JOBS {
                let operation = OperationId::from_bytes([u8::try_from(number).unwrap() + 9; 16]);
                let steps = vec![Step::Activate(acme())];
                bench.responder.queue.accept(operation, steps).unwrap();
            }
            UNINSTALL()
        }),
    ];

    #[test]
    fn what_the_device_cannot_do_now_is_no_refusal_from_any_source() {
        for (source, spoil) in NOT_NOW {
            let bench = Bench::new();
            let request = spoil(&bench);
            let SocketAnswer::Reply(reply) = bench.responder.answer(request) else {
                panic!("{source}");
            };
            assert!(
                matches!(&reply, InstallerReply::NotNow(failure) if failure.cause == Cause::Unavailable),
                "{source}: {reply:?}"
            );
        }
    }

    /// Each reason for a refusal, with its cause.
    const REFUSED: [(&str, Cause, Spoil); 9] = [
        ("two steps", Cause::Policy, |_| InstallerRequest::Perform {
            operation: OPERATION,
            transaction: Transaction {
                steps: vec![Step::Activate(acme()), Step::Deactivate(acme())],
            },
        }),
        ("never installed", Cause::NotManaged, |bench| {
            fs::remove_file(bench.responder.root.ledger().join("acme")).unwrap();
            UNINSTALL()
        }),
        ("not there", Cause::NotManaged, |bench| {
            fs::remove_file(bench.path(VERSION)).unwrap();
            UNINSTALL()
        }),
        ("no name", Cause::NotManaged, |_| {
            perform(Step::Activate(PackageName::new("a/b").unwrap()))
        }),
        ("nothing kept", Cause::Policy, |_| {
            perform(Step::Back(acme()))
        }),
        ("protected", Cause::Plan, |bench| {
            bench.write(POLICY, "protected = [\"acme\"]");
            UNINSTALL()
        }),
        ("a purge without a rule", Cause::Policy, |_| {
            perform(Step::Purge(acme()))
        }),
        ("no sealed file", Cause::Policy, |_| {
            perform(Step::Install(STAGE))
        }),
        ("no job", Cause::Policy, |_| CANCEL),
    ];

    #[test]
    fn what_is_judged_stays_refused() {
        for (reason, cause, spoil) in REFUSED {
            let bench = Bench::new();
            let request = spoil(&bench);
            let SocketAnswer::Reply(reply) = bench.responder.answer(request) else {
                panic!("{reason}");
            };
            assert!(
                matches!(&reply, InstallerReply::Refused(failure) if failure.cause == cause),
                "{reason}: {reply:?}"
            );
        }
    }
}
