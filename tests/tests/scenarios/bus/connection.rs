//! The bus or wharfd is away.

use wharf_tests::{package::Package, waiting::wait_until};

use super::{OnBus, run};
use crate::stage_set::StageSet;

#[test]
fn without_a_bus_wharfd_runs_on_and_says_so_once() {
    let mut set = StageSet::simulated();
    set.install(&Package::new("hello", "1.0.1"));
    set.gateway
        .daemon()
        .errors()
        .wait_for("wharfctl does not work; everything else does");
    let said = run(set.gateway.command("wharfctl", &[]).arg("status"));
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(
        said.errors.contains("cannot reach D-Bus at unix:path="),
        "{said:?}"
    );
    let lines = set.gateway.daemon().errors().all();
    let told = lines
        .iter()
        .filter(|line| line.contains("cannot connect to D-Bus"));
    assert_eq!(told.count(), 1, "{lines:?}");
}

#[test]
fn a_bus_that_comes_back_is_used_again() {
    let mut on_bus = OnBus::simulated();
    on_bus.bus.stop();
    let lines = on_bus.set.gateway.daemon().errors();
    lines.wait_for("the bus closed the connection");
    lines.wait_for("wharfctl does not work; everything else does");
    on_bus.bus.start_again();
    wait_until("wharfd on the new bus", || {
        (on_bus.wharfctl(&["status"]).code == Some(0)).then_some(())
    });
}

#[test]
fn wharfctl_says_that_wharfd_does_not_run_and_what_to_do() {
    let mut on_bus = OnBus::simulated();
    on_bus.set.gateway.daemon().kill();
    wait_until("69", || {
        let said = on_bus.wharfctl(&["list"]);
        (said.code == Some(69) && said.errors.contains("`systemctl status wharfd` says why"))
            .then_some(())
    });
}
