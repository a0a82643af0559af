//! Root's folder of staged files. It bounds the writers, the size and the age of each file. It knows no signature and no
//! package manager: the caller of [`Staging::seal`] judges the file.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use nix::libc;
use wharf_fault as fault;
use wharf_frames::{
    Cause, Failure, OperationId, StageId,
    installer::{SealedPackage, StageEntry},
};
use wharf_root::{Root, durable, limits};

use crate::{
    bundle::members::{self, MemberFiles},
    clock,
    inner::{self, Inner},
    inspector::InspectError,
    lease,
    not_done::NotDone,
    policy::Quota,
    room::Room,
    verdict::{self, Accepted, JudgedBundle, Sealed, Verdict},
};

/// The staged files of one root.
#[derive(Debug)]
pub struct Staging {
    root: Root,
    quota: Quota,
    /// The time of this build. A clock before it is wrong.
    built: Option<SystemTime>,
    taken: Mutex<HashSet<StageId>>,
    /// Held while a file is judged. Each may keep a processor busy for a minute, so one is judged at a time.
    judging: Mutex<()>,
}

/// A file for its writer.
#[derive(Debug)]
pub struct Staged {
    /// The write-only descriptor.
    pub file: OwnedFd,
    /// Its length now.
    pub kept: u64,
    /// Its greatest length.
    pub limit: u64,
}

/// A sealed file that nobody can discard while this value exists.
#[derive(Debug)]
pub struct Kept<'a, File = Sealed> {
    /// The file.
    pub file: File,
    _taken: Taken<'a>,
}

/// The open job that needs a file, if any. Call it after the file is taken: then no new job can need the file.
pub type Needs<'a> = &'a dyn Fn(StageId) -> Result<Option<OperationId>, NotDone>;

impl Staging {
    /// The staged files of this root, within these bounds.
    pub fn new(root: &Root, quota: Quota) -> io::Result<Self> {
        durable::private_folder(&root.staged())?;
        Ok(Self {
            root: root.clone(),
            quota,
            built: clock::built(),
            taken: Mutex::default(),
            judging: Mutex::default(),
        })
    }

    /// Creates a file of this name for one writer at a time, or opens it again and cuts it to at most `keep` bytes.
    pub fn stage(
        &self,
        stage: StageId,
        keep: u64,
        size: Option<u64>,
        needs: Needs<'_>,
    ) -> Result<Staged, NotDone> {
        let _taken = self.take_unneeded(stage, needs)?;
        let path = self.root.stage(stage);
        match verdict::read(&path).map_err(NotDone::NotNow)? {
            None => {}
            // Other bytes may follow.
            Some(Verdict::Undecided(_)) => durable::remove(&verdict::path(&path))
                .map_err(|error| failed("remove", &path, &error))?,
            Some(Verdict::Sealed(_) | Verdict::Bundle(_) | Verdict::Refused(_)) => {
                return Err(NotDone::refused(
                    Cause::Policy,
                    format!("{stage} is judged already: discard it before anything new is staged"),
                ));
            }
        }
        let length = self.length_before(&path)?;
        let kept = length.min(keep);
        // This comes before the file exists, so that a refusal leaves no file.
        let limit = self.limit(stage, length, size.unwrap_or_default().max(kept))?;
        let file = open(&path, true).map_err(|error| failed("create", &path, &error))?;
        let file = file.ok_or_else(|| failed("create", &path, &io::ErrorKind::NotFound.into()))?;
        file.set_len(kept)
            .map_err(|error| failed("cut", &path, &error))?;
        durable::sync_folder_of(&path).map_err(|error| failed("sync", &path, &error))?;
        fault::point("stage.made");
        Ok(Staged {
            file: file.into(),
            kept,
            limit,
        })
    }

