//! Whatever is killed while a package is being installed: the server ends up knowing the truth.

use wharf_tests::{
    package::{Package, Script},
    waiting::wait_until,
};

use crate::booted::Booted;

/// Its postinst waits for as long as the test wants.
fn slow() -> Package {
    Package::new("slow", "1.0-1").script(
        Script::Postinst,
        "touch /run/slow.waits; while test -e /run/slow.waits && ! test -e /run/slow.go; do sleep 0.05; done",
    )
}

fn wait_for_postinst(gateway: &Booted) {
    wait_until("slow's postinst", || {
        let waits = gateway.container.try_sh("test -e /run/slow.waits");
        waits.status.success().then_some(())
    });
}

fn job_unit(gateway: &Booted) -> String {
    let units = gateway
        .container
        .sh("systemctl list-units --plain --no-legend 'wharf-job@*'");
    let unit = units.split(' ').next().expect("a job's unit");
    assert!(unit.starts_with("wharf-job@"), "{units:?}");
    unit.to_owned()
}

#[test]
fn a_job_goes_on_without_wharf_installer_and_wharfd() {
    let gateway = Booted::registered();
    gateway.begin_install(&slow());
    wait_for_postinst(&gateway);
    let unit = job_unit(&gateway);
    gateway
        .container
        .sh("systemctl kill --signal=KILL wharf-installer wharfd");
    gateway.container.sh(&format!("systemctl is-active {unit}"));
    gateway.container.sh("touch /run/slow.go");
    gateway.wait_for("/9/0", "4/2");
    assert_eq!(gateway.version("slow").as_deref(), Some("1.0-1"));
}

#[test]
fn a_job_whose_process_was_killed_is_taken_up_again() {
    let gateway = Booted::registered();
    gateway.begin_install(&slow());
    wait_for_postinst(&gateway);
    let unit = job_unit(&gateway);
    let job: i32 = gateway.container.unit(&unit, "MainPID");
    gateway.container.sh(&format!("kill -KILL {job}"));
    gateway.container.sh("touch /run/slow.go");
    gateway.wait_for("/9/0", "4/2");
    assert_eq!(gateway.version("slow").as_deref(), Some("1.0-1"));
    assert_eq!(gateway.container.sh("dpkg --audit"), "");
}

#[test]
fn a_power_cut_in_a_maintainer_script_is_repaired_after_the_boot() {
    let mut gateway = Booted::registered();
    gateway.begin_install(&slow());
    wait_for_postinst(&gateway);
    gateway.container.cut_power();
    gateway.container.boot();
    wait_for_postinst(&gateway);
    gateway.container.sh("touch /run/slow.go");
    gateway.wait_for("/9/0", "4/2");
    assert_eq!(gateway.version("slow").as_deref(), Some("1.0-1"));
    assert_eq!(gateway.container.sh("dpkg --audit"), "");
}

#[test]
fn a_reboot_that_a_maintainer_script_asks_for_waits_for_the_job() {
    let mut gateway = Booted::registered();
    let package = Package::new("rebooting", "1.0-1").script(
        Script::Postinst,
        "systemctl --no-block reboot; sleep 1; touch /var/lib/rebooting.done",
    );
    gateway.begin_install(&package);
    gateway.container.wait_for_reboot();
    gateway.wait_for("/9/0", "4/2");
    gateway.container.sh("test -e /var/lib/rebooting.done");
    assert_eq!(gateway.container.sh("dpkg --audit"), "");
}
