//! The packages as files, and the untouched system of a gateway that both twins boot from. It has the packages that the
//! table marks as present. The dependencies of the rest are in a signed repository, the only source of both.

use std::{fs, path::PathBuf, process::Command};

use wharf_tests::{
    command::text_of,
    container::base,
    debian_root::{archived, grown},
    repository::Repository,
};

use crate::debian::{ALL, Place, Real};

/// A package of a gateway beside those of the table and of every container.
const BESIDE: &str = "iproute2";

/// The folder of the packages in the untouched system, in the archive's version.
const FOLDER: &str = "root/packages";

/// Runs in the new system: nothing starts there.
const FINISH: &str = r#"
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
apt-get -qq -y --no-install-recommends install $THERE
mkdir -p /root/packages /srv/repository
cd /root/packages
apt-get -qq -o APT::Sandbox::User=root download $ALL
cd /srv/repository
for package in $NEW; do
    apt-get --simulate --no-install-recommends install $package |
        awk -v package=$package '$1 == "Inst" && $2 != package { print $2 }'
done | sort -u >/tmp/needed
[ -s /tmp/needed ]
apt-get -qq -o APT::Sandbox::User=root download $(cat /tmp/needed)
systemctl disable apt-daily.timer apt-daily-upgrade.timer
apt-get clean
rm -f /usr/sbin/policy-rc.d /tmp/needed
: >/etc/machine-id
"#;

/// The untouched system, with the packages in it.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) root: PathBuf,
}

impl Archive {
    /// A system with all packages that are present before, and the files of these packages.
    pub(crate) fn of(packages: &[&Real]) -> Self {
        let there = ALL.iter().filter(|real| real.place != Place::New);
        let there: Vec<&str> = there.map(|real| real.name).collect();
        let new = packages.iter().filter(|real| real.place == Place::New);
        let new: Vec<&str> = new.map(|real| real.name).collect();
        let all: Vec<&str> = there.iter().chain(&new).copied().collect();
        let there = format!("{BESIDE} {}", there.join(" "));
        let finished = format!("{FINISH} {there} {new:?}");
        let root = grown("packages-system", base(), &finished, |root| {
            let mut finish = Command::new("chroot");
            finish
                .arg(root)
                .args(["sh", "-ec", FINISH])
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .env("LC_ALL", "C")
                .env("THERE", there)
                .env("NEW", new.join(" "))
                .env("ALL", all.join(" "));
            text_of(&mut finish);
            Repository::new(root);
        });
        Self { root }
    }

    /// The package in the version of the untouched system.
    pub(crate) fn of_the_system(&self, real: &Real) -> PathBuf {
        let folder = self.root.join(FOLDER);
        let begin = format!("{}_", real.name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut paths = files.flatten().map(|entry| entry.path());
        let is_it = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&begin))
        };
        paths
            .find(is_it)
            .unwrap_or_else(|| panic!("no {begin}* in {folder:?}"))
    }

    /// The package to install: a newer version if the table says that an older one is present.
    pub(crate) fn to_install(&self, real: &Real) -> PathBuf {
        match real.place {
            Place::Older => archived(real.name),
            Place::New | Place::Same => self.of_the_system(real),
        }
    }
}
