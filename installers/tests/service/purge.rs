//! A purge removes a package with its configuration, if policy allows it, and nothing else: in the contract of every
//! package manager, as a job, and after each end of its processes.

use std::{cell::Cell, fs, path::Path};

use wharf_frames::{
    Cause, Failure, OperationId, Step,
    installer::{InstallerReply, InstallerRequest},
};
use wharf_managers::Supervisor;
use wharf_root::Change;
use wharf_tests::services::UNITS;

use crate::{
    activation::{FOREVER, succeeded},
    apt::{apt_get_without, dpkg, replace_apt_get},
    contract::{Bench, QUIET, each_that_keeps_configuration, tell},
    crash::{KILL, before_a_power_cut, lines, mount_proc, start_with_jobs_that, stops_once_at},
    machine::{Deb, Machine, Script, name, perform},
};

const ALLOWED: &str = "allow-purge = [\"acme\"]\n";

/// With a file of configuration that dpkg knows, and one that its scripts write and delete.
fn acme() -> Deb {
    let postrm = "echo \"$*\" >>/effects\n[ \"$1\" != purge ] || rm -f /etc/acme.generated";
    Deb::new("acme", "1")
        .conffile("/etc/acme.conf", "x = 1\n")
        .script(Script::Postinst, "touch /etc/acme.generated")
        .script(Script::Postrm, postrm)
}

/// The files of configuration that exist.
fn configuration(root: &Path) -> Vec<&'static str> {
    let mut files = vec!["acme.conf", "acme.generated"];
    files.retain(|file| root.join("etc").join(file).exists());
    files
}

fn removed(bench: &Bench) {
    let removed = bench.manager().remove(&name("acme"), QUIET);
    assert_eq!(removed, Ok(Change::Changed));
}

fn purge(bench: &Bench, supervisor: Supervisor<'_>) -> Result<Change, Failure> {
    bench.manager().purge(&name("acme"), supervisor)
}

fn leaves_configuration(bench: &Bench) -> bool {
    bench.manager().leaves_configuration(&name("acme")).unwrap()
}

#[test]
fn a_removal_keeps_the_configuration_and_a_purge_deletes_it_once() {
    each_that_keeps_configuration(|bench| {
        assert!(!leaves_configuration(bench));
        bench.install(&bench.file(&acme(), "acme", "1")).unwrap();
        assert!(!leaves_configuration(bench), "it is installed");
        removed(bench);
        assert!(leaves_configuration(bench));
        let root = bench.place.path();
        if bench.is_apt() {
            assert_eq!(configuration(&root), ["acme.conf", "acme.generated"]);
        }
        for change in [Change::Changed, Change::Unchanged] {
            assert_eq!(purge(bench, QUIET), Ok(change));
            assert!(!leaves_configuration(bench));
            assert_eq!(configuration(&root), [""; 0]);
        }
        if bench.is_apt() {
            assert_eq!(bench.place.debian().dpkg_state("acme"), None);
            assert_eq!(lines(&root.join("effects")), ["remove", "purge"]);
        }
    });
}

#[test]
fn nothing_is_purged_unless_it_is_begun_and_nothing_that_is_installed() {
    each_that_keeps_configuration(|bench| {
        bench.install(&bench.file(&acme(), "acme", "1")).unwrap();
        assert_eq!(purge(bench, QUIET), Ok(Change::Unchanged));
        assert_eq!(bench.version("acme").as_deref(), Some("1"));
        removed(bench);
        let begun = Cell::new(0);
        let refuse = |_: &wharf_managers::Brought| {
            begun.set(begun.get() + 1);
            Err(Failure::new(Cause::Policy, "not now"))
        };
        let supervisor = Supervisor {
            begin: &refuse,
            ..QUIET
        };
        assert_eq!(purge(bench, supervisor).unwrap_err().cause, Cause::Policy);
        assert!(leaves_configuration(bench));
        assert_eq!(purge(bench, QUIET), Ok(Change::Changed));
        assert_eq!(purge(bench, supervisor), Ok(Change::Unchanged));
        assert_eq!(begun.get(), 1);
    });
}