    /// Judges the file once it has no writers, and records the verdict. After a good verdict, the package or the manifest that
    /// the judge wrote beside the file replaces it.
    pub(crate) fn seal(
        &self,
        stage: StageId,
        judge: impl FnOnce(&File, &mut Inner, &mut MemberFiles) -> Result<Accepted, InspectError>,
    ) -> Result<SealedPackage, NotDone> {
        let _taken = self.take(stage)?;
        let path = self.root.stage(stage);
        let decided = match verdict::read(&path).map_err(NotDone::NotNow)? {
            Some(Verdict::Sealed(judged)) => Ok(Accepted::Package(judged)),
            Some(Verdict::Bundle(bundle)) => Ok(Accepted::Bundle(bundle)),
            Some(Verdict::Refused(failure)) => Err(failure),
            Some(Verdict::Undecided(broken)) => self.judge(stage, &path, broken, judge)?,
            None => self.judge(stage, &path, 0, judge)?,
        };
        match decided {
            Ok(accepted) => settle(&path).map(|()| accepted.package().clone()),
            Err(failure) => {
                durable::remove(&path)
                    .and_then(|()| remove_beside(&path))
                    .map_err(|error| failed("remove", &path, &error))?;
                fault::point("seal.removed");
                Err(NotDone::Refused(failure))
            }
        }
    }

    /// `broken` is the number of inspections that broke.
    fn judge(
        &self,
        stage: StageId,
        path: &Path,
        broken: u32,
        judge: impl FnOnce(&File, &mut Inner, &mut MemberFiles) -> Result<Accepted, InspectError>,
    ) -> Result<Result<Accepted, Failure>, NotDone> {
        let file = open(path, false)
            .map_err(|error| failed("open", path, &error))?
            .ok_or_else(|| {
                NotDone::refused(Cause::Policy, format!("there is no staged file {stage}"))
            })?;
        unwritten(&file, path, limits::WRITERS)?;
        file.sync_all()
            .map_err(|error| failed("sync", path, &error))?;
        let length = file
            .metadata()
            .map_err(|error| failed("look at", path, &error))?
            .len();
        // An interrupted judgement may have left a part, which the next good verdict would put into place.
        remove_beside(path).map_err(|error| failed("remove", path, &error))?;
        // Check the room only in this file's turn: the file before it uses some.
        let turn = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = match self.limit(stage, length, length) {
            Ok(limit) => {
                let room = limit.saturating_sub(length);
                let mut inner = Inner::at(inner::path(path), room);
                let mut members = MemberFiles::of(path.to_owned(), room);
                let judged = judge(&file, &mut inner, &mut members);
                if judged.is_ok() {
                    inner.keep();
                    members.keep();
                }
                judged
            }
            Err(not_done) => Err(not_done.into()),
        };
        drop(turn);
        let decided = match judged {
            Ok(accepted) => Ok(accepted),
            Err(InspectError::NotNow(failure)) => return Err(NotDone::NotNow(failure)),
            Err(InspectError::Refused(failure)) => Err(failure),
            Err(error @ InspectError::Broke(_)) => Err(broke(path, broken + 1, error)?),
        };
        verdict::write(path, &Verdict::from(decided.clone())).map_err(NotDone::NotNow)?;
        fault::point("seal.recorded");
        Ok(decided)
    }

    /// Removes the file and its verdict, unless a job needs it.
    pub fn discard(&self, stage: StageId, needs: Needs<'_>) -> Result<(), NotDone> {
        self.remove(stage, needs, limits::WRITERS)
    }

    fn remove(&self, stage: StageId, needs: Needs<'_>, patience: Duration) -> Result<(), NotDone> {
        let taken = self.take_unneeded(stage, needs)?;
        self.remove_taken(&taken, patience)
    }

    fn remove_taken(&self, taken: &Taken<'_>, patience: Duration) -> Result<(), NotDone> {
        let path = self.root.stage(taken.1);
        if let Some(file) = open(&path, false).map_err(|error| failed("open", &path, &error))? {
            unwritten(&file, &path, patience)?;
        }
        // The file goes first: a verdict without a file is refused, but a file without a verdict would be judged again.
        durable::remove(&path).map_err(|error| failed("remove", &path, &error))?;
        fault::point("discard.removed");
        remove_beside(&path).map_err(|error| failed("remove", &path, &error))?;
        fault::point("discard.removed");
        let verdict = verdict::path(&path);
        durable::remove(&verdict).map_err(|error| failed("remove", &verdict, &error))?;
        fault::point("discard.removed");
        Ok(())
    }

