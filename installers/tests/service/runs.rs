//! Jobs that install more than one package: several files in one run, and dependencies.

use std::fs;

use wharf_frames::{
    Cause, OperationId, PackageVersion, Step,
    installer::{Dependency, InstallerReply, Outcome},
};
use wharf_installers::{Root, policy::Policy, queue::Queue, staging::Staging};

use crate::machine::{Deb, Machine, name, perform};

fn offer(machine: &Machine, deb: &Deb, package: &str) {
    let sources = machine.place.path().join("srv/wharf-simulated");
    fs::create_dir_all(&sources).unwrap();
    let built = deb.build_simulated(machine.packages.path());
    fs::copy(built, sources.join(package)).unwrap();
}

fn libfoo() -> Dependency {
    Dependency {
        name: name("libfoo"),
        version: PackageVersion::new("2").unwrap(),
    }
}

/// Does a job of these steps, which wharfd does not ask for yet.
pub(crate) fn run_steps(machine: &Machine, steps: Vec<Step>) -> Outcome {
    let operation = machine.operation();
    accept_steps(machine, operation, steps);
    // A request for a job that is there wakes the queue of the installer.
    let again = perform(operation, Step::Deactivate(name("acme")));
    assert_eq!(machine.ask(&again), InstallerReply::Accepted);
    machine.outcome(operation)
}

/// Records a job of these steps.
pub(crate) fn accept_steps(machine: &Machine, operation: OperationId, steps: Vec<Step>) {
    let root = Root::new(machine.place.path());
    let staging = Staging::new(&root, Policy::default().quota).unwrap();
    let sealed = |step: &Step| match step {
        Step::Install(stage) => Step::Install(staging.sealed(*stage).unwrap().file.clone()),
        step => Step::on(step.action(), step.package().unwrap().clone()).unwrap(),
    };
    let sealed: Vec<_> = steps.iter().map(sealed).collect();
    let queue = Queue::new(&root, "/nonexistent".into()).unwrap();
    queue.accept(operation, sealed).unwrap();
}

#[test]
fn installations_that_follow_each_other_are_one_run() {
    let machine = Machine::simulated().started();
    // Each needs the other one.
    let steps = [("acme", "lamp"), ("lamp", "acme")].map(|(package, other)| {
        let (stage, _) = machine.sealed(&Deb::new(package, "1").depends(other));
        Step::Install(stage)
    });
    let outcome = run_steps(&machine, steps.into());
    assert_eq!((outcome.failure, outcome.attempts), (None, 1));
    assert_eq!(machine.effects(), ["install acme 1", "install lamp 1"]);
}

#[test]
fn a_dependency_is_told_once_also_if_the_job_was_cut_off_while_it_came() {
    for dies in [false, true] {
        let machine = Machine::simulated().started();
        offer(&machine, &Deb::new("libfoo", "2"), "libfoo");
        if dies {
            machine.tell("die");
        }
        let outcome = machine.install(&Deb::new("acme", "1").depends("libfoo"));
        assert_eq!(outcome.failure, None);
        assert_eq!(outcome.attempts, if dies { 2 } else { 1 });
        assert_eq!(
            (outcome.dependencies, outcome.refreshed),
            (vec![libfoo()], true)
        );
        assert_eq!(machine.effects(), ["install libfoo 2", "install acme 1"]);
    }
}

#[test]
fn policy_decides_whether_a_dependency_comes() {
    let acme = Deb::new("acme", "1").depends("libfoo");
    for (policy, cause) in [
        ("dependencies = \"none\"\n", Cause::Dependency),
        (
            "dependencies = \"listed\"\nlisted-dependencies = [\"libbar\"]\n",
            Cause::Plan,
        ),
    ] {
        let machine = Machine::simulated().started();
        offer(&machine, &Deb::new("libfoo", "2"), "libfoo");
        machine.policy(policy);
        let outcome = machine.install(&acme);
        let failure = outcome.failure.expect("a refusal");
        assert_eq!(failure.cause, cause, "{failure}");
        assert_eq!(outcome.dependencies, []);
        assert_eq!(machine.effects(), [""; 0]);
    }
}
