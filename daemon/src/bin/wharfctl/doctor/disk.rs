//! Whether packages and the database find room, by what root's policy wants to stay free.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use nix::sys::statvfs::statvfs;
use serde::Deserialize;

use super::{Finding, Verdict, bad, ok};

/// What the installer leaves free: a twentieth of the disk within these bounds, and what `quota.reserve` says.
const RESERVE: std::ops::RangeInclusive<u64> = 64 * 1024 * 1024..=1024 * 1024 * 1024;

/// wharfd keeps its database there: so much it may need soon.
const DATABASE: u64 = 4 * 1024 * 1024;

/// What matters here of /etc/wharfd/installer.toml. All of it is judged by wharf-installer alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Policy {
    quota: Quota,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Quota {
    reserve: u64,
}

/// The disks on which packages and the database lie, which may be one.
pub(super) fn disks(root: &Path) -> Vec<Finding> {
    let folder = |below: &str| {
        let folder = root.join(below);
        let above = || root.join("var/lib");
        Some(folder.clone())
            .filter(|it| it.is_dir())
            .unwrap_or_else(above)
    };
    let (packages, database) = (folder("var/lib/wharf-installer"), folder("var/lib/wharfd"));
    let device = |folder: &Path| fs::metadata(folder).ok().map(|found| found.dev());
    let more = configured(root);
    let mut findings = vec![disk(&packages, &|size| reserve(size, more))];
    if device(&packages) != device(&database) {
        findings.push(disk(&database, &|_| DATABASE));
    }
    findings
}

/// A policy that cannot be used is told where the keyring is looked at.
fn configured(root: &Path) -> u64 {
    let text = fs::read_to_string(root.join("etc/wharfd/installer.toml"));
    let policy = text
        .ok()
        .and_then(|text| toml::from_str::<Policy>(&text).ok());
    policy.unwrap_or_default().quota.reserve
}

fn reserve(size: u64, configured: u64) -> u64 {
    let built_in = (size / 20).clamp(*RESERVE.start(), *RESERVE.end());
    built_in.saturating_add(configured)
}

#[allow(
    clippy::useless_conversion,
    reason = "the fields have 32 bits on some machines"
)]
fn disk(folder: &Path, reserve: &dyn Fn(u64) -> u64) -> Finding {
    let check = "disk";
    let shown = folder.display();
    let found = match statvfs(folder) {
        Ok(found) => found,
        Err(error) => {
            let why = format!("cannot look at {shown}: {error}");
            return bad(check, Verdict::Warn, why, "ask as root");
        }
    };
    let unit = u64::from(found.fragment_size());
    let free = u64::from(found.blocks_available()) * unit;
    let reserve = reserve(u64::from(found.blocks()) * unit);
    let text = format!(
        "{} MB are free in {shown}, of which {} stay free",
        free / 1_000_000,
        reserve / 1_000_000
    );
    match free > reserve {
        true => ok(check, text),
        false => bad(
            check,
            Verdict::Fail,
            text,
            "make room: downloads end 50, and nothing is stored",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn quota_reserve_stays_free_beside_the_built_in_reserve() {
        for (size, configured, stays_free) in [
            (100 * MIB, 0, 64 * MIB),
            (2000 * MIB, 0, 100 * MIB),
            (2000 * MIB, 7 * MIB, 107 * MIB),
            (100_000 * MIB, 0, 1024 * MIB),
            (100_000 * MIB, u64::MAX, u64::MAX),
        ] {
            assert_eq!(reserve(size, configured), stays_free, "{size} {configured}");
        }
    }

    #[test]
    fn quota_reserve_is_read_from_the_policy_beside_all_else() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(configured(root.path()), 0);
        fs::create_dir_all(root.path().join("etc/wharfd")).unwrap();
        for (text, expected) in [
            (
                "allow-unsigned = true\n\n[quota]\nbytes = 1\nreserve = 4096\n",
                4096,
            ),
            ("[quota]\nfiles = 3\n", 0),
            ("[quota]\nreserve = \"all\"\n", 0),
        ] {
            fs::write(root.path().join("etc/wharfd/installer.toml"), text).unwrap();
            assert_eq!(configured(root.path()), expected, "{text}");
        }
    }
}
