//! Services of packages on a system that systemd runs: INACTIVE until Activate (TS 5.2), whatever their maintainer
//! scripts do, and whenever the power goes.

use std::{fs, os::unix::fs::PermissionsExt};

use wharf_frames::{
    Cause,
    installer::{Outcome, Request},
};
use wharf_tests::waiting::wait_until;

use crate::machine::{Deb, Machine, Script, name};

/// What starts something by itself, and the unit that another one starts without being enabled.
const KINDS: [&str; 4] = [".service", ".timer", ".socket", "-linked.service"];

const UNITS: &str = "/usr/lib/systemd/system";

/// How a package has its units enabled and started.
#[derive(Clone, Copy)]
enum By {
    /// debhelper's snippets (dh_installsystemd of debhelper 13).
    Debhelper,
    /// A postinst that calls systemctl itself.
    Hand,
}

impl By {
    fn postinst(self, package: &str) -> String {
        let units = format!("{package}.service {package}.timer {package}.socket");
        match self {
            Self::Debhelper => format!(
                "if [ \"$1\" = configure ] || [ \"$1\" = abort-upgrade ]; then\n\
                 for unit in {units}; do\n\
                 deb-systemd-helper unmask $unit >/dev/null || true\n\
                 if deb-systemd-helper --quiet was-enabled $unit; then\n\
                 deb-systemd-helper enable $unit >/dev/null || true\n\
                 else deb-systemd-helper update-state $unit >/dev/null || true; fi\n\
                 done\n\
                 systemctl --system daemon-reload >/dev/null || true\n\
                 if [ -n \"$2\" ]; then action=restart; else action=start; fi\n\
                 deb-systemd-invoke $action {units} >/dev/null || true\n\
                 fi"
            ),
            Self::Hand => format!(
                "systemctl daemon-reload\n\
                 for unit in {units}; do systemctl enable --quiet $unit; systemctl start $unit; done"
            ),
        }
    }
}

