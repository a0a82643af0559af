//! Real packages of Debian, which were not written for wharfd, on a booted gateway. wharfd installs, activates,
//! deactivates and removes each of them. A twin of the gateway does the same with apt and systemctl alone, and the two
//! are compared.

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
    let few = |real: &&Real| SAMPLE.contains(&real.name);
    let on_device = |real: &&Real| few(real) || story::is_left(real);
    go_through(&chosen(few), &chosen(on_device));
}

#[test]
#[ignore = "it takes a quarter of an hour: make packages"]
fn real_packages_leave_the_device_as_apt_leaves_it() {
    let only = std::env::var("PACKAGES").unwrap_or_default();
    let only: Vec<&str> = only.split_whitespace().collect();
    let asked = |real: &&Real| only.is_empty() || only.contains(&real.name);
    // Each choice finds the same device, which is made once for all of them.
    go_through(&chosen(asked), &chosen(|_| true));
}

fn chosen(which: impl Fn(&&Real) -> bool) -> Vec<&'static Real> {
    ALL.iter().filter(which).collect()
}

/// Tests the packages, one after the other, on one gateway and its twin, which are made for all packages of `device`. Then
/// both reboot.
fn go_through(packages: &[&Real], device: &[&Real]) {
    assert!(!packages.is_empty(), "no such package is in the table");
    let mut pair = Pair::boot(device);
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
