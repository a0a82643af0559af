//! The way back: the file of the version in place is kept, and a job that fails after it began goes back to it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::PathBuf,
    process::Command,
};

use nix::mount::{MntFlags, umount2};
use wharf_frames::{
    Cause, Step, Transaction,
    installer::{InstallerReply, InstallerRequest, Outcome},
};
use wharf_root::limits::RESERVE_BYTES;
use wharf_tests::command::output_of;

use crate::{
    machine::{Deb, Machine, Script, Signer, name, perform, refused, was_sent_back},
    opkg::mounted,
    runs::run_steps,
};

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

/// Lets `fail-postinst` of the simulated package manager fail this version alone.
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
fn kept_files_make_room_for_a_download_that_fits_without_them() {
    let machine = Machine::simulated();
    let state = machine.root().join("var/lib/wharf-installer");
    let size = format!("{}k", (RESERVE_BYTES.start() >> 10) + 1024);
    mounted(&state, &size);
    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    let machine = machine.started();
    for version in ["1", "2"] {
        let deb = Deb::new("acme", version).file("/usr/share/x", "x".repeat(400_000));
        let (stage, _) = machine.sealed(&deb);
        let install = perform(machine.operation(), Step::Install(stage));
        assert_eq!(machine.run(&install).failure, None);
        let discard = InstallerRequest::Discard { stage };
        assert_eq!(machine.ask(&discard), InstallerReply::Done);
    }
    assert_eq!(kept(&machine, "acme").len(), 2);
    let ask = |size| {
        let stage = machine.stage_id();
        let (reply, _) = machine
            .wharfd()
            .ask_for_descriptor(&InstallerRequest::Stage {
                stage,
                keep: 0,
                size: Some(size),
            });
        reply
    };
    let much = ask(100 << 20);
    assert_eq!(refused(much), Cause::DiskFull);
    assert_eq!(
        kept(&machine, "acme").len(),
        2,
        "it does not fit without them"
    );
    let fits = ask(500_000);
    assert!(matches!(fits, InstallerReply::Staged { .. }), "{fits:?}");
    assert_eq!(kept(&machine, "acme").len(), 1, "the version in place");
    umount2(&state, MntFlags::MNT_DETACH).unwrap();
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

/// Overwrites the kept file of a package that has one.
fn spoil(machine: &Machine, package: &str) -> PathBuf {
    let folder = machine.root().join("var/lib/wharf-installer/back");
    let file = folder.join(package).join(&kept(machine, package)[0]);
    fs::write(&file, "other bytes").unwrap();
    file
}

#[test]
fn a_kept_file_of_a_package_that_did_not_change_is_not_needed() {
    let machine = Machine::simulated().started();
    for package in ["acme", "lamp"] {
        assert_eq!(machine.install(&Deb::new(package, "1")).failure, None);
    }
    spoil(&machine, "acme");
    machine.tell("fail-activate");
    let (stage, _) = machine.sealed(&Deb::new("lamp", "2"));
    let outcome = run_steps(
        &machine,
        vec![Step::Install(stage), Step::Activate(name("acme"))],
    );
    let failure = outcome.failure.expect("its activation fails");
    assert_eq!(
        failure.detail.as_str(),
        "it was sent back: simulated: fail-activate"
    );
    assert_eq!(machine.version("lamp").as_deref(), Some("1"));
}

#[test]
fn a_damaged_kept_file_is_replaced_when_the_same_file_is_installed_again() {
    let machine = Machine::simulated().started();
    let built = machine.build(&Deb::new("acme", "1"), Some(Signer::Vendor));
    assert_eq!(machine.install_built(&built).failure, None);
    let file = spoil(&machine, "acme");
    assert_eq!(machine.install_built(&built).failure, None);
    assert_eq!(fs::read(file).unwrap(), fs::read(&built.path).unwrap());
}

/// A first version, and one whose script fails.
fn goes_back(machine: &Machine) {
    assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
    let before = machine.state("acme");
    let deb = Deb::new("acme", "2").script(Script::Postinst, "exit 3");
    let outcome = machine.install(&deb);
    let failure = outcome.failure.expect("its postinst fails");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    was_sent_back(&failure);
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

/// An Install and the Activate of its package, as wharfd asks for an upgrade of software that runs.
fn upgrade(machine: &Machine, deb: &Deb) -> Outcome {
    let (stage, package) = machine.sealed(deb);
    machine.run(&InstallerRequest::Perform {
        operation: machine.operation(),
        transaction: Transaction {
            steps: vec![Step::Install(stage), Step::Activate(package.name)],
        },
    })
}

#[test]
fn an_upgrade_whose_activation_fails_goes_back_to_the_version_that_runs() {
    let machine = Machine::simulated().started();
    machine.install(&Deb::new("acme", "1"));
    let activate = perform(machine.operation(), Step::Activate(name("acme")));
    assert_eq!(machine.run(&activate).failure, None);
    let outcome = upgrade(&machine, &Deb::new("acme", "2"));
    assert_eq!(outcome.failure, None);
    let found = outcome.device.expect("the new version");
    assert_eq!((found.to_string().as_str(), found.active), ("acme 2", true));

    machine.tell("fail-activate");
    let outcome = upgrade(&machine, &Deb::new("acme", "3"));
    let failure = outcome.failure.expect("its activation fails");
    assert_eq!(failure.cause, Cause::Unit);
    let detail = failure.detail.as_str();
    assert_eq!(detail, "it was sent back: simulated: fail-activate");
    let found = outcome.device.expect("the version before");
    assert_eq!((found.to_string().as_str(), found.active), ("acme 2", true));
}

#[test]
fn an_upgrade_without_a_way_back_leaves_its_activation_to_another_job() {
    let machine = Machine::simulated().started();
    machine.policy("back.bytes = 0\n");
    machine.install(&Deb::new("acme", "1"));
    let activate = perform(machine.operation(), Step::Activate(name("acme")));
    assert_eq!(machine.run(&activate).failure, None);
    let outcome = upgrade(&machine, &Deb::new("acme", "2"));
    assert_eq!(outcome.failure, None);
    let found = outcome.device.expect("the new version");
    assert_eq!(
        (found.to_string().as_str(), found.active),
        ("acme 2", false)
    );
}

/// `acme`, `lamp` and `bulb` in version 1. Then a job removes bulb, upgrades acme, adds fuse, and fails to upgrade lamp.
fn several_go_back(machine: &Machine) {
    for package in ["acme", "lamp", "bulb"] {
        assert_eq!(machine.install(&Deb::new(package, "1")).failure, None);
    }
    fail(machine, "lamp 2");
    let install = |deb: &Deb| Step::Install(machine.sealed(deb).0);
    let lamp = Deb::new("lamp", "2").script(Script::Postinst, "exit 3");
    let steps = vec![
        Step::Uninstall(name("bulb")),
        install(&Deb::new("acme", "2")),
        install(&Deb::new("fuse", "1")),
        install(&lamp),
    ];
    let outcome = run_steps(machine, steps);
    let failure = outcome.failure.expect("the postinst of lamp fails");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    was_sent_back(&failure);
    let found = ["acme", "lamp", "bulb", "fuse"]
        .map(|package| machine.version(package).map(|it| it[..1].to_owned()));
    let found = found.each_ref().map(Option::as_deref);
    assert_eq!(found, [Some("1"), Some("1"), Some("1"), None]);
    assert!(machine.state("bulb").is_some_and(|bulb| bulb.managed));
    // The version in place has its way back as before.
    fail(machine, "bulb 2");
    let bulb = Deb::new("bulb", "2").script(Script::Postinst, "exit 3");
    let failure = machine.install(&bulb).failure.expect("its postinst fails");
    was_sent_back(&failure);
}

#[test]
fn a_job_of_several_steps_goes_back_as_a_whole() {
    several_go_back(&Machine::simulated().started());
}

#[test]
fn a_job_of_several_steps_goes_back_as_a_whole_with_apt() {
    let machine = Machine::debian().started();
    several_go_back(&machine);
    let audit = machine
        .place
        .debian()
        .command("dpkg")
        .arg("--audit")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&audit.stdout), "");
    assert_eq!(
        machine.place.debian().dpkg_state("fuse"),
        None,
        "it is purged"
    );
}

