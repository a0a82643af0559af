//! Services of packages under systemd: INACTIVE until Activate (TS 5.2), whatever their maintainer scripts do, also
//! after power cuts.

use std::fs;

use wharf_frames::{
    Cause, Step, Transaction,
    installer::{InstallerReply, InstallerRequest, Outcome, StageEntry},
};
use wharf_tests::{
    repository::Repository,
    rpm_repository::RpmRepository,
    services::{self, By, KINDS, UNITS, services, update_helper},
    waiting::wait_until,
};

use crate::{
    machine::{Deb, Machine, Place, Script, name, perform, place_script},
    purge::a_purged_package_starts_only_what_its_next_installation_enables,
};

/// A package of one service.
pub(crate) fn service(package: &str, version: &str, exec: &str) -> Deb {
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

pub(crate) const FOREVER: &str = "ExecStart=/bin/sleep infinity";

impl Machine {
    pub(crate) fn activate(&self, package: &str) -> Outcome {
        self.run(&perform(self.operation(), Step::Activate(name(package))))
    }

    pub(crate) fn deactivate(&self, package: &str) -> Outcome {
        self.run(&perform(self.operation(), Step::Deactivate(name(package))))
    }

    pub(crate) fn is_active(&self, package: &str) -> bool {
        self.state(package).expect("it is installed").active
    }

    pub(crate) fn running(&mut self, package: &str) -> Vec<String> {
        services::running(self.container(), package)
    }

    pub(crate) fn reboot(&mut self) {
        self.container().reboot();
        self.start();
    }

    /// The unfinished work of the package manager.
    fn unfinished(&mut self) -> String {
        let commands = match &self.place {
            Place::BootedRpm(_) => {
                "rpm -qa --qf '%{NAME}\n' | sort | uniq -d; ls /var/lib/wharf-installer/rpm-unfinished"
            }
            Place::BootedOpkg(_) => "ls /var/lib/wharf-installer/opkg | grep -v ':files$' || true",
            _ => "dpkg --audit",
        };
        self.container().sh(commands)
    }
}

pub(crate) fn succeeded(outcome: &Outcome, active: bool) {
    assert_eq!(outcome.failure, None);
    let device = outcome.device.as_ref().expect("it is installed");
    assert_eq!(device.active, active);
}

#[test]
fn installed_software_runs_between_activate_and_deactivate_and_at_no_other_boot() {
    let mut machine = Machine::booted();
    machine.policy("allow-purge = [\"other\", \"lamp\"]\n");
    let repository = Repository::new(&machine.root());
    repository.offer(&broker());
    repository.fetch();
    the_services_of_a_dependency_start(&mut machine, By::Debhelper);
    runs_only_while_it_is_active(&mut machine, [By::Debhelper; 2]);
    the_services_of_a_dependency_are_left_alone(&mut machine);
    a_failed_upgrade_goes_back_to_what_ran(&mut machine, By::Debhelper);
    a_purged_package_starts_only_what_its_next_installation_enables(&mut machine);
    assert_eq!(machine.container().failed_units(), [""; 0]);
    assert_eq!(machine.unfinished(), "");
}

#[test]
fn services_of_an_rpm_run_between_activate_and_deactivate_and_at_no_other_boot() {
    let mut machine = Machine::booted_with_dnf();
    machine.policy("allow-purge = [\"other\"]\n");
    let helper = update_helper().build(&machine.root().join("root"));
    let helper = helper.file_name().unwrap().to_string_lossy();
    machine.container().sh(&format!("rpm -U /root/{helper}"));
    let repository = RpmRepository::new(&machine.root());
    repository.offer(&broker().as_rpm());
    repository.fetch();
    the_services_of_a_dependency_start(&mut machine, By::Helper);
    runs_only_while_it_is_active(&mut machine, [By::Helper, By::Macros]);
    the_services_of_a_dependency_are_left_alone(&mut machine);
    a_failed_upgrade_goes_back_to_what_ran(&mut machine, By::Macros);
    assert_eq!(machine.container().failed_units(), [""; 0]);
    assert_eq!(machine.unfinished(), "");
}

#[test]
fn services_of_an_ipk_run_between_activate_and_deactivate_and_at_no_other_boot() {
    let Some(mut machine) = Machine::booted_with_opkg() else {
        return;
    };
    machine.policy("allow-purge = [\"other\"]\n");
    runs_only_while_it_is_active(&mut machine, [By::Hand; 2]);
    a_failed_upgrade_goes_back_to_what_ran(&mut machine, By::Hand);
    assert_eq!(machine.container().failed_units(), [""; 0]);
    assert_eq!(machine.unfinished(), "");
}

/// A package that starts its services itself.
fn broker() -> Deb {
    services("broker", "1", By::Hand)
}

/// A dependency is another package, of which wharfd holds nothing.
fn the_services_of_a_dependency_start(machine: &mut Machine, by: By) {
    let needy = services("needy", "1", by).depends("broker");
    let outcome = machine.install(&needy);
    succeeded(&outcome, false);
    let came = outcome.dependencies.first().expect("a dependency");
    assert_eq!(came.name.as_str(), "broker");
    let started = [".service", ".socket", ".timer"];
    assert_eq!(machine.running("broker"), started, "by its own scripts");
    assert_eq!(machine.running("needy"), [""; 0], "it is INACTIVE");
    let journal = "journalctl --sync; journalctl WHARF_PACKAGE=needy --output cat";
    let journal = machine.container().sh(journal);
    let told = format!("came from sources of the device: {came}");
    assert_eq!(journal.matches(&told).count(), 1, "{journal}");
}

/// The device has booted since then.
fn the_services_of_a_dependency_are_left_alone(machine: &mut Machine) {
    assert_eq!(machine.running("broker"), KINDS, "after a boot");
    assert_eq!(machine.running("needy"), [""; 0], "after a boot");
    succeeded(&machine.activate("needy"), true);
    succeeded(&machine.deactivate("needy"), false);
    assert_eq!(machine.running("broker"), KINDS, "needy is deactivated");
    let removed = machine.remove("needy");
    assert_eq!(
        (removed.failure, &removed.unused),
        (None, &vec![name("broker")])
    );
    assert_eq!(machine.running("broker"), KINDS, "needy is removed");
}

/// The story of two packages: one is enabled and started by usual scripts of its format, in its first version and in later
/// ones, the other by hand.
fn runs_only_while_it_is_active(machine: &mut Machine, usual: [By; 2]) {
    let packages = [("acme", usual), ("other", [By::Hand; 2])];
    for (package, [by, _]) in packages {
        succeeded(&machine.install(&services(package, "1", by)), false);
        assert_eq!(machine.running(package), [""; 0], "{package} is installed");
    }
    machine.reboot();
    for (package, _) in packages {
        assert_eq!(machine.running(package), [""; 0], "{package} after a boot");
        assert!(!machine.is_active(package));
        succeeded(&machine.activate(package), true);
        succeeded(&machine.activate(package), true);
        assert_eq!(machine.running(package), KINDS, "{package} activated");
    }
    machine.reboot();
    for (package, _) in packages {
        assert_eq!(machine.running(package), KINDS, "{package} after a boot");
        assert!(machine.is_active(package));
        succeeded(&machine.deactivate(package), false);
        succeeded(&machine.deactivate(package), false);
        assert_eq!(machine.running(package), [""; 0], "{package} deactivated");
    }
    a_power_cut_after_enable_leaves_it_down(machine, "third", usual[0]);
    a_power_cut_after_enable_leaves_it_down(machine, "fourth", By::Hand);
    for (package, [_, by]) in packages {
        assert_eq!(machine.running(package), [""; 0], "{package} after a boot");
        succeeded(&machine.activate(package), true);
        an_upgrade_that_fails_leaves_it_running(machine, package, by);
        succeeded(&machine.install(&services(package, "2", by)), false);
        assert_eq!(machine.running(package), [""; 0], "{package} upgraded");
        succeeded(&machine.activate(package), true);
        assert_eq!(machine.running(package), KINDS, "{package} upgraded");
        let removed = match package {
            "other" => machine.purge(package), // releases what a removal releases
            _ => machine.remove(package),
        };
        assert_eq!(removed.failure, None);
        assert_eq!(machine.running(package), [""; 0], "{package} removed");
        let left = format!("ls /etc/systemd/system | grep '^{package}.*\\.d$' || true");
        assert_eq!(machine.container().sh(&left), "");
        succeeded(&machine.install(&services(package, "3", by)), false);
        succeeded(&machine.activate(package), true);
        assert_eq!(machine.running(package), KINDS, "{package} came back");
    }
}

fn a_power_cut_after_enable_leaves_it_down(machine: &mut Machine, package: &str, by: By) {
    let then =
        format!("[ -e /root/{package} ] || {{ touch /root/{package}-waits; sleep infinity; }}");
    let deb = services(package, "1", by).then(Script::Postinst, &then);
    let (operation, _) = machine.accepted(&deb);
    let waits = machine.root().join(format!("root/{package}-waits"));
    wait_until("the postinst", || waits.exists().then_some(()));
    machine.container().cut_power();
    machine.container().boot();
    assert_eq!(machine.running(package), [""; 0], "after the power cut");
    fs::write(machine.root().join("root").join(package), "").unwrap();
    machine.start();
    let outcome = machine.outcome(operation);
    succeeded(&outcome, false);
    assert_eq!(outcome.attempts, 2);
    assert_eq!(machine.running(package), [""; 0], "once it is repaired");
    assert_eq!(machine.unfinished(), "");
    succeeded(&machine.activate(package), true);
    assert_eq!(machine.running(package), KINDS);
}

fn an_upgrade_that_fails_leaves_it_running(machine: &mut Machine, package: &str, by: By) {
    let refused = services(package, "2", by).script(Script::Preinst, "exit 1");
    let outcome = machine.install(&refused);
    let cause = outcome.failure.map(|failure| failure.cause);
    assert_eq!(cause, Some(Cause::Script));
    let device = outcome.device.expect("the old version");
    let version = device.version.as_str().trim_end_matches("-1");
    assert_eq!((version, device.active), ("1", true));
    assert_eq!(machine.running(package), KINDS, "{package} is old");
    assert!(machine.is_active(package));
}

/// The old version runs again, also if the new one is in place and its services fail.
fn a_failed_upgrade_goes_back_to_what_ran(machine: &mut Machine, by: By) {
    succeeded(&machine.install(&services("acme", "4", by)), false);
    succeeded(&machine.activate("acme"), true);
    let before = machine.state("acme");
    let failing = services("acme", "5", by).then(Script::Postinst, "echo no anchor; exit 3");
    let outcome = machine.install(&failing);
    let failure = outcome.failure.expect("its last script fails");
    assert_eq!(failure.cause, Cause::Script, "{failure}");
    assert_eq!(outcome.device, before);
    assert_eq!(machine.running("acme"), KINDS);

    let worse =
        "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n";
    let failing = services("acme", "6", by)
        .file(&format!("{UNITS}/acme-worse.service"), worse)
        .then(
            Script::Postinst,
            "systemctl enable --quiet acme-worse.service",
        );
    let (stage, package) = machine.sealed(&failing);
    let outcome = machine.run(&InstallerRequest::Perform {
        operation: machine.operation(),
        transaction: Transaction {
            steps: vec![Step::Install(stage), Step::Activate(package.name)],
        },
    });
    let failure = outcome.failure.expect("its service does not start");
    assert_eq!(failure.cause, Cause::Unit, "{failure}");
    assert_eq!(outcome.device, before);
    assert_eq!(machine.running("acme"), KINDS);
    let links = machine
        .container()
        .sh("find /etc/systemd/system -name acme-worse.service");
    assert_eq!(links, "", "nothing of the new version is enabled");
    machine.reboot();
    assert_eq!(machine.running("acme"), KINDS, "after a boot");
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

    // A repeated Activate, and a refused one, leave it running.
    let before = pid(&mut machine);
    succeeded(&machine.install(&service("acme", "1", FOREVER)), true);
    assert_eq!(pid(&mut machine), before);

    // A service that does not stay up is stopped, and the failure has the reason.
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

    what_scripts_print_is_found_by_the_operation(&mut machine);
    one_that_runs_once_is_waited_for(&mut machine);
    one_that_systemd_forgets_once_it_has_run_is_up(&mut machine);
    one_that_the_end_of_another_starts_is_stopped(&mut machine);
    an_instance_that_somebody_started_is_stopped(&mut machine);
    only_what_a_device_needs_is_not_held_back(&mut machine);
    what_is_no_unit_of_its_own_is_held_ended_or_said(&mut machine);

    // Software without any unit has the state that was set last.
    succeeded(&machine.install(&Deb::new("library", "1")), false);
    succeeded(&machine.activate("library"), true);
    succeeded(&machine.deactivate("library"), false);
}

/// The log of the package does not have it.
fn what_scripts_print_is_found_by_the_operation(machine: &mut Machine) {
    let said = |machine: &mut Machine, field: &str| {
        let journal = format!("journalctl --sync; journalctl {field} --output cat");
        machine.container().sh(&journal)
    };
    for (version, then) in [("1", "exit 3"), ("2", "exit 0")] {
        let script = format!("echo anchors: $(seq 20)\necho look at them >&2\n{then}");
        let deb = Deb::new("wordy", version).script(Script::Postinst, &script);
        let (operation, _) = machine.accepted(&deb);
        let failed = machine.outcome(operation).failure.is_some();
        assert_eq!(failed, then == "exit 3");
        let printed = said(machine, &format!("WHARF_OPERATION={operation}"));
        for line in [
            "apt: anchors: 1 2 3",
            "apt: look at them\n",
            "install wordy ",
        ] {
            assert_eq!(printed.matches(line).count(), 1, "{printed}");
        }
    }
    let story = said(machine, "WHARF_PACKAGE=wordy");
    assert!(!story.contains("apt: "), "{story}");
    let jobs = story
        .lines()
        .filter(|line| line.starts_with("install wordy "));
    assert_eq!(jobs.count(), 2, "{story}");
}

fn one_that_runs_once_is_waited_for(machine: &mut Machine) {
    let once = |version: &str, then: &str| {
        let exec = format!("Type=oneshot\nExecStart=/bin/sh -c 'sleep 2; {then}'");
        service("setup", version, &exec)
    };
    succeeded(&machine.install(&once("1", "exit 0")), false);
    succeeded(&machine.activate("setup"), true);
    succeeded(&machine.install(&once("2", "exit 3")), false);
    let failure = machine.activate("setup").failure.expect("it exits with 3");
    let words = "setup.service did not stay up: failed (failed, exit-code)";
    assert!(failure.detail.as_str().contains(words), "{failure}");
}

/// No loaded unit wants the service.
fn one_that_systemd_forgets_once_it_has_run_is_up(machine: &mut Machine) {
    let unit = "[Unit]\nRequires=far-need.service\nAfter=far-need.service\n\
                [Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo ran >>/opt/far-setup'\n\
                [Install]\nWantedBy=radio.target\n";
    let need = "[Service]\nType=oneshot\nExecStart=/bin/sh -c '[ ! -e /opt/no-need ]'\n";
    let deb = Deb::new("far-setup", "1")
        .file(&format!("{UNITS}/far-setup.service"), unit)
        .file(&format!("{UNITS}/far-need.service"), need)
        .script(
            Script::Postinst,
            "systemctl daemon-reload; systemctl enable --quiet far-setup",
        );
    let ran = |machine: &mut Machine| machine.container().sh("cat /opt/far-setup || true");
    succeeded(&machine.install(&deb), false);
    machine.container().sh("touch /opt/no-need");
    let failure = machine.activate("far-setup").failure.expect("its need");
    let words = "far-setup.service did not stay up: inactive";
    assert!(failure.detail.as_str().contains(words), "{failure}");
    assert_eq!(ran(machine), "");
    machine.container().sh("rm /opt/no-need");
    succeeded(&machine.activate("far-setup"), true);
    assert_eq!(ran(machine), "ran");
    assert!(machine.is_active("far-setup"));
    succeeded(&machine.activate("far-setup"), true);
    assert_eq!(ran(machine), "ran", "it is active");
    succeeded(&machine.deactivate("far-setup"), false);
    assert!(!machine.is_active("far-setup"));
}

/// Like watchdog and its keeper.
fn one_that_the_end_of_another_starts_is_stopped(machine: &mut Machine) {
    let unit = format!(
        "[Unit]\nOnFailure=pet-keeper.service\n[Service]\n{FOREVER}\nExecStopPost=/bin/false\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    let keeper = format!("[Unit]\nConflicts=pet.service\n[Service]\n{FOREVER}\n");
    let deb = service("pet", "1", FOREVER)
        .file(&format!("{UNITS}/pet.service"), unit)
        .file(&format!("{UNITS}/pet-keeper.service"), keeper);
    succeeded(&machine.install(&deb), false);
    succeeded(&machine.activate("pet"), true);
    assert_eq!(machine.running("pet"), [".service"]);
    succeeded(&machine.deactivate("pet"), false);
    assert_eq!(machine.running("pet"), [""; 0], "it was deactivated");
    machine.container().sh("systemctl reset-failed pet");
}

/// No file names the instance.
fn an_instance_that_somebody_started_is_stopped(machine: &mut Machine) {
    let template = format!("[Service]\n{FOREVER}\n");
    let deb = |version: &str| {
        service("port", version, FOREVER)
            .file(&format!("{UNITS}/port@.service"), template.as_str())
            .then(Script::Postinst, "systemctl start port@postinst")
    };
    let by_hand = |machine: &mut Machine| {
        machine.container().sh("systemctl start port@hand");
    };
    const INSTANCE: &str = "@hand.service";
    succeeded(&machine.install(&deb("1")), false);
    assert_eq!(machine.running("port"), [""; 0], "it is installed");
    by_hand(machine);
    assert!(!machine.is_active("port"), "its service is down");
    succeeded(&machine.activate("port"), true);
    assert_eq!(machine.running("port"), [".service", INSTANCE]);
    succeeded(&machine.deactivate("port"), false);
    assert_eq!(machine.running("port"), [""; 0], "it was deactivated");
    by_hand(machine);
    succeeded(&machine.install(&deb("2")), false);
    assert_eq!(machine.running("port"), [""; 0], "it was upgraded");
    by_hand(machine);
    assert_eq!(machine.remove("port").failure, None);
    assert_eq!(machine.running("port"), [""; 0], "it was removed");
}

fn only_what_a_device_needs_is_not_held_back(machine: &mut Machine) {
    for package in ["initech-agent", "sshguard"] {
        succeeded(&machine.install(&service(package, "1", FOREVER)), false);
        assert_eq!(machine.running(package), [""; 0], "{package} is installed");
    }
    let unit = "sshd.service";
    let deb = Deb::new("remote", "1")
        .file(
            &format!("{UNITS}/{unit}"),
            format!("[Service]\n{FOREVER}\n[Install]\nWantedBy=multi-user.target\n"),
        )
        .script(Script::Postinst, "systemctl daemon-reload");
    succeeded(&machine.install(&deb), false);
    let journal = machine
        .container()
        .sh("journalctl --sync; journalctl WHARF_PACKAGE=remote --output cat");
    let told =
        "remote: not held back while it is INACTIVE, since the device needs it: [\"sshd.service\"]";
    assert_eq!(journal.matches(told).count(), 1, "{journal}");

    // It runs only if an administrator starts it, and resource 12 says so.
    let refused = |outcome: Outcome, active: bool, words: &str| {
        let failure = outcome.failure.expect("it is not ours");
        assert_eq!(failure.cause, Cause::Unit);
        assert!(failure.detail.as_str().contains(words), "{failure}");
        assert_eq!(outcome.device.map(|device| device.active), Some(active));
    };
    let words =
        "[\"sshd.service\"] is never started by wharfd, since the device needs it, and none";
    refused(machine.activate("remote"), false, words);
    machine
        .container()
        .sh("systemctl enable --quiet --now sshd");
    succeeded(&machine.activate("remote"), true);
    let words = "[\"sshd.service\"] is never stopped by wharfd";
    refused(machine.deactivate("remote"), true, words);
    machine.container().wait_for_unit(unit, "active");
    machine
        .container()
        .sh("systemctl disable --quiet --now sshd");
    assert!(!machine.is_active("remote"));
    succeeded(&machine.deactivate("remote"), false);
}

fn what_is_no_unit_of_its_own_is_held_ended_or_said(machine: &mut Machine) {
    let daemon = "start-stop-daemon --start --background --exec /bin/sleep -- 4242";
    let deb = Deb::new("loose", "1")
        .script(Script::Postinst, daemon)
        .file("/usr/lib/systemd/user/loose.service", FOREVER)
        .file(
            &format!("{UNITS}/loose-asked.service"),
            format!("[Service]\n{FOREVER}\n"),
        )
        .file(
            "/usr/share/dbus-1/system.d/org.example.Loose.conf",
            "<busconfig><policy context=\"default\">\
             <allow send_destination_prefix=\"org.example.Loose\"/></policy></busconfig>\n",
        );
    // D-Bus asks for each name at most once in 30 seconds.
    let names = ["Held", "Active", "HeldAgain"].map(|name| format!("org.example.Loose.{name}"));
    let deb = names.iter().fold(deb, |deb, name| {
        deb.file(
            &format!("/usr/share/dbus-1/system-services/{name}.service"),
            format!(
                "[D-BUS Service]\nName={name}\nUser=root\nExec=/bin/false\nSystemdService=loose-asked.service\n"
            ),
        )
    });
    succeeded(&machine.install(&deb), false);
    let commands = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'";
    let commands = machine.container().sh(commands);
    assert!(!commands.lines().any(|word| word == "4242"), "{commands}");
    let journal = machine
        .container()
        .sh("journalctl --sync; journalctl --unit 'wharf-job@*' --output cat");
    for told in [
        "apt: Setting up loose (1) ...",
        "loose: ended processes that its maintainer scripts left, which Activate could not start again: sleep (",
        "loose: not held back while it is INACTIVE: {\"/usr/lib/systemd/user/loose.service\"}",
    ] {
        assert!(journal.contains(told), "{journal}");
    }

    let ask = |machine: &mut Machine, name: &String| {
        let call = format!("busctl --timeout=1 call {name} / org.example.Loose Do || true");
        machine.container().sh(&call)
    };
    let [held, active, held_again] = &names;
    ask(machine, held);
    assert_eq!(machine.running("loose"), [""; 0], "it was asked");
    succeeded(&machine.activate("loose"), true);
    ask(machine, active);
    machine
        .container()
        .wait_for_unit("loose-asked.service", "active");
    succeeded(&machine.deactivate("loose"), false);
    ask(machine, held_again);
    assert_eq!(machine.running("loose"), [""; 0], "it was deactivated");
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
    place_script(script, &folder.join("wharf-job"));
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
        discard_all(&machine);
        if [installed, activated, deactivated]
            .iter()
            .all(|outcome| outcome.attempts == 1)
        {
            break;
        }
    }
    assert!(step > 15, "only {step} steps were interrupted");
    for step in 1.. {
        let package = format!("was-there-{step}");
        machine.install_by_hand(&service(&package, "1", once));
        fs::write(&steps, step.to_string()).unwrap();
        let adopted = machine.install(&service(&package, "2", once));
        succeeded(&adopted, true);
        assert_eq!(machine.running(&package), [".service"], "after step {step}");
        discard_all(&machine);
        if adopted.attempts == 1 {
            assert!(step > 10, "only {step} steps were interrupted");
            break;
        }
    }
}

fn discard_all(machine: &Machine) {
    let InstallerReply::List { stages, .. } = machine.ask(&InstallerRequest::List) else {
        panic!("no list");
    };
    for StageEntry { stage, .. } in stages {
        assert_eq!(
            machine.ask(&InstallerRequest::Discard { stage }),
            InstallerReply::Done
        );
    }
}