    /// A bundle with a good verdict; none if the file is another one.
    pub(crate) fn bundle(&self, stage: StageId) -> Result<Option<Kept<'_, JudgedBundle>>, NotDone> {
        let taken = self.take(stage)?;
        let path = self.root.stage(stage);
        match verdict::read(&path).map_err(NotDone::NotNow)? {
            Some(Verdict::Bundle(bundle)) if path.exists() => {
                settle(&path)?;
                Ok(Some(Kept {
                    file: bundle,
                    _taken: taken,
                }))
            }
            _ => Ok(None),
        }
    }

    /// A package with a good verdict.
    pub fn sealed(&self, stage: StageId) -> Result<Kept<'_>, NotDone> {
        let taken = self.take(stage)?;
        let path = self.root.stage(stage);
        match verdict::read(&path).map_err(NotDone::NotNow)? {
            Some(Verdict::Sealed(judged)) if path.exists() => {
                settle(&path)?;
                Ok(Kept {
                    file: Sealed {
                        stage,
                        judged,
                        member: None,
                    },
                    _taken: taken,
                })
            }
            Some(Verdict::Refused(failure)) => Err(NotDone::Refused(failure)),
            _ => Err(NotDone::refused(
                Cause::Policy,
                format!("there is no sealed file {stage}"),
            )),
        }
    }

    /// All files.
    pub fn list(&self) -> io::Result<Vec<StageEntry>> {
        let mut entries = Vec::new();
        for (stage, metadata) in self.files()? {
            let sealed = verdict::read(&self.root.stage(stage));
            entries.push(StageEntry {
                stage,
                length: metadata.len(),
                sealed: sealed.is_ok_and(|it| it.is_some_and(|it| it.is_good())),
            });
        }
        Ok(entries)
    }

    /// Removes files that nobody has written for longer than policy keeps them. Files that a job needs stay, and files with
    /// a good verdict: for the server they are DELIVERED.
    pub fn expire(&self, needs: Needs<'_>) -> io::Result<()> {
        for (stage, metadata) in self.files()? {
            if self.is_old(&self.root.stage(stage), &metadata)? {
                // A file in use is not old.
                let _ = self.remove_unsealed(stage, needs);
            }
        }
        self.forget_refusals(needs)?;
        self.forget_beside(needs)
    }

    /// Removes files beside a staged file that is gone. A crash after its removal leaves them, and no other name leads to
    /// them.
    fn forget_beside(&self, needs: Needs<'_>) -> io::Result<()> {
        for (name, _) in self.entries()? {
            let Some(stage) = beside(&name).and_then(|id| id.parse().ok()) else {
                continue;
            };
            let path = self.root.stage(stage);
            if path.try_exists()? {
                continue;
            }
            // The lock keeps others from creating a file of this name.
            if let Ok(_taken) = self.take_unneeded(stage, needs)
                && !path.try_exists()?
            {
                remove_beside(&path)?;
            }
        }
        Ok(())
    }

    fn remove_unsealed(&self, stage: StageId, needs: Needs<'_>) -> Result<(), NotDone> {
        let taken = self.take_unneeded(stage, needs)?;
        match verdict::read(&self.root.stage(stage)).map_err(NotDone::NotNow)? {
            Some(verdict) if verdict.is_good() => Ok(()),
            _ => self.remove_taken(&taken, Duration::ZERO),
        }
    }

    /// Whether a file has not been written for longer than policy keeps it. An unknown age counts from now on.
    fn is_old(&self, path: &Path, metadata: &fs::Metadata) -> io::Result<bool> {
        let now = SystemTime::now();
        match age(metadata.modified()?, self.built, now) {
            Some(age) => Ok(age > Duration::from_secs(self.quota.days * 24 * 3600)),
            None => {
                if let Some(file) = open(path, false)? {
                    file.set_modified(now)?;
                }
                Ok(false)
            }
        }
    }

    /// Removes old refusals. A refused file is gone, but its verdict stays until it is discarded. Of those that nobody
    /// discards, the newest stay.
    fn forget_refusals(&self, needs: Needs<'_>) -> io::Result<()> {
        let mut refusals = Vec::new();
        for (name, metadata) in self.entries()? {
            let stage = name.strip_suffix(".verdict").and_then(|id| id.parse().ok());
            let Some(stage) = stage.filter(|stage| !self.root.stage(*stage).exists()) else {
                continue;
            };
            let is_old = self.is_old(&verdict::path(&self.root.stage(stage)), &metadata)?;
            refusals.push((metadata.modified()?, stage, is_old));
        }
        refusals.sort_unstable();
        let surplus = refusals.len().saturating_sub(self.quota.files);
        for (at, (_, stage, is_old)) in refusals.into_iter().enumerate() {
            if at < surplus || is_old {
                let _ = self.remove(stage, needs, Duration::ZERO);
            }
        }
        Ok(())
    }

    fn files(&self) -> io::Result<Vec<(StageId, fs::Metadata)>> {
        let entries = self.entries()?.into_iter();
        Ok(entries
            .filter_map(|(name, metadata)| Some((name.parse().ok()?, metadata)))
            .collect())
    }

    fn entries(&self) -> io::Result<Vec<(String, fs::Metadata)>> {
        let entries = fs::read_dir(self.root.staged())?.flatten();
        // Entries that vanish during the listing are left out.
        Ok(entries
            .filter_map(|entry| {
                Some((
                    entry.file_name().into_string().ok()?,
                    entry.metadata().ok()?,
                ))
            })
            .collect())
    }

    /// Reserves a file for one caller. A second one could invalidate the checks of the first.
    fn take(&self, stage: StageId) -> Result<Taken<'_>, NotDone> {
        match lock(&self.taken).insert(stage) {
            true => Ok(Taken(self, stage)),
            false => Err(NotDone::not_now(format!("{stage} is just being worked on"))),
        }
    }

    fn take_unneeded(&self, stage: StageId, needs: Needs<'_>) -> Result<Taken<'_>, NotDone> {
        let taken = self.take(stage)?;
        match needs(stage)? {
            None => Ok(taken),
            Some(operation) => Err(NotDone::not_now(format!(
                "the job {operation} still needs {stage}"
            ))),
        }
    }

    /// The length of a file without writers; 0 if the file does not exist and may be created.
    fn length_before(&self, path: &Path) -> Result<u64, NotDone> {
        let Some(file) = open(path, false).map_err(|error| failed("open", path, &error))? else {
            return self.room_for_a_file().map(|()| 0);
        };
        unwritten(&file, path, limits::WRITERS)?;
        let metadata = file.metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|error| failed("look at", path, &error))
    }

    fn room_for_a_file(&self) -> Result<(), NotDone> {
        let files = self
            .files()
            .map_err(|error| failed("list", &self.root.staged(), &error))?;
        if files.len() < self.quota.files {
            return Ok(());
        }
        Err(NotDone::refused(
            Cause::Quota,
            format!(
                "{} files are staged already (quota.files in installer.toml)",
                files.len()
            ),
        ))
    }

    /// The size of the other files, with those beside them.
    fn taken_up_by_others(&self, stage: StageId) -> io::Result<u64> {
        let of = |name: &str| {
            let name = beside(name).unwrap_or(name);
            name.parse::<StageId>().ok()
        };
        let entries = self.entries()?;
        let others = entries
            .iter()
            .filter(|(name, _)| of(name).is_some_and(|other| other != stage));
        Ok(others.map(|(_, metadata)| taken_up(metadata)).sum())
    }

    /// The greatest length of the file, if that is at least `wanted`.
    fn limit(&self, stage: StageId, length: u64, wanted: u64) -> Result<u64, NotDone> {
        let folder = self.root.staged();
        let others = self
            .taken_up_by_others(stage)
            .map_err(|error| failed("list", &folder, &error))?;
        let quota = self.quota.bytes.saturating_sub(others);
        if wanted > quota || quota == 0 {
            let detail = format!(
                "{wanted} bytes do not fit: {others} of {} are staged (quota.bytes in installer.toml)",
                self.quota.bytes
            );
            return Err(NotDone::refused(Cause::Quota, detail));
        }
        let Room { free, reserve } = Room::on_disk_of(&folder, &self.quota)
            .map_err(|error| failed("statvfs", &folder, &error))?;
        let room = free.saturating_add(length).saturating_sub(reserve);
        if wanted > room || room == 0 {
            let detail = format!(
                "{wanted} bytes do not fit: {free} bytes are free below {}, of which {reserve} stay free",
                folder.display()
            );
            return Err(NotDone::refused(Cause::DiskFull, detail));
        }
        Ok(quota.min(room))
    }
}

