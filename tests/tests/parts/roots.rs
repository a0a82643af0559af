use std::{fs, os::unix::fs::MetadataExt, path::Path};

use wharf_tests::{
    command::text_of,
    debian_root::DebianRoot,
    folder::Folder,
    package::{Package, Script},
    rpm_package::{RpmPackage, Scriptlet},
    rpm_root::RpmRoot,
    scratch_root::{ScratchRoot, WHARFD},
};

#[test]
fn a_debian_root_installs_and_the_next_one_is_fresh() {
    let folder = Folder::new();
    let package = Package::new("wt-hello", "1.0-1")
        .script(Script::Postinst, "echo \"$1\" > /var/lib/wt-hello")
        .build(folder.path());
    let root = DebianRoot::new();
    assert_eq!(root.installed_version("wt-hello"), None);
    fs::copy(package, root.path().join("tmp/it.deb")).unwrap();
    text_of(
        root.command("apt-get")
            .args(["install", "-y", "/tmp/it.deb"]),
    );
    assert_eq!(root.installed_version("wt-hello").as_deref(), Some("1.0-1"));
    let said = fs::read_to_string(root.path().join("var/lib/wt-hello")).unwrap();
    assert_eq!(said, "configure\n");

    assert_eq!(DebianRoot::new().installed_version("wt-hello"), None);
}

#[test]
fn a_debian_root_has_the_archives_lists() {
    let policy = text_of(
        DebianRoot::new()
            .command("apt-cache")
            .args(["policy", "nginx"]),
    );
    assert!(policy.contains("Candidate: 1."), "{policy}");
}

#[test]
fn a_root_with_dnf_installs_and_the_next_one_is_fresh() {
    let folder = Folder::new();
    let package = RpmPackage::new("wt-hello", "1:1.0-1")
        .script(Scriptlet::Post, "echo \"$1 100%\" > /var/lib/wt-hello")
        .build(folder.path());
    let root = RpmRoot::dnf4();
    fs::copy(package, root.path().join("tmp/it.rpm")).unwrap();
    let mut dnf = root.command("dnf");
    text_of(dnf.args([
        "-y",
        "--setopt=reposdir=/nonexistent",
        "install",
        "/tmp/it.rpm",
    ]));
    let version = |root: &RpmRoot| {
        let mut rpm = root.command("rpm");
        let rpm = rpm.args([
            "-qa",
            "--qf",
            "%{EPOCHNUM}:%{VERSION}-%{RELEASE}",
            "wt-hello",
        ]);
        text_of(rpm)
    };
    assert_eq!(version(&root), "1:1.0-1");
    let said = fs::read_to_string(root.path().join("var/lib/wt-hello")).unwrap();
    assert_eq!(said, "1 100%\n");

    assert_eq!(version(&RpmRoot::dnf4()), "");
}

#[test]
fn every_root_has_the_users_and_their_folders() {
    let scratch = ScratchRoot::new();
    let debian = DebianRoot::new();
    let rpm = RpmRoot::dnf4();
    for root in [scratch.path(), debian.path(), rpm.path()] {
        has_users_and_folders(&root);
    }
}

fn has_users_and_folders(root: &Path) {
    let users = fs::read_to_string(root.join("etc/passwd")).unwrap();
    for line in [
        "root:x:0:0:",
        "wharfd:x:990:990:",
        "wharf-inspect:x:991:",
        "wharf-fetch:x:992:",
    ] {
        assert!(
            users.contains(line),
            "{root:?} has no user {line}:\n{users}"
        );
    }
    for folder in ["var/lib/wharfd", "run/wharfd"] {
        let owner = fs::metadata(root.join(folder)).unwrap().uid();
        assert_eq!(owner, WHARFD.id, "the owner of {root:?} {folder}");
    }
    assert!(root.join("etc/wharfd/keys").is_dir());
    let socket = root.join("run/wharf-installer.sock");
    assert!(
        socket.as_os_str().len() < 108,
        "{socket:?} is too long for a socket"
    );
}
