//! Random kills: packages are installed, upgraded and removed repeatedly while wharfd, wharf-fetch, wharf-installer and
//! wharf-job are killed at random moments. `make soak` runs it for `SOAK_SECONDS`; `SOAK_SEED` repeats the choices of
//! an earlier run, `SOAK_DEBIAN=1` uses apt on a Debian root.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is tests"
)]

#[path = "crashes/kept.rs"]
mod kept;
#[path = "crashes/left.rs"]
mod left;
#[path = "crashes/line.rs"]
mod line;
#[path = "crashes/operator.rs"]
mod operator;
#[path = "crashes/vendor.rs"]
mod vendor;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wharf_tests::{
    chance::Chance, gateway::Gateway, package::Package, server::TestServer, variable,
};

use self::{
    kept::Kept,
    left::Left,
    line::Line,
    operator::{Ask, Operator},
    vendor::{NAME, Vendor, version},
};

const PROGRAMS: [&str; 4] = ["wharfd", "wharf-fetch", "wharf-installer", "wharf-job"];

/// The longest time between two kills, in milliseconds. If it is longer, kills hit little; if shorter, no work gets
/// done.
const LONGEST_PEACE: u64 = 100;
/// The longest wait for a program to kill, in milliseconds.
const PATIENCE: u64 = 300;
/// Large enough that kills hit the download.
const PULLED: usize = 4 << 20;
/// Small enough for a quick push.
const PUSHED: usize = 8 << 10;

/// The results so far.
#[derive(Debug, Default)]
struct Count {
    rounds: u32,
    kills: [u32; 4],
    failures: u32,
}

#[test]
#[ignore = "it takes as long as it is given: make soak"]
fn whatever_is_killed_at_any_moment_the_state_is_true() {
    let seconds = variable::number("SOAK_SECONDS").unwrap_or(60);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = variable::number("SOAK_SEED").unwrap_or(now.as_secs());
    println!("SOAK_SEED={seed}");
    let (mut chance, mut count) = (Chance(seed), Count::default());
    let debian = variable::number("SOAK_DEBIAN") == Some(1);
    let mut gateway = if debian {
        Gateway::debian()
    } else {
        Gateway::simulated()
    };
    let mut vendor = Vendor::new(if debian {
        Package::build
    } else {
        Package::build_simulated
    });
    vendor.introduce(&gateway);
    let give_up = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < give_up {
        let asks = round(&mut vendor, &mut count, &mut chance, debian);
        gateway = survive(gateway, &vendor, &asks, &mut count, &mut chance);
    }
    let Count {
        rounds,
        kills,
        failures,
    } = count;
    println!("{rounds} rounds, {failures} failures; killed: {PROGRAMS:?} {kills:?}");
}

/// A package from its first delivery to its removal, each time in newer versions.
fn round(vendor: &mut Vendor, count: &mut Count, chance: &mut Chance, debian: bool) -> Vec<Ask> {
    count.rounds += 1;
    let (first, second) = (2 * count.rounds, 2 * count.rounds + 1);
    vendor.publish(first, PULLED);
    let mut asks = vec![Ask::Create(first), Ask::Install];
    if !debian {
        asks.extend([Ask::Activate, Ask::Deactivate]); // the root has no service manager
    }
    asks.push(Ask::ForUpdate);
    asks.push(match chance.below(2) {
        0 => {
            vendor.publish(second, PUSHED);
            Ask::Push(second)
        }
        _ => {
            vendor.publish(second, PULLED);
            Ask::Pull(second)
        }
    });
    asks.extend([Ask::Install, Ask::Uninstall, Ask::Delete]);
    asks
}

/// Completes all of these requests. A request that failed, as the server reads it, is repeated.
fn survive(
    gateway: Gateway,
    vendor: &Vendor,
    asks: &[Ask],
    count: &mut Count,
    chance: &mut Chance,
) -> Gateway {
    let server = TestServer::new();
    let root = gateway.path();
    let wharfd = PathBuf::from(gateway.command("wharfd", &[]).get_program());
    let kept = Kept::start(gateway, Line::to(server.address()), &[]);
    let over = AtomicBool::new(false);
    let ends = kept.during(|| {
        let mut delivered = None;
        let operator = Operator {
            vendor,
            server: &server,
            instance: 1,
        };
        thread::scope(|scope| {
            let _over = kept::EndsWith(&over);
            scope.spawn(|| kill_at_random(&wharfd, &over, chance, &mut count.kills));
            for ask in asks {
                let mut next = *ask;
                while !operator.try_for(next) {
                    count.failures += 1;
                    next = again(next);
                }
                if let Ask::Create(release) | Ask::Pull(release) | Ask::Push(release) = ask {
                    delivered = Some(version(*release));
                }
                match ask {
                    Ask::Install => assert_eq!(installed(&kept), delivered),
                    Ask::Uninstall => assert_eq!(installed(&kept), None),
                    _ => {}
                }
            }
        });
        left::wait_until_unstaged(&root);
    });
    for end in &ends {
        end.left.assert_whole();
        assert_eq!(end.status.code(), None, "wharfd ended by itself");
    }
    let left: Left = kept.settled();
    left.assert_whole();
    left.assert_lawful();
    kept.into()
}

/// The request that repeats a failed one.
fn again(ask: Ask) -> Ask {
    match ask {
        Ask::Create(release) => Ask::Pull(release), // the instance is there
        ask => ask,
    }
}

/// The version according to the package manager.
fn installed(kept: &Kept) -> Option<String> {
    let gateway = kept.gateway.lock().unwrap();
    let simulated = gateway.path().join("var/lib/wharf-simulated");
    match simulated.exists() {
        true => fs::read_to_string(simulated.join(format!("{NAME}_version"))).ok(),
        false => gateway.debian_root().installed_version(NAME),
    }
}

/// Kills one of the programs in this wharfd's folder, or all of them, each after a random pause.
fn kill_at_random(wharfd: &Path, over: &AtomicBool, chance: &mut Chance, kills: &mut [u32; 4]) {
    while !over.load(Ordering::SeqCst) {
        let chosen = usize::try_from(chance.below(5)).unwrap();
        let chosen = if chosen < 4 { chosen..chosen + 1 } else { 0..4 };
        appears(&wharfd.with_file_name(PROGRAMS[chosen.start]), over);
        thread::sleep(Duration::from_millis(chance.below(20)));
        for one in chosen {
            for process in running(&wharfd.with_file_name(PROGRAMS[one])) {
                kills[one] += u32::from(kill(process, Signal::SIGKILL).is_ok());
            }
        }
        thread::sleep(Duration::from_millis(chance.below(LONGEST_PEACE)));
    }
}

/// Waits for a program that may start later.
fn appears(program: &Path, over: &AtomicBool) {
    let give_up = Instant::now() + Duration::from_millis(PATIENCE);
    while running(program).is_empty() && !over.load(Ordering::SeqCst) && Instant::now() < give_up {}
}

fn running(program: &Path) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe == program))
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .collect()
}
