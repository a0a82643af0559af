//! Commands for an administrator of the keyring: list, add and remove certificates, and verify a package. Only files of
//! root are changed. Certificates are judged as for any package.

use std::{
    cmp::Ordering,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{self, Path, PathBuf},
};

use serde::Serialize;
use wharf_frames::{
    Failure, PackageVersion, Text,
    inspect::{Certificate, MAX_KEY_FILES, unusable_file},
};
use wharf_managers::{Install, InstallOptions, PackageFile, PlannedPackage};
use wharf_root::{durable, pattern::Pattern};

use crate::{
    Root,
    allow::Allowed,
    bundle::{self, members::MemberFiles},
    clock,
    device::{Device, database},
    inner::Inner,
    inspector::Inspector,
    keyring::Keyring,
    ledger::Ledger,
    not_done::NotDone,
    permission::{Witnesses, may_install},
    policy::{Policy, PolicyError},
    room::Room,
    seal,
    verdict::{Accepted, Judged, JudgedBundle},
};

/// The longest signature beside a package.
const MAX_SIGNATURE: u64 = wharf_frames::fetch::MAX_SIGNATURE as u64;

/// The keyring of a root, with the policy about its certificates.
pub struct Keys<'a> {
    /// Its root.
    pub root: &'a Root,
    /// The packages that each certificate may sign.
    pub policy: &'a Policy,
    /// Reads certificates and packages.
    pub inspector: &'a Inspector,
}

/// A certificate of the keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its user ID, by its own word.
    pub user_id: String,
    /// The files it is in.
    pub files: Vec<String>,
    /// In Unix seconds.
    pub created_at: u64,
    /// In Unix seconds; none if it never expires.
    pub expires_at: Option<u64>,
    /// The reason why it cannot sign now.
    pub unusable: Option<String>,
    /// The names of the packages that it may sign. None if policy does not mention it: then it may sign only packages
    /// whose last installation it signed.
    pub packages: Option<Vec<String>>,
}

/// The verdict on a package.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CheckedPackage {
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The fingerprint of the certificate that signed it.
    pub signer: Option<String>,
    /// The packages in it, if it is a bundle.
    pub components: Vec<CheckedComponent>,
    /// The reason why it would be refused.
    pub refused: Option<String>,
    /// The packages that would be installed, in the order of the package manager's plan.
    pub plan: Vec<CheckedChange>,
    /// The reason why the package manager gives no plan. An Install may find what is missing in newer lists of the sources.
    pub unplanned: Option<String>,
}

/// A package of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckedComponent {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The fingerprint of the certificate that signed it, or the bundle around it.
    pub signer: Option<String>,
}

/// One package of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckedChange {
    /// Its name.
    pub name: String,
    /// Its new version.
    pub version: String,
    /// The version that the device has.
    pub replaces: Option<String>,
    /// `new`, `upgrade`, `downgrade` or `same version`.
    pub change: &'static str,
    /// It comes from a source of the device, not from the file.
    pub from_source: bool,
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The keyring or a package cannot be judged.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The policy does not accept another scope.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A file cannot be read, written or removed.
    #[error("cannot {what} {}: {source}", .file.display())]
    File {
        /// The attempt.
        what: &'static str,
        /// Its file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file has no certificate to add.
    #[error("{} is not added: {why}", .file.display())]
    NotAdded {
        /// The file.
        file: PathBuf,
        /// The reason.
        why: String,
    },
    /// No certificate has the fingerprint, or it cannot be removed alone.
    #[error("{fingerprint} is not removed: {why}")]
    NotRemoved {
        /// As requested.
        fingerprint: String,
        /// The reason.
        why: String,
    },
}

impl From<NotDone> for KeysError {
    fn from(not_done: NotDone) -> Self {
        Self::Failed(not_done.into())
    }
}

/// The content of a file of the keyring.
struct Held {
    file: PathBuf,
    fingerprints: Vec<Text>,
}

