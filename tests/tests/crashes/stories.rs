//! The requests to a gateway and their results, for every possible last step of a run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wharf_fault::EXIT;
use wharf_software::InstanceId;
use wharf_tests::{
    command::output_of, folder::Folder, gateway::Gateway, keys::Signer, package::Package,
    server::TestServer,
};
use wharfd::store::HistoryEntry;

use crate::{
    kept::{End, Kept},
    left::{self, Left},
    line::Line,
    observer::Observer,
    operator::{Ask, Operator},
    vendor::Vendor,
};

/// A story of one instance of a gateway with the simulated package manager.
struct Story {
    instance: u16,
    /// The earlier requests.
    before: &'static [Ask],
    /// The requests that are interrupted.
    asks: &'static [Ask],
    /// Those of them that fail.
    failing: &'static [Ask],
    /// The fault of the package manager meanwhile.
    fault: Option<&'static str>,
    /// The effects of the package manager, each once.
    effects: &'static [&'static str],
    /// The history for servers: Update State, Update Result, PkgName, PkgVersion.
    history: &'static [&'static str],
}

use Ask::{Activate, Create, Deactivate, Delete, ForUpdate, Install, Pull, Push, Uninstall};

#[test]
fn a_pull_and_an_install_survive_an_exit_at_every_step() {
    at_every_step(&Story {
        instance: 0,
        before: &[],
        asks: &[Pull(1), Install],
        failing: &[],
        fault: None,
        effects: &["install hello 1.0.1"],
        history: &["1/1", "2/0", "3/0 hello 1.0.1", "4/2 hello 1.0.1"],
    });
}

#[test]
fn activations_survive_an_exit_at_every_step() {
    at_every_step(&Story {
        instance: 0,
        before: &[Pull(1), Install],
        asks: &[Activate, Deactivate],
        failing: &[],
        fault: None,
        effects: &["activate hello", "deactivate hello"],
        history: &["4/2 hello 1.0.1"],
    });
}

#[test]
fn an_upgrade_survives_an_exit_at_every_step() {
    at_every_step(&Story {
        instance: 0,
        before: &[Pull(1), Install],
        asks: &[ForUpdate, Pull(2), Install],
        failing: &[],
        fault: None,
        effects: &["install hello 2.0.1"],
        history: &[
            "4/2 hello 1.0.1",
            "0/0 hello 1.0.1",
            "1/1 hello 1.0.1",
            "2/0 hello 1.0.1",
            "3/0 hello 2.0.1",
            "4/2 hello 2.0.1",
        ],
    });
}

#[test]
fn a_push_survives_an_exit_at_every_step() {
    at_every_step(&Story {
        instance: 0,
        before: &[],
        asks: &[Push(1), Install],
        failing: &[],
        fault: None,
        effects: &["install hello 1.0.1"],
        history: &["1/1", "2/0", "3/0 hello 1.0.1", "4/2 hello 1.0.1"],
    });
}

#[test]
fn removals_survive_an_exit_at_every_step() {
    at_every_step(&Story {
        instance: 0,
        before: &[Pull(1), Install],
        asks: &[Uninstall, Pull(2), Install, ForUpdate, Uninstall],
        failing: &[],
        fault: None,
        effects: &["remove hello", "install hello 2.0.1", "remove hello"],
        history: &[
            "4/2 hello 1.0.1",
            "0/0",
            "1/1",
            "2/0",
            "3/0 hello 2.0.1",
            "4/2 hello 2.0.1",
            "0/0 hello 2.0.1",
            "0/0",
        ],
    });
}

#[test]
fn a_create_and_a_delete_survive_an_exit_at_every_step() {
    at_every_step(&Story {
        instance: 1,
        before: &[],
        asks: &[Create(1), Delete],
        failing: &[],
        fault: None,
        effects: &[],
        history: &["1/1", "2/0", "3/0 hello 1.0.1"],
    });
}

