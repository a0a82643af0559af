//! The ledger of installed packages. It has one record for each package: its highest version, its signer and the time of
//! signing. A record outlives its package, so that a removal does not permit a lower version. A second folder names
//! packages whose installation only began, and a third one the files that were sent back.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use wharf_frames::{
    Cause, OperationId, PackageName, PackageVersion, Text, decode, encode, installer::Found,
};
use wharf_managers::PackageManager;
use wharf_root::{Root, durable, limits};

use crate::{not_done::NotDone, policy::Policy, verdict::Judged};

/// The records of a root.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
}

/// The highest version of one package that was ever installed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LedgerEntry {
    /// The [`FORMAT`] of this record.
    #[n(0)]
    format: u32,
    /// The version.
    #[n(1)]
    pub version: PackageVersion,
    /// The certificate that signed the last package of a job; none if that package was unsigned, or no job installed one.
    #[n(2)]
    pub certificate: Option<Text>,
    /// The time of signing in Unix seconds; 0 if it is unsigned or unknown. Any signature of this version may then follow.
    #[n(3)]
    pub signed_at: u64,
    /// SHA-256 of the last installed file; zeros if it is unknown or unreliable.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub digest: [u8; 32],
}

/// A package that a job began to install, and none has installed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Begun {
    /// The [`FORMAT`] of this record.
    #[n(0)]
    format: u32,
    /// The job.
    #[n(1)]
    operation: OperationId,
}

/// The files of a package that were sent back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct AllSentBack {
    /// The [`FORMAT`] of this record.
    #[n(0)]
    format: u32,
    /// The last one is the newest.
    #[n(1)]
    files: Vec<SentBack>,
}

/// A file that was installed and sent back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct SentBack {
    /// Its SHA-256.
    #[cbor(n(0), with = "minicbor::bytes")]
    digest: [u8; 32],
    /// The number of times.
    #[n(1)]
    times: u32,
    /// The last job. It counts once, however often it is interrupted.
    #[n(2)]
    operation: OperationId,
    /// The reason of the last time.
    #[n(3)]
    why: Text,
}

/// The format of the records here, and of those of bundles.
pub(crate) const FORMAT: u32 = 1;

impl Ledger {
    /// The ledger of this root.
    pub fn of(root: &Root) -> Self {
        Self {
            folder: root.ledger(),
        }
    }

    /// The record of a package, whose name the package manager accepts.
    pub fn entry(&self, name: &PackageName) -> Result<Option<LedgerEntry>, NotDone> {
        read(&path_in(&self.folder, name)?, |entry: &LedgerEntry| {
            entry.format
        })
    }

    /// Whether a job installed the package, or began to.
    pub(crate) fn is_managed(&self, name: &PackageName) -> Result<bool, NotDone> {
        Ok(self.entry(name)?.is_some() || self.begun(name)?.is_some())
    }

    /// The package that the device has, marked as managed if a job installed it or began to.
    pub(crate) fn with_managed(&self, found: Option<Found>) -> Result<Option<Found>, NotDone> {
        let Some(found) = found else {
            return Ok(None);
        };
        let managed = self.is_managed(&found.name)?;
        Ok(Some(Found { managed, ..found }))
    }

    /// Records that this job is about to install the package. wharfd manages the package from here on, even after a crash.
    pub(crate) fn begin(&self, name: &PackageName, operation: OperationId) -> Result<(), NotDone> {
        if self.is_managed(name)? {
            return Ok(());
        }
        let path = path_in(&self.beginnings(), name)?;
        durable::private_folder(&self.beginnings())
            .map_err(|error| unwritten(&path, &error.to_string()))?;
        let format = FORMAT;
        write(&path, &Begun { format, operation })
    }

    /// Forgets the beginning by this job. Its installation failed and did not change the device.
    pub(crate) fn take_back(
        &self,
        name: &PackageName,
        operation: OperationId,
    ) -> Result<(), NotDone> {
        match self.begun(name)? {
            Some(begun) if begun.operation == operation => self.forget_beginning(name),
            _ => Ok(()),
        }
    }

    /// Forgets the beginning: the package is gone, or it has a record.
    pub(crate) fn forget_beginning(&self, name: &PackageName) -> Result<(), NotDone> {
        let path = path_in(&self.beginnings(), name)?;
        durable::remove(&path).map_err(|error| unwritten(&path, &error.to_string()))
    }