#[test]
fn a_purge_that_failed_says_what_is_left_and_can_be_repeated() {
    each_that_keeps_configuration(|bench| {
        let fault = tell(bench, "fail-purge");
        let script = "[ $1 != purge ] || [ ! -e /etc/wharf-simulated/fail-purge ]";
        let deb = acme().script(Script::Postrm, script);
        bench.install(&bench.file(&deb, "acme", "1")).unwrap();
        removed(bench);
        let failure = purge(bench, QUIET).unwrap_err();
        assert_eq!(failure.cause, Cause::Script);
        if bench.is_apt() {
            let said = failure.detail.as_str();
            let begins = said.starts_with("acme is removed, and its configuration is not purged: ");
            assert!(begins && said.contains("exit status 1"), "{said}");
        }
        assert!(leaves_configuration(bench));
        assert_eq!(bench.found("acme"), None);
        fs::remove_file(fault).unwrap();
        assert_eq!(purge(bench, QUIET), Ok(Change::Changed));
    });
}

// Tests that need apt.

/// Version 1 enables two units, version 2 one of them. A removal keeps which units were enabled, and a purge does not.
pub(crate) fn a_purged_package_starts_only_what_its_next_installation_enables(
    machine: &mut Machine,
) {
    let unit = format!("[Service]\n{FOREVER}\n[Install]\nWantedBy=multi-user.target\n");
    let disable = "[ $1 != remove ] || systemctl disable --quiet lamp-a lamp-b";
    let lamp = |version: &str, enabled: &str| {
        let enable = format!("systemctl daemon-reload\nsystemctl enable --quiet {enabled}");
        Deb::new("lamp", version)
            .conffile("/etc/lamp.conf", "x = 1\n")
            .file(&format!("{UNITS}/lamp-a.service"), unit.clone())
            .file(&format!("{UNITS}/lamp-b.service"), unit.clone())
            .script(Script::Postinst, &enable)
            .script(Script::Prerm, disable)
    };
    let mut run = |version: &str, enabled: &str| {
        succeeded(&machine.install(&lamp(version, enabled)), false);
        succeeded(&machine.activate("lamp"), true);
        let state = "systemctl is-active lamp-a lamp-b || true";
        let state = machine.container().sh(state);
        let purged = machine.purge("lamp");
        assert_eq!((purged.failure, purged.device), (None, None));
        state.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(run("1", "lamp-a lamp-b"), "active active");
    assert_eq!(run("2", "lamp-a"), "active inactive");
    let record = machine.root().join("var/lib/wharf-installer/units/lamp");
    assert!(!record.exists());
}

/// Removes it by an apt that is configured to purge at each removal.
fn removed_by_an_apt_that_purges(bench: &Bench) {
    let root = bench.place.path();
    let purges = "APT::Get::Purge \"true\";\n";
    fs::write(root.join("etc/apt/apt.conf.d/99purge"), purges).unwrap();
    bench.install(&bench.file(&acme(), "acme", "1")).unwrap();
    removed(bench);
    assert_eq!(configuration(&root), ["acme.conf", "acme.generated"]);
    assert!(leaves_configuration(bench));
}

#[test]
fn a_removal_is_no_purge_also_where_apt_is_configured_to_purge() {
    removed_by_an_apt_that_purges(&Bench::apt());
}

#[test]
fn an_apt_that_purges_all_the_same_deletes_no_configuration() {
    let bench = Bench::apt();
    replace_apt_get(&bench.place.path(), &apt_get_without(&["Get::Purge"]));
    removed_by_an_apt_that_purges(&bench);
}

/// apt's own purge would purge `other` as well, and announce only `acme`.
#[test]
fn a_purge_leaves_the_configuration_that_others_marked_for_purging() {
    let bench = Bench::apt();
    let other = Deb::new("other", "1").conffile("/etc/other.conf", "x\n");
    bench.install(&bench.file(&other, "other", "1")).unwrap();
    bench.install(&bench.file(&acme(), "acme", "1")).unwrap();
    dpkg(&bench, &["--remove", "other"]);
    let root = bench.place.path();
    let mark = "echo other purge | dpkg --set-selections";
    let marked = bench
        .place
        .debian()
        .command("sh")
        .args(["-c", mark])
        .status();
    assert!(marked.unwrap().success());
    removed(&bench);
    assert_eq!(purge(&bench, QUIET), Ok(Change::Changed));
    assert_eq!(bench.place.debian().dpkg_state("acme"), None);
    let (state, _) = bench.place.debian().dpkg_state("other").unwrap();
    assert_eq!(state, "pc");
    assert!(root.join("etc/other.conf").exists());
}

#[test]
fn what_policy_does_not_allow_is_not_purged() {
    let machine = Machine::simulated().started();
    machine.install(&Deb::new("acme", "1"));
    let request = || perform(machine.operation(), Step::Purge(name("acme")));
    let InstallerReply::Refused(failure) = machine.ask(&request()) else {
        panic!("policy names no package");
    };
    assert_eq!(failure.cause, Cause::Policy);
    let key = "allow-purge = [\"acme\"]";
    assert!(failure.detail.as_str().contains(key), "{failure}");

    // The job reads policy, and reads it once more before it changes the device.
    machine.policy(ALLOWED);
    let gate = machine.gate();
    let (first, _) = machine.accepted(&Deb::new("first", "1"));
    let at_work = gate.wait();
    let request = request();
    assert_eq!(machine.ask(&request), InstallerReply::Accepted);
    let file = machine.root().join("etc/wharfd/installer.toml");
    let allowing = fs::read_to_string(&file).unwrap();
    fs::write(&file, allowing.replace(ALLOWED, "")).unwrap();
    gate.open(at_work);
    assert_eq!(machine.outcome(first).failure, None);
    let outcome = machine.run(&request);
    let failure = outcome.failure.expect("it is not allowed any more");
    assert_eq!(failure.cause, Cause::Policy);
    assert!(outcome.device.is_some());
    assert_eq!(machine.version("acme").as_deref(), Some("1"));

    machine.policy("allow-purge = [\"*\"]\nprotected = [\"acme\"]\n");
    let InstallerReply::Refused(failure) =
        machine.ask(&perform(machine.operation(), Step::Purge(name("acme"))))
    else {
        panic!("it is protected");
    };
    assert_eq!(failure.cause, Cause::Plan);
    assert_eq!(machine.effects(), ["install acme 1", "install first 1"]);
}

#[test]
fn what_policy_does_not_allow_any_more_once_the_package_is_removed_is_kept() {
    let mut machine = Machine::debian();
    machine.policy(ALLOWED);
    machine.start();
    let forbids = "sed -i /allow-purge/d /etc/wharfd/installer.toml";
    let deb = acme().script(Script::Prerm, forbids);
    assert_eq!(machine.install(&deb).failure, None);
    let outcome = machine.purge("acme");
    let failure = outcome.failure.expect("its configuration stays");
    assert_eq!((failure.cause, outcome.device), (Cause::Policy, None));
    let root = machine.root();
    assert_eq!(configuration(&root), ["acme.conf", "acme.generated"]);
    let (state, _) = machine.place.debian().dpkg_state("acme").unwrap();
    assert_eq!(state, "rc");
}

/// Policy is the cause only if nothing was done (Update Result 57).
#[test]
fn a_purge_that_policy_stops_after_it_began_says_that_it_was_interrupted() {
    let mut machine = Machine::debian();
    machine.policy(ALLOWED);
    machine.start();
    mount_proc(&machine);
    let forbids = format!("sed -i /allow-purge/d /etc/wharfd/installer.toml\n{KILL}");
    let deb = acme().script(Script::Prerm, &forbids);
    assert_eq!(machine.install(&deb).failure, None);
    let outcome = machine.purge("acme");
    let failure = outcome.failure.expect("it is not allowed any more");
    assert_eq!(failure.cause, Cause::Interrupted, "{failure}");
    let words = ["was left half-way", "policy does not allow purging acme"];
    for words in words {
        assert!(failure.detail.as_str().contains(words), "{failure}");
    }
    assert_eq!(machine.version("acme").as_deref(), Some("1"));
}

#[test]
fn a_purge_that_is_cancelled_is_given_up_and_policy_is_no_cause() {
    let mut machine = Machine::simulated();
    machine.policy(ALLOWED);
    machine.start();
    machine.install(&Deb::new("acme", "1"));
    let gate = machine.gate();
    let (first, _) = machine.accepted(&Deb::new("first", "1"));
    let at_work = gate.wait();
    let (operation, package) = (machine.operation(), name("acme"));
    assert_eq!(
        machine.ask(&perform(operation, Step::Purge(package))),
        InstallerReply::Accepted
    );
    assert_eq!(
        machine.ask(&InstallerRequest::Cancel { operation }),
        InstallerReply::Done
    );
    let failure = machine.outcome(operation).failure.expect("it is cancelled");
    assert_eq!(failure.cause, Cause::GaveUp, "{failure}");
    gate.open(at_work);
    assert_eq!(machine.outcome(first).failure, None);
    assert_eq!(machine.version("acme").as_deref(), Some("1"));
}

#[test]
fn a_purge_leaves_nothing_of_the_package_and_nothing_else_is_touched() {
    let mut machine = Machine::debian();
    machine.policy("allow-purge = [\"*\"]\n");
    machine.start();
    machine.install(&acme());
    machine.install(&Deb::new("user", "1").depends("acme"));
    let outcome = machine.purge("acme");
    let failure = outcome.failure.expect("another package needs it");
    assert_eq!(failure.cause, Cause::Plan);
    let words = "cannot remove acme: user depends on it";
    assert!(failure.detail.as_str().contains(words), "{failure}");
    assert_eq!(machine.version("acme").as_deref(), Some("1"));
    let root = machine.root();
    assert_eq!(configuration(&root), ["acme.conf", "acme.generated"]);

    assert_eq!(machine.purge("user").failure, None);
    let outcome = machine.purge("acme");
    assert_eq!((outcome.failure, outcome.device), (None, None));
    assert_eq!(configuration(&root), [""; 0]);
    let debian = machine.place.debian();
    assert_eq!(debian.dpkg_state("acme"), None);
    assert_eq!(debian.dpkg_state("user"), None);
}

#[test]
fn what_only_the_configuration_is_left_of_is_purged_and_what_is_gone_is_purged_already() {
    let debian = || {
        let mut machine = Machine::debian();
        machine.policy(ALLOWED);
        machine.start();
        machine.install(&acme());
        machine
    };
    let simulated = || {
        let mut machine = Machine::simulated();
        machine.policy(ALLOWED);
        machine.start();
        machine.install(&Deb::new("acme", "1"));
        machine
    };
    for machine in [debian(), simulated()] {
        assert_eq!(machine.remove("acme").failure, None);
        for _ in 0..2 {
            let outcome = machine.purge("acme");
            assert_eq!((outcome.failure, outcome.device), (None, None));
        }
        assert_eq!(configuration(&machine.root()), [""; 0]);
        let never = perform(machine.operation(), Step::Purge(name("never")));
        assert_eq!(
            crate::machine::refused(machine.ask(&never)),
            Cause::NotManaged
        );
    }
}

#[test]
fn a_purge_of_which_every_process_was_killed_is_finished() {
    for action in ["remove", "purge"] {
        let mut machine = Machine::debian();
        machine.policy(ALLOWED);
        machine.start();
        mount_proc(&machine);
        // wharf-job starts apt, which starts dpkg for the removal; it starts dpkg itself for the purge.
        let kill = match action {
            "remove" => KILL.to_owned(),
            _ => KILL.replace("1 2 3", "1 2"),
        };
        let script = format!("[ $1 != {action} ] || {{ {kill}; }}\nrm -f /etc/acme.generated");
        let deb = acme().script(Script::Postrm, &script);
        assert_eq!(machine.install(&deb).failure, None);
        let outcome = machine.purge("acme");
        assert!(machine.root().join("killed").exists(), "{action}");
        let attempts = (outcome.failure, outcome.attempts);
        assert_eq!(attempts, (None, 2), "{action}");
        assert_eq!(configuration(&machine.root()), [""; 0], "{action}");
        let debian = machine.place.debian();
        assert_eq!(debian.dpkg_state("acme"), None, "{action}");
        let audit = debian.command("dpkg").arg("--audit").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&audit.stdout), "", "{action}");
    }
}

