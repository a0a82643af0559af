//! A signed feed of packages for opkg, as the only feed of a root.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command::{output_of, text_of},
    keys::{GnupgKeys, Signer},
    opkg_root::OpkgRoot,
    package::Package,
};

/// The folder of the packages, below the root.
const FOLDER: &str = "srv/feed";

/// A feed in a root.
#[derive(Debug)]
pub struct OpkgFeed {
    root: PathBuf,
    keys: GnupgKeys,
}

impl OpkgFeed {
    /// An empty feed in this root, whose lists the root has. An opkg that checks no signatures trusts it.
    pub fn new(root: &OpkgRoot) -> Self {
        let feed = Self {
            root: root.path(),
            keys: GnupgKeys::new(),
        };
        fs::create_dir_all(feed.folder()).expect("a folder of packages");
        if root.checks_signatures() {
            let (home, key) = (
                feed.root.join("etc/opkg/gpg"),
                feed.root.join("tmp/key.asc"),
            );
            fs::write(&key, feed.keys.certificate(Signer::Vendor)).expect("a key");
            let mut folder = DirBuilder::new();
            folder.mode(0o700).create(&home).expect("a keyring");
            let mut gpg = Command::new("gpg");
            gpg.arg("--homedir").arg(home);
            output_of(
                gpg.args(["--batch", "--quiet", "--no-autostart", "--import"])
                    .arg(key),
            );
        }
        feed.is_configured("");
        feed.publish();
        feed.fetch(root);
        feed
    }

    /// The folder of its packages and lists.
    pub fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    /// Gives its line these words at its end. opkg checks its signature if it can.
    pub fn is_configured(&self, words: &str) {
        let root = OpkgRoot::checks(&self.root);
        let (words, option) = match root {
            true => (
                words,
                "option check_signature 1\noption signature_type gpg-asc\noption gpg_trust_level TrustAny\n",
            ),
            false => ("[trusted=yes]", ""),
        };
        let line = format!("src/gz tests file:///{FOLDER} {words}");
        self.is_configured_as(&format!("{}\n{option}", line.trim_end()));
    }

    /// Makes these lines those of the feed.
    pub fn is_configured_as(&self, lines: &str) {
        fs::write(self.root.join("etc/opkg/feed.conf"), lines).expect("a configuration");
    }

    /// Adds a package, and publishes new lists.
    pub fn offer(&self, package: &Package) {
        package.build_ipk(&self.folder());
        self.publish();
    }

    /// Publishes lists of the packages that it has now, signed by the vendor's key.
    pub fn publish(&self) {
        self.publish_signed(Some(Signer::Vendor));
    }

    /// Publishes such lists, signed by this key or by none.
    pub fn publish_signed(&self, signer: Option<Signer>) {
        let mut scan = Command::new("dpkg-scanpackages");
        scan.current_dir(self.folder());
        let packages = text_of(scan.args(["--multiversion", "--type", "ipk", "."]));
        self.publish_as(&packages.replace("\nSHA256: ", "\nSHA256sum: "), signer);
    }

    /// Publishes this list.
    pub fn publish_as(&self, packages: &str, signer: Option<Signer>) {
        let list = self.folder().join("Packages");
        fs::write(&list, format!("{packages}\n")).expect("a list of packages");
        output_of(Command::new("gzip").args(["--keep", "--force"]).arg(&list));
        let _ = fs::remove_file(list.with_extension("asc"));
        if let Some(signer) = signer {
            self.keys.sign_beside(signer, &list);
        }
    }

    /// Fetches the lists into the root, as an administrator does.
    pub fn fetch(&self, root: &OpkgRoot) {
        output_of(root.command("opkg").arg("update"));
    }

    /// The list that the feed has now.
    pub fn list(&self) -> String {
        text_of(Command::new("cat").arg(self.folder().join(Path::new("Packages"))))
    }
}
