//! wharfd's own package for opkg. Debian has no opkg: its scripts run by hand on a booted system, as opkg runs them.

use std::{fs, process::Command};

use wharf_tests::{
    booted::Booted,
    command::{output_of, text_of},
    container::Container,
    folder::Folder,
    opkg_root::OpkgRoot,
    programs::workspace,
    wharfd_package::{rebuilt_ipk, wharfd_ipk},
};

use crate::rpm::{UNITS, failed_units};

const INSTALL: &str =
    "./preinst install; tar -C / --exclude=./etc -xf data.tar; ./postinst configure";

/// Until the new files are unpacked, and the rest.
const UPGRADE: [&str; 2] = [
    "./prerm upgrade 2; ./preinst upgrade 1",
    "tar -C / --exclude=./etc -xf data.tar; ./postrm upgrade 2; ./postinst configure",
];

const REMOVE: &str = "./prerm remove; tar -tf data.tar | grep -v -e '/$' -e '^./etc/' | (cd / && xargs rm -f); \
                      ./postrm remove";

/// On a system from which another package of wharfd was removed, with acme in its instance 0.
pub(crate) fn its_scripts_stop_nothing_on_an_upgrade_and_keep_state(gateway: &Booted) {
    let container = &gateway.container;
    let run = |commands: &str| container.sh(&format!("cd /root/ipk; {commands} 2>&1"));
    unpack_into(container);

    run(INSTALL);
    let each = |verb: &str| UNITS.map(|unit| container.try_sh(&format!("systemctl {verb} {unit}")));
    assert!(each("is-enabled").iter().all(|told| told.status.success()));
    assert!(!each("is-active").iter().any(|told| told.status.success()));
    container.sh("systemctl start wharfd; systemctl disable --quiet wharf-fetch.socket");
    gateway.wait_for("/9/0", "4/2");

    let runs = || container.unit::<u32>("wharfd", "MainPID");
    let before = runs();
    run(UPGRADE[0]);
    assert_eq!(runs(), before);
    assert!(each("is-active").iter().all(|told| told.status.success()));
    run(UPGRADE[1]);
    assert_ne!(runs(), before);
    assert!(each("is-active").iter().all(|told| told.status.success()));
    let enabled = each("is-enabled").map(|told| told.status.success());
    assert_eq!(enabled, [false, true, true], "{UNITS:?}");
    gateway.wait_for("/9/0", "4/2");

    container.sh("systemctl stop wharfd");
    UPGRADE.iter().for_each(|commands| drop(run(commands)));
    assert_eq!(runs(), 0);

    container.sh("systemctl start wharfd");
    let held = "/etc/systemd/system/acme.service.d/00-wharfd-held.conf";
    container.sh(&format!("mkdir -p $(dirname {held}); touch {held}"));
    run(REMOVE);
    container.sh(&format!("test ! -e $(dirname {held})"));
    container.sh("test -e /var/lib/wharfd/wharfd.db; getent passwd wharfd");
    assert_eq!(container.sh("ls /run/*wharf*.sock 2>/dev/null || true"), "");
    assert_eq!(
        container.sh("ls /etc/systemd/system/*/*wharf* 2>/dev/null || true"),
        ""
    );
    assert_eq!(failed_units(container), [""; 0]);
}

fn unpack_into(container: &Container) {
    let folder = Folder::new();
    let parts = folder.make("ipk");
    let mut unpack = Command::new("ar");
    output_of(unpack.arg("x").arg(wharfd_ipk()).current_dir(&parts));
    output_of(
        Command::new("tar")
            .args(["-xf", "control.tar.gz"])
            .current_dir(&parts),
    );
    output_of(
        Command::new("xz")
            .args(["-d", "data.tar.xz"])
            .current_dir(&parts),
    );
    output_of(
        Command::new("cp")
            .arg("-R")
            .arg(parts)
            .arg(container.path().join("root")),
    );
}

#[test]
fn an_ipk_of_wharfd_is_installed_upgraded_and_removed_by_opkg() {
    let Some(root) = OpkgRoot::new() else {
        return; // and has said so
    };
    let folder = Folder::new();
    let newer = rebuilt_ipk(folder.path(), "0.1.0-2");
    let path = |path: &str| root.path().join(path);
    let opkg = |arguments: &[&str]| {
        // The libraries are in no package there.
        let mut opkg = root.command("opkg");
        text_of(opkg.arg("--force-depends").args(arguments))
    };
    fs::copy(wharfd_ipk(), path("tmp/shipped.ipk")).expect("a copy");
    fs::copy(newer, path("tmp/newer.ipk")).expect("a copy");

    opkg(&["install", "/tmp/shipped.ipk"]);
    fs::write(path("etc/wharfd/wharfd.toml"), "# changed").expect("wharfd.toml");
    fs::create_dir_all(path("var/lib/wharfd/state")).expect("a folder");
    opkg(&["install", "/tmp/newer.ipk"]);
    assert!(opkg(&["list-installed"]).contains("wharfd - 0.1.0-2"));
    assert!(!path("run/wharfd.upgrade").exists());
    opkg(&["remove", "wharfd"]);
    assert!(!path("usr/libexec/wharfd").exists());
    assert!(path("var/lib/wharfd/state").exists());
    let kept = fs::read_to_string(path("etc/wharfd/wharfd.toml"));
    assert_eq!(kept.expect("wharfd.toml"), "# changed");
}

#[test]
fn all_held_units_are_released_by_an_rmdir_without_long_options() {
    let folder = Folder::new();
    let units = folder.make("etc/systemd/system");
    for unit in ["acme.service.d", "other.service.d", "third.socket.d"] {
        folder.make(format!("etc/systemd/system/{unit}"));
        fs::write(units.join(unit).join("00-wharfd-held.conf"), "").expect("a mark");
    }
    let own = units.join("acme.service.d/own.conf");
    fs::write(&own, "").expect("a file of the administrator");
    let script = fs::read_to_string(workspace().join("packaging/release-units")).expect("a script");
    let busybox = r#"rmdir() { case $1 in -*) return 1 ;; esac; command rmdir "$@"; }"#;
    let mut script = format!("set -e\n{busybox}\n{script}");
    for place in ["etc", "var", "run"] {
        let below = format!(" {}/{place}/", folder.path().display());
        script = script.replace(&format!(" /{place}/"), &below);
    }
    output_of(Command::new("sh").args(["-c", &script]));
    assert!(own.exists());
    let left: Vec<_> = fs::read_dir(&units).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(!units.join("acme.service.d/00-wharfd-held.conf").exists());
}

#[test]
fn a_mark_that_an_upgrade_left_makes_no_upgrade_of_an_installation() {
    let folder = Folder::new();
    let mark = folder.make("run").join("wharfd.upgrade");
    for (called, is_upgrade) in [("upgrade", true), ("install", false), ("upgrade", true)] {
        let mut preinst = Command::new("sh");
        let script = workspace().join("packaging/ipk/preinst");
        output_of(preinst.arg(script).arg(called).env("D", folder.path()));
        assert_eq!(mark.exists(), is_upgrade, "{called}");
    }
}
