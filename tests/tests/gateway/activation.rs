//! Services of packages, as their server sees them: the state after an upgrade, and changes by an administrator.

use std::fs;

use wharf_tests::{
    booted::Booted,
    package::{Package, Script},
    services::{By, KINDS, running, services},
};

use crate::steady::{an_upgrade_that_does_not_stay_up_is_sent_back, watch_for};

/// The software of an instance.
struct Software {
    instance: &'static str,
    name: &'static str,
    by: By,
}

const ALL: [Software; 2] = [
    Software {
        instance: "/9/0",
        name: "acme",
        by: By::Debhelper,
    },
    Software {
        instance: "/9/1",
        name: "other",
        by: By::Hand,
    },
];

impl Software {
    fn package(&self, version: &str) -> Package {
        services(self.name, version, self.by)
    }

    fn activation_state(&self) -> String {
        format!("{}/12", self.instance)
    }
}

/// Brings a package to DELIVERED, executes Install and waits for its end.
#[track_caller]
fn install(gateway: &Booted, software: &Software, package: &Package, end: &str) {
    let instance = software.instance;
    let uri = gateway.publish(package);
    let client = gateway.client();
    client
        .write_text(&format!("{instance}/3"), &uri)
        .expect("2.04");
    gateway.wait_for(instance, "3/0");
    client.execute(&format!("{instance}/4"), "").expect("2.04");
    gateway.wait_for(instance, end);
}

/// Uninstall ForUpdate, and Install of another version.
#[track_caller]
fn upgrade(gateway: &Booted, software: &Software, package: &Package, end: &str) {
    let uninstall = format!("{}/6", software.instance);
    gateway.client().execute(&uninstall, "1").expect("2.04");
    gateway.wait_for(software.instance, "0/0");
    install(gateway, software, package, end);
}

/// Executes Activate, unless it is ACTIVE, and waits for the notification.
#[track_caller]
fn activate(gateway: &Booted, software: &Software) {
    let state = software.activation_state();
    if gateway.client().read_text(&state) == "1" {
        return;
    }
    let told = gateway.server.notifications().len();
    let activate = format!("{}/10", software.instance);
    gateway.client().execute(&activate, "").expect("2.04");
    gateway.server.wait_for_notification(&state, "1", told);
}

/// Makes wharfd read a configuration with this at its end.
fn reconfigure(gateway: &Booted, text: &str) {
    let file = gateway.container.path().join("etc/wharfd/wharfd.toml");
    gateway.configure();
    let before = fs::read_to_string(&file).expect("wharfd.toml");
    fs::write(&file, before + text).expect("wharfd.toml");
    gateway.container.sh("systemctl reload wharfd");
    gateway.wait_for_status("registered with coap://");
}

/// Checks that all of the software runs in this version.
#[track_caller]
fn runs(gateway: &Booted, software: &Software, version: &str) {
    let name = software.name;
    assert_eq!(running(&gateway.container, name), KINDS, "{name} {version}");
    let pid: u32 = gateway
        .container
        .unit(&format!("{name}.service"), "MainPID");
    let command = format!("tr '\\0' ' ' </proc/{pid}/cmdline");
    let command = gateway.container.sh(&command);
    assert!(command.contains(&format!("{name}-{version}")), "{command}");
}

#[test]
fn a_server_knows_what_runs_after_each_upgrade_and_whatever_is_done_by_hand() {
    let gateway = Booted::registered();
    watch_for(&gateway, 2);
    gateway.client().create("/9", Some(1), &[]).expect("2.01");
    for software in &ALL {
        let state = software.activation_state();
        gateway.client().observe(&state).expect("2.05");
        install(&gateway, software, &software.package("1"), "4/2");
        assert_eq!(gateway.client().read_text(&state), "0");
        assert_eq!(running(&gateway.container, software.name), [""; 0]);
        units_are(
            &gateway,
            software,
            "disabled",
            "held back until Activate; another unit starts it",
        );
        activate(&gateway, software);
        runs(&gateway, software, "1");
        units_are(
            &gateway,
            software,
            "enabled",
            "Activate starts it; another unit starts it",
        );
    }
    units_that_the_device_needs_are_told(&gateway);
    what_is_done_by_hand_is_told(&gateway);
    what_an_upgrade_leaves_is_by_activation(&gateway);
    an_upgrade_that_fails_leaves_the_old_version_running(&gateway);
    a_package_without_units_is_told_as_such(&gateway);
    reconfigure(&gateway, "activation = \"keep\"\n");
    an_upgrade_that_does_not_stay_up_is_sent_back(&gateway);
}

/// `wharfctl units` shows whether a unit is enabled, and the treatment of the unit that a link starts.
#[track_caller]
fn units_are(gateway: &Booted, software: &Software, at_boot: &str, linked: &str) {
    let name = software.name;
    let units = gateway.container.sh(&format!("wharfctl units {name}"));
    let of = |end: &str| {
        let unit = format!("{name}{end} ");
        let mut lines = units.lines();
        let line = lines.find(|line| line.starts_with(&unit));
        line.unwrap_or_else(|| panic!("no {unit}in {units}"))
    };
    assert!(of(".timer").contains(at_boot), "{units}");
    assert!(
        of("-linked.service").ends_with(&format!("  {linked}")),
        "{units}"
    );
    assert!(of("-timed.service").contains("  static  "), "{units}");
}

