//! What was ever installed, one record a package: its highest version, who signed it and when. It outlives the
//! package, so that removing first is no way to a lower version.

use std::{cmp::Ordering, path::PathBuf};

use minicbor::{Decode, Encode};
use wharf_frames::{Cause, Failure, PackageName, PackageVersion, Text, decode, encode};

use crate::{backend::Installer, durable, policy::Policy, root::Root, verdict::Judged};

/// The records of a root.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
}

/// The highest version of one package that was ever installed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// [`FORMAT`] of whoever wrote it.
    #[n(0)]
    format: u32,
    /// The version.
    #[n(1)]
    pub version: PackageVersion,
    /// The certificate that signed it; none where policy allowed it to be unsigned.
    #[n(2)]
    pub certificate: Option<Text>,
    /// When it was signed, in Unix seconds; 0 when it was not.
    #[n(3)]
    pub signed_at: u64,
    /// SHA-256 of the file that was installed last.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub digest: [u8; 32],
}

const FORMAT: u32 = 1;

impl Ledger {
    /// The ledger of this root.
    pub fn of(root: &Root) -> Self {
        Self {
            folder: root.ledger(),
        }
    }

    /// The record of a package, whose name fits the backend's grammar.
    pub fn entry(&self, name: &PackageName) -> Result<Option<Entry>, Failure> {
        let path = self.path(name)?;
        let unreadable = |why: String| {
            let detail = format!("cannot read {}: {why}", path.display());
            Failure::new(Cause::Unavailable, detail)
        };
        match durable::read(&path) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => match decode::<Entry>(&bytes) {
                Ok(entry) if entry.format <= FORMAT => Ok(Some(entry)),
                Ok(entry) => Err(unreadable(format!(
                    "it has format {}, a newer wharfd wrote it",
                    entry.format
                ))),
                Err(error) => Err(unreadable(error.to_string())),
            },
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// Whether this package may be installed over all that ever was: a lower version, or an older signature of the
    /// same version, is a replay.
    pub fn judge(
        &self,
        judged: &Judged,
        backend: &dyn Installer,
        policy: &Policy,
    ) -> Result<(), Failure> {
        let name = &judged.package.name;
        let Some(entry) = self.entry(name)? else {
            return Ok(());
        };
        let older = match backend.compare_versions(&judged.package.version, &entry.version) {
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
        Err(Failure::new(Cause::Downgrade, detail))
    }

    /// Records what was just installed. The version never goes down, except where policy allowed that.
    pub(crate) fn record(
        &self,
        judged: &Judged,
        backend: &dyn Installer,
        policy: &Policy,
    ) -> Result<(), Failure> {
        let name = &judged.package.name;
        let new = Entry {
            format: FORMAT,
            version: judged.package.version.clone(),
            certificate: judged.package.signer.clone(),
            signed_at: judged.signed_at,
            digest: judged.digest,
        };
        let entry = match self.entry(name)? {
            Some(old) if !policy.allows_downgrade(name) => higher(old, new, backend),
            _ => new,
        };
        let path = self.path(name)?;
        let written = encode(&entry)
            .map_err(|error| error.to_string())
            .and_then(|bytes| durable::write(&path, &bytes).map_err(|error| error.to_string()));
        written.map_err(|why| {
            let detail = format!("cannot write {}: {why}", path.display());
            Failure::new(Cause::Unavailable, detail)
        })
    }

    /// The grammars of package managers have no `/` and no leading dot; nothing else becomes a path.
    fn path(&self, name: &PackageName) -> Result<PathBuf, Failure> {
        match name.as_str().contains('/') || name.as_str().starts_with('.') {
            false => Ok(self.folder.join(name.as_str())),
            true => Err(Failure::new(
                Cause::NotManaged,
                format!("'{name}' is no name of a package"),
            )),
        }
    }
}

fn higher(old: Entry, new: Entry, backend: &dyn Installer) -> Entry {
    match backend.compare_versions(&new.version, &old.version) {
        Ordering::Less => Entry {
            digest: new.digest,
            ..old
        },
        _ => new,
    }
}