    fn begun(&self, name: &PackageName) -> Result<Option<Begun>, NotDone> {
        read(&path_in(&self.beginnings(), name)?, |begun: &Begun| {
            begun.format
        })
    }

    /// No name of a package begins with a dot.
    fn beginnings(&self) -> PathBuf {
        self.folder.join(".begun")
    }

    /// Records that this job sends a file back. Repeating it changes nothing.
    pub(crate) fn send_back(
        &self,
        judged: &Judged,
        operation: OperationId,
        why: &Text,
    ) -> Result<(), NotDone> {
        let name = &judged.package.name;
        let mut files = self.all_sent_back(name)?;
        let at = files.iter().position(|it| it.digest == judged.digest);
        let before = at.map(|at| files.remove(at));
        let times = match &before {
            Some(before) if before.operation == operation => before.times,
            Some(before) => before.times.saturating_add(1),
            None => 1,
        };
        files.push(SentBack {
            digest: judged.digest,
            times,
            operation,
            why: why.clone(),
        });
        let surplus = files.len().saturating_sub(limits::SENT_BACK);
        files.drain(..surplus);
        let path = path_in(&self.sent_back(), name)?;
        durable::private_folder(&self.sent_back())
            .map_err(|error| unwritten(&path, &error.to_string()))?;
        let format = FORMAT;
        write(&path, &AllSentBack { format, files })
    }

    /// Refuses a file that was sent back too often.
    pub(crate) fn may_try(&self, judged: &Judged) -> Result<(), NotDone> {
        let package = &judged.package;
        let files = self.all_sent_back(&package.name)?;
        let file = files.iter().find(|it| it.digest == judged.digest);
        let Some(file) = file.filter(|it| it.times >= limits::TIMES_SENT_BACK) else {
            return Ok(());
        };
        let head = Text::from(format!(
            "this file of {} {} was sent back {} times: deliver another file, or run `wharfctl forgive {}`",
            package.name, package.version, file.times, package.name
        ));
        let why = Text::from(format!("the last time since {}", file.why));
        Err(NotDone::refused(Cause::Policy, head.followed_by(&why)))
    }

    /// Forgets the files of a package that were sent back. Returns their number.
    pub fn forgive(&self, name: &PackageName) -> Result<usize, NotDone> {
        let files = self.all_sent_back(name)?;
        let path = path_in(&self.sent_back(), name)?;
        durable::remove(&path).map_err(|error| unwritten(&path, &error.to_string()))?;
        Ok(files.len())
    }

    fn all_sent_back(&self, name: &PackageName) -> Result<Vec<SentBack>, NotDone> {
        let path = path_in(&self.sent_back(), name)?;
        let all = read(&path, |all: &AllSentBack| all.format)?;
        Ok(all.map(|all| all.files).unwrap_or_default())
    }

    /// No name of a package begins with a dot.
    fn sent_back(&self) -> PathBuf {
        self.folder.join(".sent-back")
    }

    /// Refuses a replay: a lower version than the recorded one, or an older signature of the same version.
    pub fn judge(
        &self,
        judged: &Judged,
        manager: &dyn PackageManager,
        policy: &Policy,
    ) -> Result<(), NotDone> {
        let name = &judged.package.name;
        let Some(entry) = self.entry(name)? else {
            return Ok(());
        };
        let older = match manager.compare_versions(&judged.package.version, &entry.version) {
            Ordering::Greater => return Ok(()),
            Ordering::Equal if judged.signed_at >= entry.signed_at => return Ok(()),
            Ordering::Equal => format!("{name} {} with a newer signature", entry.version),
            Ordering::Less => format!("{name} {}", entry.version),
        };
        if policy.allows_downgrade(name) {
            return Ok(());
        }
        let detail = format!(
            "{older} was installed before, and policy allows no way back to {} (allow-downgrade in installer.toml)",
            judged.package.version
        );
        Err(NotDone::refused(Cause::Downgrade, detail))
    }

    /// Records an installed package. The version goes down only if policy allows it.
    pub(crate) fn record(
        &self,
        judged: &Judged,
        manager: &dyn PackageManager,
        policy: &Policy,
    ) -> Result<(), NotDone> {
        let name = &judged.package.name;
        let new = LedgerEntry {
            format: FORMAT,
            version: judged.package.version.clone(),
            certificate: judged.package.signer.clone(),
            signed_at: judged.signed_at,
            digest: judged.digest,
        };
        let entry = match self.entry(name)? {
            Some(old) if !policy.allows_downgrade(name) => higher(old, new, manager),
            _ => new,
        };
        write(&path_in(&self.folder, name)?, &entry)?;
        self.forget_beginning(name)
    }

