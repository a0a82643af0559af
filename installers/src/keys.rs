//! The keyring in an administrator's hands: what is in it, what each certificate may sign, and how one comes in and goes
//! out. Only files of root are changed; what they mean is judged as for any package.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use wharf_frames::Failure;

use crate::{
    Root,
    backend::Installer,
    clock, durable,
    inspect::{Certificate, Inspector, Keyring, keyring::MAX_FILES},
    ledger::Ledger,
    permission::{Witnesses, may_install},
    policy::Policy,
    seal,
};

/// The longest signature that is read from beside a package.
const MAX_SIGNATURE: u64 = wharf_frames::fetch::MAX_SIGNATURE as u64;

/// The keyring of a root, with the policy that says what its certificates may sign.
pub struct Keys<'a> {
    /// Where it lies.
    pub root: &'a Root,
    /// What each may sign.
    pub policy: &'a Policy,
    /// Who looks into certificates and packages.
    pub inspector: &'a Inspector,
}

/// A certificate of the keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Its fingerprint.
    pub fingerprint: String,
    /// Whose it says it is.
    pub user_id: String,
    /// The file it is in.
    pub file: PathBuf,
    /// In Unix seconds.
    pub created_at: u64,
    /// In Unix seconds; none when it is valid for ever.
    pub expires_at: Option<u64>,
    /// Why it signs nothing now.
    pub unusable: Option<String>,
    /// The names of the packages that it may sign; none where policy does not mention it: then only those that wharfd
    /// installed before.
    pub packages: Option<Vec<String>>,
}

/// What would become of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The fingerprint of the certificate by which it is signed.
    pub signer: Option<String>,
    /// Why it would not be installed.
    pub refused: Option<String>,
}

/// Why the keyring stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It cannot be judged: the keyring, a package.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A file cannot be read, written or removed.
    #[error("cannot {what} {}: {source}", .file.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        file: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file brings no certificate.
    #[error("{} is not added: {why}", .file.display())]
    NotAdded {
        /// The file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// No certificate has the fingerprint, or it cannot be taken out by itself.
    #[error("{fingerprint} is not removed: {why}")]
    NotRemoved {
        /// As it was asked for.
        fingerprint: String,
        /// Why not.
        why: String,
    },
}

