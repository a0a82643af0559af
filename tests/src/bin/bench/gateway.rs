//! A gateway that booted with wharfd's package, with Leshan over DTLS as its server. dbus-daemon, which every such
//! gateway runs anyway, is the peer.

use std::{
    thread,
    time::{Duration, Instant},
};

use wharf_tests::{
    booted::{Booted, install_wharfd},
    container::Container,
    leshan::Leshan,
};

use crate::{figure::Figure, memory::megabytes};

/// The time without any request.
const IDLE: Duration = Duration::from_secs(120);
const SETTLED: Duration = Duration::from_secs(10);

/// One boot for all figures.
pub(crate) fn measure() {
    let gateway = Booted::<Leshan>::by_leshan();
    let [apt, registered] = installed_again(&gateway);
    Figure {
        name: "apt install -> registered over DTLS",
        aim: None,
        measured: apt + registered,
        unit: "s",
        beside: format!("{apt:.2} s of it are apt-get"),
    }
    .tell();
    let size = |package: &str| {
        let query = format!("dpkg-query -W -f '${{Installed-Size}}' {package}");
        let kilobytes: f64 = gateway.container.sh(&query).parse().expect("a size");
        kilobytes * 1024.0 / 1e6
    };
    Figure {
        name: "installed size",
        aim: None,
        measured: size("wharfd"),
        unit: "MB",
        beside: format!("apt {:.2} MB", size("apt")),
    }
    .tell();
    wake_ups(&gateway.container);
    memory(&gateway.container);
}

/// The seconds of apt-get, and the seconds from its end until the server knows the gateway.
fn installed_again(gateway: &Booted<Leshan>) -> [f64; 2] {
    gateway.container.sh("apt-get purge -y wharfd </dev/null");
    let begin = Instant::now();
    install_wharfd(&gateway.container);
    let apt = begin.elapsed();
    gateway.configure();
    [apt, begin.elapsed() - apt].map(|time| time.as_secs_f64())
}

/// The number of wake-ups while idle.
fn wake_ups(container: &Container) {
    // wharfd asked it at its start, so its idle time would end in the middle of the measurement.
    container.sh("systemctl stop wharf-installer");
    settle(container);
    let units = ["wharfd", "dbus"];
    let before = units.map(|unit| slept(container, unit));
    thread::sleep(IDLE);
    let minutes = IDLE.as_secs_f64() / 60.0;
    let mut per_minute = [0.0; 2];
    for ((unit, before), found) in units.iter().zip(before).zip(&mut per_minute) {
        *found = (slept(container, unit) - before) / minutes;
    }
    let [own, other] = per_minute;
    Figure {
        name: "wake-ups in an idle minute, booted, over DTLS",
        aim: Some(1.0),
        measured: own,
        unit: "",
        beside: format!("dbus-daemon {other:.2}"),
    }
    .tell();
}

/// Waits until wharfd has slept for ten seconds.
fn settle(container: &Container) {
    loop {
        let before = slept(container, "wharfd");
        thread::sleep(SETTLED);
        if slept(container, "wharfd") == before {
            return;
        }
    }
}

fn memory(container: &Container) {
    let [own, other] = ["wharfd", "dbus"].map(|unit| of_main(container, unit, "smaps_rollup"));
    for (name, field, aim) in [
        (
            "anonymous memory, booted, idle, over DTLS",
            "Anonymous",
            2.0,
        ),
        ("PSS, booted, idle, over DTLS", "Pss", 6.0),
    ] {
        Figure {
            name,
            aim: Some(aim),
            measured: megabytes(&own, field),
            unit: "MB",
            beside: format!("dbus-daemon {:.2} MB", megabytes(&other, field)),
        }
        .tell();
    }
}

/// The number of times that the threads of a unit's main process went to sleep (proc_pid_status(5)).
fn slept(container: &Container, unit: &str) -> f64 {
    let status = of_main(container, unit, "task/*/status");
    let counts = status
        .lines()
        .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    counts
        .map(|count| count.trim().parse::<f64>().expect("a count"))
        .sum()
}

/// A file in /proc of a unit's main process.
fn of_main(container: &Container, unit: &str, file: &str) -> String {
    container.sh(&format!(
        "cat /proc/$(systemctl show --property MainPID --value {unit})/{file}"
    ))
}