impl Keys<'_> {
    /// Every certificate, as signatures are judged by it: merged from all its files.
    pub fn list(&self) -> Result<Vec<Key>, KeysError> {
        let keyring = Keyring::read(&self.root.keys())?;
        let found = self.look(&keyring)?;
        let held = self.held(&keyring)?;
        let keys = found.into_iter().map(|known| self.key(known, &held));
        Ok(keys.collect())
    }

    fn held(&self, keyring: &Keyring) -> Result<Vec<Held>, KeysError> {
        let in_file = |(file, alone): (&Path, Keyring)| {
            let found = self.look(&alone)?.into_iter();
            Ok(Held {
                file: file.to_owned(),
                fingerprints: found.map(|known| known.fingerprint).collect(),
            })
        };
        keyring.files().map(in_file).collect()
    }

    fn look(&self, keyring: &Keyring) -> Result<Vec<Certificate>, KeysError> {
        let at = clock::now(self.root, &database(self.root, self.policy)).at;
        let found = self.inspector.certificates(keyring, at);
        Ok(found.map_err(Failure::from)?)
    }

    fn key(&self, known: Certificate, held: &[Held]) -> Key {
        let names = self.policy.names_of(known.fingerprint.as_str());
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let holds = |held: &&Held| held.fingerprints.contains(&known.fingerprint);
        let files = held.iter().filter(holds);
        Key {
            files: files.map(|held| shown(&held.file)).collect(),
            fingerprint: known.fingerprint.to_string(),
            user_id: known.user_id.to_string(),
            created_at: known.created_at,
            expires_at: known.expires_at,
            unusable: known.unusable.map(|why| why.to_string()),
            packages: names.map(owned),
        }
    }

    /// Adds the certificates of a file to the keyring, and returns them merged with known copies. Any user may own the
    /// file. The policy lets them sign packages of these names; `show` gets its new scopes before they are written.
    pub fn add(
        &self,
        file: &Path,
        names: &[Pattern],
        show: impl Fn(&Path, &str) -> io::Result<()>,
    ) -> Result<Vec<Key>, KeysError> {
        let new = Keyring::of_file(file).map_err(|error| problem("read", file, error))?;
        let keyring = Keyring::read(&self.root.keys())?;
        let is_there = is_in(&keyring, file);
        let found = self.fit_to_add(file, &new, keyring, is_there)?;
        let Some(first) = found.first() else {
            return Err(not_added(file, "it has no certificate"));
        };
        let fingerprints = found.iter().map(|one| one.fingerprint.as_str());
        let allowed = Allowed::new(self.root, fingerprints, names)?;
        let policy = allowed.file();
        if !allowed.added.is_empty() {
            show(policy, &allowed.added).map_err(|error| problem("show", policy, error))?;
        }
        if !is_there {
            let place = self.place(first.fingerprint.as_str(), &new.bytes())?;
            self.write(&place, &new.bytes())
                .map_err(|error| problem("write", &place, error))?;
        }
        allowed
            .write()
            .map_err(|error| problem("write", policy, error))?;
        let is_new = |key: &Key| {
            let mut found = found.iter();
            found.any(|one| one.fingerprint.as_str() == key.fingerprint)
        };
        let now = Keys {
            policy: &allowed.policy,
            ..*self
        };
        let mut keys = now.list()?;
        keys.retain(is_new);
        Ok(keys)
    }

    /// The certificates of a file, if the keyring stays valid with them.
    fn fit_to_add(
        &self,
        file: &Path,
        new: &Keyring,
        keyring: Keyring,
        is_there: bool,
    ) -> Result<Vec<Certificate>, KeysError> {
        let because = |error, of: fn(&Failure) -> &str| match error {
            KeysError::Failed(failure) => not_added(file, of(&failure)),
            error => error,
        };
        let found = self
            .look(new)
            .map_err(|error| because(error, unusable_file))?;
        if found.iter().any(|one| one.secret) {
            return Err(not_added(
                file,
                "it holds a secret key, which only the signer may have: gpg --armor --export writes the certificate alone",
            ));
        }
        if !is_there && keyring.files().count() >= MAX_KEY_FILES {
            return Err(not_added(file, "the keyring is full"));
        }
        let all = match is_there {
            true => keyring,
            false => keyring.with(new),
        };
        self.look(&all)
            .map_err(|error| because(error, |failure| failure.detail.as_str()))?;
        Ok(found)
    }

    /// A path in the keyring that is free, or has the same content.
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

    /// Removes a certificate, with every file that has only this one. Returns those files.
    pub fn remove(&self, fingerprint: &str) -> Result<Vec<String>, KeysError> {
        let wanted: String = fingerprint.split_whitespace().collect();
        let is_wanted = |one: &Text| one.as_str().eq_ignore_ascii_case(&wanted);
        let not_removed = |why: String| KeysError::NotRemoved {
            fingerprint: fingerprint.to_owned(),
            why,
        };
        let mut held = self.held(&Keyring::read(&self.root.keys())?)?;
        held.retain(|held| held.fingerprints.iter().any(is_wanted));
        if held.is_empty() {
            return Err(not_removed(
                "no certificate of the keyring has this fingerprint: wharfctl keys list".to_owned(),
            ));
        }
        for Held { file, fingerprints } in &held {
            if let Some(other) = fingerprints.iter().find(|one| !is_wanted(one)) {
                let file = file.display();
                return Err(not_removed(format!(
                    "{file} holds {other} too: remove it from that file by hand"
                )));
            }
        }
        for Held { file, .. } in &held {
            durable::remove_present(file).map_err(|error| problem("remove", file, error))?;
        }
        Ok(held.iter().map(|held| shown(&held.file)).collect())
    }

    /// Judges a package file as if a server had sent it, with the signature beside it. It is opened here, and any user
    /// may own it.
    pub fn check(&self, file: &Path, device: &Device) -> Result<CheckedPackage, KeysError> {
        let package = open(file)?;
        let signature = beside(file)?;
        let ledger = Ledger::of(self.root);
        let witnesses = Witnesses {
            root: self.root,
            ledger: &ledger,
            device,
        };
        let (mut inner, mut members) = self.beside()?;
        let accepted = seal::verdict(
            &package,
            signature.as_deref(),
            &mut inner,
            &mut members,
            witnesses,
        );
        let accepted = match accepted.map_err(Failure::from) {
            Ok(accepted) => accepted,
            Err(failure) => {
                return Ok(CheckedPackage {
                    refused: Some(failure.to_string()),
                    ..CheckedPackage::default()
                });
            }
        };
        let (permitted, installs) = match &accepted {
            Accepted::Package(judged) => (
                may_install(judged, self.policy, witnesses),
                vec![self.install(inner.written().unwrap_or(file), judged)],
            ),
            Accepted::Bundle(bundle) => (
                bundle::permission::may_install_now(bundle, self.policy, witnesses),
                self.installs(bundle, &members),
            ),
        };
        let refused = permitted.err();
        let plan = match &refused {
            None => self.plan(&installs, device),
            Some(_) => Ok(Vec::new()),
        };
        let package = accepted.package();
        Ok(CheckedPackage {
            name: Some(package.name.to_string()),
            version: Some(package.version.to_string()),
            signer: package.signer.as_ref().map(ToString::to_string),
            components: match &accepted {
                Accepted::Package(_) => Vec::new(),
                Accepted::Bundle(bundle) => bundle.members().map(CheckedComponent::of).collect(),
            },
            refused: refused.map(|failure| failure.to_string()),
            unplanned: plan.as_ref().err().map(Failure::to_string),
            plan: plan.unwrap_or_default(),
        })
    }

    fn installs(&self, bundle: &JudgedBundle, members: &MemberFiles) -> Vec<Install> {
        let packages = bundle.members().zip(0..);
        packages
            .map(|(judged, number)| self.install(&members.path(number), judged))
            .collect()
    }

    fn install(&self, file: &Path, judged: &Judged) -> Install {
        let package = judged.package.clone();
        Install {
            options: InstallOptions {
                allow_downgrade: self.policy.allows_downgrade(&package.name),
                reinstall: false,
            },
            file: PackageFile {
                path: path::absolute(file).unwrap_or_else(|_| file.to_owned()),
                package,
            },
        }
    }

    /// The plan of the package manager for these files.
    fn plan(&self, installs: &[Install], device: &Device) -> Result<Vec<CheckedChange>, Failure> {
        let manager = device.packages.as_ref();
        let change = |it: PlannedPackage| {
            let order = |old: &PackageVersion| manager.compare_versions(&it.version, old);
            CheckedChange {
                change: match it.replaces.as_ref().map(order) {
                    None => "new",
                    Some(Ordering::Greater) => "upgrade",
                    Some(Ordering::Less) => "downgrade",
                    Some(Ordering::Equal) => "same version",
                },
                name: it.name.to_string(),
                version: it.version.to_string(),
                replaces: it.replaces.as_ref().map(ToString::to_string),
                from_source: it.is_dependency,
            }
        };
        let planned = manager.plan(installs, &self.policy.dependencies())?;
        Ok(planned.into_iter().map(change).collect())
    }

    /// Room for what is inside the file while it is checked.
    pub(crate) fn beside(&self) -> Result<(Inner, MemberFiles), KeysError> {
        let (folder, quota) = (self.root.staged(), &self.policy.quota);
        let made = durable::private_folder(&folder).and_then(|()| {
            let room = Room::on_disk_of(&folder, quota)?;
            let (path, ()) = durable::unique(&folder.join(durable::NEW), "", |_| Ok(()))?;
            Ok((room, path))
        });
        let (Room { free, reserve }, path) =
            made.map_err(|error| problem("write to", &folder, error))?;
        let room = quota.bytes.min(free.saturating_sub(reserve));
        let members = MemberFiles::of(path.clone(), room);
        Ok((Inner::at(path, room), members))
    }
}

