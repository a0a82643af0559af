//! Our records beside opkg's database, which does not tell a cut file, a killed run or a lost package: the digests of each
//! package that we installed, the work that is unfinished, and a copy of the database while we work.
//!
//! Every record lies in one folder, which is synced once before a run and once after it.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use wharf_frames::{Cause, Failure, PackageName, PackageVersion, packed::ContentDigest};
use wharf_root::{Root, durable};

use super::{
    Contents,
    files::Lists,
    manifest::{Reader, Writer},
    status::{Entry, Status},
};
use crate::OrderError;

/// The records of one root.
pub(super) struct Records {
    root: Root,
    folder: PathBuf,
}

/// The work on a package that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// A run has begun, and nobody has seen its end.
    Begun,
    /// A run has ended with this damage. It holds for the installation at this time: whoever installs the package again
    /// repairs it.
    Damaged { installed_at: String, words: String },
}

/// Tells which of these paths of a package stay if it fails.
pub(super) type Spared<'a> = &'a dyn Fn(&[String]) -> Result<BTreeSet<String>, Failure>;

/// The words for a run whose end nobody has seen.
pub(super) const CUT_OFF: &str = "cut off in the middle";

impl Records {
    pub(super) fn of(root: &Root) -> Self {
        Self {
            root: root.clone(),
            folder: root.state().join("opkg"),
        }
    }

    /// Writes the digests of a package that is about to be installed. `spared` gets its paths, and tells those that stay if
    /// the package fails. They are on the disk before the digests are; both are durable with [`Records::begin`]. Returns the
    /// folders of the package.
    pub(super) fn write_new(
        &self,
        name: &PackageName,
        version: &PackageVersion,
        package: &Path,
        contents: &dyn Contents,
        spared: Spared<'_>,
    ) -> Result<Vec<String>, OrderError> {
        let path = self.new_digests(name);
        let failed = |error: io::Error| failed("write", &path, &error);
        durable::private_folder(&self.folder).map_err(failed)?;
        durable::sweep(&self.folder, durable::NEW);
        let temporary = self.folder.join(format!("{}{name}", durable::NEW));
        let mut options = OpenOptions::new();
        let (temporary, file) =
            durable::create_unique(&temporary, options.write(true)).map_err(failed)?;
        let written = || -> Result<Vec<String>, OrderError> {
            let mut writer = Writer::new(file, version).map_err(failed)?;
            let (mut paths, mut folders) = (Vec::new(), Vec::new());
            contents.each_digest(package, &mut |digest| {
                if digest.content == ContentDigest::Folder {
                    folders.push(digest.path);
                    return Ok(());
                }
                writer.add(&digest).map_err(failed)?;
                paths.push(digest.path);
                Ok(())
            })?;
            writer.finish().map_err(failed)?;
            self.write_spared(name, spared(&paths)?)?;
            fs::rename(&temporary, &path).map_err(failed)?;
            Ok(folders)
        };
        written().inspect_err(|_| drop(fs::remove_file(&temporary)))
    }

    fn write_spared(&self, name: &PackageName, paths: BTreeSet<String>) -> Result<(), Failure> {
        let path = self.spared_path(name);
        if paths.is_empty() {
            return self.remove(&[path]);
        }
        let text = Vec::from_iter(paths).join("\0");
        durable::write(&path, text.as_bytes()).map_err(|error| failed("write", &path, &error))
    }

    /// The paths that stay if the package fails, with /usr merged.
    pub(super) fn spared(&self, name: &PackageName) -> Result<BTreeSet<String>, Failure> {
        let path = self.spared_path(name);
        let bytes = durable::read(&path).map_err(|error| failed("read", &path, &error))?;
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        let paths = text.split('\0').filter(|path| !path.is_empty());
        Ok(paths.map(str::to_owned).collect())
    }

    /// Whether the device has each file of the version that is about to be installed; if not, what differs.
    pub(super) fn differs_from_new(
        &self,
        name: &PackageName,
        entry: &Entry,
    ) -> Result<Option<String>, Failure> {
        match self.new_version(name) {
            Some(version) if version == entry.version => {
                self.differs(&self.new_digests(name), entry)
            }
            _ => Ok(Some(format!("the digests of {} are lost", entry.version))),
        }
    }

