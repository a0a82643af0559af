//! Checks whether the machine id, and with it the endpoint name, was copied with a system image.

use std::{fs, path::Path, time::Duration};

use wharf_bus::{CheckResult, CheckVerdict, bad, ok};

use crate::endpoint;

/// A copied image makes new SSH host keys at its first boot, so its machine id is older than they are. None if the
/// endpoint name is not made from the id.
pub(super) fn machine_id(root: &Path, endpoint: &str) -> Option<CheckResult> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let check = "machine id";
    let made = |path: &str| fs::metadata(root.join(path)).and_then(|file| file.modified());
    let own = endpoint::from_machine_id(root).ok();
    own.filter(|own| own == endpoint)?;
    let id = made("etc/machine-id").ok()?;
    let host_key = made("etc/ssh/ssh_host_ed25519_key").ok();
    let later = host_key.and_then(|key| key.duration_since(id).ok());
    Some(match later.filter(|later| *later > DAY) {
        None => ok(check, "no sign that it was copied with an image"),
        Some(later) => bad(
            check,
            CheckVerdict::Warn,
            format!(
                "is {} days older than the SSH host key: was this system copied from an image?",
                later.as_secs() / DAY.as_secs()
            ),
            "two gateways with one endpoint name replace each other's registration: rm /etc/machine-id, \
             systemd-machine-id-setup, restart; or write endpoint = \"…\"",
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::SystemTime};

    use super::*;

    fn made(root: &Path, path: &str, text: &str, days_ago: u64) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let then = SystemTime::now() - Duration::from_secs(days_ago * 24 * 60 * 60);
        File::open(&path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn an_id_that_is_older_than_the_host_key_looks_copied() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        made(
            root,
            "etc/machine-id",
            "0123456789abcdef0123456789abcdef\n",
            40,
        );
        let endpoint = endpoint::from_machine_id(root).unwrap();
        let verdict = || machine_id(root, &endpoint).map(|found| (found.verdict, found.found));
        let fine = "no sign that it was copied with an image".to_owned();
        assert_eq!(
            verdict(),
            Some((CheckVerdict::Ok, fine.clone())),
            "no host key"
        );
        for days_ago in [60, 40] {
            made(root, "etc/ssh/ssh_host_ed25519_key", "", days_ago);
            assert_eq!(
                verdict(),
                Some((CheckVerdict::Ok, fine.clone())),
                "{days_ago}"
            );
        }
        made(root, "etc/ssh/ssh_host_ed25519_key", "", 10);
        let copied =
            "is 30 days older than the SSH host key: was this system copied from an image?";
        assert_eq!(verdict(), Some((CheckVerdict::Warn, copied.to_owned())));
        assert!(machine_id(root, "gateway-17").is_none());
    }
}
