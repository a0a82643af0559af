//! The facts about a root that rpm's macros tell: the architectures, and the file of its lock. rpm takes 4 to 8 ms for an answer,
//! so it is asked only after a boot, and if a file of its macros has changed.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use wharf_frames::Failure;
use wharf_root::{Root, durable};

use super::{
    programs::{self, unavailable},
    run::folder,
};
use crate::edition::is_settled;

/// The files and folders from which rpm reads macros and the names of architectures, and rpm itself.
const SOURCES: [&str; 6] = [
    "usr/bin/rpm",
    "usr/lib/rpm",
    "etc/rpm",
    "root/.rpmmacros",
    "root/.rpmrc",
    "root/.config/rpm",
];

/// The largest number of files that are looked at for an answer of before.
const MOST: usize = 4096;

/// The answers.
pub(super) struct Macros {
    /// The architecture of packages.
    pub(super) own: String,
    /// A more exact one, if there is one.
    pub(super) other: String,
    /// The path of the lock in the root.
    pub(super) lock: String,
}

impl Macros {
    pub(super) fn of(root: &Root) -> Result<Self, Failure> {
        let made_from = made_from(root);
        if let Some(kept) = made_from.as_ref().and_then(|from| kept(root, from)) {
            return Ok(kept);
        }
        let asked = "%{_arch}\t%{_target_cpu}\t%{_rpmlock_path}\t%{_dbpath}/.rpm.lock";
        let output = programs::ask(root, "rpm", ["-E", asked])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let fields: Vec<&str> = text.trim_end().split('\t').collect();
        let [own, other, locks @ ..] = fields.as_slice() else {
            return Err(unavailable("rpm -E", &output));
        };
        // A macro that rpm does not have stays as it is.
        let lock = locks.iter().find(|path| path.starts_with('/'));
        let lock = lock.ok_or_else(|| unavailable("rpm -E", &output))?;
        let told = Self {
            own: (*own).to_owned(),
            other: (*other).to_owned(),
            lock: (*lock).to_owned(),
        };
        if let Some(from) = made_from {
            told.keep(root, &from);
        }
        Ok(told)
    }

    /// Keeps the answers for the next time. Only root can; else rpm is asked again.
    fn keep(&self, root: &Root, from: &str) {
        let Self { own, other, lock } = self;
        let line = format!("{from}\t{own}\t{other}\t{lock}\n");
        let _ = folder(root)
            .and_then(|folder| durable::write_volatile(&folder.join(KEPT), line.as_bytes()));
    }
}

const KEPT: &str = "macros";

/// The answers of before, if they were made from this.
fn kept(root: &Root, from: &str) -> Option<Macros> {
    let path = root.run().join("dnf").join(KEPT);
    let bytes = durable::read_of_root(&path).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let fields: Vec<&str> = text.strip_suffix('\n')?.split('\t').collect();
    let [of, own, other, lock] = *fields.as_slice() else {
        return None;
    };
    (of == from && lock.starts_with('/')).then(|| Macros {
        own: own.to_owned(),
        other: other.to_owned(),
        lock: lock.to_owned(),
    })
}

/// The digest of this boot, and of all that each change of a source changes. None if a source has just been changed: another
/// change may look the same.
fn made_from(root: &Root) -> Option<String> {
    let mut hash = Sha256::new_with_prefix(fs::read("/proc/sys/kernel/random/boot_id").ok()?);
    let mut left: Vec<PathBuf> = SOURCES.iter().map(|path| root.path(path)).collect();
    let mut seen = 0;
    while let Some(path) = left.pop() {
        seen += 1;
        if seen > MOST {
            return None;
        }
        if add(&mut hash, &path)? {
            let entries = fs::read_dir(&path).ok()?;
            let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            entries.sort();
            left.append(&mut entries);
        }
    }
    let digest = hash.finalize();
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Adds a source, and the file to which a link leads. Returns whether it is a folder.
fn add(hash: &mut Sha256, path: &Path) -> Option<bool> {
    hash.update(path.as_os_str().as_bytes());
    let Ok(metadata) = fs::symlink_metadata(path) else {
        hash.update([0]);
        return Some(false);
    };
    let target = metadata.is_symlink().then(|| fs::metadata(path).ok());
    for metadata in [Some(&metadata), target.flatten().as_ref()]
        .into_iter()
        .flatten()
    {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        if !is_settled(changed) {
            return None;
        }
        for number in [changed.0, changed.1] {
            hash.update(number.to_le_bytes());
        }
        for number in [metadata.ino(), metadata.dev(), metadata.len()] {
            hash.update(number.to_le_bytes());
        }
    }
    Some(metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_answers_are_made_from_changes_with_each_file_of_macros() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let settled = || loop {
            if let Some(from) = made_from(&root) {
                return from;
            }
            std::thread::yield_now();
        };
        let mut seen = vec![settled()];
        for (path, text) in [
            ("usr/bin/rpm", "1"),
            ("usr/bin/rpm", "2"),
            ("usr/lib/rpm/macros", "%a 1"),
            ("usr/lib/rpm/macros.d/macros.x", "%a 1"),
            ("usr/lib/rpm/macros.d/macros.x", "%a 2"),
            ("etc/rpm/macros", "%a 1"),
            ("root/.rpmmacros", "%a 1"),
            ("root/.config/rpm/macros", "%a 1"),
        ] {
            let file = root.path(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            let now = settled();
            assert!(!seen.contains(&now), "{path} {text}");
            seen.push(now);
        }
        fs::remove_file(root.path("etc/rpm/macros")).unwrap();
        assert!(!seen.contains(&settled()));
        assert_eq!(settled(), settled());
    }

    #[test]
    fn answers_are_kept_for_the_same_files_alone_and_only_whole() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let told = Macros {
            own: "x86_64".to_owned(),
            other: "x86_64".to_owned(),
            lock: "/var/lib/rpm/.rpm.lock".to_owned(),
        };
        assert!(kept(&root, "a").is_none());
        told.keep(&root, "a");
        let back = kept(&root, "a").unwrap();
        assert_eq!((back.own, back.lock), (told.own, told.lock));
        assert!(kept(&root, "b").is_none());
        let path = root.run().join("dnf").join(KEPT);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(kept(&root, "a").is_none(), "{length} bytes");
        }
    }
}
