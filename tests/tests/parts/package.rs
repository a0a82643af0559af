use std::{fs, process::Command};

use wharf_tests::{
    command::text_of,
    folder::Folder,
    package::{Package, Script},
    rpm_package::{RpmPackage, Scriptlet},
};

fn described() -> Package {
    Package::new("wt-described", "2:1.5~rc1-3")
        .architecture("amd64")
        .depends("libc6 (>= 2.30)")
        .conffile("/etc/wt-described.conf", "key = 1\n")
        .script(Script::Prerm, "true")
        .padding(10_000)
}

#[test]
fn the_same_description_gives_the_same_bytes() {
    let (one, other) = (Folder::new(), Folder::new());
    let one = fs::read(described().build(one.path())).unwrap();
    let other = fs::read(described().build(other.path())).unwrap();
    assert!(
        one == other,
        "{} and {} bytes differ",
        one.len(),
        other.len()
    );
}

#[test]
fn a_package_says_what_was_described() {
    let folder = Folder::new();
    let package = described().build(folder.path());
    let format = "${Package} ${Version} ${Architecture} ${Depends}";
    let said = text_of(
        Command::new("dpkg-deb")
            .arg("-W")
            .arg("--showformat")
            .arg(format)
            .arg(&package),
    );
    assert_eq!(said, "wt-described 2:1.5~rc1-3 amd64 libc6 (>= 2.30)");
    let files = text_of(Command::new("dpkg-deb").arg("-c").arg(&package));
    assert!(
        files.contains("-rw-r--r-- root/root         8 2025-01-01"),
        "{files}"
    );
    let control = text_of(Command::new("dpkg-deb").arg("-I").arg(&package));
    assert!(
        control.contains("prerm") && control.contains("conffiles"),
        "{control}"
    );
}

#[test]
fn debhelper_gives_a_package_the_scripts_for_its_units() {
    let unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    let folder = Folder::new();
    let package = Package::new("wt-served", "1")
        .file("/lib/systemd/system/wt-served.service", unit)
        .debhelper()
        .build(folder.path());
    for (script, words) in [
        ("postinst", "deb-systemd-helper enable 'wt-served.service'"),
        ("prerm", "deb-systemd-invoke stop 'wt-served.service'"),
        ("postrm", "deb-systemd-helper purge 'wt-served.service'"),
    ] {
        let said = text_of(Command::new("dpkg-deb").arg("-I").arg(&package).arg(script));
        assert!(said.contains(words), "{script}: {said}");
    }
}

#[test]
fn padding_makes_a_package_about_as_large() {
    let folder = Folder::new();
    let package = Package::new("wt-large", "1")
        .padding(200_000)
        .build(folder.path());
    let size = fs::metadata(package).unwrap().len();
    assert!((200_000..206_000).contains(&size), "{size} bytes");
}

#[test]
fn an_rpm_says_what_was_described_in_the_same_bytes() {
    let described = RpmPackage::new("wt-described", "2:1.5~rc1-3")
        .architecture("x86_64")
        .tag("Requires", "libfoo >= 2.30")
        .config("/etc/wt-described.conf", "key = 1\n")
        .link("/usr/share/wt-described/latest", "version")
        .folder("/var/lib/wt-described")
        .script(Scriptlet::Preun, "echo \"100%\"");
    let (one, other) = (Folder::new(), Folder::new());
    let built = described.build(one.path());
    let again = described.build(other.path());
    assert!(fs::read(&built).unwrap() == fs::read(again).unwrap());
    let ask = |arguments: &[&str]| {
        let mut rpm = Command::new("rpm");
        text_of(
            rpm.env("HOME", one.path())
                .arg("-qp")
                .args(arguments)
                .arg(&built),
        )
    };
    let said = ask(&[
        "--qf",
        "%{NAME} %{EPOCH}:%{VERSION}-%{RELEASE} %{ARCH} %{REQUIRENAME}",
    ]);
    assert_eq!(said, "wt-described 2:1.5~rc1-3 x86_64 /bin/sh");
    assert_eq!(ask(&["-c"]), "/etc/wt-described.conf");
    assert!(ask(&["--scripts"]).ends_with("set -e\necho \"100%\""));
    let files = ask(&["-l"]);
    for path in [
        "/usr/share/wt-described/version",
        "/usr/share/wt-described/latest",
        "/var/lib/wt-described",
    ] {
        assert!(files.lines().any(|line| line == path), "{files}");
    }
}
