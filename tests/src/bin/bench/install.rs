//! From Execute of Install to INSTALLED, beside the package managers in the same root.

use std::{fs, path::Path, time::Duration};

use wharf_tests::{command::output_of, package::Package};

use crate::{
    figure::Figure,
    statistics::{median, millis, ratio, time},
    story::Story,
};

const VERSIONS: usize = 7;

#[derive(Default)]
struct Times {
    wharfd: Vec<Duration>,
    apt: Vec<Duration>,
    dpkg: Vec<Duration>,
}

/// Several versions upwards of three packages that differ in their names.
pub(crate) fn measure(story: &Story) {
    let mut times = Times::default();
    for number in 0..=VERSIONS {
        let took = install(story, &format!("{number}.0-1"));
        if number > 0 {
            times.wharfd.push(took.0);
            times.apt.push(took.1);
            times.dpkg.push(took.2);
        }
    }
    let own = median(times.wharfd);
    for (name, aim, other, time) in [
        (
            "Install -> INSTALLED over apt-get install",
            0.35,
            "apt-get",
            median(times.apt),
        ),
        (
            "Install -> INSTALLED over dpkg -i",
            3.0,
            "dpkg",
            median(times.dpkg),
        ),
    ] {
        Figure {
            name,
            aim: Some(aim),
            measured: ratio(own, time),
            unit: "",
            beside: format!(
                "{:.0} ms over {other}'s {:.0} ms",
                millis(own),
                millis(time)
            ),
        }
        .tell();
    }
}

fn install(story: &Story, version: &str) -> (Duration, Duration, Duration) {
    let package = |name| Package::new(name, version).padding(200_000);
    let wharfd = by_wharfd(story, &package("by-wharfd"));
    let apt = by(story, "apt-get", &["install", "-y"], &package("by-apt"));
    let dpkg = by(story, "dpkg", &["-i"], &package("by-dpkg"));
    (wharfd, apt, dpkg)
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
