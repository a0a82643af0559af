//! wharfd's own package: the effects of its installation, upgrade, removal and purge on a system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wharf_tests::{
    booted::{Booted, install_wharfd},
    command::{output_of, text_of},
    container::Container,
    folder::Folder,
    made_once::made_once,
    pages::broken_links,
    services::{By, services},
    wharfd_package::{repacked, wharfd_package},
};

#[test]
fn lintian_finds_nothing() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--display-info", "--fail-on", "error,warning,info"]);
    lintian.args(["--tag-display-limit", "0"]);
    let source_and_binary = wharfd_package().with_extension("changes");
    assert_eq!(text_of(lintian.arg(source_and_binary)), "");
}

#[test]
fn a_page_links_only_to_what_is_in_the_package() {
    let package = unpacked();
    let mut pages = texts_below(&package.join("usr/share/doc/wharfd"));
    pages.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "md"));
    let (links, broken) = broken_links(pages);
    assert!(links > 20, "{links} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_that_a_unit_or_another_page_names_is_in_the_package() {
    let package = unpacked();
    let (mut named, mut missing) = (0, Vec::new());
    for (path, text) in texts_below(package.path()) {
        let manual = text.split("man:").skip(1).map(|rest| {
            let (name, rest) = rest.split_once('(').unwrap();
            let section = &rest[..1];
            format!("usr/share/man/man{section}/{name}.{section}.gz")
        });
        let documents = text.split("/usr/share/doc/wharfd/").skip(1).map(|rest| {
            let name = rest.split(char::is_whitespace).next().unwrap();
            format!("usr/share/doc/wharfd/{}", name.trim_end_matches([',', '.']))
        });
        for page in manual.chain(documents) {
            named += 1;
            if !package.join(&page).exists() {
                missing.push(format!("{}: {page}", path.display()));
            }
        }
    }
    assert!(named > 30, "{named} pages are named");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_shell_completes_what_wharfctl_can_be_asked() {
    let package = unpacked();
    let of_bash = package.join("usr/share/bash-completion/completions/wharfctl");
    let completed = |words: &str| {
        let script = format!(
            ". \"$0\"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _wharfctl wharfctl \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        text_of(Command::new("bash").arg("-c").arg(script).arg(&of_bash))
    };
    assert_eq!(completed("wharfctl uni"), "units uninstall");
    assert_eq!(completed("wharfctl keys a"), "add");
    assert_eq!(completed("wharfctl install --pass"), "--password-file");
    for (file, begin) in [
        ("zsh/vendor-completions/_wharfctl", "#compdef wharfctl\n"),
        (
            "fish/vendor_completions.d/wharfctl.fish",
            "# Print an optspec",
        ),
    ] {
        let script = fs::read_to_string(package.join("usr/share").join(file)).unwrap();
        assert!(script.starts_with(begin), "{file}: {script:.200}");
        assert!(script.contains("uninstall"), "{file} has no uninstall");
    }
}

#[test]
fn no_shipped_program_has_a_simulation_or_a_fault_point() {
    let package = unpacked();
    let mut find = Command::new("find");
    let find = find
        .arg(package.path())
        .args(["-type", "f", "-perm", "/111"]);
    let programs = text_of(find);
    assert!(programs.lines().count() >= 6, "{programs}");
    for program in programs.lines() {
        let bytes = fs::read(program).unwrap();
        for word in ["wharf-simulated", "WHARF_FAULT"] {
            let found = bytes
                .windows(word.len())
                .any(|part| part == word.as_bytes());
            assert!(!found, "{program} has {word}");
        }
    }
}

#[test]
fn the_licences_of_linked_crates_come_along() {
    let package = unpacked();
    let list = package.join("usr/share/doc/wharfd/linked-crates.gz");
    let list = text_of(Command::new("zcat").arg(list));
    let mut crates = 0;
    for line in list.lines().skip_while(|line| !line.is_empty()) {
        if line.starts_with("[1]") {
            break;
        }
        let Some((name, licence)) = line.split_once(" (") else {
            continue;
        };
        crates += 1;
        for number in licence.split(" [").skip(1) {
            let text = format!("\n[{number}\n");
            assert!(list.contains(&text), "{name}: no text [{number}");
        }
    }
    assert!(crates > 100, "{crates} crates");
    for linked in ["openssl", "rusqlite", "sequoia-openpgp", "tokio", "zbus"] {
        assert!(list.contains(&format!("\n{linked} ")), "no {linked}");
    }
}

/// The package's files, as dpkg would unpack them.
fn unpacked() -> Folder {
    let folder = Folder::new();
    let mut unpack = Command::new("dpkg-deb");
    output_of(
        unpack
            .arg("--extract")
            .arg(wharfd_package())
            .arg(folder.path()),
    );
    folder
}

/// All text files, compressed or not.
fn texts_below(folder: &Path) -> Vec<(PathBuf, String)> {
    let files = text_of(Command::new("find").arg(folder).args(["-type", "f"]));
    let texts = files.lines().filter_map(|file| {
        let bytes = output_of(Command::new("zcat").args(["--force", file]));
        Some((PathBuf::from(file), String::from_utf8(bytes).ok()?))
    });
    texts.collect()
}

/// Lists the files and users of wharfd on the system.
const TRACES: &str = "find / -xdev -name '*wharf*' \
    -not -path '/root/*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/var/log/*' \
    -not -path '/var/cache/apt/*' -not -path '/run/systemd/*' -not -path '/run/log/*' ; \
    find /run -name '*wharf*' ; grep -h wharf /etc/passwd /etc/group /etc/shadow || true";

#[test]
fn remove_keeps_state_and_purge_leaves_nothing_but_what_was_managed() {
    let gateway = Booted::registered();
    gateway.begin_install(&services("acme", "1", By::Debhelper));
    gateway.wait_for("/9/0", "4/2");
    let container = &gateway.container;
    assert!(!can_be_started(container), "{HELD} is not held");

    let newer = repacked(gateway.folder.path(), "0.1.0-2", |_| ());
    fs::copy(newer, container.path().join("root/newer.deb")).unwrap();
    container.sh("apt-get install -y /root/newer.deb </dev/null");
    assert_eq!(gateway.version("wharfd").as_deref(), Some("0.1.0-2"));
    gateway.wait_for_status("registered with coap://");
    gateway.wait_for("/9/0", "4/2");

    container.sh("apt-get remove -y wharfd </dev/null");
    container.sh("test -e /var/lib/wharfd/wharfd.db; test -d /var/lib/wharf-installer/ledger");
    container.sh("grep -q unprotected /etc/wharfd/wharfd.toml");
    assert!(
        !container
            .try_sh("test -e /run/wharf-installer.sock")
            .status
            .success()
    );
    assert!(can_be_started(container), "{HELD} is held");
    install_wharfd(container);
    gateway.wait_for("/9/0", "4/2");

    container.sh("apt-get purge -y wharfd </dev/null");
    assert_eq!(container.sh(TRACES), "");
    assert_eq!(gateway.version("acme").as_deref(), Some("1"));
    assert!(can_be_started(container), "{HELD} is held");
    assert_eq!(container.failed_units(), [""; 0]);
}

/// A unit that a link of its package starts at boot, held by wharfd until Activate.
pub(crate) const HELD: &str = "acme-linked.service";

pub(crate) fn can_be_started(container: &Container) -> bool {
    let start =
        format!("systemctl stop {HELD}; systemctl start {HELD}; systemctl is-active {HELD}");
    container.try_sh(&start).status.success()
}

#[test]
fn it_is_installed_and_purged_in_a_chroot_whose_systemd_does_not_run() {
    let root = Container::new();
    is_installed_and_purged(&root.path());
}

#[test]
fn it_is_installed_and_purged_in_a_chroot_without_systemd() {
    let root = Container::new();
    take_systemd_away(&root.path());
    is_installed_and_purged(&root.path());
}

fn is_installed_and_purged(root: &Path) {
    fs::copy(wharfd_package(), root.join("root/wharfd.deb")).unwrap();
    sh(root, "apt-get install -y /root/wharfd.deb </dev/null");
    let enabled = sh(root, "cd /etc/systemd/system; ls */wharf*");
    assert_eq!(
        enabled,
        "multi-user.target.wants/wharfd.service\nsockets.target.wants/wharf-fetch.socket\n\
         sockets.target.wants/wharf-installer.socket"
    );
    sh(root, "apt-get purge -y wharfd </dev/null");
    assert_eq!(sh(root, TRACES), "");
}

/// Packages of Debian with parts of systemd, for systems with another init.
const STANDALONE: &str = "systemd-standalone-sysusers systemd-standalone-tmpfiles";

fn take_systemd_away(root: &Path) {
    let packages = made_once("systemd-standalone", STANDALONE, |folder| {
        let download = format!("cd /tmp; apt-get -qq update; apt-get -qq download {STANDALONE}");
        sh(root, &download);
        copy_all(&root.join("tmp"), folder);
    });
    copy_all(&packages, &root.join("tmp"));
    sh(
        root,
        "dpkg --purge systemd-sysv systemd libsystemd-shared; dpkg --install /tmp/systemd-standalone-*; \
         apt-get check; ! command -v systemctl",
    );
}

fn copy_all(from: &Path, to: &Path) {
    output_of(Command::new("cp").args(["-R", "-T"]).arg(from).arg(to));
}

/// Runs a line of shell in a root that does not boot.
fn sh(root: &Path, line: &str) -> String {
    let mut command = Command::new("chroot");
    command.arg(root).args(["sh", "-ec", line]).env_clear();
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("DEBIAN_FRONTEND", "noninteractive");
    text_of(&mut command)
}
