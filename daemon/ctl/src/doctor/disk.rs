//! Checks the free space for packages and for the database.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use nix::sys::statvfs::statvfs;
use wharf_bus::{CheckResult, CheckVerdict, bad, ok};

use super::policy::PolicyReport;

/// The space that the database may need soon, in bytes.
const DATABASE: u64 = 4 * 1024 * 1024;

/// Checks the disks of packages and of the database, which may be the same. The installer measures the first.
pub(super) fn disks(root: &Path, policy: Option<&PolicyReport>) -> Vec<CheckResult> {
    let staging = policy.map(|policy| disk(&policy.folder, policy.free, policy.reserve));
    let device = |folder: &Path| fs::metadata(folder).ok().map(|found| found.dev());
    let database = [root.join("var/lib/wharfd"), root.join("var/lib")];
    let database = database.iter().find(|folder| folder.is_dir());
    let another = database
        .filter(|folder| policy.is_none_or(|policy| device(&policy.folder) != device(folder)));
    staging
        .into_iter()
        .chain(another.map(|folder| of_database(folder)))
        .collect()
}

#[allow(
    clippy::useless_conversion,
    reason = "the fields have 32 bits on some machines"
)]
fn of_database(folder: &Path) -> CheckResult {
    match statvfs(folder) {
        Ok(found) => {
            let unit = u64::from(found.fragment_size());
            disk(folder, u64::from(found.blocks_available()) * unit, DATABASE)
        }
        Err(error) => {
            let why = format!(
                "cannot read the free space of {}: {error}",
                folder.display()
            );
            bad("disk", CheckVerdict::Warn, why, "run this as root")
        }
    }
}

fn disk(folder: &Path, free: u64, reserve: u64) -> CheckResult {
    let text = format!(
        "{} MB are free in {}, of which {} stay free",
        free / 1_000_000,
        folder.display(),
        reserve / 1_000_000
    );
    match free > reserve {
        true => ok("disk", text),
        false => bad(
            "disk",
            CheckVerdict::Fail,
            text,
            "make room: until then downloads fail with Update Result 50, and the database cannot be written",
        ),
    }
}