impl CheckedComponent {
    fn of(member: &Judged) -> Self {
        let package = &member.package;
        Self {
            name: package.name.to_string(),
            version: package.version.to_string(),
            signer: package.signer.as_ref().map(ToString::to_string),
        }
    }
}

/// Whether the keyring has this file already. The keyring ignores some files in its folder.
fn is_in(keyring: &Keyring, file: &Path) -> bool {
    let is_it = |known: &Path, file: &Path| known.canonicalize().is_ok_and(|it| it == file);
    file.canonicalize()
        .is_ok_and(|file| keyring.files().any(|(known, _)| is_it(known, &file)))
}

/// Opens a regular file.
pub(crate) fn open(file: &Path) -> Result<File, KeysError> {
    let unreadable = |error| problem("read", file, error);
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is no regular file")));
    }
    File::open(file).map_err(unreadable)
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

/// Shows a path, which may contain any bytes.
fn shown(file: &Path) -> String {
    Text::from(file.display().to_string()).to_string()
}

fn not_added(file: &Path, why: &str) -> KeysError {
    KeysError::NotAdded {
        file: file.to_owned(),
        why: why.to_owned(),
    }
}

fn problem(what: &'static str, file: &Path, source: io::Error) -> KeysError {
    KeysError::File {
        what,
        file: file.to_owned(),
        source,
    }
}