#[test]
fn a_job_of_several_steps_goes_back_as_a_whole_with_dnf() {
    several_go_back(&Machine::dnf().started());
}

#[test]
fn a_job_of_several_steps_goes_back_as_a_whole_with_opkg() {
    if let Some(machine) = Machine::opkg() {
        several_go_back(&machine.started());
    }
}

#[test]
fn a_file_that_was_sent_back_twice_is_refused_until_it_is_forgiven() {
    let machine = Machine::simulated().started();
    machine.install(&Deb::new("acme", "1"));
    fail(&machine, "acme 2");
    let built = machine.build(&Deb::new("acme", "2"), Some(Signer::Vendor));
    for _ in 0..2 {
        let outcome = machine.install_built(&built);
        assert_eq!(
            outcome.failure.map(|failure| failure.cause),
            Some(Cause::Script)
        );
    }
    let stage = machine.stage_id();
    machine.put(stage, &built);
    let install = || perform(machine.operation(), Step::Install(stage));
    let InstallerReply::Refused(failure) = machine.ask(&install()) else {
        panic!("a third try");
    };
    assert_eq!(failure.cause, Cause::Policy, "{failure}");
    let words = "was sent back 2 times: deliver another file, or run `wharfctl forgive acme`";
    assert!(failure.detail.as_str().contains(words), "{failure}");

    let forgive = || {
        let mut command = Command::new(machine.program("wharf-installer"));
        output_of(
            command
                .arg("--root")
                .arg(machine.root())
                .args(["forgive", "acme"]),
        )
    };
    let said = String::from_utf8(forgive()).unwrap();
    assert_eq!(
        said,
        "a file of acme that was sent back may be installed again\n"
    );
    let said = String::from_utf8(forgive()).unwrap();
    assert_eq!(said, "no file of acme was sent back\n");
    fs::remove_file(machine.tell("fail-postinst")).unwrap();
    assert_eq!(machine.run(&install()).failure, None, "the same bytes");
}