    /// As [`Records::differs_from_new`], for the version that we installed. None also if we have no digests of this version.
    pub(super) fn differs_from_kept(
        &self,
        name: &PackageName,
        entry: &Entry,
    ) -> Result<Option<String>, Failure> {
        self.differs(&self.kept_digests(name), entry)
    }

    fn differs(&self, manifest: &Path, entry: &Entry) -> Result<Option<String>, Failure> {
        let found = Reader::open(manifest).and_then(|reader| match reader {
            Some(reader) if reader.version == entry.version.as_str() => {
                reader.differences(&self.root, &entry.conffiles)
            }
            _ => Ok(None),
        });
        found.map_err(|error| failed("read", manifest, &error))
    }

    /// Whether we have the digests of this version.
    pub(super) fn has_digests(&self, name: &PackageName, version: &PackageVersion) -> bool {
        let reader = Reader::open(&self.kept_digests(name));
        matches!(reader, Ok(Some(reader)) if reader.version == version.as_str())
    }

    /// The version that was about to be installed.
    pub(super) fn new_version(&self, name: &PackageName) -> Option<PackageVersion> {
        let reader = Reader::open(&self.new_digests(name)).ok()??;
        PackageVersion::new(&reader.version).ok()
    }

    /// The files in the digests of the versions that we know, without folders.
    pub(super) fn paths(&self, name: &PackageName) -> Result<Vec<String>, Failure> {
        let mut paths = Vec::new();
        for manifest in [self.new_digests(name), self.kept_digests(name)] {
            let read = Reader::open(&manifest).and_then(|reader| match reader {
                Some(reader) => reader.each(|digest| {
                    paths.push(digest.path);
                    Ok(())
                }),
                None => Ok(()),
            });
            read.map_err(|error| failed("read", &manifest, &error))?;
        }
        Ok(paths)
    }

    /// The new version is whole on the device: its digests are the ones to keep.
    pub(super) fn keep_new(&self, name: &PackageName) -> Result<(), Failure> {
        self.rename_new(name)?;
        self.finish(name)
    }

    /// The run is over, and the new version is whole on the device.
    pub(super) fn succeed(&self, name: &PackageName) -> Result<(), Failure> {
        self.rename_new(name)?;
        self.end(name)
    }

    fn rename_new(&self, name: &PackageName) -> Result<(), Failure> {
        let new = self.new_digests(name);
        fs::rename(&new, self.kept_digests(name)).map_err(|error| failed("rename", &new, &error))
    }

    /// Nothing of this package is unfinished.
    pub(super) fn finish(&self, name: &PackageName) -> Result<(), Failure> {
        self.remove(&self.of_run(name))
    }

    /// The run is over, and left nothing unfinished.
    pub(super) fn end(&self, name: &PackageName) -> Result<(), Failure> {
        let copy = self.copy();
        self.remove(
            &self
                .of_run(name)
                .into_iter()
                .chain([copy])
                .collect::<Vec<_>>(),
        )
    }

    /// Forgets a package that is gone.
    pub(super) fn forget(&self, name: &PackageName) -> Result<(), Failure> {
        let kept = self.kept_digests(name);
        self.remove(
            &self
                .of_run(name)
                .into_iter()
                .chain([kept])
                .collect::<Vec<_>>(),
        )
    }

    fn of_run(&self, name: &PackageName) -> [PathBuf; 3] {
        [
            self.new_digests(name),
            self.unfinished_path(name),
            self.spared_path(name),
        ]
    }

    pub(super) fn unfinished(&self, name: &PackageName) -> Result<Option<Unfinished>, Failure> {
        let path = self.unfinished_path(name);
        let bytes = durable::read(&path).map_err(|error| failed("read", &path, &error))?;
        Ok(bytes.map(|bytes| Unfinished::parse(&String::from_utf8_lossy(&bytes))))
    }

    pub(super) fn write_unfinished(
        &self,
        name: &PackageName,
        unfinished: &Unfinished,
    ) -> Result<(), Failure> {
        let path = self.unfinished_path(name);
        durable::private_folder(&self.folder)
            .and_then(|()| durable::write(&path, unfinished.to_string().as_bytes()))
            .map_err(|error| failed("write", &path, &error))
    }