/// The name of the staged file beside which a file of this name lies; none if it lies beside none.
fn beside(name: &str) -> Option<&str> {
    name.strip_suffix(inner::EXTENSION)
        .or_else(|| members::stage_of(name))
}

/// Removes what lies beside this staged file.
fn remove_beside(path: &Path) -> io::Result<()> {
    inner::remove(path)?;
    members::remove(path)
}

/// Moves a package with a good verdict over its message, and the manifest over its bundle.
fn settle(path: &Path) -> Result<(), NotDone> {
    inner::settle(path).map_err(|error| failed("replace", path, &error))?;
    fault::point("seal.settled");
    Ok(())
}

/// The verdict on a file after too many broken inspections. Fewer are only counted.
fn broke(path: &Path, times: u32, error: InspectError) -> Result<Failure, NotDone> {
    if times < limits::INSPECTIONS {
        verdict::write(path, &Verdict::Undecided(times)).map_err(NotDone::NotNow)?;
        return Err(NotDone::NotNow(error.into()));
    }
    let detail = format!(
        "{error}, {times} times: look at the memory and the disk of this device, and at the package"
    );
    Ok(Failure::new(Cause::Malformed, detail))
}

/// The time since a file was written. None if the clock was wrong then: a gateway without a battery begins in 1970, and a
/// file from the future must not stay until that time.
fn age(modified: SystemTime, built: Option<SystemTime>, now: SystemTime) -> Option<Duration> {
    let was_right = built.is_none_or(|built| modified >= built);
    now.duration_since(modified).ok().filter(|_| was_right)
}