#[test]
fn a_purge_that_ended_after_any_step_is_finished_by_the_next_attempt() {
    for step in [
        "job.applying",
        "apt.started",
        "apt.removed",
        "dpkg.purged",
        "job.applied",
        "job.synced",
        "ledger.recorded",
    ] {
        let (mut machine, ends) = stops_once_at(step);
        machine.policy(ALLOWED);
        machine.start();
        assert_eq!(machine.install(&acme()).failure, None);
        machine.installer().kill();
        let once = format!("mkdir ended 2>/dev/null && export WHARF_FAULT_AT={step}=1");
        start_with_jobs_that(&mut machine, &ends, &once);
        let outcome = machine.purge("acme");
        assert!(ends.with_file_name("ended").exists());
        assert_eq!((outcome.failure, outcome.device), (None, None), "{step}");
        assert_eq!(configuration(&machine.root()), [""; 0], "{step}");
        assert_eq!(machine.place.debian().dpkg_state("acme"), None, "{step}");
    }
}

/// A postrm that writes its last call to a file.
const LIGHT_LAMP: &str = "echo $DPKG_MAINTSCRIPT_PACKAGE $1 >/var/lib/lamp";

/// Begins a purge that `stops` interrupts, and then cuts the power.
fn purge_before_a_power_cut(machine: &mut Machine, stops: &Path) -> OperationId {
    machine.installer().kill();
    machine.start_program(stops, &[]);
    let (operation, package) = (machine.operation(), name("acme"));
    before_a_power_cut(
        machine,
        operation,
        &perform(operation, Step::Purge(package)),
    );
    operation
}

