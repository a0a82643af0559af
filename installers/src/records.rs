//! Records of jobs. An accepted job is done, also after a crash. Each record is a file, which is replaced as a whole. A writer
//! holds the lock of the records, so that a cancel and the start of the work exclude each other.

mod older;

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use minicbor::{Decode, Encode, bytes::ByteVec};
use nix::fcntl::{Flock, FlockArg};
use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, FrameError, OperationId, PackageName, StageId, Step, decode_record,
    encode_record,
    installer::{Dependency, Found, JobPhase, JobStatus, Outcome},
};
use wharf_root::{Root, durable, limits};

use crate::{
    back::Previous,
    bundle::work::{JobBundle, JobWork},
    not_done::NotDone,
    progress,
    verdict::{Judged, Sealed},
};

/// One job, as it is on disk. The first format used the fields 3, 6 and 8.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Job {
    /// The [`FORMAT`] of this record.
    #[n(0)]
    pub(crate) format: u32,
    /// Its operation.
    #[n(1)]
    pub operation: OperationId,
    /// Jobs are done in the order of this number.
    #[n(2)]
    pub sequence: u64,
    /// The state of all steps together.
    #[n(4)]
    pub state: JobState,
    /// The attempts so far, in their order.
    #[n(5)]
    pub attempts: Vec<JobAttempt>,
    /// A boot ended after an attempt began to change the device. Files of maintainer scripts may be lost, although the
    /// package database calls the package whole, until an attempt has done the whole job again.
    #[n(7)]
    pub cut_off: bool,
    /// The steps, in their order.
    #[n(9)]
    pub steps: Vec<Step<Sealed>>,
    /// The packages of the steps before the first attempt. Empty until then.
    #[n(10)]
    pub before: Vec<Before>,
    /// The packages that come beside the files, once the package manager may be at work. Each is new on the device.
    #[n(11)]
    #[cbor(default)]
    pub dependencies: Vec<Dependency>,
    /// The lists of the sources were fetched again for them.
    #[n(12)]
    #[cbor(default)]
    pub refreshed: bool,
    /// The dependencies of earlier installations that nothing needed before the first attempt. None if no step removes, or if
    /// nobody can say.
    #[n(13)]
    pub unused_before: Option<Vec<PackageName>>,
    /// The bundle, if the steps are those of one.
    #[n(20)]
    pub bundle: Option<JobBundle>,
}

/// A package before the first attempt of a job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Before {
    /// Its name.
    #[n(0)]
    pub package: PackageName,
    /// The package on the device.
    #[n(1)]
    pub found: Option<Found>,
    /// The device had the package before wharfd managed it, by the ledger. An Install adopts it.
    #[n(2)]
    pub adopts: bool,
    /// The kept file of the version in place: the way back. None if that version has no such file.
    #[n(3)]
    pub back: Option<Judged>,
    /// The device had the configuration of the package, and not the package.
    #[n(4)]
    #[cbor(default)]
    pub left_configuration: bool,
    /// Its units, in a job of several steps. The job of one step has them in the record of the units.
    #[n(5)]
    pub units: Option<ByteVec>,
    /// Its configuration files are kept.
    #[n(6)]
    #[cbor(default)]
    pub keeps_configuration: bool,
    /// The kept version before the one in place, in a job that goes back to it.
    #[n(7)]
    pub(crate) previous: Option<Previous>,
}

/// The part of a record that every format has.
#[derive(Decode)]
#[cbor(map)]
struct Head {
    #[n(0)]
    format: u32,
}

