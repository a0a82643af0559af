//! Units with several names, under a running systemd: a package's own units are held, those of other packages never.

use std::{fs, path::Path};

use wharf_frames::Cause;
use wharf_tests::{
    container::Container,
    debian_root::archived,
    services::{UNITS, running},
};

use crate::{
    activation::{FOREVER, service, succeeded},
    machine::{Built, Deb, Machine, Script, Signer},
};

impl Machine {
    /// Installs a package of the archive, signed by the vendor.
    pub(crate) fn install_archived(&self, package: &str) -> wharf_frames::installer::Outcome {
        let path = archived(package);
        let copy = self.packages.path().join(path.file_name().unwrap());
        fs::copy(&path, &copy).unwrap();
        let signature = fs::read(self.keys.sign_beside(Signer::Vendor, &copy)).unwrap();
        let built = Built {
            path: copy,
            signature: Some(signature),
        };
        self.install_built(&built)
    }

    /// Installs a described package by hand.
    pub(crate) fn install_by_hand(&mut self, package: &Deb) {
        let path = package.build(self.packages.path());
        self.unpack_by_hand(&path);
    }

    /// Has dpkg install a package, as an administrator or the image of the device does.
    pub(crate) fn unpack_by_hand(&mut self, file: &Path) {
        let inside = format!("/root/{}", file.file_name().unwrap().to_string_lossy());
        fs::copy(file, self.root().join(&inside[1..])).unwrap();
        self.container().sh(&format!("dpkg --install {inside}"));
    }
}

/// The drop-ins of ours that systemd has read for a unit, by any of these names.
fn drop_ins(container: &Container, units: &[&str]) -> Vec<String> {
    let read = units
        .iter()
        .map(|unit| container.unit::<String>(unit, "DropInPaths"));
    read.filter(|paths| paths.contains("00-wharfd-held.conf"))
        .collect()
}

pub(crate) fn held(container: &Container) -> String {
    container.sh("find /etc/systemd/system -name 00-wharfd-held.conf | sort")
}

/// The state of a unit after boot.
fn fate(container: &Container, unit: &str) -> [String; 4] {
    ["ActiveState", "UnitFileState", "ConditionResult", "Names"].map(|it| container.unit(unit, it))
}

/// A container may not change the kernel, so the conditions of the unit are removed. An empty condition would also
/// remove ours if it were read after it.
fn start_in_a_container(root: &Path, unit: &str) {
    let folder = root.join(format!("etc/systemd/system/{unit}.d"));
    fs::create_dir_all(&folder).unwrap();
    let text = "[Unit]\nConditionPathIsReadWrite=\n[Service]\nExecStart=\nExecStart=/bin/true\n";
    fs::write(folder.join("00-in-a-container.conf"), text).unwrap();
}

#[test]
fn procps_and_kmod_leave_the_boot_units_alone_that_their_scripts_name() {
    const BOOT: [&str; 2] = ["systemd-sysctl.service", "systemd-modules-load.service"];
    let mut machine = Machine::booted();
    for library in ["libncursesw6", "libproc2-0"] {
        machine.unpack_by_hand(&archived(library));
    }
    for unit in BOOT {
        start_in_a_container(&machine.root(), unit);
    }
    machine.reboot();
    let before = BOOT.map(|unit| fate(machine.container(), unit));
    assert_eq!(before[0][..3], ["active", "static", "yes"]);
    for package in ["procps", "kmod"] {
        succeeded(&machine.install_archived(package), false);
        let unit = format!("{package}.service");
        let units = [unit.as_str(), BOOT[0], BOOT[1]];
        assert_eq!(drop_ins(machine.container(), &units), [""; 0], "{package}");
        assert_eq!(held(machine.container()), "", "{package}");
    }
    assert_eq!(BOOT.map(|unit| fate(machine.container(), unit)), before);
    machine.reboot();
    assert_eq!(BOOT.map(|unit| fate(machine.container(), unit)), before);
    succeeded(&machine.activate("procps"), true);
    let refused = machine.deactivate("procps").failure;
    let words = "[\"procps.service\"] is never stopped by wharfd, since the device needs it";
    assert_words(refused, words);
    assert_eq!(machine.remove("procps").failure, None);
    assert_eq!(BOOT.map(|unit| fate(machine.container(), unit)), before);
    a_boot_unit_that_systemd_skips_is_active(&mut machine);
}

