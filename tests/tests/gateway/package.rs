//! wharfd's own package: what installing, upgrading, removing and purging it does to a system.

use std::{fs, process::Command};

use wharf_tests::{
    booted::{Booted, install_wharfd},
    command::text_of,
    container::Container,
    package::Package,
    wharfd_package::{repacked, wharfd_package},
};

#[test]
fn lintian_finds_nothing() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--no-tag-display-limit"]);
    assert_eq!(text_of(lintian.arg(wharfd_package())), "");
}

/// What the package's own files and users leave of themselves.
const TRACES: &str = "find / -xdev \\( -name 'wharf*' -o -name '*.wharf*' \\) \
    -not -path '/root/*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/var/log/*' \
    -not -path '/var/cache/apt/*' -not -path '/run/systemd/*' -not -path '/run/log/*' ; \
    find /run -name 'wharf*' ; grep -h wharf /etc/passwd /etc/group /etc/shadow || true";

#[test]
fn remove_keeps_state_and_purge_leaves_nothing_but_what_was_managed() {
    let gateway = Booted::registered();
    gateway.begin_install(&Package::new("hello", "1.0-1"));
    gateway.wait_for("/9/0", "4/2");
    let container = &gateway.container;

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
    install_wharfd(container);
    gateway.wait_for("/9/0", "4/2");

    container.sh("apt-get purge -y wharfd </dev/null");
    assert_eq!(container.sh(TRACES), "");
    assert_eq!(gateway.version("hello").as_deref(), Some("1.0-1"));
    assert_eq!(container.failed_units(), [""; 0]);
}

#[test]
fn it_is_installed_and_purged_in_a_chroot_without_systemd() {
    let container = Container::new();
    let root = container.path();
    fs::copy(wharfd_package(), root.join("root/wharfd.deb")).unwrap();
    let apt = |words: &str| {
        let mut command = Command::new("chroot");
        command.arg(&root).args(["sh", "-ec"]).env_clear();
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive");
        text_of(command.arg(words))
    };
    apt("apt-get install -y /root/wharfd.deb </dev/null");
    let enabled =
        apt("systemctl is-enabled wharfd.service wharf-fetch.socket wharf-installer.socket");
    assert_eq!(enabled, "enabled\nenabled\nenabled");
    apt("apt-get purge -y wharfd </dev/null");
    assert_eq!(apt(TRACES), "");
}