/// A package with a unit of each kind. What the services run tells the version.
fn services(package: &str, version: &str, by: By) -> Deb {
    let sleep =
        format!("[Service]\nExecStart=/bin/sh -c 'exec sleep infinity' {package}-{version}\n");
    let unit = |end: &str, text: &str| (format!("{UNITS}/{package}{end}"), text.to_owned());
    let files = [
        unit(
            ".service",
            &format!("{sleep}[Install]\nWantedBy=multi-user.target\n"),
        ),
        unit(
            ".timer",
            &format!(
                "[Timer]\nOnBootSec=1d\nUnit={package}-timed.service\n[Install]\nWantedBy=timers.target\n"
            ),
        ),
        unit(
            "-timed.service",
            "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        ),
        unit(
            ".socket",
            &format!(
                "[Socket]\nListenStream=/run/{package}.sock\nService={package}-asked.service\n\
                 [Install]\nWantedBy=sockets.target\n"
            ),
        ),
        unit("-asked.service", &sleep),
        unit("-linked.service", &sleep),
    ];
    let deb = files.into_iter().fold(
        Deb::new(package, version).script(Script::Postinst, &by.postinst(package)),
        |deb, (path, text)| deb.file(&path, text),
    );
    deb.link(
        &format!("{UNITS}/multi-user.target.wants/{package}-linked.service"),
        &format!("../{package}-linked.service"),
    )
}

/// A package of one service.
fn service(package: &str, version: &str, exec: &str) -> Deb {
    let unit = format!("[Service]\n{exec}\n[Install]\nWantedBy=multi-user.target\n");
    Deb::new(package, version)
        .file(&format!("{UNITS}/{package}.service"), unit)
        .script(
            Script::Postinst,
            &format!(
                "systemctl daemon-reload\nsystemctl enable --quiet {package}\nsystemctl restart {package}"
            ),
        )
}

const FOREVER: &str = "ExecStart=/bin/sleep infinity";

impl Machine {
    fn activate(&self, package: &str) -> Outcome {
        self.run(&Request::Activate {
            operation: self.operation(),
            package: name(package),
        })
    }

    fn deactivate(&self, package: &str) -> Outcome {
        self.run(&Request::Deactivate {
            operation: self.operation(),
            package: name(package),
        })
    }

    fn is_active(&self, package: &str) -> bool {
        self.state(package).expect("it is installed").active
    }

    /// The units of a package that run or wait for what they start.
    fn running(&mut self, package: &str) -> Vec<String> {
        let list = format!(
            "systemctl list-units --plain --no-legend --state=active,activating,reloading '{package}*'"
        );
        let units = self.container().sh(&list);
        let names = units
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter_map(|unit| unit.strip_prefix(package));
        names.map(str::to_owned).collect()
    }

    fn reboot(&mut self) {
        self.container().reboot();
        self.start();
    }

    fn dpkg_audit(&mut self) -> String {
        self.container().sh("dpkg --audit")
    }
}

fn succeeded(outcome: &Outcome, active: bool) {
    assert_eq!(outcome.failure, None);
    let device = outcome.device.as_ref().expect("it is installed");
    assert_eq!(device.active, active);
}

fn sorted(kinds: &[&str]) -> Vec<String> {
    let mut kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    kinds.sort();
    kinds
}

#[test]
fn installed_software_runs_between_activate_and_deactivate_and_at_no_other_boot() {
    let mut machine = Machine::booted();
    let packages = [("acme", By::Debhelper), ("other", By::Hand)];
    for (package, by) in packages {
        succeeded(&machine.install(&services(package, "1", by)), false);
        assert_eq!(machine.running(package), [""; 0], "{package} is installed");
    }
    machine.reboot();
    for (package, _) in packages {
        assert_eq!(machine.running(package), [""; 0], "{package} after a boot");
        assert!(!machine.is_active(package));
        succeeded(&machine.activate(package), true);
        succeeded(&machine.activate(package), true);
        assert_eq!(
            machine.running(package),
            sorted(&KINDS),
            "{package} activated"
        );
    }
    machine.reboot();
    for (package, _) in packages {
        assert_eq!(
            machine.running(package),
            sorted(&KINDS),
            "{package} after a boot"
        );
        assert!(machine.is_active(package));
        succeeded(&machine.deactivate(package), false);
        succeeded(&machine.deactivate(package), false);
        assert_eq!(machine.running(package), [""; 0], "{package} deactivated");
    }
    machine.reboot();
    for (package, by) in packages {
        assert_eq!(machine.running(package), [""; 0], "{package} after a boot");
        succeeded(&machine.activate(package), true);
        succeeded(&machine.install(&services(package, "2", by)), false);
        assert_eq!(machine.running(package), [""; 0], "{package} upgraded");
        succeeded(&machine.activate(package), true);
        assert_eq!(
            machine.running(package),
            sorted(&KINDS),
            "{package} upgraded"
        );
        let removed = machine.run(&Request::Remove {
            operation: machine.operation(),
            package: name(package),
        });
        assert_eq!(removed.failure, None);
        assert_eq!(machine.running(package), [""; 0], "{package} removed");
        let left = format!("ls /etc/systemd/system | grep '^{package}.*\\.d$' || true");
        assert_eq!(machine.container().sh(&left), "");
        succeeded(&machine.install(&services(package, "3", by)), false);
        succeeded(&machine.activate(package), true);
        assert_eq!(
            machine.running(package),
            sorted(&KINDS),
            "{package} came back"
        );
    }
    assert_eq!(machine.container().failed_units(), [""; 0]);
    assert_eq!(machine.dpkg_audit(), "");
}

#[test]
fn what_runs_is_what_the_device_says() {
    let mut machine = Machine::booted();
    machine.install(&service("acme", "1", FOREVER));
    succeeded(&machine.activate("acme"), true);
    let pid = |machine: &mut Machine| machine.container().unit::<u32>("acme.service", "MainPID");

    // By hand.
    for (command, active) in [
        ("stop", false),
        ("start", true),
        ("disable --quiet", false),
        ("enable --quiet", true),
    ] {
        machine.container().sh(&format!("systemctl {command} acme"));
        assert_eq!(machine.is_active("acme"), active, "systemctl {command}");
    }

    // The same again, and what is refused, leaves it running.
    let before = pid(&mut machine);
    succeeded(&machine.install(&service("acme", "1", FOREVER)), true);
    assert_eq!(pid(&mut machine), before);

    // An upgrade that fails with the old version intact.
    let refused = service("acme", "2", FOREVER).script(Script::Preinst, "exit 1");
    let outcome = machine.install(&refused);
    assert_eq!(
        outcome.failure.map(|failure| failure.cause),
        Some(Cause::Script)
    );
    let device = outcome.device.expect("the old version");
    assert_eq!((device.version.as_str(), device.active), ("1", true));
    assert_ne!(pid(&mut machine), 0);
    assert!(machine.is_active("acme"));

    // One that does not stay up is down, and says why.
    let failing =
        "ExecStart=/bin/sh -c 'echo no such anchor; exit 3'\nRestart=always\nRestartSec=200ms";
    succeeded(&machine.install(&service("acme", "3", failing)), false);
    let outcome = machine.activate("acme");
    let failure = outcome.failure.expect("it exits");
    assert_eq!(failure.cause, Cause::Unit);
    for words in ["acme.service", "no such anchor"] {
        assert!(failure.detail.as_str().contains(words), "{failure}");
    }
    assert_eq!(outcome.device.map(|device| device.active), Some(false));
    assert_eq!(machine.running("acme"), [""; 0]);
    let file = machine
        .container()
        .unit::<String>("acme.service", "UnitFileState");
    assert_eq!(file, "disabled");

    // Software without any unit is what was said last.
    succeeded(&machine.install(&Deb::new("library", "1")), false);
    succeeded(&machine.activate("library"), true);
    succeeded(&machine.deactivate("library"), false);
}

#[test]
fn a_power_cut_after_enable_leaves_the_software_down() {
    let mut machine = Machine::booted();
    let enable = By::Hand.postinst("acme");
    let postinst = format!("{enable}\n[ -e /root/go ] || {{ touch /root/waits; sleep infinity; }}");
    let deb = services("acme", "1", By::Hand).script(Script::Postinst, &postinst);
    let (operation, _) = machine.accepted(&deb);
    let waits = machine.root().join("root/waits");
    wait_until("the postinst", || waits.exists().then_some(()));
    machine.container().cut_power();
    machine.container().boot();
    assert_eq!(machine.running("acme"), [""; 0]);
    fs::write(machine.root().join("root/go"), "").unwrap();
    machine.start();
    let outcome = machine.outcome(operation);
    succeeded(&outcome, false);
    assert_eq!(outcome.attempts, 2);
    assert_eq!(machine.running("acme"), [""; 0]);
    assert_eq!(machine.dpkg_audit(), "");
    succeeded(&machine.activate("acme"), true);
    assert_eq!(machine.running("acme"), sorted(&KINDS));
}

#[test]
fn every_step_around_the_units_may_be_the_last_of_an_attempt() {
    let mut machine = Machine::booted();
    // The first attempt at each job ends after as many steps as the file says.
    let folder = machine.root().join("usr/libexec/wharfd");
    let steps = machine.root().join("opt/steps");
    fs::rename(folder.join("wharf-job"), folder.join("wharf-job.real")).unwrap();
    let script = "#!/bin/sh\nif [ -e /opt/steps ]; then\n\
                  export WHARF_FAULT_AT=$(cat /opt/steps)\nrm /opt/steps\nfi\n\
                  exec /usr/libexec/wharfd/wharf-job.real \"$@\"\n";
    fs::write(folder.join("wharf-job"), script).unwrap();
    fs::set_permissions(folder.join("wharf-job"), fs::Permissions::from_mode(0o755)).unwrap();
    let once = "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true";
    let mut step = 0;
    loop {
        step += 1;
        let version = step.to_string();
        let deb = service("acme", &version, once);
        let interrupt = || fs::write(&steps, &version).unwrap();
        interrupt();
        let installed = machine.install(&deb);
        succeeded(&installed, false);
        assert_eq!(machine.running("acme"), [""; 0], "after step {step}");
        interrupt();
        let activated = machine.activate("acme");
        succeeded(&activated, true);
        assert_eq!(machine.running("acme"), [".service"], "after step {step}");
        interrupt();
        let deactivated = machine.deactivate("acme");
        succeeded(&deactivated, false);
        assert_eq!(machine.running("acme"), [""; 0], "after step {step}");
        if [installed, activated, deactivated]
            .iter()
            .all(|outcome| outcome.attempts == 1)
        {
            break;
        }
    }
    assert!(step > 15, "only {step} steps were interrupted");
}
