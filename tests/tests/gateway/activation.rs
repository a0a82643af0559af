//! Services of packages, as their server sees them: what an upgrade leaves running, and what somebody does by hand.

use std::fs;

use wharf_tests::package::{Package, Script};

use crate::booted::Booted;

/// A service and a timer, both enabled and started by their installation.
fn acme(version: &str) -> Package {
    let units = "/usr/lib/systemd/system";
    let service = format!(
        "[Service]\nExecStart=/bin/sh -c 'sleep infinity & wait' acme-{version}\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    let timer = "[Timer]\nOnBootSec=1d\n[Install]\nWantedBy=timers.target\n";
    Package::new("acme", version)
        .file(&format!("{units}/acme.service"), service)
        .file(&format!("{units}/acme.timer"), timer)
        .script(
            Script::Postinst,
            "systemctl daemon-reload\nsystemctl enable --quiet --now acme.service acme.timer",
        )
}

impl Booted {
    /// Executes it, and waits for the notification of Activation State.
    #[track_caller]
    fn execute(&self, resource: &str, active: bool) {
        let told = self.server.notifications().len();
        self.client().execute(resource, "").expect("2.04");
        self.wait_until_told(active, told);
    }

    #[track_caller]
    fn wait_until_told(&self, active: bool, since: usize) {
        let value = if active { "1" } else { "0" };
        self.server.wait_for_notification("/9/0/12", value, since);
    }

    /// Has wharfd read a configuration with this at its end.
    fn reconfigure(&self, text: &str) {
        let file = self.container.path().join("etc/wharfd/wharfd.toml");
        self.configure();
        let before = fs::read_to_string(&file).expect("wharfd.toml");
        fs::write(&file, before + text).expect("wharfd.toml");
        self.container.sh("systemctl reload wharfd");
        self.wait_for_status("registered with coap://");
    }

    /// Uninstall ForUpdate, and Install of the next version.
    #[track_caller]
    fn upgrade(&self, package: &Package, end: &str) {
        self.client().execute("/9/0/6", "1").expect("2.04");
        self.wait_for("/9/0", "0/0");
        self.begin_install(package);
        self.wait_for("/9/0", end);
    }

    /// The version that acme.service runs, if it runs.
    fn running(&self) -> Option<String> {
        let list = "systemctl show --value --property MainPID acme.service";
        let pid = self.container.sh(list);
        let cmdline = format!("tr '\\0' ' ' </proc/{}/cmdline", pid.trim());
        let state: String = self.container.unit("acme.service", "ActiveState");
        (state == "active").then(|| self.container.sh(&cmdline))
    }
}

#[test]
fn a_server_knows_what_runs_after_each_upgrade_and_whatever_is_done_by_hand() {
    let gateway = Booted::registered();
    gateway.begin_install(&acme("1"));
    gateway.wait_for("/9/0", "4/2");
    gateway.client().observe("/9/0/12").expect("2.05");
    assert_eq!(gateway.client().read_text("/9/0/12"), "0");
    gateway.execute("/9/0/10", true);

    what_is_done_by_hand_is_told(&gateway);
    what_an_upgrade_leaves_is_by_activation(&gateway);
    an_upgrade_that_fails_leaves_the_old_version_running(&gateway);
}

fn what_is_done_by_hand_is_told(gateway: &Booted) {
    for (command, active) in [
        ("stop acme.timer", false),
        ("start acme.timer", true),
        ("disable --quiet acme.service", false),
        ("enable --quiet acme.service", true),
    ] {
        eprintln!("systemctl {command}");
        let told = gateway.server.notifications().len();
        gateway.container.sh(&format!("systemctl {command}"));
        gateway.wait_until_told(active, told);
    }
}

/// Of a server, and of a package, which outweighs it.
fn what_an_upgrade_leaves_is_by_activation(gateway: &Booted) {
    for (version, configured, active) in [
        ("2", "activation = \"server\"\n", false),
        ("3", "activation = \"keep\"\n", true),
        ("4", "[package.acme]\nactivation = \"always\"\n", true),
        (
            "5",
            "activation = \"always\"\n[package.acme]\nactivation = \"server\"\n",
            false,
        ),
    ] {
        eprintln!("{configured}");
        if gateway.client().read_text("/9/0/12") == "0" {
            gateway.execute("/9/0/10", true);
        }
        gateway.reconfigure(configured);
        let told = gateway.server.notifications().len();
        gateway.upgrade(&acme(version), "4/2");
        if active {
            gateway.wait_until_told(true, told);
        }
        let runs = gateway.running();
        assert_eq!(runs.is_some(), active, "{configured}: {runs:?}");
        assert!(runs.is_none_or(|runs| runs.contains(&format!("acme-{version}"))));
    }
}

fn an_upgrade_that_fails_leaves_the_old_version_running(gateway: &Booted) {
    gateway.execute("/9/0/10", true);
    gateway.upgrade(&acme("6").script(Script::Preinst, "exit 1"), "3/58");
    let runs = gateway.running().expect("the old version runs");
    assert!(runs.contains("acme-5"), "{runs}");
    assert_eq!(gateway.version("acme").as_deref(), Some("5"));
    // The activation machine is alive in INSTALLED alone (TS 5.2).
    assert_eq!(gateway.client().read_text("/9/0/12"), "0");
    assert_eq!(gateway.container.sh("dpkg --audit"), "");
}