#[test]
fn a_refused_signature_survives_an_exit_at_every_step() {
    at_every_step(&Story {
        instance: 0,
        before: &[],
        asks: &[Pull(STRANGERS)],
        failing: &[Pull(STRANGERS)],
        fault: None,
        effects: &[],
        history: &["1/1", "2/0", "0/53"],
    });
}

#[test]
fn an_install_that_fails_survives_an_exit_at_every_step() {
    at_every_step(&Story {
        instance: 0,
        before: &[Pull(1), Install, ForUpdate, Pull(2)],
        asks: &[Install],
        failing: &[Install],
        fault: Some("fail-postinst"),
        effects: &[],
        history: &["3/0 hello 2.0.1", "3/58 hello 2.0.1"],
    });
}

#[test]
fn a_removal_that_fails_survives_an_exit_at_every_step() {
    at_every_step(&Story {
        instance: 0,
        before: &[Pull(1), Install],
        asks: &[Uninstall],
        failing: &[Uninstall],
        fault: Some("fail-postrm"),
        effects: &[],
        history: &["4/2 hello 1.0.1", "4/59 hello 1.0.1"],
    });
}

impl Story {
    /// A package that waits for its Install, or could not be installed, is kept.
    fn ends_delivered(&self) -> bool {
        let fails = |ask| self.failing.contains(ask);
        self.asks.last().is_some_and(|ask| match ask {
            Pull(_) | Push(_) | Create(_) => !fails(ask),
            Install => fails(ask),
            _ => false,
        })
    }
}

/// The smallest number of steps in which a run resumes the work of the one before.
const TAKEN_UP: u32 = 8;

#[test]
fn what_is_taken_up_survives_an_exit_at_every_step() {
    let story = Story {
        instance: 0,
        before: &[],
        asks: &[Pull(1), Install],
        failing: &[],
        fault: None,
        effects: &["install hello 1.0.1"],
        history: &["1/1", "2/0", "3/0 hello 1.0.1", "4/2 hello 1.0.1"],
    };
    let vendor = vendor();
    let prepared = prepare(&story, &vendor);
    for first in [
        "attempt.started=1",
        "seal.judged=1",
        "job.submitted=1",
        "discard.done=1",
    ] {
        for step in 1..=TAKEN_UP {
            let ends = survives(&story, &vendor, &prepared, &[first, &step.to_string()]);
            let least = match (first, step) {
                // The story ends with the file, just before.
                ("discard.done=1", _) => 0,
                (_, 1) => 2,
                _ => 1,
            };
            assert!(ends >= least, "{ends} exits at {first}, then {step}");
        }
    }
}

/// Runs the story with an exit at the first step, at the second, and so on, until a run has no such step.
fn at_every_step(story: &Story) {
    let vendor = vendor();
    let prepared = prepare(story, &vendor);
    let is_over = |step: &u32| survives(story, &vendor, &prepared, &[&step.to_string()]) == 0;
    let steps = (1..).find(is_over).unwrap_or_default() - 1;
    let least = 8 * story.asks.len() as u32;
    assert!(steps >= least, "{steps} exits, of at least {least}");
}

fn vendor() -> Vendor {
    let mut vendor = Vendor::new(Package::build_simulated);
    for release in [1, 2] {
        vendor.publish(release, 0);
    }
    vendor.publish_signed(STRANGERS, 0, Signer::Stranger);
    vendor
}

/// A release by a signer without trust.
const STRANGERS: u32 = 3;

/// A gateway after the earlier requests.
struct Prepared {
    lib: PathBuf,
    history: Vec<String>,
    _folder: Folder,
}

fn prepare(story: &Story, vendor: &Vendor) -> Prepared {
    let gateway = Gateway::simulated();
    vendor.introduce(&gateway);
    let before = Story {
        asks: story.before,
        failing: &[],
        fault: None,
        ..*story
    };
    let Told { kept, left, .. } = tell(&before, vendor, gateway, &[]);
    let folder = Folder::new();
    let root = kept.gateway.lock().unwrap().path();
    let lib = folder.make("lib");
    copy(&root.join("var/lib"), &lib);
    let _ = fs::remove_file(lib.join("wharf-simulated/history"));
    Prepared {
        lib,
        history: history(&left, story.instance),
        _folder: folder,
    }
}