    /// Forgets the installed file: a failed job changed the package, so its files may be lost.
    pub(crate) fn doubt(&self, name: &PackageName) -> Result<(), NotDone> {
        let Some(entry) = self.entry(name)? else {
            return Ok(());
        };
        let digest = [0; 32];
        write(
            &path_in(&self.folder, name)?,
            &LedgerEntry { digest, ..entry },
        )
    }

    /// Records a higher version that a job saw whole on the device. Somebody else installed it.
    pub(crate) fn raise(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        manager: &dyn PackageManager,
    ) -> Result<(), NotDone> {
        let before = self.entry(name)?;
        let is_higher =
            |entry: &LedgerEntry| manager.compare_versions(version, &entry.version).is_gt();
        if !before.as_ref().is_none_or(is_higher) {
            return Ok(());
        }
        let entry = LedgerEntry {
            format: FORMAT,
            version: version.clone(),
            certificate: before.and_then(|entry| entry.certificate),
            signed_at: 0,
            digest: [0; 32],
        };
        write(&path_in(&self.folder, name)?, &entry)?;
        self.forget_beginning(name)
    }
}

/// No package manager permits `/` or a leading dot in a name. Such a name does not become a path.
pub(crate) fn path_in(folder: &Path, name: &PackageName) -> Result<PathBuf, NotDone> {
    match name.as_str().contains('/') || name.as_str().starts_with('.') {
        false => Ok(folder.join(name.as_str())),
        true => Err(NotDone::refused(
            Cause::NotManaged,
            format!("'{name}' is no name of a package"),
        )),
    }
}

pub(crate) fn read<T: for<'b> Decode<'b, ()>>(
    path: &Path,
    format: impl FnOnce(&T) -> u32,
) -> Result<Option<T>, NotDone> {
    let unreadable = |why: String| {
        let detail = format!("cannot read {}: {why}", path.display());
        NotDone::not_now(detail)
    };
    let Some(bytes) = durable::read(path).map_err(|error| unreadable(error.to_string()))? else {
        return Ok(None);
    };
    let record = decode::<T>(&bytes).map_err(|error| unreadable(error.to_string()))?;
    match format(&record) {
        ..=FORMAT => Ok(Some(record)),
        newer => Err(unreadable(format!(
            "it has format {newer}, a newer wharfd wrote it"
        ))),
    }
}

pub(crate) fn write<T: Encode<()>>(path: &Path, record: &T) -> Result<(), NotDone> {
    let bytes = encode(record).map_err(|error| unwritten(path, &error.to_string()))?;
    durable::write(path, &bytes).map_err(|error| unwritten(path, &error.to_string()))
}

pub(crate) fn unwritten(path: &Path, why: &str) -> NotDone {
    NotDone::not_now(format!("cannot write {}: {why}", path.display()))
}

