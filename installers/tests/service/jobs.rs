//! Jobs are done once and in order, as far as ledger and policy allow.

use std::{
    fs::File,
    time::{Duration, SystemTime},
};

use wharf_frames::{
    Cause, StageId, Step,
    installer::{InstallerReply, InstallerRequest, JobStatus},
};
use wharf_tests::waiting::wait_until;

use crate::apt::{apt_get_without, frontend_lock, replace_apt_get, wait_for_apt_to_wait};
use crate::machine::{Deb, Machine, Script, Signer, name, perform, refused};

#[test]
fn a_signed_package_is_sealed_installed_and_removed() {
    let machine = Machine::simulated().started();
    let (stage, package) = machine.sealed(&Deb::new("acme", "1.0.1"));
    assert_eq!(package.name, name("acme"));
    assert_eq!(
        package.signer.unwrap().as_str(),
        machine.keys.fingerprint(Signer::Vendor)
    );

    let outcome = machine.run(&perform(machine.operation(), Step::Install(stage)));
    assert_eq!(outcome.failure, None);
    assert_eq!(machine.version("acme").as_deref(), Some("1.0.1"));
    assert_eq!(
        machine.ask(&InstallerRequest::Discard { stage }),
        InstallerReply::Done
    );

    let outcome = machine.remove("acme");
    assert_eq!(outcome.failure, None);
    assert_eq!(machine.effects(), ["install acme 1.0.1", "remove acme"]);
}

#[test]
fn units_are_activated_and_deactivated() {
    let machine = Machine::simulated().started();
    machine.install(&Deb::new("acme", "1"));
    for active in [true, true, false, false] {
        let (operation, package) = (machine.operation(), name("acme"));
        let request = match active {
            true => perform(operation, Step::Activate(package)),
            false => perform(operation, Step::Deactivate(package)),
        };
        let outcome = machine.run(&request);
        assert_eq!(outcome.failure, None);
        assert_eq!(outcome.device.map(|device| device.active), Some(active));
    }
    assert_eq!(
        machine.effects(),
        ["install acme 1", "activate acme", "deactivate acme"]
    );
}

#[test]
fn a_judgement_by_another_time_than_the_clocks_says_whose_it_is() {
    let mut machine = Machine::simulated().started();
    let signer = Signer::Expired;
    machine.keys.trust(signer, &machine.root());
    let seal = |machine: &Machine| {
        let built = machine.build(&Deb::new("acme", "1"), Some(signer));
        match machine.put(machine.stage_id(), &built) {
            InstallerReply::Refused(failure) if failure.cause == Cause::Expired => {
                failure.to_string()
            }
            other => panic!("{other:?}"),
        }
    };
    let doubt = "the clock shows ";
    machine.tell(crate::clock::UNSYNCHRONISED);
    let failure = seal(&machine);
    assert!(!failure.contains(doubt), "{failure}");

    let jobs = machine.root().join("var/lib/wharf-installer/jobs");
    let later = SystemTime::now() + Duration::from_secs(3650 * 86400);
    File::open(&jobs).unwrap().set_modified(later).unwrap();
    let failure = seal(&machine);
    for words in [doubt, jobs.to_str().unwrap(), "set the clock"] {
        assert!(failure.contains(words), "{failure}: {words}");
    }
    machine.installer().errors().wait_for(doubt);
}

#[test]
fn an_older_version_is_refused_also_after_removal() {
    let machine = Machine::simulated().started();
    let (old, _) = machine.sealed(&Deb::new("acme", "1.9"));
    machine.install(&Deb::new("acme", "1.10"));
    let replay = || perform(machine.operation(), Step::Install(old));
    assert_eq!(refused(machine.ask(&replay())), Cause::Downgrade);
    machine.remove("acme");
    assert_eq!(refused(machine.ask(&replay())), Cause::Downgrade);
    assert_eq!(machine.effects(), ["install acme 1.10", "remove acme"]);
}

