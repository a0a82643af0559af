//! From Execute of Install to INSTALLED, compared with the commands of the package managers in the same root.

use std::{fs, path::Path, process::Command, time::Duration};

use wharf_tests::{
    command::output_of,
    gateway::Gateway,
    opkg_root::OpkgRoot,
    package::Package,
    rpm_root::{RpmRoot, is_dnf5},
};

use crate::{
    figure::Figure,
    statistics::{median, millis, ratio, time},
    story::Story,
};

const VERSIONS: usize = 9;

/// A command that installs a file, and how much longer wharfd may take.
struct Peer {
    figure: &'static str,
    aim: f64,
    program: &'static str,
    arguments: &'static [&'static str],
}

const APT: [Peer; 2] = [
    Peer {
        figure: "Install -> INSTALLED over apt-get install",
        aim: 0.35,
        program: "apt-get",
        arguments: &["install", "-y"],
    },
    Peer {
        figure: "Install -> INSTALLED over dpkg -i",
        aim: 2.5,
        program: "dpkg",
        arguments: &["-i"],
    },
];

const DNF4: [Peer; 2] = [
    Peer {
        figure: "Install -> INSTALLED over dnf install (dnf 4)",
        aim: 0.8,
        program: "dnf",
        arguments: &["install", "-y"],
    },
    Peer {
        figure: "Install -> INSTALLED over rpm -U (rpm 4)",
        aim: 6.0,
        program: "rpm",
        arguments: &["-U"],
    },
];

const DNF5: [Peer; 2] = [
    Peer {
        figure: "Install -> INSTALLED over dnf5 install",
        aim: 1.0,
        program: "dnf5",
        arguments: &["install", "-y"],
    },
    Peer {
        figure: "Install -> INSTALLED over rpm -U (rpm 6)",
        aim: 6.0,
        program: "rpm",
        arguments: &["-U"],
    },
];

const OPKG: [Peer; 1] = [Peer {
    figure: "Install -> INSTALLED over opkg install",
    aim: 2.0,
    program: "opkg",
    arguments: &["install"],
}];

/// Measures each package manager of this machine; opkg if one is on PATH, and dnf 5 if `WHARF_DNF5` is set, since its root comes from a suite that
/// changes every day.
pub(crate) fn measure_each() {
    measure(Gateway::debian(), &APT);
    measure(Gateway::rpm(RpmRoot::dnf4()), &DNF4);
    // It says so if this machine has none.
    if let Some(root) = OpkgRoot::new() {
        measure(Gateway::opkg(root), &OPKG);
    }
    match is_dnf5() {
        true => measure(dnf5(), &DNF5),
        false => println!("dnf 5 is measured if WHARF_DNF5 is set"),
    }
}

/// Debian's dnf 5 comes with a plugin that starts createrepo_c, which Debian does not bring.
fn dnf5() -> Gateway {
    let gateway = Gateway::rpm(RpmRoot::dnf5());
    gateway.write(
        "etc/dnf/libdnf5-plugins/local.conf",
        "[main]\nenabled = no\n",
    );
    gateway
}

/// Installs several versions of one package for each program in turn. The ratio is computed for each version, so that
/// other load on the machine weighs on both.
fn measure(gateway: Gateway, peers: &[Peer]) {
    in_memory(&gateway, "run");
    let story = Story::on(gateway);
    install(&story, peers, "0.0-1"); // the first is no upgrade
    let versions = (1..=VERSIONS).map(|number| install(&story, peers, &format!("{number}.0-1")));
    let (own, others): (Vec<Duration>, Vec<Vec<Duration>>) = versions.unzip();
    for (number, peer) in peers.iter().enumerate() {
        let other: Vec<Duration> = others.iter().map(|of| of[number]).collect();
        tell(peer, &own, &other);
    }
}

/// Moves a folder into memory, where each gateway has its /run.
fn in_memory(gateway: &Gateway, folder: &str) {
    let script = "cp -a \"$0\" \"$0.copy\" && mount -t tmpfs -o mode=755 tmpfs \"$0\" && cp -a \"$0.copy/.\" \"$0\"";
    output_of(
        Command::new("sh")
            .args(["-c", script])
            .arg(gateway.path().join(folder)),
    );
}

fn tell(peer: &Peer, own: &[Duration], other: &[Duration]) {
    let pairs = own.iter().zip(other);
    let mut ratios: Vec<f64> = pairs.map(|(own, other)| ratio(*own, *other)).collect();
    ratios.sort_by(f64::total_cmp);
    Figure {
        name: peer.figure,
        aim: Some(peer.aim),
        measured: ratios[VERSIONS / 2],
        unit: "",
        beside: format!(
            "{:.0} ms over {:.0} ms",
            millis(median(own.to_vec())),
            millis(median(other.to_vec()))
        ),
    }
    .tell();
}

/// The time of wharfd, and that of each peer.
fn install(story: &Story, peers: &[Peer], version: &str) -> (Duration, Vec<Duration>) {
    let package = |name: &str| Package::new(name, version).padding(200_000);
    let own = by_wharfd(story, &package("by-wharfd"));
    let by = |peer: &Peer| by(story, peer, &package(&format!("by-{}", peer.program)));
    (own, peers.iter().map(by).collect())
}

fn by_wharfd(story: &Story, package: &Package) -> Duration {
    story.order(&story.publish(package));
    story.wait_for_state("3");
    let (client, since) = (story.client(), story.server.notifications().len());
    let took = time(|| {
        client.execute("/9/0/4", "").expect("2.04");
        story.server.wait_for_notification("/9/0/7", "4", since);
    });
    story.uninstall("1"); // ForUpdate
    took
}

fn by(story: &Story, peer: &Peer, package: &Package) -> Duration {
    let file = story.gateway.build(package, story.folder.path());
    let name = Path::new("/tmp").join(file.file_name().expect("a name"));
    let inside = story.gateway.path();
    let inside = inside.join(name.strip_prefix("/").expect("absolute"));
    fs::copy(&file, inside).expect("a copy");
    let mut command = story.gateway.command_inside(peer.program);
    command.args(peer.arguments).arg(&name);
    time(|| drop(output_of(&mut command)))
}
