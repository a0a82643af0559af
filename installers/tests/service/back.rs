//! The way back: the file of the version in place is kept, and a job that fails after it began goes back to it.

use std::{fs, os::unix::fs::MetadataExt};

use wharf_frames::{
    Cause, Step,
    installer::{InstallerReply, InstallerRequest},
};

use crate::machine::{Deb, Machine, Script, name, perform};

/// The kept files of a package: their names, but for the record.
fn kept(machine: &Machine, package: &str) -> Vec<String> {
    let folder = machine
        .root()
        .join("var/lib/wharf-installer/back")
        .join(package);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name != "record").collect()
}

/// What `fail-postinst` of the simulated package manager must say to fail this version alone.
fn fail(machine: &Machine, version: &str) {
    fs::write(machine.tell("fail-postinst"), version).unwrap();
}

#[test]
fn the_file_of_the_version_in_place_and_of_the_one_before_are_kept_without_a_copy() {
    let machine = Machine::simulated().started();
    let mut inodes = Vec::new();
    for version in ["1", "2", "3"] {
        let (stage, _) = machine.sealed(&Deb::new("acme", version));
        let staged = machine
            .root()
            .join("var/lib/wharf-installer/staged")
            .join(stage.to_string());
        inodes.push(fs::metadata(staged).unwrap().ino());
        let outcome = machine.run(&perform(machine.operation(), Step::Install(stage)));
        assert_eq!(outcome.failure, None);
        let discard = InstallerRequest::Discard { stage };
        assert_eq!(machine.ask(&discard), InstallerReply::Done);
    }
    let folder = machine.root().join("var/lib/wharf-installer/back/acme");
    let of = |name: &String| fs::metadata(folder.join(name)).unwrap().ino();
    let mut left: Vec<u64> = kept(&machine, "acme").iter().map(of).collect();
    left.sort_unstable();
    inodes.remove(0);
    inodes.sort_unstable();
    assert_eq!(left, inodes, "those of 2 and 3, and not that of 1");
    assert_eq!(machine.remove("acme").failure, None);
    assert_eq!(kept(&machine, "acme"), [""; 0]);
}

#[test]
fn the_oldest_kept_files_go_first_where_all_of_them_do_not_fit() {
    let machine = Machine::simulated();
    let deb = |package: &str, version: &str| {
        Deb::new(package, version).file("/usr/share/x", "x".repeat(40_000))
    };
    machine.policy("back.bytes = 140000\n");
    let machine = machine.started();
    for (package, version) in [("acme", "1"), ("acme", "2"), ("lamp", "1"), ("lamp", "2")] {
        assert_eq!(machine.install(&deb(package, version)).failure, None);
    }
    let counts = ["acme", "lamp"].map(|package| kept(&machine, package).len());
    assert_eq!(
        counts,
        [1, 2],
        "the version before the one in place of the older package"
    );
    assert_eq!(machine.install(&deb("bulb", "1")).failure, None);
    let counts = ["acme", "lamp", "bulb"].map(|package| kept(&machine, package).len());
    assert_eq!(counts, [1, 1, 1]);
    assert_eq!(machine.install(&deb("bulb", "2")).failure, None);
    let counts = ["acme", "lamp", "bulb"].map(|package| kept(&machine, package).len());
    assert_eq!(counts, [0, 1, 2]);
}

#[test]
fn an_upgrade_that_fails_goes_back_to_the_version_before_and_says_so() {
    let machine = Machine::simulated().started();
    machine.install(&Deb::new("acme", "1"));
    let activate = perform(machine.operation(), Step::Activate(name("acme")));
    assert_eq!(machine.run(&activate).failure, None);
    fail(&machine, "acme 2");
    let outcome = machine.install(&Deb::new("acme", "2"));
    let failure = outcome.failure.expect("its postinst fails");
    assert_eq!(failure.cause, Cause::Script);
    assert_eq!(
        failure.detail.as_str(),
        "it was sent back: simulated: fail-postinst"
    );
    let found = outcome.device.expect("the version before");
    assert_eq!((found.to_string().as_str(), found.active), ("acme 1", true));
    assert!(found.managed);
    // The way back is still there, and so is the record of the version.
    let outcome = machine.install(&Deb::new("acme", "2"));
    let failure = outcome.failure.expect("its postinst fails");
    assert!(
        failure.detail.as_str().contains("was sent back"),
        "{failure}"
    );
    assert_eq!(machine.install(&Deb::new("acme", "3")).failure, None);
}

#[test]
fn a_package_without_a_usable_kept_file_does_not_go_back() {
    type Spoil = fn(&Machine);
    let spoils: [(&str, Spoil); 4] = [
        ("the file is changed", |machine| {
            let folder = machine.root().join("var/lib/wharf-installer/back/acme");
            let file = folder.join(&kept(machine, "acme")[0]);
            fs::write(file, "other bytes").unwrap();
        }),
        ("the file is gone", |machine| {
            let folder = machine.root().join("var/lib/wharf-installer/back/acme");
            fs::remove_file(folder.join(&kept(machine, "acme")[0])).unwrap();
        }),
        ("another version is in place", |machine| {
            let database = machine.root().join("var/lib/wharf-simulated");
            fs::write(database.join("acme_version"), "1.5").unwrap();
        }),
        ("policy keeps none", |machine| {
            machine.policy("back.bytes = 0\n")
        }),
    ];
    for (what, spoil) in spoils {
        let machine = Machine::simulated().started();
        machine.install(&Deb::new("acme", "1"));
        spoil(&machine);
        fail(&machine, "acme 2");
        let outcome = machine.install(&Deb::new("acme", "2"));
        let failure = outcome.failure.expect("its postinst fails");
        assert_eq!(
            failure.detail.as_str(),
            "simulated: fail-postinst",
            "{what}"
        );
        let left = outcome.device.expect("a part of it");
        assert_eq!(left.to_string(), "acme 2 (half-installed)", "{what}");
    }
}

/// A first version, and one whose script fails.
fn goes_back(machine: &Machine) {
    assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
    let before = machine.state("acme");
    let deb = Deb::new("acme", "2").script(Script::Postinst, "exit 3");
    let outcome = machine.install(&deb);
    let failure = outcome.failure.expect("its postinst fails");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    assert!(
        failure.detail.as_str().starts_with("it was sent back: "),
        "{failure}"
    );
    assert_eq!(outcome.device, before);
    assert_eq!(machine.install(&Deb::new("acme", "3")).failure, None);
}

#[test]
fn an_upgrade_by_apt_whose_postinst_fails_goes_back_whole() {
    let machine = Machine::debian().started();
    goes_back(&machine);
    let audit = machine
        .place
        .debian()
        .command("dpkg")
        .arg("--audit")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&audit.stdout), "");
}

#[test]
fn an_upgrade_by_opkg_whose_postinst_fails_goes_back_whole() {
    if let Some(machine) = Machine::opkg() {
        goes_back(&machine.started());
    }
}