fn a_boot_unit_that_systemd_skips_is_active(machine: &mut Machine) {
    let drop_in = "etc/systemd/system/systemd-modules-load.service.d/00-in-a-container.conf";
    let text = "[Unit]\nConditionPathIsReadWrite=\nConditionPathExists=/opt/modules\n";
    fs::write(machine.root().join(drop_in), text).unwrap();
    let skip = "systemctl daemon-reload; systemctl restart systemd-modules-load";
    machine.container().sh(skip);
    succeeded(&machine.activate("kmod"), true);
    let skipped = "systemd skipped kmod.service (ConditionPathExists=/opt/modules is not met)";
    assert_eq!(machine.skipped("kmod"), skipped);
    let refused = machine.deactivate("kmod").failure;
    let words = "[\"kmod.service\"] is never stopped by wharfd, since the device needs it, and it runs, or is skipped";
    assert_words(refused, words);
    assert!(machine.is_active("kmod"));
    let by_hand = "mkdir --parents /opt/modules; systemctl start systemd-modules-load";
    machine.container().sh(by_hand);
    assert_eq!(machine.skipped("kmod"), "");
    assert!(machine.is_active("kmod"));
}

fn assert_words(failure: Option<wharf_frames::Failure>, words: &str) {
    let failure = failure.expect("it is not ours");
    assert_eq!(failure.cause, Cause::Unit);
    assert!(failure.detail.as_str().contains(words), "{failure}");
}

const ONCE: &str = "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true";

/// A script of SysV init that does nothing.
fn script(provides: &str) -> String {
    format!("#!/bin/sh\n### BEGIN INIT INFO\n# Provides: {provides}\n### END INIT INFO\nexit 0\n")
}

fn unit(exec: &str, install: &str) -> String {
    format!("[Service]\n{exec}\n[Install]\nWantedBy=multi-user.target\n{install}\n")
}

/// A package of the device's own image. Its units start at boot, and have another name.
fn board() -> Deb {
    let named = |name: &str| format!("{UNITS}/{name}.service");
    let wants = |name: &str| format!("{UNITS}/multi-user.target.wants/{name}.service");
    Deb::new("board", "1")
        .file(&named("board-net"), format!("[Service]\n{ONCE}\n"))
        .file(&named("board-bus"), format!("[Service]\n{ONCE}\n"))
        .file(&named("board-enabled"), unit(ONCE, ""))
        .file(&named("acme-port@board"), format!("[Service]\n{ONCE}\n"))
        .link(&named("board-alias"), "board-net.service")
        .link(&wants("board-net"), "../board-net.service")
        .link(&wants("board-bus"), "../board-bus.service")
        .link(&wants("acme-port@board"), "../acme-port@board.service")
}

const OF_THE_BOARD: [&str; 3] = [
    "board-net.service",
    "board-bus.service",
    "acme-port@board.service",
];

