//! Jobs with dnf, from the sealed .rpm to the outcome: dnf 4, or dnf 5 if `WHARF_DNF5` is set.

use std::{fs, net::TcpListener};

use wharf_frames::{
    Cause, Step,
    installer::{InstallerReply, InstallerRequest},
};

use wharf_tests::{rpm_repository::RpmRepository, waiting::wait_until};

use crate::{
    crash::{Fault, after_each_step, writes_again_what_a_power_cut_took},
    machine::{Deb, Machine, Script, perform, refused},
};

#[test]
fn a_cancel_ends_a_download_of_dependencies_from_a_repository() {
    let machine = Machine::dnf().started();
    let repository = RpmRepository::new(&machine.root());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    repository.is_at(&format!("http://{}", silent.local_addr().unwrap()));
    // Without the cancel, dnf waits for longer than the test.
    let file = machine.root().join("etc/yum.repos.d/tests.repo");
    let patient = fs::read_to_string(&file).unwrap();
    fs::write(&file, patient.replace("timeout=5", "timeout=600")).unwrap();
    let (operation, _) = machine.accepted(&Deb::new("acme", "1").depends("libfoo"));
    let _connection = wait_until("a download", || silent.accept().ok());
    machine.cancel_what_runs(operation);
    // The locks are free, and the queue goes on.
    assert_eq!(machine.install(&Deb::new("other", "1")).failure, None);
    assert!(silent.accept().is_err(), "nothing is fetched any more");
}

#[test]
fn jobs_install_upgrade_and_remove_an_rpm() {
    let machine = Machine::dnf().started();
    match machine.ask(&InstallerRequest::Hello { protocol: 1 }) {
        InstallerReply::Hello {
            package_manager,
            architecture,
            ..
        } => assert_eq!(
            (package_manager.as_str(), architecture.as_str()),
            ("dnf", "x86_64")
        ),
        other => panic!("{other:?}"),
    }
    for version in ["1.0~rc1-1", "1.0-1", "1.0^git2-1", "1:0.5-2"] {
        let (_, package) = machine.sealed(&Deb::new("acme", version));
        assert_eq!(package.version.as_str(), version);
        let outcome = machine.install(&Deb::new("acme", version));
        assert_eq!(outcome.failure, None, "{version}");
        let device = outcome.device.expect("the package");
        assert_eq!(device.to_string(), format!("acme {version}"));
        assert!(device.managed);
    }
    for lower in ["9.0-1", "1:0.5~rc9-9"] {
        let (stage, _) = machine.sealed(&Deb::new("acme", lower));
        let operation = machine.operation();
        let cause = refused(machine.ask(&perform(operation, Step::Install(stage))));
        assert_eq!(cause, Cause::Downgrade, "{lower}");
    }
    let fails = Deb::new("acme", "2:1").script(Script::Postinst, "echo no anchor; exit 3");
    let outcome = machine.install(&fails);
    let failure = outcome.failure.expect("it fails");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    assert!(
        failure.detail.as_str().contains("it said: no anchor"),
        "{failure}"
    );
    let device = outcome.device.expect("the version before");
    assert_eq!(device.to_string(), "acme 1:0.5-2");
    let words = "it was sent back";
    assert!(failure.detail.as_str().contains(words), "{failure}");
    let outcome = machine.remove("acme");
    assert_eq!((outcome.failure, outcome.device), (None, None));
}

#[test]
fn each_end_is_true_after_an_upgrade_by_dnf_ended_at_any_step() {
    after_each_step(Machine::dnf, |step| Fault::Job(2, step));
}

#[test]
fn each_end_is_true_after_a_removal_by_dnf_ended_at_any_step() {
    after_each_step(Machine::dnf, |step| Fault::Job(4, step));
}

#[test]
fn what_a_script_wrote_and_a_power_cut_took_is_written_again() {
    for step in ["dnf.installed", "job.applied"] {
        writes_again_what_a_power_cut_took(Machine::dnf(), step);
    }
}
