//! Records of jobs. An accepted job is done, also after a crash. Each record is a file, which is replaced as a whole. A writer
//! holds the lock of the records, so that a cancel and the start of the work exclude each other.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use minicbor::{Decode, Encode};
use nix::fcntl::{Flock, FlockArg};
use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, OperationId, PackageName, StageId, decode, encode,
    installer::{Found, JobPhase, JobStatus, Outcome},
};
use wharf_root::{Root, durable, limits};

use crate::{progress, verdict::Judged};

/// One job, as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Job {
    /// [`FORMAT`] of whoever wrote it.
    #[n(0)]
    pub(crate) format: u32,
    /// Its name.
    #[n(1)]
    pub operation: OperationId,
    /// Jobs are done in this order.
    #[n(2)]
    pub sequence: u64,
    /// What is to be done.
    #[n(3)]
    pub order: Order,
    /// How far it is.
    #[n(4)]
    pub state: State,
    /// The attempts so far, the last one last.
    #[n(5)]
    pub attempts: Vec<Attempt>,
    /// What the device had before the first attempt.
    #[n(6)]
    pub before: Option<Found>,
    /// A boot ended after an attempt began to change the device. Files of maintainer scripts may be lost, although the
    /// package database calls the package whole, until an attempt has done the whole job again.
    #[cbor(n(7), default)]
    pub cut_off: bool,
    /// The Install adopts a package that the device had before wharfd managed it, by the ledger before the first
    /// attempt.
    #[cbor(n(8), default)]
    pub adopts: bool,
}