/// A package that names the board's units, and protected ones, in every possible form.
fn intruder(version: &str) -> Deb {
    let named = |name: &str| format!("{UNITS}/{name}.service");
    let started = [
        "acme",
        "acme-alias",
        "acme-console",
        "acme-sysctl",
        "board-alias",
    ];
    let start = format!(
        "systemctl daemon-reload\nsystemctl enable --quiet acme acme-also\nsystemctl start {}",
        started.join(" ")
    );
    service("acme", version, FOREVER)
        .script(Script::Postinst, &start)
        // Another package's unit, by a link of that package.
        .file("/etc/init.d/board-alias", script("board-alias"))
        // Another package's unit, and one that the device needs, by a link of this one.
        .link(&named("acme-alias"), "board-net.service")
        .file("/etc/init.d/acme-alias", script("acme-alias"))
        .link(
            &named("acme-sysctl"),
            "/lib/systemd/system/systemd-sysctl.service",
        )
        .file("/etc/init.d/acme-sysctl", script("acme-sysctl"))
        // Units of its own that have a protected name as well.
        .file(
            &named("acme-console"),
            unit(ONCE, "Alias=console-getty.service"),
        )
        .file("/etc/init.d/acme-gate", script("acme-gate networking"))
        // Disabled with it, another package's unit would no longer start.
        .file(
            &named("acme-also"),
            unit(ONCE, "Also=board-enabled.service"),
        )
        // systemd would apply its drop-ins to all units with this prefix.
        .file(&named("board-"), format!("[Service]\n{ONCE}\n"))
        // One of its instances is another package's file.
        .file(&named("acme-port@"), unit(FOREVER, ""))
}

#[test]
fn a_unit_of_another_package_is_never_held_by_whatever_name() {
    let mut machine = Machine::booted();
    let packages = machine.packages.path().to_owned();
    machine.unpack_by_hand(&board().build(&packages));
    machine
        .container()
        .sh("systemctl enable --quiet board-enabled");
    start_in_a_container(&machine.root(), "systemd-sysctl.service");
    machine.reboot();
    for version in ["1", "2"] {
        succeeded(&machine.install(&intruder(version)), false);
        nothing_of_others_is_touched(&mut machine, [].as_slice());
        machine.reboot();
        nothing_of_others_is_touched(&mut machine, [].as_slice());
        succeeded(&machine.activate("acme"), true);
        nothing_of_others_is_touched(&mut machine, &[".service"]);
        succeeded(&machine.deactivate("acme"), false);
        nothing_of_others_is_touched(&mut machine, [].as_slice());
    }
    let journal = machine
        .container()
        .sh("journalctl --sync; journalctl WHARF_PACKAGE=acme --output cat");
    for told in [
        "since the device needs it: [\"acme-console.service\", \"acme-gate.service\", \"acme-sysctl.service\"]",
        "since its file is another package's: [\"acme-alias.service\", \"acme-port@.service\", \"board-alias.service\"]",
        "since other packages' units are enabled and disabled with it (Also=): [\"acme-also.service\"]",
        "since systemd applies its drop-ins to other units: [\"board-.service\"]",
    ] {
        assert!(journal.contains(told), "{told}: {journal}");
    }
    assert_eq!(machine.remove("acme").failure, None);
    nothing_of_others_is_touched(&mut machine, [].as_slice());
    assert_eq!(machine.container().failed_units(), [""; 0]);
}

#[track_caller]
fn nothing_of_others_is_touched(machine: &mut Machine, running_of_acme: &[&str]) {
    let container = machine.container();
    for unit in OF_THE_BOARD {
        assert_eq!(
            fate(container, unit)[..3],
            ["active", "static", "yes"],
            "{unit}"
        );
    }
    let enabled = fate(container, "board-enabled.service");
    assert_eq!(enabled[..3], ["active", "enabled", "yes"]);
    let sysctl = fate(container, "systemd-sysctl.service");
    assert_eq!(sysctl[..3], ["active", "static", "yes"]);
    let units = [&OF_THE_BOARD[..], &["systemd-sysctl.service"]].concat();
    assert_eq!(drop_ins(container, &units), [""; 0]);
    let acme = running(container, "acme");
    let of_acme = |end: &&str| acme.iter().any(|it| it == end);
    assert_eq!(
        of_acme(&".service"),
        !running_of_acme.is_empty(),
        "{acme:?}"
    );
}