fn units_that_the_device_needs_are_told(gateway: &Booted) {
    let units = gateway.container.sh("wharfctl --json units systemd");
    let units: Vec<serde_json::Value> = serde_json::from_str(&units).expect("JSON");
    let journald = |unit: &&serde_json::Value| unit["unit"] == "systemd-journald.service";
    let journald = units.iter().find(journald).expect("journald");
    assert_eq!(journald["sub"], "running");
    let why = "never touched, since the device needs it";
    assert_eq!(journald["wharfd"], serde_json::json!([why]));
    let none = gateway.container.try_sh("wharfctl units nobody");
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(said.contains("this device has no package nobody"), "{said}");
}

/// Forged signals of systemd by a user, even with a time far ahead, do not suppress the real ones.
fn what_is_done_by_hand_is_told(gateway: &Booted) {
    gateway.container.sh(
        "setpriv --reuid=nobody --regid=nogroup --clear-groups \
         busctl emit --destination=org.wharfd.Agent1 /org/freedesktop/systemd1/unit/acme_2etimer \
         org.freedesktop.DBus.Properties PropertiesChanged 'sa{sv}as' org.freedesktop.systemd1.Unit \
         1 StateChangeTimestampMonotonic t 18446744073709551615 0",
    );
    for (command, state) in [
        ("stop acme.timer", "0"),
        ("start acme.timer", "1"),
        ("disable --quiet acme.service", "0"),
        ("enable --quiet acme.service", "1"),
    ] {
        eprintln!("systemctl {command}");
        let told = gateway.server.notifications().len();
        gateway.container.sh(&format!("systemctl {command}"));
        gateway.server.wait_for_notification("/9/0/12", state, told);
    }
}

/// The setting of a package has priority over that of the server.
fn what_an_upgrade_leaves_is_by_activation(gateway: &Booted) {
    for (version, configured, left) in [
        ("2", "activation = \"server\"\n", ["0", "0"]),
        ("3", "activation = \"keep\"\n", ["1", "1"]),
        (
            "4",
            "activation = \"always\"\n[package.acme]\nactivation = \"server\"\n",
            ["0", "1"],
        ),
    ] {
        eprintln!("{configured}");
        for software in &ALL {
            activate(gateway, software);
        }
        reconfigure(gateway, configured);
        for (software, left) in ALL.iter().zip(left) {
            let told = gateway.server.notifications().len();
            upgrade(gateway, software, &software.package(version), "4/2");
            let state = software.activation_state();
            gateway.server.wait_for_notification(&state, left, told);
            match left {
                "1" => runs(gateway, software, version),
                _ => assert_eq!(running(&gateway.container, software.name), [""; 0]),
            }
        }
    }
}

fn an_upgrade_that_fails_leaves_the_old_version_running(gateway: &Booted) {
    for software in &ALL {
        activate(gateway, software);
        let failing = software.package("5").script(Script::Preinst, "exit 1");
        upgrade(gateway, software, &failing, "3/58");
        runs(gateway, software, "4");
        let version = gateway.version(software.name);
        assert_eq!(version.as_deref(), Some("4"));
        // The activation machine runs only in INSTALLED (TS 5.2).
        let state = gateway.client().read_text(&software.activation_state());
        assert_eq!(state, "0");
        what_stays_in_place_is_switched_on_the_device_itself(gateway, software);
    }
    assert_eq!(gateway.container.sh("dpkg --audit"), "");
}

/// Starts and stops the software in place after a failed upgrade, in any state. A server reads the result in 16.
fn what_stays_in_place_is_switched_on_the_device_itself(gateway: &Booted, software: &Software) {
    let (name, instance) = (software.name, software.instance);
    let reason = || gateway.client().read_text(&format!("{instance}/16"));
    let is_said = |end: &str| {
        let said = reason();
        let begin = format!("60: {name} 5 is not installed: ");
        assert!(said.starts_with(&begin), "{said}");
        let end = format!("; {name} 4 is in place and {end}");
        assert!(said.ends_with(&end), "{said}");
    };
    is_said("runs");
    let deactivate = format!("{instance}/11");
    gateway.client().execute(&deactivate, "").expect("4.05");
    let said = gateway.container.sh(&format!("wharfctl deactivate {name}"));
    assert!(said.ends_with(&format!("{name} 4 is inactive")), "{said}");
    assert_eq!(running(&gateway.container, name), [""; 0]);
    is_said("does not run");
    let said = gateway.container.sh(&format!("wharfctl activate {name}"));
    assert!(said.ends_with(&format!("{name} 4 is active")), "{said}");
    runs(gateway, software, "4");
    is_said("runs");
    gateway.wait_for(instance, "3/58");
}

/// nginx is such a package: its unit is in nginx-common.
fn a_package_without_units_is_told_as_such(gateway: &Booted) {
    gateway.client().create("/9", Some(2), &[]).expect("2.01");
    let plain = Software {
        instance: "/9/2",
        name: "plain",
        by: By::Hand,
    };
    install(gateway, &plain, &Package::new("plain", "1"), "4/2");
    for (verb, said) in [
        ("show plain", "  in place       plain 1, no services\n"),
        ("activate plain", "plain 1 has no services"),
        ("list", "no services  40: plain 1 "),
    ] {
        let output = gateway.container.sh(&format!("wharfctl {verb}"));
        assert!(output.contains(said), "{verb}: {output}");
    }
    gateway.container.sh(
        "journalctl -u wharfd -o cat | grep 'instance 2: INSTALLED/2, no services, 40: plain 1 is installed'",
    );
    let acme = gateway.container.sh("wharfctl show 0");
    assert!(acme.contains("  in place       acme 4, runs\n"), "{acme}");
}
