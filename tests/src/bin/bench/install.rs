//! From Execute of Install to INSTALLED, compared with the package managers in the same root.

use std::{fs, path::Path, time::Duration};

use wharf_tests::{command::output_of, package::Package};

use crate::{
    figure::Figure,
    statistics::{median, millis, ratio, time},
    story::Story,
};

const VERSIONS: usize = 9;

/// The durations for one version.
struct Times {
    wharfd: Duration,
    apt: Duration,
    dpkg: Duration,
}

/// Installs several versions of three packages in turn. The ratio is computed for each version, so that other load on
/// the machine weighs on both.
pub(crate) fn measure(story: &Story) {
    install(story, "0.0-1"); // the first is no upgrade
    let versions = (1..=VERSIONS).map(|number| install(story, &format!("{number}.0-1")));
    let versions: Vec<Times> = versions.collect();
    tell(
        &versions,
        "Install -> INSTALLED over apt-get install",
        0.35,
        |of| of.apt,
    );
    tell(&versions, "Install -> INSTALLED over dpkg -i", 3.0, |of| {
        of.dpkg
    });
}

fn tell(versions: &[Times], name: &'static str, aim: f64, other: fn(&Times) -> Duration) {
    let middle = |time: fn(&Times) -> Duration| millis(median(versions.iter().map(time).collect()));
    let mut ratios: Vec<f64> = versions
        .iter()
        .map(|of| ratio(of.wharfd, other(of)))
        .collect();
    ratios.sort_by(f64::total_cmp);
    Figure {
        name,
        aim: Some(aim),
        measured: ratios[VERSIONS / 2],
        unit: "",
        beside: format!(
            "{:.0} ms over {:.0} ms",
            middle(|of| of.wharfd),
            middle(other)
        ),
    }
    .tell();
}

fn install(story: &Story, version: &str) -> Times {
    let package = |name| Package::new(name, version).padding(200_000);
    Times {
        wharfd: by_wharfd(story, &package("by-wharfd")),
        apt: by(story, "apt-get", &["install", "-y"], &package("by-apt")),
        dpkg: by(story, "dpkg", &["-i"], &package("by-dpkg")),
    }
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

fn by(story: &Story, program: &str, arguments: &[&str], package: &Package) -> Duration {
    let file = package.build(story.folder.path());
    let name = Path::new("/tmp").join(file.file_name().expect("a name"));
    let root = story.gateway.debian_root();
    fs::copy(
        &file,
        root.path().join(name.strip_prefix("/").expect("absolute")),
    )
    .expect("a copy");
    let mut command = root.command(program);
    command.args(arguments).arg(&name);
    time(|| drop(output_of(&mut command)))
}
