//! The dependencies of an installation, from the configured repositories. dnf downloads them into a folder of root before
//! the run that installs them: that run knows no repository, and rpm's lock is free meanwhile.
//!
//! dnf checks no signature here. Each package must have one that rpm verifies with its own keys, whatever a repository's
//! file says.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;
use wharf_frames::{Cause, Failure, PackageName};
use wharf_root::{Root, durable, limits};

use super::{order::Coming, programs::not_started, rpm::Rpm};

/// A folder for one download. It is deleted with this value; after a kill, repairs find the packages in it.
pub(super) struct Downloads {
    outside: PathBuf,
    /// The folder as programs of the root see it. dnf 5 wants to make it.
    pub(super) inside: PathBuf,
}

/// The packages that a download must not change.
struct Planned<'a> {
    coming: &'a [Coming],
    rpms: Vec<Rpms<'a>>,
}

/// One entry of a stored transaction (`dnf5 --store`).
struct Rpms<'a> {
    name: &'a str,
    nevra: &'a str,
    action: &'a str,
    repository: &'a str,
    path: &'a str,
}

impl Downloads {
    /// A new folder. A plan may be asked for while a job runs.
    pub(super) fn new(root: &Root) -> Result<Self, Failure> {
        let kept = kept(root);
        let made = durable::private_folder(&kept)
            .and_then(|()| durable::unique(&kept.join("run"), "", |path| fs::create_dir(path)));
        let (folder, ()) = made.map_err(|error| not_started("dnf", &error))?;
        let outside = folder.join("stored");
        Ok(Self {
            inside: root.seen_inside(&outside),
            outside,
        })
    }

    /// Deletes what is there, and returns the bytes that a download may have: the file system keeps a reserve.
    pub(super) fn emptied(&self) -> Result<u64, Failure> {
        let folder = self.outside.parent().unwrap_or(&self.outside);
        let emptied = emptied(folder).and_then(|()| room(folder));
        emptied.map_err(|error| {
            let detail = format!("cannot empty {}: {error}", folder.display());
            Failure::new(Cause::Unavailable, detail)
        })
    }

    /// The bytes that have come so far.
    pub(super) fn bytes(&self) -> u64 {
        let files = entries(self.outside.join("packages"));
        let sizes = files.filter_map(|file| Some(fs::metadata(file).ok()?.len()));
        sizes.sum()
    }

    /// Makes the folder itself, for dnf 4.
    pub(super) fn made(&self) -> Result<(), Failure> {
        fs::create_dir(&self.outside).map_err(|error| not_started("dnf", &error))
    }

    /// The downloaded packages that come beside these files. Refuses a plan that changes an installed package, and packages
    /// without a valid signature.
    pub(super) fn dependencies(
        &self,
        rpm: &Rpm,
        coming: &[Coming],
    ) -> Result<Vec<Coming>, Failure> {
        let unreadable = |error: &dyn std::fmt::Display| {
            let detail = format!("the plan of dnf cannot be read: {error}");
            Failure::new(Cause::PackageManager, detail)
        };
        let path = self.outside.join("transaction.json");
        let text = fs::read(path).map_err(|error| unreadable(&error))?;
        let plan: Value = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
        let planned =
            Planned::of(&plan, coming).ok_or_else(|| unreadable(&"an entry is incomplete"))?;
        let files = planned.dependencies()?;
        let paths: Vec<PathBuf> = files
            .iter()
            .map(|file| self.inside.join(file.path))
            .collect();
        rpm.refuse_unsigned(&paths, &repositories(&files))?;
        let mut dependencies = Vec::new();
        for (name, copy, path) in rpm.in_files(&paths)? {
            if !rpm.copies(&name)?.is_empty() {
                let detail = format!("{name} is installed by now, and would be replaced");
                return Err(Failure::new(Cause::Plan, detail));
            }
            dependencies.push(Coming {
                path,
                name,
                version: copy.version,
                architecture: copy.architecture,
                allow_downgrade: false,
                copies: Vec::new(),
                is_dependency: true,
            });
        }
        match dependencies.len() == files.len() {
            true => Ok(dependencies),
            false => Err(unreadable(
                &"rpm reads other packages in the downloaded files",
            )),
        }
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        let folder = self.outside.parent().unwrap_or(&self.outside);
        let _ = fs::remove_dir_all(folder);
    }
}

