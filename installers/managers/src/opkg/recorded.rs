//! The manager on states that opkg 0.6.3 left, for a machine that has no opkg. The tests of the service run a real one.

use std::{fs, path::Path, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use wharf_frames::{
    Cause, Failure, PackageName, PackageVersion,
    installer::SealedPackage,
    packed::{ContentDigest, FileDigest},
};
use wharf_root::{Change, Root};

use super::{Contents, Opkg};
use crate::{InstallOptions, OrderError, PackageFile, PackageManager, Times};

/// `acme` and `held` are whole, the postinst of `post` failed, and `half` has a file of `acme`.
const STATUS: &str = "Package: post\nVersion: 1\nStatus: install ok unpacked\nArchitecture: all\nInstalled-Size: 2\n\
    Installed-Time: 1796073621\n\n\
    Package: half\nVersion: 1\nStatus: install ok half-installed\nArchitecture: all\n\n\
    Package: held\nVersion: 1\nStatus: install hold installed\nArchitecture: all\nInstalled-Size: 2\n\
    Installed-Time: 1796073621\n\n\
    Package: acme\nVersion: 1\nStatus: install ok installed\nArchitecture: all\nConffiles:\n \
    /etc/acme.conf 60b725f10c9c85c70d97880dfe8191b3\nInstalled-Size: 6\nInstalled-Time: 1796073620\n\n\n";

/// `acme` after the preinst of its upgrade failed: the new version, with the files of the old one.
const FAILED_UPGRADE: &str =
    "Package: acme\nVersion: 2\nStatus: install ok half-installed\nArchitecture: all\n\n";

const LIST: &str = "/usr/lib\t040755\n/etc/acme.conf\t0100644\n\t\n/usr/lib/libacme.so.1\t0100644\n/etc\t040755\n\
    /usr/share/acme/version\t0100644\n/usr/lib/libacme.so\t0120777\tlibacme.so.1\n";

/// The files of `acme`, as its package has them.
const FILES: [(&str, &str); 3] = [
    ("etc/acme.conf", "a\n"),
    ("usr/lib/libacme.so.1", "l\n"),
    ("usr/share/acme/version", "1\n"),
];

struct Recorded {
    _folder: tempfile::TempDir,
    root: Root,
    opkg: Opkg,
}

struct Acme;

impl Contents for Acme {
    fn each_digest(
        &self,
        _: &Path,
        each: &mut dyn FnMut(FileDigest) -> Result<(), Failure>,
    ) -> Result<(), OrderError> {
        let told = FILES.iter().try_for_each(|(path, content)| {
            each(FileDigest {
                path: (*path).to_owned(),
                content: ContentDigest::File {
                    length: content.len() as u64,
                    sha256: Sha256::digest(content).into(),
                },
            })
        });
        told.map_err(OrderError::from)
    }
}

impl Recorded {
    fn new(status: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let write = |path: &str, text: &str| {
            let path = root.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/opkg/arch.conf", "arch all 1\n");
        write("var/lib/opkg/status", status);
        write("var/lib/opkg/info/acme.list", LIST);
        write("var/lib/opkg/info/acme.control", "Package: acme\n");
        for (path, content) in FILES {
            write(path, content);
        }
        let times = Times {
            lock_wait: Duration::ZERO,
            limit: Duration::ZERO,
        };
        let opkg = Opkg::open(&root, times, Arc::new(Acme)).unwrap();
        Self {
            _folder: folder,
            root,
            opkg,
        }
    }

    fn found(&self, package: &str) -> Option<String> {
        let found = self.opkg.found(&name(package)).unwrap()?;
        let damage = found.damage.map(|damage| format!(" ({damage})"));
        Some(format!("{}{}", found.version, damage.unwrap_or_default()))
    }

    fn file(&self, package: &str, version: &str) -> PackageFile {
        PackageFile {
            path: self.root.path("acme.ipk"),
            package: SealedPackage {
                name: name(package),
                version: PackageVersion::new(version).unwrap(),
                architecture: "all".into(),
                length: 1,
                signer: None,
                components: Vec::new(),
            },
        }
    }
}

fn name(package: &str) -> PackageName {
    PackageName::new(package).unwrap()
}

const PLAIN: InstallOptions = InstallOptions {
    allow_downgrade: false,
    reinstall: false,
};

#[test]
fn each_recorded_state_is_told_as_opkg_left_it() {
    let recorded = Recorded::new(STATUS);
    for (package, expected) in [
        ("acme", Some("1")),
        ("held", Some("1")),
        ("post", Some("1 (unpacked)")),
        ("half", Some("1 (half-installed)")),
        ("acm", None),
        ("a*", None),
    ] {
        assert_eq!(recorded.found(package).as_deref(), expected, "{package}");
    }
    let audit = recorded.opkg.audit().unwrap();
    assert_eq!(audit, ["post 1: unpacked", "half 1: half-installed"]);
    let failed = Recorded::new(FAILED_UPGRADE);
    assert_eq!(failed.found("acme").as_deref(), Some("2 (half-installed)"));
}

#[test]
fn recorded_lists_tell_the_paths_and_their_owners() {
    let recorded = Recorded::new(STATUS);
    let mut paths = Vec::new();
    let mut visit = |path: &Path| paths.push(path.to_owned());
    recorded.opkg.each_path(&name("acme"), &mut visit).unwrap();
    let expected = [
        "usr/lib",
        "etc/acme.conf",
        "usr/lib/libacme.so.1",
        "etc",
        "usr/share/acme/version",
        "usr/lib/libacme.so",
    ];
    assert_eq!(paths, expected.map(|path| recorded.root.path(path)));
    let asked = ["usr/lib/libacme.so", "usr/bin/acme"].map(str::to_owned);
    let owners = recorded.opkg.owners(&asked.into()).unwrap();
    let acme = ["acme".to_owned()].into();
    assert_eq!(owners, [("usr/lib/libacme.so".to_owned(), acme)].into());
}

#[test]
fn a_recorded_package_is_whole_only_with_each_of_its_files() {
    let recorded = Recorded::new(STATUS);
    let has = |version| recorded.opkg.has(&recorded.file("acme", version), PLAIN);
    assert_eq!(has("1"), Ok(true));
    assert_eq!(has("2"), Ok(false));
    fs::write(recorded.root.path("etc/acme.conf"), "changed\n").unwrap();
    assert_eq!(has("1"), Ok(true));
    fs::write(recorded.root.path("usr/lib/libacme.so.1"), "l").unwrap();
    assert_eq!(has("1"), Ok(false));
}

#[test]
fn a_recorded_package_on_hold_or_of_a_higher_version_is_not_changed() {
    let recorded = Recorded::new(STATUS);
    let quiet = crate::Supervisor {
        report: &|_| (),
        begin: &|_| panic!("nothing begins"),
        is_wanted: &|| true,
        printed: &|_, _| (),
    };
    for (package, version, cause) in [
        ("held", "2", Cause::Held),
        ("acme", "0.9", Cause::Downgrade),
    ] {
        let install = crate::Install {
            file: recorded.file(package, version),
            options: PLAIN,
        };
        let dependencies = crate::Dependencies::None;
        let refused = recorded.opkg.install(&[install], &dependencies, quiet);
        let failure = Failure::from(refused.unwrap_err());
        assert_eq!(failure.cause, cause, "{failure}");
    }
    let failure = recorded.opkg.remove(&name("held"), quiet).unwrap_err();
    assert_eq!(failure.cause, Cause::Held);
    let gone = recorded.opkg.remove(&name("acm"), quiet);
    assert_eq!(gone, Ok(Change::Unchanged));
}