#[test]
fn a_version_that_was_installed_by_hand_is_no_way_down_after_its_removal() {
    let machine = Machine::debian().started();
    // A failed job saw the version of one package before; only the removal saw that of the other.
    for (package, was_tried) in [("acme", true), ("lamp", false)] {
        assert_eq!(machine.install(&Deb::new(package, "1.0")).failure, None);
        apt_get_install(&machine, &Deb::new(package, "3.0"));
        let (older, _) = machine.sealed(&Deb::new(package, "2.0"));
        let install = || perform(machine.operation(), Step::Install(older));
        if was_tried {
            let failure = machine.run(&install()).failure;
            let cause = failure.map(|failure| failure.cause);
            assert_eq!(cause, Some(Cause::Downgrade), "{package}");
        }
        let outcome = machine.remove(package);
        assert_eq!((outcome.failure, outcome.device), (None, None));
        assert_eq!(refused(machine.ask(&install())), Cause::Downgrade);
        // The same version is accepted, with any signature.
        assert_eq!(machine.install(&Deb::new(package, "3.0")).failure, None);
        assert_eq!(machine.version(package).as_deref(), Some("3.0"));
    }

    machine.policy("allow-downgrade = [\"acme\"]\n");
    apt_get_install(&machine, &Deb::new("acme", "4.0"));
    let outcome = machine.remove("acme");
    assert_eq!((outcome.failure, outcome.device), (None, None));
    assert_eq!(machine.install(&Deb::new("acme", "2.0")).failure, None);
    let policy = machine.root().join("etc/wharfd/installer.toml");
    let without = std::fs::read_to_string(&policy).unwrap();
    let without = without.replace("allow-downgrade = [\"acme\"]\n", "");
    std::fs::write(&policy, without).unwrap();
    let outcome = machine.install(&Deb::new("acme", "3.0"));
    assert_eq!(outcome.failure, None, "the record followed the way down");
}

