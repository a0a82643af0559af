//! The packages of a staged bundle: files beside it, `STAGE.0` and so on, in the order of the bundle. After a good verdict they
//! are all that is kept of it, with its manifest. This module parses nothing. It limits the bytes, and syncs them before they
//! are judged.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use wharf_fault as fault;
use wharf_frames::{Cause, installer::MAX_COMPONENTS};
use wharf_root::durable;

use crate::{inner::Inner, not_done::NotDone};

/// The files while the bundle is judged. They are removed unless they are kept.
#[derive(Debug)]
pub(crate) struct MemberFiles {
    stage: PathBuf,
    /// Bytes for all files that are yet to come.
    left: u64,
    files: Vec<Inner>,
    /// The package that is written.
    open: Option<(u64, Sha256)>,
}

/// A package of the bundle.
#[derive(Debug)]
pub(crate) struct MemberFile {
    /// Its file, which is synced and open for reading only.
    pub(crate) file: File,
    /// Its length.
    pub(crate) length: u64,
    /// The SHA-256 of the bytes that were written.
    pub(crate) digest: [u8; 32],
}

impl MemberFiles {
    /// The packages of the bundle that is staged here, of at most `limit` bytes together.
    pub(crate) const fn of(stage: PathBuf, limit: u64) -> Self {
        Self {
            stage,
            left: limit,
            files: Vec::new(),
            open: None,
        }
    }

    /// Takes bytes from the limit: another file beside the bundle has them.
    pub(crate) const fn spare(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// Begins the next package, which has this length.
    pub(crate) fn begin(&mut self, length: u64) -> Result<(), NotDone> {
        if length > self.left {
            let detail = format!(
                "the packages of the bundle do not fit beside it: {} bytes are left for one of {length} (quota.bytes in \
                 installer.toml, and the disk)",
                self.left
            );
            return Err(NotDone::refused(Cause::Quota, detail));
        }
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(Inner::at(self.path(number), length));
        self.left -= length;
        self.open = Some((length, Sha256::new()));
        Ok(())
    }

    /// Writes more of the package that began last.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), NotDone> {
        match (self.files.last_mut(), &mut self.open) {
            (Some(file), Some((_, hash))) => {
                hash.update(bytes);
                file.append(bytes)
            }
            _ => Err(none_begun()),
        }
    }

    /// Ends the package that began last.
    pub(crate) fn end(&mut self) -> Result<MemberFile, NotDone> {
        match (self.files.last_mut(), self.open.take()) {
            (Some(file), Some((length, hash))) => {
                let file = file.finish()?;
                fault::point("seal.member");
                Ok(MemberFile {
                    file,
                    length,
                    digest: hash.finalize().into(),
                })
            }
            _ => Err(none_begun()),
        }
    }

    /// The path of a package.
    pub(crate) fn path(&self, number: u32) -> PathBuf {
        path(&self.stage, number)
    }

    /// Leaves the files to their verdict.
    pub(crate) fn keep(self) {
        self.files.into_iter().for_each(Inner::keep);
    }
}

fn none_begun() -> NotDone {
    NotDone::not_now("no package of the bundle has begun")
}

/// The path of a package of a staged bundle.
pub(crate) fn path(stage: &Path, number: u32) -> PathBuf {
    let mut path = stage.as_os_str().to_owned();
    path.push(format!(".{number}"));
    path.into()
}

/// The name of the staged file beside which a file of this name lies, if it is a package of a bundle.
pub(crate) fn stage_of(name: &str) -> Option<&str> {
    let (stage, number) = name.rsplit_once('.')?;
    number.parse::<u32>().is_ok().then_some(stage)
}

/// Removes the packages of the bundle that is, or was, staged here.
pub(crate) fn remove(stage: &Path) -> io::Result<()> {
    let mut is_changed = false;
    for number in (0..).take(MAX_COMPONENTS) {
        match fs::remove_file(path(stage, number)) {
            Ok(()) => {
                is_changed = true;
                fault::point("member.removed");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    match is_changed {
        true => durable::sync_folder_of(stage),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_there_as_long_as_they_are_wanted_and_within_their_bound() {
        let folder = tempfile::tempdir().unwrap();
        let stage = folder.path().join("stage");
        fs::write(&stage, "bundle").unwrap();
        let left = |number| fs::read_to_string(path(&stage, number)).ok();
        let write = |members: &mut MemberFiles, text: &str| {
            members.begin(text.len() as u64)?;
            members.append(text.as_bytes())?;
            members.end()
        };
        let cause = |done: Result<MemberFile, NotDone>| match done {
            Err(NotDone::Refused(failure)) => Some(failure.cause),
            _ => None,
        };

        let mut members = MemberFiles::of(stage.clone(), 7);
        let mut member = write(&mut members, "acme").unwrap();
        assert_eq!(io::read_to_string(&mut member.file).unwrap(), "acme");
        let digest: [u8; 32] = Sha256::digest("acme").into();
        assert_eq!((member.length, member.digest), (4, digest));
        assert_eq!(cause(write(&mut members, "lamp")), Some(Cause::Quota));
        assert!(
            write(&mut members, "bulb").is_err(),
            "nothing is given back"
        );
        drop(members);
        assert_eq!((left(0), left(1)), (None, None), "not wanted");

        let mut members = MemberFiles::of(stage.clone(), 9);
        members.spare(2);
        write(&mut members, "acme").unwrap();
        write(&mut members, "").unwrap();
        write(&mut members, "lam").unwrap();
        assert_eq!(cause(write(&mut members, "p")), Some(Cause::Quota));
        members.keep();
        let texts = [left(0), left(1), left(2), left(3)];
        let texts = texts.each_ref().map(Option::as_deref);
        assert_eq!(texts, [Some("acme"), Some(""), Some("lam"), None]);

        fs::remove_file(path(&stage, 0)).unwrap();
        remove(&stage).unwrap();
        remove(&stage).unwrap();
        assert_eq!((left(0), left(1), left(2)), (None, None, None));
        assert_eq!(fs::read_to_string(&stage).unwrap(), "bundle");
    }

    #[test]
    fn the_name_of_a_package_leads_to_its_staged_file() {
        for (name, stage) in [
            ("00ff.0", Some("00ff")),
            ("00ff.63", Some("00ff")),
            ("00ff.verdict", None),
            ("00ff.inner", None),
            ("00ff", None),
        ] {
            assert_eq!(stage_of(name), stage, "{name}");
        }
    }
}