    /// The packages with unfinished work, and what that is.
    pub(super) fn all_unfinished(&self) -> Vec<(PackageName, Unfinished)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            let name = entry.file_name();
            PackageName::new(name.to_str()?.strip_suffix(UNFINISHED)?).ok()
        });
        let unfinished = |name: PackageName| {
            let unfinished = self.unfinished(&name).ok()??;
            Some((name, unfinished))
        };
        names.filter_map(unfinished).collect()
    }

    /// Records that opkg may change these packages from now on, and copies the database before that.
    pub(super) fn begin(&self, names: &[&PackageName], status: &Path) -> Result<(), Failure> {
        let copy = self.copy();
        let copied = durable::private_folder(&self.folder).and_then(|()| match status.exists() {
            true => copy_whole(status, &copy),
            false => durable::write_volatile(&copy, b""),
        });
        copied.map_err(|error| failed("copy", status, &error))?;
        // Without its content it means the same.
        let begun = Unfinished::Begun.to_string();
        for name in names {
            let path = self.unfinished_path(name);
            durable::write_volatile(&path, begun.as_bytes())
                .map_err(|error| failed("write", &path, &error))?;
        }
        durable::sync_folder_of(&copy).map_err(|error| failed("sync", &self.folder, &error))
    }

    /// Puts the copy back if opkg cut the database: a package is lost, and its control file is still there.
    pub(super) fn put_status_back(&self, status: &Path, lists: &Lists) -> Result<bool, Failure> {
        let Some(before) = self.copied_status()? else {
            return Ok(false);
        };
        let bytes = fs::read(status).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(failed("read", status, &error)),
        })?;
        let now = Status::parse(&String::from_utf8_lossy(&bytes));
        let is_lost = |entry: &Entry| match &now {
            Ok(now) => now.of(&entry.name).is_none() && lists.knows(&entry.name),
            Err(_) => true,
        };
        let is_cut = before.present().any(is_lost) || now.is_err();
        if is_cut {
            self.restore_status(status)?;
        }
        Ok(is_cut)
    }

    /// Puts the copy back.
    pub(super) fn restore_status(&self, status: &Path) -> Result<(), Failure> {
        copy_whole(&self.copy(), status)
            .and_then(|()| durable::sync_folder_of(status))
            .map_err(|error| failed("put back", status, &error))
    }

    /// The database before the run that has not ended; none if no run is unfinished.
    pub(super) fn copied_status(&self) -> Result<Option<Status>, Failure> {
        let copy = self.copy();
        let bytes = match fs::read(&copy) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &copy, &error)),
        };
        Status::parse(&String::from_utf8_lossy(&bytes))
            .map(Some)
            .map_err(|why| failed("read", &copy, &io::Error::other(why)))
    }

    /// No run is unfinished: the database is as opkg left it.
    pub(super) fn forget_copy(&self) -> Result<(), Failure> {
        self.remove(&[self.copy()])
    }

    /// Deletes what there is of these records. None of them comes back after a power cut.
    fn remove(&self, paths: &[PathBuf]) -> Result<(), Failure> {
        let mut is_changed = false;
        for path in paths {
            match fs::remove_file(path) {
                Ok(()) => is_changed = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("delete", path, &error)),
            }
        }
        match is_changed {
            true => File::open(&self.folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| failed("sync", &self.folder, &error)),
            false => Ok(()),
        }
    }

    fn new_digests(&self, name: &PackageName) -> PathBuf {
        self.folder.join(format!("{name}:new"))
    }

    fn kept_digests(&self, name: &PackageName) -> PathBuf {
        self.folder.join(format!("{name}:files"))
    }

    fn spared_path(&self, name: &PackageName) -> PathBuf {
        self.folder.join(format!("{name}:spared"))
    }

    fn unfinished_path(&self, name: &PackageName) -> PathBuf {
        self.folder.join(format!("{name}{UNFINISHED}"))
    }

    fn copy(&self) -> PathBuf {
        self.folder.join(":status")
    }
}

/// No name of a package has a colon.
const UNFINISHED: &str = ":unfinished";

/// Replaces a file by a copy of another one, whole or not at all. A database may be longer than what [`durable::write`]
/// writes at once. The name is durable once its folder is synced.
fn copy_whole(from: &Path, to: &Path) -> io::Result<()> {
    let name = to.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let new = to.with_file_name(format!("{}{}", durable::NEW, name.to_string_lossy()));
    let (new, mut file) = durable::create_unique(&new, OpenOptions::new().write(true))?;
    let copied = File::open(from).and_then(|mut from| {
        io::copy(&mut from, &mut file)?;
        file.set_permissions(from.metadata()?.permissions())?;
        file.sync_all()?;
        fs::rename(&new, to)
    });
    copied.inspect_err(|_| drop(fs::remove_file(&new)))
}