impl Keys<'_> {
    /// Every certificate, by files.
    pub fn list(&self) -> Result<Vec<Key>, KeysError> {
        let mut keys = Vec::new();
        for (file, keyring) in Keyring::read(&self.root.keys())?.files() {
            keys.extend(self.in_file(Path::new(file), &keyring)?);
        }
        Ok(keys)
    }

    fn in_file(&self, file: &Path, keyring: &Keyring) -> Result<Vec<Key>, KeysError> {
        let found = self.look(keyring)?.into_iter();
        Ok(found.map(|known| self.key(file, known)).collect())
    }

    fn look(&self, keyring: &Keyring) -> Result<Vec<Certificate>, KeysError> {
        let at = clock::now(self.root).at;
        let found = self.inspector.look(keyring, at);
        Ok(found.map_err(Failure::from)?)
    }

    fn key(&self, file: &Path, known: Certificate) -> Key {
        let names = self.policy.names_of(known.fingerprint.as_str());
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Key {
            fingerprint: known.fingerprint.to_string(),
            user_id: known.user_id.to_string(),
            file: file.to_owned(),
            created_at: known.created_at,
            expires_at: known.expires_at,
            unusable: known.unusable.map(|why| why.to_string()),
            packages: names.map(owned),
        }
    }

    /// Takes the certificates of a file into the keyring. The file may be anybody's. One that is there already stays, and
    /// what the new one says counts beside it.
    pub fn add(&self, file: &Path) -> Result<Vec<Key>, KeysError> {
        let not_added = |why: &str| KeysError::NotAdded {
            file: file.to_owned(),
            why: why.to_owned(),
        };
        let new = Keyring::of_file(file).map_err(|error| problem("read", file, error))?;
        let found = match self.look(&new) {
            Err(KeysError::Failed(failure)) => return Err(not_added(failure.detail.as_str())),
            found => found?,
        };
        let Some(first) = found.first() else {
            return Err(not_added("there is no certificate in it"));
        };
        if found.iter().any(|one| one.secret) {
            return Err(not_added(
                "it holds a secret key, which belongs to whoever signs: gpg --armor --export writes the certificate alone",
            ));
        }
        if Keyring::read(&self.root.keys())?.files().count() >= MAX_FILES {
            return Err(not_added("the keyring has as many files as it may"));
        }
        let place = self.place(first.fingerprint.as_str(), &new.bytes())?;
        self.write(&place, &new.bytes())
            .map_err(|error| problem("write", &place, error))?;
        let keys = found.into_iter().map(|known| self.key(&place, known));
        Ok(keys.collect())
    }

    /// A file of the keyring that is not there, or holds the same.
    fn place(&self, fingerprint: &str, bytes: &[u8]) -> Result<PathBuf, KeysError> {
        let folder = self.root.keys();
        let names = (0_u32..).map(|number| match number {
            0 => format!("{fingerprint}.pgp"),
            _ => format!("{fingerprint}-{number}.pgp"),
        });
        for place in names.map(|name| folder.join(name)) {
            let there = durable::read(&place).map_err(|error| problem("read", &place, error))?;
            if there.is_none_or(|there| there == bytes) {
                return Ok(place);
            }
        }
        Ok(folder)
    }

    fn write(&self, place: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = self.root.keys();
        if !folder.is_dir() {
            fs::create_dir(&folder)?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        }
        durable::write(place, bytes)
    }

    /// Takes a certificate out of the keyring, with every file that has it alone. Gives those files.
    pub fn remove(&self, fingerprint: &str) -> Result<Vec<PathBuf>, KeysError> {
        let wanted: String = fingerprint.split_whitespace().collect();
        let not_removed = |why: String| KeysError::NotRemoved {
            fingerprint: fingerprint.to_owned(),
            why,
        };
        let keys = self.list()?;
        let is_wanted = |key: &&Key| key.fingerprint.eq_ignore_ascii_case(&wanted);
        let files: Vec<PathBuf> = keys
            .iter()
            .filter(is_wanted)
            .map(|key| key.file.clone())
            .collect();
        if files.is_empty() {
            return Err(not_removed(
                "no certificate of the keyring has this fingerprint: wharfctl keys list".to_owned(),
            ));
        }
        if let Some(other) = keys
            .iter()
            .find(|key| files.contains(&key.file) && !is_wanted(key))
        {
            let (file, other) = (other.file.display(), &other.fingerprint);
            return Err(not_removed(format!(
                "{file} holds {other} too: take it out of that file by hand"
            )));
        }
        for file in &files {
            durable::remove(file).map_err(|error| problem("remove", file, error))?;
        }
        Ok(files)
    }

    /// Judges a package file as if a server had sent it, with the signature that lies beside it. It is opened here, and
    /// may be anybody's.
    pub fn check(&self, file: &Path, backend: &dyn Installer) -> Result<Verdict, KeysError> {
        let package = File::open(file).map_err(|error| problem("read", file, error))?;
        let signature = beside(file)?;
        let ledger = Ledger::of(self.root);
        let witnesses = Witnesses {
            root: self.root,
            inspector: self.inspector,
            ledger: &ledger,
            backend,
        };
        let judged = seal::verdict(&package, signature.as_deref(), witnesses);
        Ok(match judged.map_err(Failure::from) {
            Ok(judged) => Verdict {
                name: Some(judged.package.name.to_string()),
                version: Some(judged.package.version.to_string()),
                signer: judged.package.signer.as_ref().map(ToString::to_string),
                refused: may_install(&judged, self.policy, witnesses)
                    .err()
                    .map(|failure| failure.to_string()),
            },
            Err(failure) => Verdict {
                name: None,
                version: None,
                signer: None,
                refused: Some(failure.to_string()),
            },
        })
    }
}

/// `FILE.asc`, else `FILE.sig`.
fn beside(file: &Path) -> Result<Option<Vec<u8>>, KeysError> {
    for suffix in [".asc", ".sig"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        let signature = PathBuf::from(name);
        match read_signature(&signature) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => {
                return read
                    .map(Some)
                    .map_err(|error| problem("read", &signature, error));
            }
        }
    }
    Ok(None)
}

fn read_signature(file: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    File::open(file)?
        .take(MAX_SIGNATURE + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn problem(what: &'static str, file: &Path, source: io::Error) -> KeysError {
    KeysError::File {
        what,
        file: file.to_owned(),
        source,
    }
}