/// As an administrator does it.
pub(crate) fn apt_get_install(machine: &Machine, package: &Deb) {
    let debian = machine.place.debian();
    let built = machine.build(package, None);
    std::fs::copy(&built.path, machine.root().join("by-hand.deb")).unwrap();
    let output = debian
        .command("apt-get")
        .args(["install", "-y", "/by-hand.deb"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_older_signature_of_the_same_version_is_refused() {
    let machine = Machine::simulated().started();
    let (stages, built) = (
        [machine.stage_id(), machine.stage_id()],
        ["20250601T000000", "20250701T000000"].map(|time| {
            let mut built = machine.build(
                &Deb::new("acme", "1").file("/usr/share/acme/at", time),
                None,
            );
            let signature = machine
                .keys
                .sign_beside_at(Signer::Vendor, &built.path, time);
            built.signature = Some(std::fs::read(signature).unwrap());
            let kept = machine.packages.join(time);
            std::fs::rename(&built.path, &kept).unwrap();
            built.path = kept;
            built
        }),
    );
    for (stage, built) in stages.iter().zip(&built) {
        assert!(matches!(
            machine.put(*stage, built),
            InstallerReply::Sealed(_)
        ));
    }
    let install = |stage: StageId| perform(machine.operation(), Step::Install(stage));
    assert_eq!(machine.run(&install(stages[1])).failure, None);
    assert_eq!(refused(machine.ask(&install(stages[0]))), Cause::Downgrade);
    assert_eq!(
        machine.run(&install(stages[1])).failure,
        None,
        "the same signature again"
    );
}

#[test]
fn a_package_that_was_never_installed_needs_a_key_whose_scope_names_it() {
    let machine = Machine::simulated().started();
    let signer = Signer::VendorRsa;
    machine.keys.add_to_keyring(signer, &machine.root());
    let seal = |package: &Deb| {
        let stage = machine.stage_id();
        machine.put(stage, &machine.build(package, Some(signer)))
    };
    let InstallerReply::Refused(failure) = seal(&Deb::new("lamp", "1")) else {
        panic!("a new package by a certificate that policy does not mention");
    };
    assert_eq!(failure.cause, Cause::OutOfScope);
    let certificate = machine.keys.fingerprint(signer);
    for words in [&*certificate, "`wharfctl keys add FILE --allow lamp`"] {
        assert!(failure.detail.as_str().contains(words), "{failure}");
    }
    machine.policy(&format!(
        "\n[[key]]\nfingerprint = \"{certificate}\"\npackages = [\"lamp\"]\n"
    ));
    assert!(matches!(
        seal(&Deb::new("lamp", "1")),
        InstallerReply::Sealed(_)
    ));
}

#[test]
fn policy_holds_as_it_is_when_a_job_is_asked_for_and_when_it_is_done() {
    let machine = Machine::simulated().started();
    machine.install(&Deb::new("base", "1"));
    let gate = machine.gate();
    let first = machine.accepted(&Deb::new("first", "1"));
    let at_work = gate.wait();
    let install = machine.accepted(&Deb::new("acme", "1"));
    let (waiting, _) = machine.sealed(&Deb::new("acme", "2"));
    let remove = |operation| perform(operation, Step::Uninstall(name("base")));
    let removal = machine.operation();
    assert_eq!(machine.ask(&remove(removal)), InstallerReply::Accepted);

    machine.policy("protected = [\"base\"]\n");
    let policy = machine.root().join("etc/wharfd/installer.toml");
    let narrower = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, narrower.replace("[\"*\"]", "[\"first\"]")).unwrap();
    let later = perform(machine.operation(), Step::Install(waiting));
    assert_eq!(refused(machine.ask(&later)), Cause::OutOfScope);
    let later = remove(machine.operation());
    assert_eq!(refused(machine.ask(&later)), Cause::Plan);

    gate.open(at_work);
    for (operation, cause) in [
        (first.0, None),
        (install.0, Some(Cause::OutOfScope)),
        (removal, Some(Cause::Plan)),
    ] {
        let failure = machine.outcome(operation).failure;
        assert_eq!(failure.map(|failure| failure.cause), cause);
    }
    assert_eq!(machine.effects(), ["install base 1", "install first 1"]);
}

#[test]
fn what_was_signed_by_a_key_that_is_gone_is_not_installed() {
    let machine = Machine::simulated().started();
    let gate = machine.gate();
    let (first, _) = machine.accepted(&Deb::new("first", "1"));
    let at_work = gate.wait();
    let (accepted, _) = machine.accepted(&Deb::new("acme", "1"));
    let (sealed, _) = machine.sealed(&Deb::new("acme", "2"));
    let install = || perform(machine.operation(), Step::Install(sealed));

    let key = machine.root().join("etc/wharfd/keys/vendor.asc");
    let away = machine.root().join("vendor.asc");
    std::fs::rename(&key, &away).unwrap();
    let InstallerReply::Refused(failure) = machine.ask(&install()) else {
        panic!("its key is gone");
    };
    assert_eq!(failure.cause, Cause::Policy);
    let advice = format!("put it back into {}", key.parent().unwrap().display());
    assert!(failure.detail.as_str().contains(&advice), "{failure}");
    gate.open(at_work);
    assert_eq!(machine.outcome(first).failure, None);
    let failure = machine.outcome(accepted).failure;
    assert_eq!(failure.map(|failure| failure.cause), Some(Cause::Policy));

    std::fs::rename(away, key).unwrap();
    assert_eq!(machine.run(&install()).failure, None);
    assert_eq!(machine.effects(), ["install first 1", "install acme 2"]);
}

#[test]
fn a_downgrade_that_policy_allows_is_done() {
    let mut machine = Machine::simulated();
    machine.policy("allow-downgrade = [\"ac*\"]\n");
    machine.start();
    machine.install(&Deb::new("acme", "2"));
    assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
    assert_eq!(machine.version("acme").as_deref(), Some("1"));
}

#[test]
fn what_policy_protects_is_never_removed() {
    let mut machine = Machine::simulated();
    machine.policy("protected = [\"acme-base\"]\n");
    machine.start();
    for package in ["acme-base", "wharfd"] {
        machine.install(&Deb::new(package, "1"));
        let request = perform(machine.operation(), Step::Uninstall(name(package)));
        assert_eq!(refused(machine.ask(&request)), Cause::Plan, "{package}");
    }
}

#[test]
fn an_operation_is_done_once_however_often_it_is_asked() {
    let machine = Machine::simulated().started();
    let (stage, _) = machine.sealed(&Deb::new("acme", "1"));
    let request = perform(machine.operation(), Step::Install(stage));
    for _ in 0..3 {
        assert_eq!(machine.run(&request).failure, None);
    }
    machine.ask(&InstallerRequest::Discard { stage });
    assert_eq!(
        machine.ask(&request),
        InstallerReply::Accepted,
        "also when its file is gone"
    );
    assert_eq!(machine.effects(), ["install acme 1"]);
    let unknown = machine.ask(&InstallerRequest::Watch {
        operation: machine.operation(),
    });
    assert_eq!(unknown, InstallerReply::Job(JobStatus::Unknown));
}

#[test]
fn a_job_whose_record_is_there_although_accepting_it_failed_is_done_when_it_is_asked_again() {
    let machine = Machine::simulated().started();
    let gate = machine.gate();
    let (first, _) = machine.accepted(&Deb::new("first", "1"));
    let at_work = gate.wait();
    let (operation, stage) = machine.accepted(&Deb::new("acme", "1"));
    let jobs = machine.root().join("var/lib/wharf-installer/jobs");
    let record = jobs.join(operation.to_string());
    let accepted = std::fs::read(&record).unwrap();
    assert_eq!(
        machine.ask(&InstallerRequest::Cancel { operation }),
        InstallerReply::Done
    );
    gate.open(at_work);
    assert_eq!(machine.outcome(first).failure, None);

    std::fs::write(&record, accepted).unwrap();
    let again = perform(operation, Step::Install(stage));
    assert_eq!(machine.ask(&again), InstallerReply::Accepted);
    machine.outcome(operation);
    assert_eq!(machine.effects(), ["install first 1", "install acme 1"]);
}

#[test]
fn jobs_are_done_one_at_a_time_in_the_order_of_acceptance_and_cancelled_before_anything_is_changed()
{
    let machine = Machine::simulated().started();
    let gate = machine.gate();
    let [first, second, third] =
        ["first", "second", "third"].map(|package| machine.accepted(&Deb::new(package, "1")));
    let at_work = gate.wait();
    let cancel = |operation| machine.ask(&InstallerRequest::Cancel { operation });
    assert_eq!(refused(cancel(first.0)), Cause::Policy, "it is at work");
    assert_eq!(cancel(second.0), InstallerReply::Done);
    assert!(
        matches!(
            machine.ask(&InstallerRequest::Discard { stage: third.1 }),
            InstallerReply::NotNow(_)
        ),
        "its file is needed"
    );
    gate.open(at_work);
    assert_eq!(machine.outcome(first.0).failure, None);
    assert_eq!(
        machine
            .outcome(second.0)
            .failure
            .map(|failure| failure.cause),
        Some(Cause::GaveUp)
    );
    assert_eq!(machine.outcome(third.0).failure, None);
    assert_eq!(machine.effects(), ["install first 1", "install third 1"]);
}

#[test]
fn a_cancelled_job_tells_what_the_device_has() {
    let machine = Machine::simulated().started();
    machine.install(&Deb::new("acme", "1"));
    let gate = machine.gate();
    let (first, _) = machine.accepted(&Deb::new("first", "1"));
    let at_work = gate.wait();
    let (operation, _) = machine.accepted(&Deb::new("acme", "2"));
    assert_eq!(
        machine.ask(&InstallerRequest::Cancel { operation }),
        InstallerReply::Done
    );
    let device = machine.outcome(operation).device;
    let version = device.map(|device| device.version.to_string());
    assert_eq!(version.as_deref(), Some("1"));
    gate.open(at_work);
    assert_eq!(machine.outcome(first).failure, None);
}

#[test]
fn what_the_package_manager_says_becomes_the_outcome() {
    let machine = Machine::simulated().started();
    for (fault, cause) in [
        ("fail-install", Cause::Script),
        ("locked", Cause::Locked),
        ("held", Cause::Held),
        ("needs", Cause::Dependency),
    ] {
        let file = machine.tell(fault);
        let outcome = machine.install(&Deb::new("acme", "1"));
        assert_eq!(outcome.failure.map(|failure| failure.cause), Some(cause));
        assert_eq!((outcome.device, outcome.attempts), (None, 1));
        std::fs::remove_file(file).unwrap();
    }
}
#[test]
fn an_unsigned_package_is_installed_only_where_policy_says_so_and_each_start_tells_it() {
    let mut machine = Machine::simulated();
    machine.policy("allow-unsigned = true\n");
    machine.start();
    machine.installer().errors().wait_for("allow-unsigned");
    let stage = machine.stage_id();
    let built = machine.build(&Deb::new("acme", "1"), None);
    assert!(
        matches!(machine.put(stage, &built), InstallerReply::Sealed(package) if package.signer.is_none())
    );
    let outcome = machine.run(&perform(machine.operation(), Step::Install(stage)));
    assert_eq!(outcome.failure, None);
}

#[test]
fn what_a_job_without_a_way_back_left_in_part_is_told_as_damaged_and_is_managed() {
    let machine = Machine::simulated().started();
    machine.policy("back.bytes = 0\n");
    machine.install(&Deb::new("acme", "1"));
    let fault = machine.tell("fail-postinst");
    let outcome = machine.install(&Deb::new("acme", "2"));
    std::fs::remove_file(fault).unwrap();
    assert_eq!(
        outcome.failure.map(|failure| failure.cause),
        Some(Cause::Script)
    );
    let left = outcome.device.expect("a part of it");
    assert_eq!(left.to_string(), "acme 2 (half-installed)");
    assert!(left.managed);
    assert_eq!(machine.state("acme"), Some(left));

    let fault = machine.tell("fail-postrm");
    let outcome = machine.remove("acme");
    let cause = outcome.failure.map(|failure| failure.cause);
    assert_eq!(cause, Some(Cause::Script));
    assert!(outcome.device.is_some_and(|left| !left.is_whole()));
    std::fs::remove_file(fault).unwrap();
    let outcome = machine.remove("acme");
    assert_eq!((outcome.failure, outcome.device), (None, None));
}

#[test]
fn what_was_there_before_and_was_not_changed_is_not_managed() {
    let machine = Machine::simulated().started();
    let database = machine.root().join("var/lib/wharf-simulated");
    std::fs::write(database.join("acme_version"), "0.9").unwrap();
    // Refused in the plan, and after the job had begun.
    for fault in ["needs", "locked", "fail-install"] {
        let fault = machine.tell(fault);
        let outcome = machine.install(&Deb::new("acme", "1"));
        std::fs::remove_file(fault).unwrap();
        assert!(outcome.failure.is_some());
        let found = outcome.device.expect("the distribution's");
        assert_eq!((found.version.as_str(), found.managed), ("0.9", false));
        let remove = perform(machine.operation(), Step::Uninstall(name("acme")));
        assert_eq!(refused(machine.ask(&remove)), Cause::NotManaged);
    }
    // A package that the job broke is managed, and stays so after other attempts.
    for fault in ["fail-postinst", "needs"] {
        let fault = machine.tell(fault);
        let outcome = machine.install(&Deb::new("acme", "1"));
        std::fs::remove_file(fault).unwrap();
        let left = outcome.device.expect("a part of it");
        assert_eq!(left.to_string(), "acme 1 (half-installed)");
        assert!(left.managed);
    }
    let outcome = machine.remove("acme");
    assert_eq!((outcome.failure, outcome.device), (None, None));
    // A package that is installed by hand after that is not managed.
    std::fs::write(database.join("acme_version"), "0.9").unwrap();
    assert!(machine.state("acme").is_some_and(|found| !found.managed));
}

#[test]
fn what_maintainer_scripts_print_is_in_the_journal_line_by_line() {
    let mut machine = Machine::debian().started();
    let script =
        "for n in 1 2 3; do echo \"line $n\"; done\nprintf '\\033[2Jcleared\\n' >&2\nexit 3";
    let deb = Deb::new("acme", "1").script(Script::Postinst, script);
    let failure = machine.install(&deb).failure.expect("its postinst fails");
    assert_eq!(failure.cause, Cause::Script);
    let errors = machine.installer().errors();
    errors.wait_for("wharf-job: warning: install acme 1: ");
    for line in [
        "Setting up acme (1) ...",
        "line 1",
        "line 2",
        "line 3",
        "\\u{1b}[2Jcleared",
    ] {
        errors.wait_for(&format!("wharf-job: apt: {line}"));
    }
}

#[test]
fn an_install_that_waits_for_dpkgs_lock_can_be_cancelled() {
    let machine = Machine::debian().started();
    let (stage, _) = machine.sealed(&Deb::new("acme", "1"));
    let install = |operation| perform(operation, Step::Install(stage));
    let (first, second) = (machine.operation(), machine.operation());
    let lock = frontend_lock(&machine.root());
    assert_eq!(machine.ask(&install(first)), InstallerReply::Accepted);
    wait_for_apt_to_wait(&machine.root());
    machine.cancel_what_runs(first);
    drop(lock);
    assert_eq!(machine.run(&install(second)).failure, None);
    let history = machine.root().join("var/log/apt/history.log");
    let history = std::fs::read_to_string(history).unwrap();
    assert_eq!(history.matches("Install: acme").count(), 1, "{history}");
}

#[test]
fn what_policy_or_keyring_forbids_while_apt_waits_for_dpkgs_lock_is_not_installed() {
    let key = |machine: &Machine| {
        let keys = machine.root().join("etc/wharfd/keys");
        std::fs::remove_file(keys.join("vendor.asc")).unwrap();
    };
    let scope = |machine: &Machine| {
        let policy = machine.root().join("etc/wharfd/installer.toml");
        let narrower = std::fs::read_to_string(&policy).unwrap();
        std::fs::write(&policy, narrower.replace("[\"*\"]", "[\"other\"]")).unwrap();
    };
    type Forbid = fn(&Machine);
    let forbid: [(Forbid, Cause); 2] = [(key, Cause::Policy), (scope, Cause::OutOfScope)];
    for (forbid, cause) in forbid {
        let machine = Machine::debian().started();
        let lock = frontend_lock(&machine.root());
        let deb = Deb::new("acme", "1").script(Script::Preinst, "touch /ran");
        let (operation, _) = machine.accepted(&deb);
        wait_for_apt_to_wait(&machine.root());
        forbid(&machine);
        drop(lock);
        let outcome = machine.outcome(operation);
        assert_eq!(outcome.failure.map(|failure| failure.cause), Some(cause));
        assert_eq!(outcome.device, None);
        assert!(!machine.root().join("ran").exists(), "no script runs");
    }
}

#[test]
fn an_apt_that_passes_consent_by_fails_the_job_which_cannot_be_cancelled_meanwhile() {
    let unasked = apt_get_without(&["Pre-Install-Pkgs", "pre-invoke"]);
    let by_itself = "for file; do :; done\nexec /usr/bin/apt-get.real -y install \"$file\"";
    for apt_get in [by_itself, unasked.as_str()] {
        let machine = Machine::debian().started();
        replace_apt_get(&machine.root(), apt_get);
        let script = "touch /begun; while [ ! -e /go-on ]; do sleep 0.05; done";
        let deb = Deb::new("acme", "1").script(Script::Postinst, script);
        let (operation, _) = machine.accepted(&deb);
        wait_until("its postinst", || {
            machine.root().join("begun").exists().then_some(())
        });
        let cancelled = machine.ask(&InstallerRequest::Cancel { operation });
        std::fs::write(machine.root().join("go-on"), "").unwrap();
        assert_eq!(refused(cancelled), Cause::Policy, "{apt_get}");

        let outcome = machine.outcome(operation);
        let failure = outcome.failure.expect("there was no consent");
        assert_eq!(failure.cause, Cause::PackageManager, "{failure}");
        let words = "apt changed acme without asking wharfd for consent";
        assert!(failure.detail.as_str().contains(words), "{failure}");
        let there = outcome.device.expect("what apt installed");
        assert!(there.is_whole() && there.managed, "{there:?}");
    }
}

#[test]
fn an_install_whose_postinst_runs_cannot_be_cancelled() {
    let machine = Machine::debian().started();
    let script = "touch /begun; while [ ! -e /go-on ]; do sleep 0.05; done";
    let deb = Deb::new("acme", "1").script(Script::Postinst, script);
    let clears = machine.root().join("etc/apt/apt.conf.d/zz-last");
    std::fs::write(clears, "#clear DPkg::Pre-Install-Pkgs;\n").unwrap();
    let (operation, _) = machine.accepted(&deb);
    wait_until("its postinst", || {
        machine.root().join("begun").exists().then_some(())
    });
    let cancelled = machine.ask(&InstallerRequest::Cancel { operation });
    std::fs::write(machine.root().join("go-on"), "").unwrap();
    assert_eq!(refused(cancelled), Cause::Policy);
    assert_eq!(machine.outcome(operation).failure, None);
}