/// The state of a job. Each state is on disk before the work that it allows begins.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum JobState {
    /// It will be done.
    #[n(0)]
    Accepted,
    /// An attempt looks and plans. It changes nothing, so the job can still be cancelled.
    #[n(1)]
    Attempted,
    /// The package manager may be at work.
    #[n(2)]
    Applying,
    /// The device has what was asked. A power cut may still undo it.
    #[n(3)]
    Applied,
    /// The job is over, and the disk has what the outcome says.
    #[n(4)]
    Ended(#[n(0)] Box<Outcome>),
    /// The disk has what was asked. No failure leads back from here on.
    #[n(5)]
    Confirmed,
    /// The job failed, and the device goes back to what it was.
    #[n(6)]
    Returning(#[n(0)] Box<Return>),
}

/// The way back of a job that failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Return {
    /// The failure.
    #[n(0)]
    pub why: Failure,
    /// The number of attempts before it. The way back has attempts of its own.
    #[n(1)]
    pub attempts_before: u32,
}

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JobAttempt {
    /// Its boot.
    #[n(0)]
    pub boot: String,
    /// The session of all its processes.
    #[n(1)]
    pub session: i32,
}

const FORMAT: u32 = 2;

/// The records of a root.
#[derive(Debug, Clone)]
pub struct Records {
    root: Root,
}

/// Held while records are changed.
pub(crate) struct Locked(#[allow(dead_code, reason = "held")] Flock<File>);

/// A record cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {file}: {why}")]
pub struct RecordsError {
    what: &'static str,
    file: PathBuf,
    why: String,
}

impl From<RecordsError> for NotDone {
    fn from(error: RecordsError) -> Self {
        Self::NotNow(error.into())
    }
}

impl From<RecordsError> for Failure {
    fn from(error: RecordsError) -> Self {
        Self::new(Cause::Unavailable, error.to_string())
    }
}

/// The package of a step.
pub(crate) fn package(step: &Step<Sealed>) -> &PackageName {
    match step {
        Step::Install(file) => &file.judged.package.name,
        Step::Uninstall(name)
        | Step::Purge(name)
        | Step::Activate(name)
        | Step::Deactivate(name)
        | Step::Back(name) => name,
    }
}

impl Job {
    /// The packages of its steps.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &PackageName> {
        self.steps.iter().map(package)
    }

    /// The software that it is about: the bundle, or the package of its first step.
    pub(crate) fn subject(&self) -> Option<&PackageName> {
        let bundle = self.bundle.as_ref().map(|bundle| &bundle.name);
        bundle.or_else(|| self.packages().next())
    }

    /// Whether it works on this package.
    pub(crate) fn is_about(&self, name: &PackageName) -> bool {
        self.packages().any(|package| package == name)
    }

    /// Whether it is about this package, or has brought it as a dependency.
    pub(crate) fn may_change(&self, name: &PackageName) -> bool {
        self.is_about(name) || self.dependencies.iter().any(|it| it.name == *name)
    }

    /// Whether it needs this staged file until it ends.
    pub(crate) fn needs(&self, stage: StageId) -> bool {
        let mut files = self.steps.iter().filter_map(Step::file);
        files.any(|file| file.stage == stage)
    }

    /// Whether it goes back to the version before the one in place, by order.
    pub(crate) fn goes_back_to_previous(&self, name: &PackageName) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step, Step::Back(package) if package == name))
    }

    /// Whether this is the version to which it goes back by order, as active as the one that it replaces.
    pub(crate) fn is_previous(&self, found: &Found) -> bool {
        let ran = self.found_before(&found.name).is_some_and(|it| it.active);
        let previous = self.previous(&found.name);
        let version = previous.map(|it| &it.judged.package.version);
        version == Some(&found.version) && (found.active || !ran)
    }

    /// The package before the first attempt.
    pub(crate) fn before_of(&self, name: &PackageName) -> Option<&Before> {
        self.before.iter().find(|before| before.package == *name)
    }

    /// The package that the device had before the first attempt.
    pub(crate) fn found_before(&self, name: &PackageName) -> Option<&Found> {
        self.before_of(name)?.found.as_ref()
    }

    /// The same, if it was whole.
    pub(crate) fn whole_before(&self, name: &PackageName) -> Option<&Found> {
        self.found_before(name).filter(|found| found.is_whole())
    }

    /// The kept file of the version that the device had.
    pub(crate) fn back(&self, name: &PackageName) -> Option<&Judged> {
        self.before_of(name)?.back.as_ref()
    }

    /// The version to which it goes back by order.
    pub(crate) fn previous(&self, name: &PackageName) -> Option<&Previous> {
        self.before_of(name)?.previous.as_ref()
    }

    /// Whether it keeps the configuration files of this package.
    pub(crate) fn keeps_configuration(&self, name: &PackageName) -> bool {
        self.before_of(name)
            .is_some_and(|it| it.keeps_configuration)
    }

    /// Whether a step removes a package.
    pub(crate) fn removes(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step, Step::Uninstall(_) | Step::Purge(_)))
    }

    /// The files that it tries: its bundle as a whole, or the file of each package.
    pub(crate) fn tried(&self) -> Vec<&Judged> {
        let bundle = self.bundle.as_ref();
        match bundle.and_then(|bundle| bundle.judged.as_ref()) {
            Some(bundle) => vec![bundle],
            None => {
                let files = self.steps.iter().filter_map(Step::file);
                files.map(|file| &file.judged).collect()
            }
        }
    }

    /// Whether it adopts this package.
    pub(crate) fn adopts(&self, name: &PackageName) -> bool {
        self.before_of(name).is_some_and(|before| before.adopts)
    }

    /// Whether it has not ended.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, JobState::Ended(_))
    }

    fn status(&self, progress: Option<(JobPhase, Option<u8>)>) -> JobStatus {
        let phase = match &self.state {
            JobState::Ended(outcome) => return JobStatus::Ended(outcome.clone()),
            JobState::Accepted => return open(JobPhase::Queued, None),
            JobState::Attempted => JobPhase::Planning,
            JobState::Applying => JobPhase::Applying,
            JobState::Applied | JobState::Confirmed => JobPhase::Verifying,
            JobState::Returning(_) => JobPhase::Returning,
        };
        // A report that an earlier attempt left behind may be further than the record.
        match progress {
            Some((reported, percent)) if reported >= phase || reported == JobPhase::Queued => {
                open(reported, percent)
            }
            _ => open(phase, None),
        }
    }
}