/// Leaves the drop-ins and records of release 0.1, which took the unit of procps for the package's own.
fn leave_as_release_0_1(machine: &mut Machine, units: &[&str]) {
    let root = machine.root();
    let text = "# wharfd: procps is installed and not yet activated (`wharfd` removes this file).\n\
                [Unit]\nConditionPathExists=!/var/lib/wharf-installer/held/procps\n";
    for unit in units {
        let folder = root.join(format!("etc/systemd/system/{unit}.d"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("00-wharfd-held.conf"), text).unwrap();
    }
    let state = root.join("var/lib/wharf-installer");
    for folder in ["held", "units"] {
        fs::create_dir_all(state.join(folder)).unwrap();
    }
    fs::write(state.join("held/procps"), "").unwrap();
    fs::write(state.join("units/procps"), record(units)).unwrap();
    machine.container().sh("systemctl daemon-reload");
}

/// In CBOR: all of them are units of the package, and wanted.
fn record(units: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0xa6, 0x00, 0x01];
    for field in [0x01, 0x02] {
        bytes.extend([field, 0x80 | u8::try_from(units.len()).unwrap()]);
        for unit in units {
            bytes.extend([0x78, u8::try_from(unit.len()).unwrap()]);
            bytes.extend(unit.bytes());
        }
    }
    bytes.extend([0x03, 0xf4, 0x04, 0xf6, 0x05, 0x80]);
    bytes
}

#[test]
fn what_an_older_release_left_on_a_unit_of_another_package_is_taken_away() {
    let mut machine = Machine::booted();
    start_in_a_container(&machine.root(), "systemd-sysctl.service");
    machine.reboot();
    let before = fate(machine.container(), "systemd-sysctl.service");

    // Each job looks for it, also a job of another package.
    succeeded(&machine.install(&Deb::new("library", "1")), false);
    let packages = machine.packages.path().to_owned();
    let script_alone = Deb::new("procps", "1").file("/etc/init.d/procps", script("procps"));
    machine.unpack_by_hand(&script_alone.build(&packages));
    leave_as_release_0_1(&mut machine, &["procps.service"]);
    machine.reboot();
    let down = fate(machine.container(), "systemd-sysctl.service");
    assert_eq!(down[..3], ["inactive", "static", "no"]);
    succeeded(&machine.activate("library"), true);
    assert_eq!(held(machine.container()), "");
    let flag = machine.root().join("var/lib/wharf-installer/held/procps");
    assert!(!flag.exists(), "nothing of it is held");
    assert!(!machine.is_active("procps"), "it was never activated");
    machine.reboot();
    assert_eq!(fate(machine.container(), "systemd-sysctl.service"), before);
    let journal = machine
        .container()
        .sh("journalctl --sync; journalctl WHARF_PACKAGE=procps --output cat");
    let told = "procps: no longer held back, since the device needs it: [\"procps.service\"]";
    assert!(journal.contains(told), "{journal}");

    // An installation of the package itself does so, too. Its own units stay held.
    leave_as_release_0_1(&mut machine, &["procps.service", "own.service"]);
    let own = format!("[Service]\n{FOREVER}\n[Install]\nAlso=own.timer\n");
    let with_own = Deb::new("procps", "2")
        .file("/etc/init.d/procps", script("procps"))
        .file(&format!("{UNITS}/own.service"), own)
        .file(&format!("{UNITS}/own.timer"), "[Timer]\nOnBootSec=1d\n")
        .link(
            &format!("{UNITS}/multi-user.target.wants/own.service"),
            "../own.service",
        );
    machine.unpack_by_hand(&with_own.build(&packages));
    machine.container().sh("/usr/libexec/wharfd/wharf-job tidy");
    let own = "/etc/systemd/system/own.service.d/00-wharfd-held.conf";
    assert_eq!(held(machine.container()), own);
    assert!(flag.exists(), "its own unit is held");
    machine.reboot();
    assert_eq!(fate(machine.container(), "systemd-sysctl.service"), before);
    assert_eq!(machine.running("own"), [""; 0]);
}

#[test]
fn a_script_whose_unit_is_masked_by_the_distribution_is_no_unit() {
    let mut machine = Machine::booted();
    // systemd brings `rc.service` as a mask.
    let deb = Deb::new("clock", "1")
        .file("/etc/init.d/rc.sh", script("rc"))
        .link(&format!("{UNITS}/old.service"), "/dev/null")
        .file("/etc/init.d/old", script("old"));
    succeeded(&machine.install(&deb), false);
    assert_eq!(held(machine.container()), "");
    succeeded(&machine.activate("clock"), true);
    succeeded(&machine.deactivate("clock"), false);
}