#[test]
fn what_the_scripts_of_a_purge_wrote_and_a_power_cut_took_is_written_again() {
    for step in ["apt.removed", "dpkg.purged", "job.applied"] {
        let (mut machine, stops) = stops_once_at(step);
        machine.policy(ALLOWED);
        machine.start();
        let deb = acme().script(Script::Postrm, LIGHT_LAMP);
        assert_eq!(machine.install(&deb).failure, None);
        let operation = purge_before_a_power_cut(&mut machine, &stops);
        let lamp = machine.root().join("var/lib/lamp");
        fs::write(&lamp, "").unwrap();
        machine.start();

        let outcome = machine.outcome(operation);
        assert_eq!((outcome.failure, outcome.device), (None, None), "{step}");
        assert_eq!(fs::read_to_string(lamp).unwrap(), "acme purge\n", "{step}");
        assert!(outcome.note.is_some(), "{step}");
        assert_eq!(machine.place.debian().dpkg_state("acme"), None, "{step}");
    }
}

/// dpkg deletes the script, and the power goes before it records the purge.
#[test]
fn the_copy_of_the_last_script_runs_where_dpkg_has_deleted_its_own() {
    let (mut machine, stops) = stops_once_at("job.applying");
    machine.policy(ALLOWED);
    machine.start();
    let deb = acme().script(Script::Postrm, LIGHT_LAMP);
    assert_eq!(machine.install(&deb).failure, None);
    assert_eq!(machine.remove("acme").failure, None);
    let operation = purge_before_a_power_cut(&mut machine, &stops);
    let root = machine.root();
    fs::remove_file(root.join("var/lib/dpkg/info/acme.postrm")).unwrap();
    let lamp = root.join("var/lib/lamp");
    fs::write(&lamp, "").unwrap();
    machine.start();

    let outcome = machine.outcome(operation);
    assert_eq!((outcome.failure, outcome.device), (None, None));
    assert_eq!(fs::read_to_string(lamp).unwrap(), "acme purge\n");
    assert_eq!(machine.place.debian().dpkg_state("acme"), None);
}

#[test]
fn a_purge_is_not_done_where_its_last_script_fails_when_it_is_run_again() {
    let (mut machine, stops) = stops_once_at("job.applied");
    machine.policy(ALLOWED);
    machine.start();
    let deb = acme().script(Script::Postrm, "[ ! -e /fails ] || exit 3");
    assert_eq!(machine.install(&deb).failure, None);
    let operation = purge_before_a_power_cut(&mut machine, &stops);
    fs::write(machine.root().join("fails"), "").unwrap();
    machine.start();

    let failure = machine.outcome(operation).failure.expect("it fails");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    assert!(
        failure.detail.as_str().contains("ended with 3"),
        "{failure}"
    );
    // The next job removes the copy of the script.
    machine.install(&Deb::new("bulb", "1"));
    let copies = fs::read_dir(machine.root().join("var/lib/wharf-installer/postrms")).unwrap();
    assert_eq!(copies.count(), 0);
}