impl Unfinished {
    /// A record that cannot be read is of a run whose end nobody has seen.
    fn parse(text: &str) -> Self {
        let damaged = || {
            let (installed_at, words) =
                text.strip_prefix("damaged ")?.trim_end().split_once(' ')?;
            Some(Self::Damaged {
                installed_at: installed_at.to_owned(),
                words: words.to_owned(),
            })
        };
        damaged().unwrap_or(Self::Begun)
    }

    /// The damage of a package that opkg has like this.
    pub(super) fn damage(&self, entry: &Entry) -> Option<&str> {
        match self {
            Self::Begun => Some(CUT_OFF),
            Self::Damaged {
                installed_at,
                words,
            } => (*installed_at == entry.installed_at).then_some(words),
        }
    }
}

impl std::fmt::Display for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begun => writeln!(f, "begun"),
            Self::Damaged {
                installed_at,
                words,
            } => writeln!(f, "damaged {installed_at} {words}"),
        }
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    let detail = format!("cannot {what} {}: {error}", path.display());
    Failure::new(Cause::Unavailable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::of(&Root::new(folder.path()));
        let name = PackageName::new("acme").unwrap();
        assert_eq!(records.unfinished(&name).unwrap(), None);
        for record in [
            Unfinished::Begun,
            Unfinished::Damaged {
                installed_at: "17".to_owned(),
                words: "/usr/bin/acme is not as in the package".to_owned(),
            },
        ] {
            records.write_unfinished(&name, &record).unwrap();
            assert_eq!(records.unfinished(&name).unwrap(), Some(record.clone()));
            assert_eq!(records.all_unfinished(), [(name.clone(), record)]);
        }
        records.finish(&name).unwrap();
        assert_eq!(records.unfinished(&name).unwrap(), None);
        assert_eq!(Unfinished::parse(""), Unfinished::Begun);
    }

    #[test]
    fn a_package_without_the_digests_of_its_version_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::of(&Root::new(folder.path()));
        let name = PackageName::new("acme").unwrap();
        let status = Status::parse("Package: acme\nVersion: 2\nStatus: install ok installed\n\n");
        let entry = status.unwrap().of("acme").unwrap().clone();
        let lost = Some("the digests of 2 are lost".to_owned());
        assert_eq!(records.differs_from_new(&name, &entry).unwrap(), lost);
        fs::create_dir_all(&records.folder).unwrap();
        for (version, expected) in [("1", &lost), ("2", &None)] {
            fs::write(records.new_digests(&name), format!("{version}\n")).unwrap();
            let differs = records.differs_from_new(&name, &entry).unwrap();
            assert_eq!(differs, *expected, "{version}");
        }
    }

    #[test]
    fn a_database_that_lost_packages_is_put_back_and_one_that_somebody_changed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let (records, status) = (Records::of(&root), root.path("status"));
        let lists = Lists {
            root: root.clone(),
            folder: root.path("info"),
        };
        fs::create_dir(&lists.folder).unwrap();
        let entry = |name: &str| {
            fs::write(lists.folder.join(format!("{name}.control")), "").unwrap();
            format!("Package: {name}\nVersion: 1\nStatus: install ok installed\n\n")
        };
        let whole = [entry("a"), entry("b"), entry("c")].concat();
        fs::write(&status, &whole).unwrap();
        assert!(
            !records.put_status_back(&status, &lists).unwrap(),
            "no copy"
        );
        records
            .begin(&[&PackageName::new("acme").unwrap()], &status)
            .unwrap();
        let put_back = || records.put_status_back(&status, &lists).unwrap();
        assert!(!put_back());
        for cut in [0, 10, entry("a").len(), whole.len() - 20] {
            fs::write(&status, &whole[..cut]).unwrap();
            assert!(put_back(), "cut to {cut} bytes");
            assert_eq!(fs::read_to_string(&status).unwrap(), whole);
        }
        // Somebody removed b, and opkg its control file.
        let removed = [entry("a"), entry("c")].concat();
        fs::remove_file(lists.folder.join("b.control")).unwrap();
        fs::write(&status, &removed).unwrap();
        assert!(!put_back());
        records.forget_copy().unwrap();
        fs::write(&status, "").unwrap();
        assert!(!put_back(), "no run of ours is unfinished");
    }
}
