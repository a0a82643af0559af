//! Real packages of Debian, which nobody wrote for wharfd, on a booted gateway. wharfd installs, activates, deactivates
//! and removes each of them. A twin of the gateway does the same with apt and systemctl alone, and the two are
//! compared.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is tests"
)]

mod archive;
mod debian;
mod device;
mod pair;
mod story;
mod units;

use debian::{ALL, Real, SAMPLE};
use pair::Pair;

#[test]
fn a_few_real_packages_leave_the_device_as_apt_leaves_it() {
    let few = ALL.iter().filter(|real| SAMPLE.contains(&real.name));
    go_through(&few.collect::<Vec<_>>());
}

#[test]
#[ignore = "it takes a quarter of an hour: make packages"]
fn real_packages_leave_the_device_as_apt_leaves_it() {
    let only = std::env::var("PACKAGES").unwrap_or_default();
    let only: Vec<&str> = only.split_whitespace().collect();
    let chosen = |real: &&Real| only.is_empty() || only.contains(&real.name);
    go_through(&ALL.iter().filter(chosen).collect::<Vec<_>>());
}

/// Tests all of these, one after the other, on one gateway and its twin. Then both reboot.
fn go_through(packages: &[&Real]) {
    assert!(!packages.is_empty(), "no such package is in the table");
    let is_left = |real: &Real| story::LEFT.iter().any(|(name, _)| *name == real.name);
    let is_asked = |real: &Real| packages.iter().any(|asked| asked.name == real.name);
    let all = ALL.iter().filter(|real| is_asked(real) || is_left(real));
    let mut pair = Pair::boot(&all.collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for real in packages {
        wrong.extend(story::of(&mut pair, real));
    }
    wrong.extend(story::of_a_reboot(&mut pair));
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
