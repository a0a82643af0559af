//! A repository of signed rpm packages, as the only repository of a root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command::output_of,
    keys::{GnupgKeys, Signer},
    rpm_package::RpmPackage,
    rpm_root::inside,
};

/// The folder of the packages, below the root.
const FOLDER: &str = "srv/repository";

/// A repository in a root.
#[derive(Debug)]
pub struct RpmRepository {
    root: PathBuf,
    keys: GnupgKeys,
}

impl RpmRepository {
    /// An empty repository in this root. rpm has its key, and dnf its lists.
    pub fn new(root: &Path) -> Self {
        let repository = Self {
            root: root.to_owned(),
            keys: GnupgKeys::new(),
        };
        fs::create_dir_all(repository.folder()).expect("a folder of packages");
        let key = "/etc/pki/rpm-gpg/repository.asc";
        repository.write(key, repository.keys.certificate(Signer::VendorRsa));
        output_of(inside(root, "rpmkeys").args(["--import", key]));
        repository.is_at(&format!("file:///{FOLDER}"));
        repository.publish();
        repository.fetch();
        repository
    }

    /// The folder of its packages and lists.
    pub fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    /// Gives the root this address. It fails at once if nobody answers there. dnf itself would check no signature.
    pub fn is_at(&self, address: &str) {
        let text = format!(
            "[tests]\nname=tests\nbaseurl={address}\nenabled=1\ngpgcheck=0\nretries=1\ntimeout=5\n"
        );
        self.write("/etc/yum.repos.d/tests.repo", text);
    }

    /// Adds a package with a signature, and publishes new lists.
    pub fn offer(&self, package: &RpmPackage) {
        self.offer_signed(package, Some(Signer::VendorRsa));
    }

    /// Adds a package signed by this key or by none, and publishes new lists.
    pub fn offer_signed(&self, package: &RpmPackage, signer: Option<Signer>) {
        let built = package.build(&self.folder());
        if let Some(signer) = signer {
            let home = self.keys.home();
            let macros = [
                ("_gpg_name", format!("{}@example.org", signer.name())),
                ("_gpg_path", home.display().to_string()),
                ("__gpg", "/usr/bin/gpg".to_owned()),
            ];
            let mut rpmsign = Command::new("rpmsign");
            rpmsign.env("HOME", &home).env("GNUPGHOME", &home);
            for (name, value) in macros {
                rpmsign.arg("--define").arg(format!("{name} {value}"));
            }
            output_of(rpmsign.arg("--addsign").arg(&built));
        }
        self.publish();
    }

    /// Publishes lists of the packages that it has now.
    pub fn publish(&self) {
        output_of(
            Command::new("createrepo_c")
                .args(["--quiet", "--no-database"])
                .arg(self.folder()),
        );
    }

    /// Fetches the lists into the root, as an administrator does.
    pub fn fetch(&self) {
        let is_dnf5 = self.root.join("usr/bin/dnf5").exists();
        let dnf = if is_dnf5 { "dnf5" } else { "dnf" };
        output_of(inside(&self.root, dnf).args(["-y", "--refresh", "makecache"]));
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        write(&self.root.join(path.trim_start_matches('/')), content);
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
    fs::write(path, content).unwrap_or_else(|error| panic!("{path:?}: {error}"));
}