/// The size of a file for the quota: its length, and blocks beyond it (fallocate(2), FALLOC_FL_KEEP_SIZE).
fn taken_up(metadata: &fs::Metadata) -> u64 {
    let allocated = metadata.blocks().saturating_mul(512);
    metadata
        .len()
        .max(allocated.saturating_sub(limits::ALLOCATED_AHEAD))
}

/// A reservation, which ends when it is dropped.
#[derive(Debug)]
struct Taken<'a>(&'a Staging, StageId);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        lock(&self.0.taken).remove(&self.1);
    }
}

fn lock(taken: &Mutex<HashSet<StageId>>) -> MutexGuard<'_, HashSet<StageId>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a file for reading, or creates and opens it for writing. Only root can put something else there, and opening it
/// does no harm.
fn open(path: &Path, for_writing: bool) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(!for_writing)
        .write(for_writing)
        .create(for_writing)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) if file.metadata()?.mode() & libc::S_IFMT == libc::S_IFREG => Ok(Some(file)),
        Ok(_) => Err(io::Error::other("it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses a file with a writer: it could change the file, and hold its blocks after its removal.
fn unwritten(file: &File, path: &Path, patience: Duration) -> Result<(), NotDone> {
    match lease::has_no_writer(file, patience) {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotDone::not_now(format!(
            "{} is still open for writing somewhere: close every descriptor and mapping, then ask again",
            path.display()
        ))),
        Err(error) => Err(failed("take a lease on", path, &error)),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> NotDone {
    let cause = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::DiskFull,
        _ => Cause::Unavailable,
    };
    NotDone::NotNow(Failure::new(
        cause,
        format!("cannot {what} {}: {error}", path.display()),
    ))
}