/// Checks that the story stays the same with exits of wharfd at these steps. Returns the number of exits.
fn survives(story: &Story, vendor: &Vendor, prepared: &Prepared, steps: &[&str]) -> usize {
    let gateway = Gateway::simulated();
    vendor.introduce(&gateway);
    copy(&prepared.lib, &gateway.path().join("var/lib"));
    let mut expected = prepared.history.clone();
    expected.extend(story.history.iter().map(|line| (*line).to_owned()));
    expected.dedup();

    let told = tell(story, vendor, gateway, steps);
    assert!(
        told.ends.len() <= steps.len(),
        "ended by itself after {steps:?}"
    );
    for End { status, left } in &told.ends {
        assert_eq!(status.code(), Some(EXIT), "after {steps:?}");
        left.assert_whole();
        let so_far = history(left, story.instance);
        assert!(expected.starts_with(&so_far), "{steps:?} left {so_far:#?}");
    }
    told.left.assert_whole();
    told.left.assert_lawful();
    let whole = without_interrupted_push(history(&told.left, story.instance));
    assert_eq!(whole, expected, "after {steps:?}");
    assert_eq!(told.effects(), story.effects, "after {steps:?}");
    told.ends.len()
}

/// TS table 5.1.1-1: a push that was interrupted ends in INITIAL / 52, and the server sends it again.
fn without_interrupted_push(mut history: Vec<String>) -> Vec<String> {
    if history.starts_with(&["1/1", "0/52"].map(str::to_owned)) {
        history.drain(..2);
    }
    history
}

/// A story after its end.
struct Told {
    kept: Kept,
    ends: Vec<End>,
    left: Left,
}

impl Told {
    /// The effects of the package manager.
    fn effects(&self) -> Vec<String> {
        let root = self.kept.gateway.lock().unwrap().path();
        let effects = fs::read_to_string(root.join("var/lib/wharf-simulated/history"));
        let effects = effects.unwrap_or_default(); // it did nothing
        effects.lines().map(str::to_owned).collect()
    }
}

/// Sends the requests, one after the other, to a gateway that is kept running. Afterwards no unneeded file is left.
fn tell(story: &Story, vendor: &Vendor, gateway: Gateway, steps: &[&str]) -> Told {
    let server = TestServer::new();
    let root = gateway.path();
    if let Some(fault) = story.fault {
        let faults = root.join("etc/wharf-simulated");
        fs::create_dir_all(&faults).unwrap();
        fs::write(faults.join(fault), "").unwrap();
    }
    let kept = Kept::start(gateway, Line::to(server.address()), steps);
    let ends = kept.during(|| {
        let operator = Operator {
            vendor,
            server: &server,
            instance: story.instance,
        };
        // An instance that does not exist yet cannot be observed.
        let observer = (story.instance == 0).then(|| Observer::of(&server, story.instance));
        for ask in story.asks {
            let expected = !story.failing.contains(ask);
            assert_eq!(operator.try_for(*ask), expected, "{ask:?}, after {steps:?}");
        }
        if let Some(observer) = observer {
            observer.wait_until_told();
        }
        if !story.ends_delivered() {
            left::wait_until_unstaged(&root);
        }
    });
    let left = kept.settled();
    Told { kept, ends, left }
}

/// The history of an instance, as `4/2 hello 1.0.1`; lines that differ in the Status Reason alone are one.
fn history(left: &Left, instance: u16) -> Vec<String> {
    let entries = left.history.iter();
    let of_it = entries.filter(|entry| entry.instance == InstanceId(instance));
    let mut told: Vec<String> = of_it.map(line).collect();
    told.dedup();
    told
}

fn line(entry: &HistoryEntry) -> String {
    let update = format!("{}/{}", entry.update_state, entry.update_result);
    let software = format!("{} {}", entry.name, entry.version);
    format!("{update} {software}").trim_end().to_owned()
}

fn copy(from: &Path, to: &Path) {
    output_of(Command::new("cp").arg("-aT").arg(from).arg(to));
}
