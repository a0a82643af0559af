//! Power cuts, replayed from the log of a disk. A gateway's root lies on a disk that logs each write and each flush. All
//! stories run once. Then the gateway boots from the disk as a power cut leaves it at some place of the log. Everything
//! that was announced to the server before the cut must hold.
//!
//! `make powercut` runs it, with apt and with dnf, or `WITH` one of them. `CUTS` is the number of cuts of each story, `SEED`
//! repeats the choices of an earlier run; `STORY` and `CUT` make one cut alone.
//!
//! - `world`: a network and a boot id of a thread's own; `machine`: a gateway on a disk.
//! - `memories`: the knowledge of the server.
//! - `story`: the requests, and the states in which the gateway rests; `recording`: one run of them.
//! - `cuts`: the places of the cuts; `recovery`: the boot after one; `device`: the truth about the package.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is tests"
)]

mod cuts;
mod device;
#[path = "../crashes/left.rs"]
mod left;
mod machine;
mod memories;
mod recording;
mod recovery;
mod story;
mod world;

use std::{
    collections::BTreeMap,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use wharf_tests::{manager::Manager, variable};

use self::{
    cuts::Cut,
    recording::Recording,
    recovery::{Recovered, Then, recover},
    story::{STORIES, Vendor},
    world::World,
};

/// The number of cuts of each story without `CUTS`.
const CUTS: usize = 100;
/// After one of this many cuts the power is cut again while the gateway recovers.
const TWICE: usize = 4;

/// The results of the cuts of a story.
#[derive(Debug, Default, Clone)]
struct Count {
    cuts: usize,
    second_cuts: usize,
    /// The failures that the server read, with the number of cuts.
    failures: BTreeMap<String, usize>,
    violations: Vec<String>,
}

#[test]
#[ignore = "it takes minutes: make powercut"]
fn what_was_announced_before_a_power_cut_holds_after_it_with_apt() {
    what_was_announced_holds(Manager::Apt);
}

#[test]
#[ignore = "it takes minutes: make powercut"]
fn what_was_announced_before_a_power_cut_holds_after_it_with_dnf() {
    what_was_announced_holds(Manager::Dnf);
}

fn what_was_announced_holds(manager: Manager) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = variable::number("SEED").unwrap_or(now.as_secs());
    println!("WITH={} SEED={seed}", manager.name());
    let begin = Instant::now();
    let vendor = Vendor::new(manager);
    let recording = thread::scope(|scope| {
        let told = scope.spawn(|| Recording::of(&World::new(), &vendor));
        told.join().expect("the stories, told without a cut")
    });
    println!(
        "recorded in {:?}: {}",
        begin.elapsed(),
        recording.described()
    );
    let counts = make_cuts(&recording, &vendor, seed);
    report(&counts, seed, begin);
    assert!(counts.iter().all(|count| count.violations.is_empty()));
}

fn make_cuts(recording: &Recording, vendor: &Vendor, seed: u64) -> Vec<Count> {
    let mut cuts = cuts::chosen(recording, seed, number("CUTS").unwrap_or(CUTS));
    if let Ok(story) = env::var("STORY") {
        cuts.retain(|cut| STORIES[cut.story].name == story);
    }
    if let Some(only) = number("CUT") {
        cuts = cuts::all(recording, seed);
        cuts.retain(|cut| cut.number == only && env::var("STORY") == Ok(cut.name().to_owned()));
        assert!(!cuts.is_empty(), "STORY and CUT name no cut");
    }
    let counts = Mutex::new(vec![Count::default(); STORIES.len()]);
    let left = Mutex::new(cuts.into_iter());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let world = World::new();
                let _origin = vendor.origin();
                loop {
                    let next = left.lock().unwrap().next();
                    let Some(cut) = next else { return };
                    make(&cut, recording, &world, vendor, &counts);
                }
            });
        }
    });
    counts.into_inner().unwrap()
}

/// Cuts the power once. After some cuts the power is cut again while the gateway recovers; after others all stories run to
/// their end.
fn make(
    cut: &Cut,
    recording: &Recording,
    world: &World,
    vendor: &Vendor,
    counts: &Mutex<Vec<Count>>,
) {
    let known = recording.known_at(cut.position);
    let image = cut.image(recording);
    let then = match cut.number % TWICE == TWICE / 2 {
        true => Then::GoOn,
        false => Then::Nothing,
    };
    let memory = recording.memories.at(cut.position);
    let first = attempt(|| recover(world, vendor, image.clone(), known, memory, then));
    let story = cut.story;
    counts.lock().unwrap()[story].cuts += 1;
    let Some(first) = judged(first, cut.to_string(), &mut counts.lock().unwrap()[story]) else {
        return;
    };
    if !cut.number.is_multiple_of(TWICE) {
        return;
    }
    let again = cut.again(&first.log);
    let memory = first.memories.at(again.position);
    let known = known.and_told(&memory);
    let image = again.image_over(&image, &first.log);
    let second = attempt(|| recover(world, vendor, image, known, memory, Then::Nothing));
    counts.lock().unwrap()[story].second_cuts += 1;
    let described = format!("{cut}, and again {}", again.when());
    judged(second, described, &mut counts.lock().unwrap()[story]);
}

fn judged(
    made: Result<Recovered, String>,
    described: String,
    count: &mut Count,
) -> Option<Recovered> {
    match made {
        Err(violation) => {
            println!("violation: {described}: {violation}");
            count.violations.push(format!("{described}: {violation}"));
            None
        }
        Ok(recovered) => {
            if let Some(failure) = &recovered.failure {
                *count.failures.entry(failure.clone()).or_default() += 1;
            }
            Some(recovered)
        }
    }
}

/// A panic is a violation of one cut, and does not end the others.
fn attempt(act: impl FnOnce() -> Result<Recovered, String>) -> Result<Recovered, String> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("it panicked").to_owned())
    })
}

fn report(counts: &[Count], seed: u64, begin: Instant) {
    for (story, count) in STORIES.iter().zip(counts) {
        for (failure, cuts) in &count.failures {
            println!("{}: {cuts} cuts ended in {failure}", story.name);
        }
        println!(
            "{}: {} cuts, {} second cuts, {} violations",
            story.name,
            count.cuts,
            count.second_cuts,
            count.violations.len()
        );
    }
    let sum = |of: fn(&Count) -> usize| counts.iter().map(of).sum::<usize>();
    println!(
        "SEED={seed}: {} cuts and {} second cuts in {:?}, {} violations",
        sum(|count| count.cuts),
        sum(|count| count.second_cuts),
        begin.elapsed(),
        sum(|count| count.violations.len())
    );
}

fn number(name: &str) -> Option<usize> {
    variable::number(name).map(|value| usize::try_from(value).expect("a small number"))
}
