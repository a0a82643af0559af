//! An upgrade that is activated in the same job has to stay up, else the version before is back.

use std::fs;

use wharf_frames::{
    Cause, OperationId, Step, Transaction,
    installer::{InstallerReply, InstallerRequest, JobPhase, JobStatus, Outcome},
};

use crate::machine::{Deb, Machine, name, perform};

/// With version 1 in place, and active if `active`. Upgrades are watched for so many seconds.
fn with_version_1(active: bool, steady: u32) -> Machine {
    let machine = Machine::simulated();
    machine.policy(&format!("steady = {steady}\n"));
    let machine = machine.started();
    assert_eq!(machine.install(&Deb::new("acme", "1")).failure, None);
    if active {
        let activate = perform(machine.operation(), Step::Activate(name("acme")));
        assert_eq!(machine.run(&activate).failure, None);
    }
    machine
}

/// Asks for the upgrade to version 2 with its activation.
fn upgrade(machine: &Machine) -> OperationId {
    let operation = machine.operation();
    let (stage, _) = machine.sealed(&Deb::new("acme", "2"));
    let steps = vec![Step::Install(stage), Step::Activate(name("acme"))];
    let request = InstallerRequest::Perform {
        operation,
        transaction: Transaction { steps },
    };
    assert_eq!(machine.ask(&request), InstallerReply::Accepted);
    operation
}

/// As in `acme 2, active`.
fn left(outcome: &Outcome) -> String {
    let found = outcome.device.as_ref().expect("acme");
    let activity = if found.active { "active" } else { "inactive" };
    format!("{found}, {activity}")
}

/// The behaviour of the services while they are watched.
fn simulate(machine: &Machine, fault: &str, version: &str) {
    fs::write(machine.tell(fault), version).unwrap();
}

#[test]
fn an_upgrade_that_stays_up_is_active_and_one_that_does_not_is_sent_back() {
    for (crashes, expected) in [("9", "acme 2, active"), ("2", "acme 1, active")] {
        let machine = with_version_1(true, 2);
        simulate(&machine, "crash", crashes);
        let outcome = machine.outcome(upgrade(&machine));
        assert_eq!(left(&outcome), expected);
        let failure = outcome.failure.map(|it| (it.cause, it.detail.to_string()));
        let sent_back = (Cause::Unit, "it was sent back: simulated: crash".to_owned());
        assert_eq!(failure, (crashes == "2").then_some(sent_back));
    }
}

#[test]
fn a_job_tells_that_it_watches_the_services_of_an_upgrade() {
    let machine = with_version_1(true, 2);
    let operation = upgrade(&machine);
    let client = machine.wharfd();
    let mut answer = client.ask(&InstallerRequest::Watch { operation });
    let mut phases = Vec::new();
    while let InstallerReply::Job(JobStatus::Open { phase, .. }) = answer {
        phases.push(phase);
        let (next, _) = client.receive().expect("the next status");
        answer = next;
    }
    phases.dedup();
    assert!(phases.contains(&JobPhase::Watching), "{phases:?}");
    assert!(phases.is_sorted(), "{phases:?}");
}

#[test]
fn with_a_steady_time_of_0_the_services_of_an_upgrade_only_have_to_start() {
    let machine = with_version_1(true, 0);
    simulate(&machine, "crash", "2");
    let outcome = machine.outcome(upgrade(&machine));
    assert_eq!(outcome.failure, None);
    assert_eq!(left(&outcome), "acme 2, active");
}

#[test]
fn the_activation_is_left_to_a_job_of_its_own_if_going_back_leads_to_nothing_that_runs() {
    type Spoil = fn(&Machine);
    let spoils: [(&str, bool, Spoil); 3] = [
        ("the version before does not run", false, |_| ()),
        ("it is restarted again and again", true, |machine| {
            simulate(machine, "restarts", "");
        }),
        ("its file is not kept", true, |machine| {
            machine.policy("back.bytes = 0\n");
        }),
    ];
    for (what, active, spoil) in spoils {
        let machine = with_version_1(active, 2);
        spoil(&machine);
        simulate(&machine, "fail-activate", "");
        let outcome = machine.outcome(upgrade(&machine));
        assert_eq!(outcome.failure, None, "{what}");
        assert_eq!(left(&outcome), "acme 2, inactive", "{what}");
    }
}

#[test]
fn the_activation_of_a_bundle_that_does_not_go_back_is_left_to_a_job_of_its_own() {
    let machine = Machine::simulated().started();
    let bundle = |version: &str| {
        let bundle = machine.bundle_of("stack", version, &[&Deb::new("acme", version)]);
        bundle.lines("undo = false")
    };
    assert_eq!(machine.install_bundle(&bundle("1")).failure, None);
    let activate = perform(machine.operation(), Step::Activate(name("stack")));
    assert_eq!(machine.run(&activate).failure, None);
    simulate(&machine, "fail-activate", "");
    let (stage, _) = machine.sealed_bundle(&bundle("2"));
    let outcome = machine.run(&InstallerRequest::Perform {
        operation: machine.operation(),
        transaction: Transaction {
            steps: vec![Step::Install(stage), Step::Activate(name("stack"))],
        },
    });
    assert_eq!(outcome.failure, None);
    assert_eq!(left(&outcome), "stack 2, inactive");
}