fn higher(old: LedgerEntry, new: LedgerEntry, manager: &dyn PackageManager) -> LedgerEntry {
    match manager.compare_versions(&new.version, &old.version) {
        Ordering::Less => LedgerEntry {
            digest: new.digest,
            ..old
        },
        _ => new,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use wharf_frames::{Failure, installer::SealedPackage};

    use super::*;
    use crate::device::{self, Device};

    const SIGNER: &str = "AAAA";

    struct Bench {
        _folder: TempDir,
        root: Root,
        ledger: Ledger,
        device: Device,
        policy: Policy,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path());
            durable::private_folder(&root.ledger()).unwrap();
            Self {
                ledger: Ledger::of(&root),
                device: device::simulated(&root),
                policy: Policy::default(),
                root,
                _folder: folder,
            }
        }

        /// With a policy that lets the package go down.
        fn lenient(mut self) -> Self {
            self.policy.allow_downgrade = vec![wharf_root::pattern::Pattern::built_in("acme")];
            self
        }

        fn record(&self, judged: &Judged) {
            let recorded = self
                .ledger
                .record(judged, self.device.packages.as_ref(), &self.policy);
            recorded.unwrap();
        }

        fn entry(&self) -> Option<LedgerEntry> {
            self.ledger.entry(&acme()).unwrap()
        }

        fn is_managed(&self) -> bool {
            self.ledger.is_managed(&acme()).unwrap()
        }
    }

    fn acme() -> PackageName {
        PackageName::new("acme").unwrap()
    }

    fn version(text: &str) -> PackageVersion {
        PackageVersion::new(text).unwrap()
    }

    /// A file of this version, of other bytes for each time of signing.
    fn judged(text: &str, signed_at: u64) -> Judged {
        Judged {
            package: SealedPackage {
                name: acme(),
                version: version(text),
                architecture: "all".into(),
                length: 1,
                signer: Some(SIGNER.into()),
                components: Vec::new(),
            },
            digest: [u8::try_from(signed_at).unwrap(); 32],
            signed_at,
            signed: None,
        }
    }

    fn operation(number: u8) -> OperationId {
        OperationId::from_bytes([number; 16])
    }

    #[test]
    fn a_lower_version_or_an_older_signature_is_refused_except_where_policy_allows_it() {
        for (text, signed_at, is_older) in [
            ("2.0", 5, false),
            ("2.0", 6, false),
            ("2.0", 4, true),
            ("10.0", 1, false),
            ("1.9", 9, true),
        ] {
            for (bench, allowed) in [(Bench::new(), false), (Bench::new().lenient(), true)] {
                let new = judged(text, signed_at);
                let judge = || {
                    bench
                        .ledger
                        .judge(&new, bench.device.packages.as_ref(), &bench.policy)
                };
                assert_eq!(judge(), Ok(()), "nothing was installed");
                bench.record(&judged("2.0", 5));
                let cause = judge().map_err(|refused| Failure::from(refused).cause);
                let expected = (is_older && !allowed).then_some(Cause::Downgrade);
                assert_eq!(cause.err(), expected, "{text} {signed_at} {allowed}");
            }
        }
    }

    #[test]
    fn the_record_goes_down_only_where_policy_allows_it_and_has_the_digest_of_the_last_file() {
        for (text, signed_at, allowed, kept) in [
            ("3.0", 1, false, false),
            ("2.0", 6, false, false),
            ("1.0", 6, false, true),
            ("1.0", 6, true, false),
        ] {
            let bench = match allowed {
                true => Bench::new().lenient(),
                false => Bench::new(),
            };
            let before = judged("2.0", 5);
            bench.record(&before);
            let new = judged(text, signed_at);
            bench.record(&new);
            let of = if kept { &before } else { &new };
            let expected = LedgerEntry {
                format: FORMAT,
                version: of.package.version.clone(),
                certificate: Some(SIGNER.into()),
                signed_at: of.signed_at,
                digest: new.digest,
            };
            assert_eq!(
                bench.entry(),
                Some(expected),
                "{text} {signed_at} {allowed}"
            );
        }
    }

    #[test]
    fn a_job_that_did_not_end_well_leaves_no_file_that_counts_as_installed() {
        let bench = Bench::new();
        bench.ledger.doubt(&acme()).unwrap();
        assert!(bench.entry().is_none(), "there was nothing to doubt");

        bench.record(&judged("2.0", 5));
        bench.ledger.doubt(&acme()).unwrap();
        let expected = LedgerEntry {
            format: FORMAT,
            version: version("2.0"),
            certificate: Some(SIGNER.into()),
            signed_at: 5,
            digest: [0; 32],
        };
        assert_eq!(bench.entry(), Some(expected));
    }

    #[test]
    fn what_somebody_else_installed_raises_the_record_and_never_lowers_it() {
        let bench = Bench::new();
        let raise = |text: &str| {
            let raised =
                bench
                    .ledger
                    .raise(&acme(), &version(text), bench.device.packages.as_ref());
            raised.unwrap();
            bench.entry().unwrap()
        };
        bench.ledger.begin(&acme(), operation(1)).unwrap();
        let raised = raise("2.0");
        assert_eq!((raised.version, raised.certificate), (version("2.0"), None));
        assert!(bench.ledger.begun(&acme()).unwrap().is_none());

        bench.record(&judged("3.0", 5));
        for lower in ["2.0", "3.0"] {
            let entry = raise(lower);
            assert_eq!((entry.version, entry.signed_at), (version("3.0"), 5));
        }
        let entry = raise("4.0");
        assert_eq!((entry.version, entry.signed_at), (version("4.0"), 0));
        // The signer of the last installation by a job stays the signer.
        assert_eq!(entry.certificate, Some(SIGNER.into()));
        assert_eq!(entry.digest, [0; 32]);
    }

    #[test]
    fn what_a_job_began_is_managed_until_that_job_takes_it_back() {
        let bench = Bench::new();
        let (ledger, name) = (&bench.ledger, acme());
        assert!(!bench.is_managed());
        ledger.begin(&name, operation(1)).unwrap();
        assert!(bench.is_managed());
        ledger.begin(&name, operation(2)).unwrap();
        ledger.take_back(&name, operation(2)).unwrap();
        assert!(bench.is_managed(), "another job began it");
        ledger.take_back(&name, operation(1)).unwrap();
        assert!(!bench.is_managed());

        ledger.begin(&name, operation(1)).unwrap();
        bench.record(&judged("1.0", 1));
        assert!(
            ledger.begun(&name).unwrap().is_none(),
            "it is in the ledger"
        );
        ledger.begin(&name, operation(2)).unwrap();
        assert!(
            ledger.begun(&name).unwrap().is_none(),
            "it was there before"
        );
        ledger.take_back(&name, operation(2)).unwrap();
        assert!(bench.is_managed());
    }

    #[test]
    fn a_file_that_was_sent_back_twice_is_refused_until_it_is_forgiven_and_another_one_is_not() {
        let bench = Bench::new();
        let (ledger, file, why) = (&bench.ledger, judged("2.0", 5), Text::new("it fell over"));
        let send_back = |file: &Judged, number| {
            ledger.send_back(file, operation(number), &why).unwrap();
        };
        for number in [1, 1, 1] {
            send_back(&file, number);
            assert_eq!(ledger.may_try(&file), Ok(()), "one job counts once");
        }
        send_back(&file, 2);
        let refused = ledger.may_try(&file).map_err(Failure::from).unwrap_err();
        assert_eq!(refused.cause, Cause::Policy);
        for words in [
            "sent back 2 times",
            "`wharfctl forgive acme`",
            "it fell over",
        ] {
            assert!(refused.detail.as_str().contains(words), "{refused}");
        }
        assert_eq!(ledger.may_try(&judged("2.0", 6)), Ok(()), "other bytes");
        assert_eq!(ledger.forgive(&acme()), Ok(1));
        assert_eq!(ledger.may_try(&file), Ok(()));
        assert_eq!(ledger.forgive(&acme()), Ok(0));

        for number in 0..20 {
            send_back(&judged("2.0", number), 3);
        }
        assert_eq!(ledger.forgive(&acme()), Ok(limits::SENT_BACK));
    }

    #[test]
    fn what_the_device_has_says_whether_it_is_ours() {
        let bench = Bench::new();
        let found = || {
            let found = bench.device.found(&acme()).unwrap();
            bench.ledger.with_managed(found).unwrap()
        };
        bench.record(&judged("1.0", 1));
        assert_eq!(found(), None);
        let database = bench.root.path("var/lib/wharf-simulated");
        std::fs::write(database.join("acme_version"), "1.0").unwrap();
        assert!(found().unwrap().managed);
        std::fs::remove_file(bench.root.ledger().join("acme")).unwrap();
        assert!(!found().unwrap().managed);
    }

    #[test]
    fn no_name_leads_out_of_the_folder_and_no_record_of_another_format_is_read() {
        let bench = Bench::new();
        for text in ["a/b", ".begun", "../ledger"] {
            let name = PackageName::new(text).unwrap();
            let answer = bench.ledger.entry(&name);
            assert!(
                matches!(&answer, Err(NotDone::Refused(failure)) if failure.cause == Cause::NotManaged),
                "{text}: {answer:?}"
            );
        }
        bench.record(&judged("1.0", 1));
        let newer = LedgerEntry {
            format: FORMAT + 1,
            ..bench.entry().unwrap()
        };
        for bytes in [encode(&newer).unwrap(), b"garbage".to_vec()] {
            std::fs::write(bench.root.ledger().join("acme"), bytes).unwrap();
            let answer = bench.ledger.entry(&acme());
            assert!(
                matches!(&answer, Err(NotDone::NotNow(failure)) if failure.cause == Cause::Unavailable),
                "{answer:?}"
            );
        }
    }
}