fn open(phase: JobPhase, percent: Option<u8>) -> JobStatus {
    JobStatus::Open { phase, percent }
}

impl Records {
    /// The records of this root.
    pub fn open(root: &Root) -> io::Result<Self> {
        for folder in [root.state(), root.jobs(), root.ledger(), root.run()] {
            durable::private_folder(&folder)?;
        }
        Ok(Self { root: root.clone() })
    }

    /// Waits until nobody else changes a record.
    pub(crate) fn lock(&self) -> Result<Locked, RecordsError> {
        let path = self.root.jobs().join(".lock");
        lock_file(&path, FlockArg::LockExclusive)
            .map(Locked)
            .map_err(|error| problem("lock", path, error))
    }

    /// The record of a job.
    pub fn job(&self, operation: OperationId) -> Result<Option<Job>, RecordsError> {
        let path = self.path(operation);
        let unreadable = |why: String| problem("read", path.clone(), why);
        match durable::read(&path).map_err(|error| unreadable(error.to_string()))? {
            None => Ok(None),
            Some(bytes) => parse(&bytes).map(Some).map_err(unreadable),
        }
    }

    /// The status of a job.
    pub fn status(&self, operation: OperationId) -> Result<JobStatus, RecordsError> {
        let job = self.job(operation)?;
        let progress = progress::read(&self.root, operation);
        Ok(job.map_or(JobStatus::Unknown, |job| job.status(progress)))
    }