/// Starts with another unit, even when it is disabled.
pub(crate) fn pulled(package: &str, version: &str, exec: &str) -> Deb {
    let wants = format!("{UNITS}/multi-user.target.wants/{package}.service");
    service(package, version, exec).link(&wants, &format!("../{package}.service"))
}

#[test]
fn what_a_removed_package_left_does_not_make_its_successors_unit_another_packages() {
    let mut machine = Machine::booted();
    let levels = "acme\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6";
    let old = Deb::new("acme-old", "1").conffile("/etc/init.d/acme", &script(levels));
    succeeded(&machine.install(&old), false);
    assert_eq!(machine.remove("acme-old").failure, None);
    let left = machine.container().sh("dpkg-query -S /etc/init.d/acme");
    assert_eq!(left, "acme-old: /etc/init.d/acme");

    succeeded(&machine.install(&pulled("acme", "1", FOREVER)), false);
    assert_eq!(machine.running("acme"), [""; 0]);
    let drop_in = "/etc/systemd/system/acme.service.d/00-wharfd-held.conf";
    assert_eq!(held(machine.container()), drop_in);
    machine.container().sh("/usr/libexec/wharfd/wharf-job tidy");
    assert_eq!(held(machine.container()), drop_in);
    machine.reboot();
    assert_eq!(machine.running("acme"), [""; 0]);
    succeeded(&machine.activate("acme"), true);
    assert_eq!(machine.running("acme"), [".service"]);
    succeeded(&machine.deactivate("acme"), false);
    assert_eq!(machine.running("acme"), [""; 0]);
}

#[test]
fn a_unit_that_a_package_takes_over_is_stopped_after_its_installation() {
    let mut machine = Machine::booted();
    let packages = machine.packages.path().to_owned();
    let unit = unit(FOREVER, "");
    let before = Deb::new("board", "1").file(&format!("{UNITS}/acme.service"), unit);
    machine.unpack_by_hand(&before.build(&packages));
    let heir = service("acme", "1", FOREVER).field("Replaces", "board");
    succeeded(&machine.install(&heir), false);
    assert_eq!(machine.running("acme"), [""; 0]);
    assert!(!machine.is_active("acme"));
    machine.reboot();
    assert_eq!(machine.running("acme"), [""; 0]);
    succeeded(&machine.activate("acme"), true);
    assert_eq!(machine.running("acme"), [".service"]);
}

#[test]
fn a_unit_is_held_although_its_also_names_a_mount_of_its_own_or_nothing_that_is_there() {
    let mut machine = Machine::booted();
    let mount = "[Mount]\nWhat=tmpfs\nWhere=/acme/data\nType=tmpfs\n[Install]\nWantedBy=multi-user.target\n";
    let deb = service("acme", "1", FOREVER)
        .file(
            &format!("{UNITS}/acme.service"),
            unit(FOREVER, "Also=acme-data.mount acme-extra.socket"),
        )
        .file(&format!("{UNITS}/acme-data.mount"), mount);
    let enabled = |machine: &mut Machine| {
        ["acme.service", "acme-data.mount"]
            .map(|unit| machine.container().unit::<String>(unit, "UnitFileState"))
    };
    succeeded(&machine.install(&deb), false);
    assert_eq!(machine.running("acme"), [""; 0]);
    assert_eq!(enabled(&mut machine), ["disabled", "disabled"]);
    machine.reboot();
    assert_eq!(machine.running("acme"), [""; 0]);
    succeeded(&machine.activate("acme"), true);
    assert_eq!(machine.running("acme"), [".service"]);
    assert_eq!(enabled(&mut machine), ["enabled", "enabled"]);
    succeeded(&machine.deactivate("acme"), false);
    assert_eq!(machine.running("acme"), [""; 0]);
    assert_eq!(enabled(&mut machine), ["disabled", "disabled"]);
}
