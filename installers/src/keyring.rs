//! The certificates of those who may sign: files of /etc/wharfd/keys, read by root as bytes. Only wharf-inspect parses
//! them.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use wharf_frames::inspect::{MAX_KEY_FILES, Question, unusable_keyring};
use wharf_root::durable;

use crate::not_done::NotDone;

/// The longest file in the keyring. A certificate with many certifications has some 20 KiB.
pub const MAX_FILE: usize = 96 * 1024;

/// All files of the folder.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    files: Vec<KeyFile>,
}

#[derive(Debug, Clone)]
struct KeyFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Keyring {
    /// Reads the folder. Each file holds certificates, except hidden files and editors' copies (`*~`). A missing folder
    /// is an empty keyring, with which no signature is valid. A file that cannot be read is an error: without it, a
    /// good signature would be called untrusted.
    pub fn read(folder: &Path) -> Result<Self, NotDone> {
        durable::folder_of_root(folder).map_err(|error| unreadable(folder, &error.to_string()))?;
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            entries => entries.map_err(|error| unreadable(folder, &error.to_string()))?,
        };
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| unreadable(folder, &error.to_string()))?;
        paths.retain(|path| !is_passed_over(path));
        paths.sort();
        if paths.len() > MAX_KEY_FILES {
            let why = format!("{} files: at most {MAX_KEY_FILES} are taken", paths.len());
            return Err(unreadable(folder, &why));
        }
        let files = paths
            .iter()
            .map(|path| KeyFile::read(path))
            .collect::<Result<_, _>>()?;
        Ok(Self { files })
    }

    /// A keyring of one file, which any user may own. It is read up to the longest length, and only wharf-inspect
    /// parses it.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_FILE as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > MAX_FILE {
            let why = format!("it is longer than {MAX_FILE} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        let path = path.to_owned();
        Ok(Self {
            files: vec![KeyFile { path, bytes }],
        })
    }

    /// Each file by its path, as a keyring of its own.
    pub fn files(&self) -> impl Iterator<Item = (&Path, Self)> {
        self.files.iter().map(|file| {
            let alone = Self {
                files: vec![file.clone()],
            };
            (file.path.as_path(), alone)
        })
    }

    /// The files of both.
    pub(crate) fn with(mut self, other: &Self) -> Self {
        self.files.extend(other.files.iter().cloned());
        self
    }

    /// The content of its files.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.files
            .iter()
            .flat_map(|file| file.bytes.clone())
            .collect()
    }

    /// The frames that send them to wharf-inspect.
    pub(crate) fn questions(&self) -> Vec<Question> {
        let key_file = |file: &KeyFile| Question::KeyFile {
            name: file.path.display().to_string().into(),
            bytes: file.bytes.clone().into(),
        };
        self.files.iter().map(key_file).collect()
    }
}

impl KeyFile {
    fn read(path: &Path) -> Result<Self, NotDone> {
        let bytes = read_bounded(path).map_err(|error| unreadable(path, &error.to_string()))?;
        if bytes.len() > MAX_FILE {
            return Err(unreadable(path, &format!("longer than {MAX_FILE} bytes")));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
        })
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let file = File::open(path)?;
    durable::only_root_writes(&file, path)?;
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_passed_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") || name.ends_with(b"~")
}

fn unreadable(path: &Path, why: &str) -> NotDone {
    NotDone::NotNow(unusable_keyring(&format!("{}: {why}", path.display())))
}

#[cfg(test)]
mod tests {
    use wharf_frames::{Cause, Failure};

    use super::*;

    fn not_now(folder: &Path) -> Failure {
        match Keyring::read(folder) {
            Err(NotDone::NotNow(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_each_file_but_hidden_ones_and_editors_copies() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.gpg", "a.asc", ".hidden", "a.asc~"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let keyring = Keyring::read(folder.path()).unwrap();
        let bytes: Vec<_> = keyring
            .files
            .iter()
            .map(|file| file.bytes.clone())
            .collect();
        assert_eq!(bytes, [b"a.asc".to_vec(), b"b.gpg".to_vec()]);
    }

    #[test]
    fn no_folder_is_an_empty_keyring() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::read(&folder.path().join("keys")).unwrap();
        assert_eq!(keyring.files.len(), 0);
    }

    #[test]
    fn names_the_file_that_cannot_be_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("long.asc"), vec![0; MAX_FILE + 1]).unwrap();
        let failure = not_now(folder.path());
        assert_eq!(failure.cause, Cause::Unavailable);
        assert!(failure.detail.as_str().contains("long.asc"), "{failure}");

        fs::remove_file(folder.path().join("long.asc")).unwrap();
        fs::create_dir(folder.path().join("folder.asc")).unwrap();
        let failure = not_now(folder.path());
        assert!(failure.detail.as_str().contains("folder.asc"), "{failure}");
    }

    #[test]
    fn refuses_more_files_than_a_keyring_may_have() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=MAX_KEY_FILES {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        assert_eq!(not_now(folder.path()).cause, Cause::Unavailable);
    }
}