#[test]
fn the_audit_and_the_question_for_it_tell_what_is_kept() {
    let machine = Machine::simulated().started();
    for version in ["1", "2"] {
        assert_eq!(machine.install(&Deb::new("acme", version)).failure, None);
    }
    for question in [&["audit"][..], &["kept"], &["kept", "acme"]] {
        let mut command = Command::new(machine.program("wharf-installer"));
        let told = output_of(command.arg("--root").arg(machine.root()).args(question));
        let told = String::from_utf8(told).unwrap();
        for words in [
            r#"{"package":"acme","version":"2","previous":false,"bytes":"#,
            r#"{"package":"acme","version":"1","previous":true,"bytes":"#,
        ] {
            assert!(told.contains(words), "{question:?}: {told}");
        }
    }
}

/// A package whose version 2 changes its configuration, and spoils more of it before its script fails.
fn configuration_goes_back(machine: &Machine) {
    let etc = machine.root().join("etc/acme");
    let deb = |version: &str| {
        Deb::new("acme", version)
            .conffile("/etc/acme/plain.conf", &format!("of {version}\n"))
            .conffile("/etc/acme/edited.conf", &format!("of {version}\n"))
            .conffile("/etc/acme/linked.conf", &format!("of {version}\n"))
    };
    assert_eq!(machine.install(&deb("1")).failure, None);
    fs::write(etc.join("edited.conf"), "mine\n").unwrap();
    fs::set_permissions(etc.join("edited.conf"), Permissions::from_mode(0o640)).unwrap();
    chown(etc.join("edited.conf"), Some(1234), Some(4321)).unwrap();
    fs::remove_file(etc.join("linked.conf")).unwrap();
    symlink("edited.conf", etc.join("linked.conf")).unwrap();
    let modified = fs::metadata(etc.join("plain.conf"))
        .unwrap()
        .modified()
        .unwrap();

    let spoils = "for it in plain edited; do rm /etc/acme/$it.conf; echo spoilt >/etc/acme/$it.conf; done; exit 3";
    let two = deb("2")
        .conffile("/etc/acme/new.conf", "of 2\n")
        .script(Script::Postinst, spoils);
    let failure = machine.install(&two).failure.expect("its postinst fails");
    was_sent_back(&failure);
    assert_eq!(
        machine.version("acme").map(|it| it[..1].to_owned()),
        Some("1".to_owned())
    );

    let mut names: Vec<String> = fs::read_dir(&etc)
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["edited.conf", "linked.conf", "plain.conf"]);
    assert_eq!(
        fs::read_to_string(etc.join("plain.conf")).unwrap(),
        "of 1\n"
    );
    assert_eq!(
        fs::metadata(etc.join("plain.conf"))
            .unwrap()
            .modified()
            .unwrap(),
        modified
    );
    assert_eq!(
        fs::read_to_string(etc.join("edited.conf")).unwrap(),
        "mine\n"
    );
    let edited = fs::metadata(etc.join("edited.conf")).unwrap();
    assert_eq!(
        (edited.mode() & 0o7777, edited.uid(), edited.gid()),
        (0o640, 1234, 4321)
    );
    let target = fs::read_link(etc.join("linked.conf")).unwrap();
    assert_eq!(target.to_str(), Some("edited.conf"));
    let left = kept(machine, "acme");
    assert_eq!(left.len(), 1, "only the file of version 1: {left:?}");
}