/// The folder of all downloads.
fn kept(root: &Root) -> PathBuf {
    root.state().join("rpm-dependencies")
}

/// The file of this package from an interrupted installation.
pub(super) fn left(root: &Root, rpm: &Rpm, name: &PackageName) -> Option<PathBuf> {
    let runs = entries(kept(root));
    let mut files = runs.flat_map(|run| entries(run.join("stored/packages")));
    files.find(|file| matches!(rpm.in_file(name, file), Ok(Some(_))))
}

fn entries(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Deletes what ended processes left.
pub(super) fn forget(root: &Root) {
    durable::sweep(&kept(root), "");
}

fn emptied(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => durable::private_folder(folder),
    }
}

#[allow(
    clippy::useless_conversion,
    reason = "they are narrower on 32-bit machines"
)]
fn room(folder: &Path) -> io::Result<u64> {
    let disk = nix::sys::statvfs::statvfs(folder)?;
    let block = u64::from(disk.fragment_size());
    let reserve = *limits::RESERVE_BYTES.start();
    let free = u64::from(disk.blocks_available()).saturating_mul(block);
    Ok(free.saturating_sub(reserve))
}

fn repositories(files: &[&Rpms<'_>]) -> String {
    let told = files
        .iter()
        .map(|file| format!("{} of repository {}", file.nevra, file.repository));
    told.collect::<Vec<_>>().join(", ")
}

impl<'a> Planned<'a> {
    fn of(plan: &'a Value, coming: &'a [Coming]) -> Option<Self> {
        let rpms = plan.get("rpms")?.as_array()?.iter().map(|entry| {
            let text = |key: &str| entry.get(key).map_or(Some(""), Value::as_str);
            let nevra = text("nevra")?;
            let repository = text("repo_id")?.trim_start_matches("@stored_transaction(");
            Some(Rpms {
                name: nevra.rsplitn(3, '-').nth(2)?,
                nevra,
                action: text("action")?,
                repository: repository.trim_end_matches(')'),
                path: text("package_path")?,
            })
        });
        Some(Self {
            coming,
            rpms: rpms.collect::<Option<_>>()?,
        })
    }

    /// The packages that come beside the files. Refuses any other change.
    fn dependencies(&self) -> Result<Vec<&Rpms<'a>>, Failure> {
        let is_file = |rpm: &&Rpms<'a>| self.coming.iter().any(|it| it.name.as_str() == rpm.name);
        let others: Vec<_> = self.rpms.iter().filter(|rpm| !is_file(rpm)).collect();
        match others.iter().find(|rpm| rpm.action != "Install") {
            None => Ok(others),
            Some(rpm) => {
                let detail = format!(
                    "dnf would also change an installed package ({} {}), and only new packages may come with an \
                     installation",
                    rpm.action, rpm.nevra
                );
                Err(Failure::new(Cause::Plan, detail))
            }
        }
    }
}

/// The bytes that dnf 5 will download, of `Need to download 12 KiB.`
pub(super) fn announced_bytes(printed: &str) -> Option<u64> {
    let (_, rest) = printed.rsplit_once("Need to download ")?;
    let mut words = rest.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let unit = match words.next()?.trim_end_matches('.') {
        "B" => 1_u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Some(u64::MAX),
    };
    // dnf rounds to whole units.
    let whole = number.ceil() as u64;
    Some(whole.saturating_add(1).saturating_mul(unit))
}