/// What a job is to do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Order {
    /// Installs a sealed file.
    #[n(0)]
    Install {
        /// The file.
        #[n(0)]
        stage: StageId,
        /// What was found in it.
        #[n(1)]
        judged: Judged,
    },
    /// Removes a package.
    #[n(1)]
    Remove(#[n(0)] PackageName),
    /// Starts its units.
    #[n(2)]
    Activate(#[n(0)] PackageName),
    /// Stops its units.
    #[n(3)]
    Deactivate(#[n(0)] PackageName),
    /// Removes a package with its configuration.
    #[n(4)]
    Purge(#[n(0)] PackageName),
}

/// How far a job is. Each is on disk before what it allows is done.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum State {
    /// It will be done.
    #[n(0)]
    Accepted,
    /// An attempt looks and plans; nothing is touched, it can still be cancelled.
    #[n(1)]
    Attempted,
    /// The package manager may be at work.
    #[n(2)]
    Applying,
    /// The device was seen to have what was asked; not yet known to survive a power cut.
    #[n(3)]
    Applied,
    /// Over: what the outcome says is on the disk.
    #[n(4)]
    Ended(#[n(0)] Outcome),
}

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attempt {
    /// The boot in which it was made.
    #[n(0)]
    pub boot: String,
    /// Its session, in which all its processes are.
    #[n(1)]
    pub session: i32,
}

const FORMAT: u32 = 1;

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

impl From<RecordsError> for Failure {
    fn from(error: RecordsError) -> Self {
        Self::new(Cause::Unavailable, error.to_string())
    }
}

impl Order {
    /// The package it is about.
    pub fn package(&self) -> &PackageName {
        match self {
            Self::Install { judged, .. } => &judged.package.name,
            Self::Remove(name)
            | Self::Activate(name)
            | Self::Deactivate(name)
            | Self::Purge(name) => name,
        }
    }

    /// The file that has to be kept until the job is over.
    pub fn stage(&self) -> Option<StageId> {
        match self {
            Self::Install { stage, .. } => Some(*stage),
            _ => None,
        }
    }
}

impl Job {
    /// What of the package was whole before the first attempt.
    pub(crate) fn whole_before(&self) -> Option<&Found> {
        self.before.as_ref().filter(|before| before.is_whole())
    }

    /// Whether there is still something to do.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Ended(_))
    }

    fn status(&self, progress: Option<(JobPhase, Option<u8>)>) -> JobStatus {
        let phase = match &self.state {
            State::Ended(outcome) => return JobStatus::Ended(outcome.clone()),
            State::Accepted => return open(JobPhase::Queued, None),
            State::Attempted => JobPhase::Planning,
            State::Applying => JobPhase::Applying,
            State::Applied => JobPhase::Verifying,
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
            Some(bytes) => match decode::<Job>(&bytes) {
                Ok(job) if job.format <= FORMAT => Ok(Some(job)),
                Ok(_) => Err(unreadable("a newer wharfd wrote it".to_owned())),
                Err(error) => Err(unreadable(error.to_string())),
            },
        }
    }

    /// How a job stands.
    pub fn status(&self, operation: OperationId) -> Result<JobStatus, RecordsError> {
        let job = self.job(operation)?;
        let progress = progress::read(&self.root, operation);
        Ok(job.map_or(JobStatus::Unknown, |job| job.status(progress)))
    }

    /// Every job that can be read, in the order in which they were accepted. What cannot be read is told, and left.
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

    /// Writes a new job at the end of the queue. The caller has looked, under the same lock, that it is new.
    pub(crate) fn accept(
        &self,
        _lock: &Locked,
        operation: OperationId,
        order: Order,
        sequence: u64,
    ) -> Result<(), RecordsError> {
        self.write(&Job {
            format: FORMAT,
            operation,
            sequence,
            order,
            state: State::Accepted,
            attempts: Vec::new(),
            before: None,
            cut_off: false,
            adopts: false,
        })?;
        fault::point("job.accepted");
        Ok(())
    }

    /// Writes a record of a job as it is now.
    pub(crate) fn update(&self, _lock: &Locked, job: &Job) -> Result<(), RecordsError> {
        self.write(job)
    }

    fn write(&self, job: &Job) -> Result<(), RecordsError> {
        let path = self.path(job.operation);
        encode(job)
            .map_err(|error| error.to_string())
            .and_then(|bytes| durable::write(&path, &bytes).map_err(|error| error.to_string()))
            .map_err(|why| problem("write", path, why))
    }

    /// Forgets the oldest of those that have ended, once there are too many.
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
    use wharf_frames::installer::Package;

    const OPERATION: OperationId = OperationId::from_bytes([2; 16]);

    fn job(state: State) -> Job {
        let name = PackageName::new("acme").unwrap();
        let version = wharf_frames::PackageVersion::new("1").unwrap();
        let package = Package {
            name: name.clone(),
            version: version.clone(),
            architecture: "all".into(),
            length: 3,
            signer: None,
        };
        Job {
            format: FORMAT,
            operation: OPERATION,
            sequence: 7,
            order: Order::Install {
                stage: StageId::from_bytes([1; 16]),
                judged: Judged {
                    package,
                    digest: [9; 32],
                    signed_at: 5,
                    signed: None,
                },
            },
            state,
            attempts: vec![Attempt {
                boot: "b".to_owned(),
                session: 4,
            }],
            before: Some(Found {
                name,
                version,
                active: false,
                damage: None,
                managed: false,
                no_services: false,
                skipped: None,
            }),
            cut_off: false,
            adopts: false,
        }
    }

    /// As release 0.1 wrote it.
    const RELEASE_0_1: &str = "a700010150020202020202020202020202020202020207038200a2005001010101010101010101010101\
        01010101a300a5006461636d650161310263616c6c030304f601582009090909090909090909090909090909090909090909090909\
        0909090909090902050482\
        02a00581a20061620104\
        06a3006461636d6501613102f4";

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
        assert_eq!(
            decode::<Job>(&from_hex(RELEASE_0_1)).unwrap(),
            job(State::Applying)
        );
    }

    /// The order in records that were written before a purge was known.
    #[test]
    fn an_old_removal_is_no_purge() {
        let acme = || PackageName::new("acme").unwrap();
        for (hex, order) in [
            ("8201a1006461636d65", Order::Remove(acme())),
            ("8204a1006461636d65", Order::Purge(acme())),
        ] {
            assert_eq!(decode::<Order>(&from_hex(hex)).unwrap(), order);
        }
    }

    /// As the release before transactions wrote it.
    #[test]
    fn a_record_with_the_order_of_an_older_release_is_read() {
        let acme = || PackageName::new("acme").unwrap();
        let install = "8200a200500101010101010101010101010101010101a300a4006461636d650161310263616c6c0303\
            0158200909090909090909090909090909090909090909090909090909090909090909\
            0205";
        for (hex, order) in [
            (install, job(State::Attempted).order),
            ("8201a1006461636d65", Order::Remove(acme())),
            ("8202a1006461636d65", Order::Activate(acme())),
            ("8203a1006461636d65", Order::Deactivate(acme())),
            ("8204a1006461636d65", Order::Purge(acme())),
        ] {
            for (flag, cut_off) in [("f4", false), ("f5", true)] {
                let record = format!(
                    "a90001015002020202020202020202020202020202020703{hex}048201a00581a2006162010406a5\
                     006461636d6501613102f404f405f407{flag}08{flag}"
                );
                let expected = Job {
                    order: order.clone(),
                    cut_off,
                    adopts: cut_off,
                    ..job(State::Attempted)
                };
                assert_eq!(decode::<Job>(&from_hex(&record)).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_record_of_a_newer_format_is_told_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let records = Records::open(&root).unwrap();
        let newer = Job {
            format: FORMAT + 1,
            ..job(State::Accepted)
        };
        records.write(&newer).unwrap();
        let error = records.job(OPERATION).unwrap_err().to_string();
        assert!(
            error.contains(&OPERATION.to_string()) && error.contains("newer"),
            "{error}"
        );
        assert!(records.jobs().unwrap().is_empty());
        assert!(root.jobs().join(OPERATION.to_string()).exists());
    }

    #[test]
    fn jobs_that_have_ended_are_forgotten_from_the_oldest_on_and_open_ones_never() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(&Root::new(folder.path())).unwrap();
        let ended = State::Ended(Outcome {
            failure: None,
            device: None,
            attempts: 1,
            note: None,
        });
        let total = limits::ENDED_JOBS as u64 + 3;
        for sequence in 0..total {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&sequence.to_le_bytes());
            let state = if sequence == 0 {
                State::Accepted
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