#[test]
fn configuration_files_go_back_as_they_were_with_apt() {
    configuration_goes_back(&Machine::debian().started());
}

#[test]
fn configuration_files_go_back_as_they_were_with_dnf() {
    configuration_goes_back(&Machine::dnf().started());
}

fn go_back(machine: &Machine) -> Outcome {
    machine.run(&perform(machine.operation(), Step::Back(name("acme"))))
}

/// Back by order, with the configuration as it was; once, since one version is kept.
fn goes_back_by_order(machine: &Machine) {
    let conffile = machine.root().join("etc/acme.conf");
    let deb = |version: &str| {
        Deb::new("acme", version).conffile("/etc/acme.conf", &format!("of {version}\n"))
    };
    assert_eq!(machine.install(&deb("1")).failure, None);
    let back = perform(machine.operation(), Step::Back(name("acme")));
    assert_eq!(
        refused(machine.ask(&back)),
        Cause::Policy,
        "there is none before"
    );
    fs::write(&conffile, "mine\n").unwrap();
    assert_eq!(machine.install(&deb("2")).failure, None);
    fs::write(&conffile, "of the new one\n").unwrap();

    let outcome = go_back(machine);
    assert_eq!(outcome.failure, None);
    let found = outcome.device.expect("the version before");
    assert!(
        found.version.as_str().starts_with('1') && found.managed,
        "{found}"
    );
    assert_eq!(fs::read_to_string(&conffile).unwrap(), "mine\n");
    let back = perform(machine.operation(), Step::Back(name("acme")));
    assert_eq!(
        refused(machine.ask(&back)),
        Cause::Policy,
        "nothing more is kept"
    );
    assert_eq!(kept(machine, "acme").len(), 1);

    // The next upgrade has its way back.
    let failing = deb("3").script(Script::Postinst, "exit 3");
    let failure = machine
        .install(&failing)
        .failure
        .expect("its postinst fails");
    was_sent_back(&failure);
}

#[test]
fn back_installs_the_version_before_with_its_configuration_with_apt() {
    goes_back_by_order(&Machine::debian().started());
}

#[test]
fn back_installs_the_version_before_with_its_configuration_with_dnf() {
    goes_back_by_order(&Machine::dnf().started());
}

#[test]
fn back_installs_no_version_whose_key_was_withdrawn() {
    let machine = Machine::simulated().started();
    for version in ["1", "2"] {
        assert_eq!(machine.install(&Deb::new("acme", version)).failure, None);
    }
    fs::remove_file(machine.root().join("etc/wharfd/keys/vendor.asc")).unwrap();
    let outcome = go_back(&machine);
    let failure = outcome.failure.expect("the key of version 1 is gone");
    assert_eq!(failure.cause, Cause::Policy, "{failure}");
    let found = outcome.device.expect("version 2");
    assert_eq!(found.to_string(), "acme 2");
}

#[test]
fn software_that_ran_runs_after_back_and_a_back_that_fails_leaves_the_newer_version_running() {
    let machine = Machine::simulated().started();
    for version in ["1", "2"] {
        assert_eq!(machine.install(&Deb::new("acme", version)).failure, None);
    }
    let activate = perform(machine.operation(), Step::Activate(name("acme")));
    assert_eq!(machine.run(&activate).failure, None);
    for fault in ["fail-postinst", "fail-activate"] {
        let path = machine.tell(fault);
        fs::write(
            &path,
            if fault == "fail-postinst" {
                "acme 1"
            } else {
                ""
            },
        )
        .unwrap();
        let outcome = go_back(&machine);
        fs::remove_file(path).unwrap();
        let failure = outcome.failure.expect("the version before fails");
        assert!(failure.detail.as_str().contains(fault), "{failure}");
        let found = outcome.device.expect("the newer version");
        assert_eq!(
            (found.to_string().as_str(), found.active),
            ("acme 2", true),
            "{fault}"
        );
    }
    let outcome = go_back(&machine);
    assert_eq!(outcome.failure, None);
    let found = outcome.device.expect("the version before");
    assert_eq!((found.to_string().as_str(), found.active), ("acme 1", true));
}
