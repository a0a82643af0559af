//! Packages with services, with a unit of each kind, and the running ones on a system. Independent of wharfd.

use crate::{
    container::Container,
    package::{Package, Script},
    rpm_package::RpmPackage,
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
    /// The same macros as they expand on Fedora: they call a program of systemd, if it is there ([`update_helper`]).
    Helper,
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
        By::Helper => with_helper(with_link, package),
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

/// The same macros of systemd 249 and later.
fn with_helper(package: Package, name: &str) -> Package {
    let units = format!("{name}.service {name}.timer {name}.socket");
    let on = |numbers: &str, verb: &str| {
        format!(
            "if [ $1 {numbers} ] && [ -x \"{HELPER}\" ]; then\n    {HELPER} {verb} {units} || :\nfi"
        )
    };
    package
        .script(Script::Postinst, &on("-eq 1", "install-system-units"))
        .script(Script::Prerm, &on("-eq 0", "remove-system-units"))
        .script(Script::Postrm, &on("-ge 1", "mark-restart-system-units"))
}

/// The program that Fedora's macros call.
const HELPER: &str = "/usr/lib/systemd/systemd-update-helper";

/// A package with that program, and with the triggers that Fedora's systemd has for the units of all packages: Debian's systemd
/// has neither.
pub fn update_helper() -> RpmPackage {
    let program = "#!/bin/sh\nverb=$1\nshift\ncase $verb in\n\
        install-system-units) systemctl --no-reload preset \"$@\" ;;\n\
        remove-system-units) systemctl --no-reload disable --now \"$@\" ;;\n\
        mark-restart-system-units) for unit; do systemctl set-property \"$unit\" Markers=+needs-restart; done ;;\n\
        system-reload) systemctl daemon-reload ;;\n\
        system-restart) systemctl reload-or-restart --marked ;;\n\
        *) exit 3 ;;\nesac\n";
    let trigger = |package: RpmPackage, (on, priority, verb): (&str, u32, &str)| {
        let folders = format!("{UNITS}/ /usr{UNITS}/ /etc/systemd/system/");
        let line = format!("%transfiletrigger{on} -P {priority} -- {folders}");
        package.trigger(&line, &format!("{HELPER} {verb} || :"))
    };
    let package = RpmPackage::new("systemd-triggers", "252")
        .file("/usr/bin/systemd-update-helper", program)
        .link(HELPER, "/usr/bin/systemd-update-helper");
    [
        ("in", 1_000_900, "system-reload"),
        ("postun", 1_000_100, "system-reload"),
        ("postun", 10_000, "system-restart"),
    ]
    .into_iter()
    .fold(package, trigger)
}

/// A postinst that enables and starts the units of [`services`].
fn enable_and_start(package: &str) -> String {
    format!(
        "systemctl daemon-reload\n\
         systemctl enable --quiet --now {package}.service {package}.timer {package}.socket"
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
