//! A signed repository of Debian packages, as the only source of a root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    command::{output_of, text_of},
    keys::{GnupgKeys, Signer},
    package::Package,
};

/// The folder of the packages, below the root.
const FOLDER: &str = "srv/repository";

/// A second that no list has yet: over HTTP apt asks whether a list has changed since its second.
fn another_second() -> SystemTime {
    static PASSED: AtomicU64 = AtomicU64::new(1_700_000_000);
    UNIX_EPOCH + Duration::from_secs(PASSED.fetch_add(1, Ordering::Relaxed))
}

/// A repository in a root.
#[derive(Debug)]
pub struct Repository {
    root: PathBuf,
    keys: GnupgKeys,
}

impl Repository {
    /// An empty repository in this root, whose lists the root has.
    pub fn new(root: &Path) -> Self {
        let repository = Self {
            root: root.to_owned(),
            keys: GnupgKeys::new(),
        };
        let key = "/etc/apt/keyrings/repository.asc";
        fs::create_dir_all(repository.folder()).expect("a folder of packages");
        repository.write(key, repository.keys.certificate(Signer::Vendor));
        let _ = fs::remove_dir_all(root.join("var/lib/apt/lists"));
        let _ = fs::remove_dir_all(root.join("etc/apt/sources.list.d"));
        // With file:, apt would read the lists of the repository itself, which are never stale.
        repository.is_named_as(&format!("deb [signed-by={key}] copy:/{FOLDER} ./"));
        repository.publish();
        repository.fetch();
        repository
    }

    /// The folder of its packages and lists.
    pub fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    /// Makes this line of sources.list(5) the only one of the root.
    pub fn is_named_as(&self, line: &str) {
        self.write("/etc/apt/sources.list", format!("{line}\n"));
    }

    /// Adds a package, and publishes new lists.
    pub fn offer(&self, package: &Package) {
        package.build(&self.folder());
        self.publish();
    }

    /// Publishes lists of the packages that it has now, signed by the vendor's key.
    pub fn publish(&self) {
        self.publish_signed(Some(Signer::Vendor), "");
    }

    /// Publishes such lists with these further fields, signed by this key or by none.
    pub fn publish_signed(&self, signer: Option<Signer>, fields: &str) {
        let folder = self.folder();
        let in_folder = |program: &str| {
            let mut command = Command::new(program);
            command.current_dir(&folder);
            command
        };
        let packages = text_of(in_folder("dpkg-scanpackages").args(["--multiversion", "."]));
        fs::write(folder.join("Packages"), &packages).expect("a list of packages");
        let digest = text_of(in_folder("sha256sum").arg("Packages"));
        let digest = digest.split(' ').next().expect("a digest");
        let date = text_of(
            Command::new("date")
                .args(["--utc", "--rfc-email"])
                .env("LC_ALL", "C"),
        );
        let release = format!(
            "Origin: tests\nSuite: stable\nDate: {}\n{fields}SHA256:\n {digest} {} Packages\n",
            date.trim(),
            packages.len()
        );
        let file = folder.join("Release");
        fs::write(&file, release).expect("a release file");
        let _ = fs::remove_file(folder.join("Release.gpg"));
        if let Some(signer) = signer {
            let signature = self.keys.sign_beside(signer, &file);
            fs::rename(signature, folder.join("Release.gpg")).expect("a signature");
        }
        for list in ["Packages", "Release", "Release.gpg"] {
            if let Ok(list) = fs::File::open(folder.join(list)) {
                list.set_modified(another_second())
                    .expect("a time of change");
            }
        }
    }

    /// Fetches the lists into the root, as an administrator does.
    pub fn fetch(&self) {
        output_of(
            Command::new("chroot")
                .arg(&self.root)
                .args(["apt-get", "-q", "update"]),
        );
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    }
}