    /// Every readable job, in the order in which they were accepted. Logs each record that cannot be read, and leaves it.
    pub fn jobs(&self) -> Result<Vec<Job>, RecordsError> {
        let folder = self.root.jobs();
        let entries = fs::read_dir(&folder).map_err(|error| problem("list", folder, error))?;
        let operations = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut jobs: Vec<Job> = operations
            .filter_map(|operation| match self.job(operation) {
                Ok(job) => job,
                Err(error) => {
                    tracing::warn!("{error}; it is left as it is");
                    None
                }
            })
            .collect();
        jobs.sort_by_key(|job| job.sequence);
        Ok(jobs)
    }

    /// Writes a new job at the end of the queue. The caller has checked under the same lock that it is new.
    pub(crate) fn accept(
        &self,
        _lock: &Locked,
        operation: OperationId,
        work: JobWork,
        sequence: u64,
    ) -> Result<(), RecordsError> {
        let JobWork { steps, bundle } = work;
        self.write(&Job {
            format: FORMAT,
            operation,
            sequence,
            state: JobState::Accepted,
            attempts: Vec::new(),
            cut_off: false,
            steps,
            before: Vec::new(),
            dependencies: Vec::new(),
            refreshed: false,
            unused_before: None,
            bundle,
        })?;
        fault::point("job.accepted");
        Ok(())
    }

    /// Replaces the record of a job.
    pub(crate) fn update(&self, _lock: &Locked, job: &Job) -> Result<(), RecordsError> {
        self.write(job)
    }

    fn write(&self, job: &Job) -> Result<(), RecordsError> {
        let path = self.path(job.operation);
        encode_record(job)
            .map_err(|error| error.to_string())
            .and_then(|bytes| durable::write(&path, &bytes).map_err(|error| error.to_string()))
            .map_err(|why| problem("write", path, why))
    }

    /// Deletes the oldest records of ended jobs if there are too many.
    pub(crate) fn forget_old(&self, _lock: &Locked) -> Result<(), RecordsError> {
        let mut ended = self.jobs()?;
        ended.retain(|job| !job.is_open());
        let surplus = ended.len().saturating_sub(limits::ENDED_JOBS);
        for (index, job) in ended.iter().enumerate() {
            let path = self.path(job.operation);
            if index < surplus || is_older(&path, limits::ENDED_JOBS_AGE) {
                durable::remove(&path).map_err(|error| problem("remove", path, error))?;
                progress::clear(&self.root, job.operation);
            }
        }
        Ok(())
    }

    fn path(&self, operation: OperationId) -> PathBuf {
        self.root.jobs().join(operation.to_string())
    }
}

/// Reads a record of this format or an older one.
fn parse(bytes: &[u8]) -> Result<Job, String> {
    let unreadable = |error: FrameError| error.to_string();
    match decode_record::<Head>(bytes).map_err(unreadable)?.format {
        older::FORMAT => decode_record::<older::Job>(bytes).map(Job::from),
        FORMAT => decode_record(bytes),
        newer => return Err(format!("it has format {newer}, a newer wharfd wrote it")),
    }
    .map_err(unreadable)
}

/// Opens and locks a file that exists for its lock only. The kernel lets go of it with its last holder.
pub(crate) fn lock_file(path: &std::path::Path, how: FlockArg) -> io::Result<Flock<File>> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    Flock::lock(file, how).map_err(|(_, error)| error.into())
}

fn is_older(path: &std::path::Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let oldest = SystemTime::now().checked_sub(age);
    matches!((modified, oldest), (Ok(modified), Some(oldest)) if modified < oldest)
}

