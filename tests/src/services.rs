//! Packages with services, with a unit of each kind, and the running ones on a system. Independent of wharfd.

use crate::{
    container::Container,
    package::{Package, Script},
};

/// Name endings of the running units of [`services`]: those that it enables, and one that another unit starts.
pub const KINDS: [&str; 4] = ["-linked.service", ".service", ".socket", ".timer"];

/// debhelper 13 of Debian 12 looks nowhere else.
pub const UNITS: &str = "/lib/systemd/system";

/// The part of a package that enables and starts its units.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// debhelper's scripts.
    Debhelper,
    /// A postinst that calls systemctl itself.
    Hand,
    /// The macros of rpm packages, as they expand up to EL 8.
    Macros,
}

/// A package with a unit of each kind. The command line of its services contains the version.
pub fn services(package: &str, version: &str, by: By) -> Package {
    let sleep =
        format!("[Service]\nExecStart=/bin/sh -c 'sleep infinity & wait' {package}-{version}\n");
    let files = [
        (
            ".service",
            format!("{sleep}[Install]\nWantedBy=multi-user.target\n"),
        ),
        (
            ".timer",
            format!(
                "[Timer]\nOnBootSec=1d\nUnit={package}-timed.service\n[Install]\nWantedBy=timers.target\n"
            ),
        ),
        (
            "-timed.service",
            "[Service]\nType=oneshot\nExecStart=/bin/true\n".to_owned(),
        ),
        (
            ".socket",
            format!(
                "[Socket]\nListenStream=/run/{package}.sock\nService={package}-asked.service\n\
                 [Install]\nWantedBy=sockets.target\n"
            ),
        ),
        ("-asked.service", sleep.clone()),
        ("-linked.service", sleep.clone()),
    ];
    let with_files = files
        .into_iter()
        .fold(Package::new(package, version), |made, (end, text)| {
            made.file(&format!("{UNITS}/{package}{end}"), text)
        });
    let with_link = with_files.link(
        &format!("{UNITS}/multi-user.target.wants/{package}-linked.service"),
        &format!("../{package}-linked.service"),
    );
    match by {
        By::Debhelper => with_link.debhelper(),
        By::Hand => with_link.script(Script::Postinst, &enable_and_start(package)),
        By::Macros => with_macros(with_link, package),
    }
}

/// `%systemd_post`, `%systemd_preun` and `%systemd_postun_with_restart`.
fn with_macros(package: Package, name: &str) -> Package {
    let units = format!("{name}.service {name}.timer {name}.socket");
    let on = |numbers: &str, command: &str| {
        format!("if [ $1 {numbers} ]; then systemctl {command} {units} >/dev/null 2>&1 || :; fi")
    };
    package
        .script(Script::Postinst, &on("-eq 1", "--no-reload preset"))
        .script(Script::Prerm, &on("-eq 0", "--no-reload disable --now"))
        .script(Script::Postrm, &on("-ge 1", "try-restart"))
}

/// A postinst that enables and starts the units of [`services`].
fn enable_and_start(package: &str) -> String {
    format!(
        "systemctl daemon-reload\n\
         for unit in {package}.service {package}.timer {package}.socket; do\n\
         systemctl enable --quiet $unit; systemctl start $unit; done"
    )
}

/// The running units of a package, sockets and timers included, by the part after its name.
pub fn running(container: &Container, package: &str) -> Vec<String> {
    let list = format!(
        "systemctl list-units --plain --no-legend --state=active,activating,reloading '{package}*'"
    );
    let units = container.sh(&list);
    let names = units
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter_map(|unit| unit.strip_prefix(package));
    let mut running: Vec<String> = names.map(str::to_owned).collect();
    running.sort();
    running
}