fn problem(what: &'static str, file: PathBuf, why: impl ToString) -> RecordsError {
    RecordsError {
        what,
        file,
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_frames::installer::SealedPackage;

    const OPERATION: OperationId = OperationId::from_bytes([2; 16]);

    fn job(state: JobState) -> Job {
        let name = PackageName::new("acme").unwrap();
        let version = wharf_frames::PackageVersion::new("1").unwrap();
        let package = SealedPackage {
            name: name.clone(),
            version: version.clone(),
            architecture: "all".into(),
            length: 3,
            signer: None,
            components: Vec::new(),
        };
        Job {
            format: FORMAT,
            operation: OPERATION,
            sequence: 7,
            steps: vec![Step::Install(Sealed {
                stage: StageId::from_bytes([1; 16]),
                judged: Judged {
                    package,
                    digest: [9; 32],
                    signed_at: 5,
                    signed: None,
                },
                member: None,
            })],
            state,
            attempts: vec![JobAttempt {
                boot: "b".to_owned(),
                session: 4,
            }],
            dependencies: Vec::new(),
            refreshed: false,
            unused_before: None,
            bundle: None,
            before: vec![Before {
                package: name.clone(),
                found: Some(Found {
                    name,
                    version,
                    active: false,
                    damage: None,
                    managed: false,
                    no_services: false,
                    skipped: None,
                    components: Vec::new(),
                }),
                adopts: false,
                back: None,
                left_configuration: false,
                units: None,
                keeps_configuration: false,
                previous: None,
            }],
            cut_off: false,
        }
    }

    #[test]
    fn the_record_of_the_largest_bundle_with_long_signatures_can_be_written() {
        let mut large = job(JobState::Applying);
        let signed = wharf_frames::inspect::SignedDigest {
            packet: vec![7; wharf_frames::inspect::MAX_SIGNATURE_PACKET].into(),
            digest: vec![8; 64].into(),
        };
        let step = large.steps.remove(0);
        let before = large.before.remove(0);
        for _ in 0..wharf_frames::installer::MAX_COMPONENTS {
            let mut file = step.file().unwrap().clone();
            file.judged.signed = Some(signed.clone());
            let back = Some(file.judged.clone());
            let before = before.clone();
            large.before.push(Before { back, ..before });
            large.steps.push(Step::Install(file));
        }
        let bytes = encode_record(&large).unwrap();
        assert_eq!(parse(&bytes), Ok(large), "{} bytes", bytes.len());
    }

    /// As release 0.1 wrote it.
    const RELEASE_0_1: &str = "a700010150020202020202020202020202020202020207038200a2005001010101010101010101010101\
        01010101a300a5006461636d650161310263616c6c030304f601582009090909090909090909090909090909090909090909090909\
        0909090909090902050482\
        02a00581a20061620104\
        06a3006461636d6501613102f4";

    /// The same record in the second format.
    const FORMAT_2: &str = "a800020150020202020202020202020202020202020207048202a00581a2006162010407f409818200a100a200500101\
        010101010101010101010101010101a300a4006461636d650161310263616c6c0303015820090909090909090909090909090909\
        090909090909090909090909090909090902050a81a3006461636d6501a5006461636d6501613102f404f405f402f4";

    fn from_hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text
            .chars()
            .filter_map(|digit| digit.to_digit(16))
            .collect();
        digits
            .chunks(2)
            .map(|pair| (pair[0] * 16 + pair[1]) as u8)
            .collect()
    }

    #[test]
    fn a_record_of_this_format_is_read_by_every_later_release() {
        for hex in [RELEASE_0_1, FORMAT_2] {
            assert_eq!(parse(&from_hex(hex)).unwrap(), job(JobState::Applying));
        }
    }

    #[test]
    fn a_record_of_a_job_that_goes_back_is_read_as_it_was_written() {
        let back = Return {
            why: Failure::new(Cause::Script, "it failed"),
            attempts_before: 2,
        };
        for state in [JobState::Confirmed, JobState::Returning(Box::new(back))] {
            let mut job = job(state);
            let judged = job.steps[0].file().unwrap().judged.clone();
            job.before[0].back = Some(judged.clone());
            job.before[0].units = Some(vec![1, 2].into());
            job.before[0].keeps_configuration = true;
            job.before[0].previous = Some(Previous {
                judged,
                configuration: Some(OPERATION),
            });
            assert_eq!(parse(&encode_record(&job).unwrap()), Ok(job));
        }
    }

    /// The step in records that were written before a purge was known.
    #[test]
    fn an_old_removal_is_no_purge() {
        let acme = || PackageName::new("acme").unwrap();
        for (hex, step) in [
            ("8201a1006461636d65", Step::Uninstall(acme())),
            ("8204a1006461636d65", Step::Purge(acme())),
        ] {
            let order = decode_record::<older::Order>(&from_hex(hex)).unwrap();
            assert_eq!(Step::from(order), step);
        }
    }

    /// As the release before transactions wrote it.
    #[test]
    fn a_record_with_the_order_of_an_older_release_is_read() {
        let acme = || PackageName::new("acme").unwrap();
        let install = "8200a200500101010101010101010101010101010101a300a4006461636d650161310263616c6c0303\
            0158200909090909090909090909090909090909090909090909090909090909090909\
            0205";
        for (hex, step) in [
            (install, job(JobState::Attempted).steps.remove(0)),
            ("8201a1006461636d65", Step::Uninstall(acme())),
            ("8202a1006461636d65", Step::Activate(acme())),
            ("8203a1006461636d65", Step::Deactivate(acme())),
            ("8204a1006461636d65", Step::Purge(acme())),
        ] {
            for (flag, cut_off) in [("f4", false), ("f5", true)] {
                let record = format!(
                    "a90001015002020202020202020202020202020202020703{hex}048201a00581a2006162010406a5\
                     006461636d6501613102f404f405f407{flag}08{flag}"
                );
                let mut expected = Job {
                    steps: vec![step.clone()],
                    cut_off,
                    ..job(JobState::Attempted)
                };
                expected.before[0].adopts = cut_off;
                assert_eq!(parse(&from_hex(&record)).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_record_of_an_older_release_without_an_attempt_has_nothing_before_it() {
        let record = "a80001015002020202020202020202020202020202020703\
            8202a1006461636d65048200a0058007f408f4";
        let read = parse(&from_hex(record)).unwrap();
        assert_eq!((read.before, read.state), (vec![], JobState::Accepted));
    }

    #[test]
    fn an_older_release_reads_no_record_of_this_format() {
        let bytes = encode_record(&job(JobState::Accepted)).unwrap();
        assert!(decode_record::<older::Job>(&bytes).is_err());
    }

    #[test]
    fn a_record_of_a_newer_format_is_told_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let records = Records::open(&root).unwrap();
        let newer = Job {
            format: FORMAT + 1,
            ..job(JobState::Accepted)
        };
        let path = root.jobs().join(OPERATION.to_string());
        // The second one has no field of a job but its format.
        for bytes in [encode_record(&newer).unwrap(), from_hex("a10003")] {
            durable::write(&path, &bytes).unwrap();
            let error = records.job(OPERATION).unwrap_err().to_string();
            assert!(
                error.contains(&OPERATION.to_string()) && error.contains("newer"),
                "{error}"
            );
            assert!(records.jobs().unwrap().is_empty());
            assert!(path.exists());
        }
    }

    #[test]
    fn jobs_that_have_ended_are_forgotten_from_the_oldest_on_and_open_ones_never() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(&Root::new(folder.path())).unwrap();
        let ended = JobState::Ended(Box::new(Outcome {
            attempts: 1,
            ..Outcome::default()
        }));
        let total = limits::ENDED_JOBS as u64 + 3;
        for sequence in 0..total {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&sequence.to_le_bytes());
            let state = if sequence == 0 {
                JobState::Accepted
            } else {
                ended.clone()
            };
            let operation = OperationId::from_bytes(id);
            records
                .write(&Job {
                    operation,
                    sequence,
                    ..job(state)
                })
                .unwrap();
        }
        records.forget_old(&records.lock().unwrap()).unwrap();
        let left: Vec<u64> = records
            .jobs()
            .unwrap()
            .iter()
            .map(|job| job.sequence)
            .collect();
        let expected: Vec<u64> = [0].into_iter().chain(3..total).collect();
        assert_eq!(left, expected);
    }
}
