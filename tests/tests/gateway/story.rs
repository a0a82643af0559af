//! A server manages a gateway that was installed from the package alone.

use std::fs;

use wharf_tests::package::Package;

use crate::booted::Booted;

#[test]
fn a_gateway_installed_from_its_package_does_what_its_server_orders_across_boots() {
    let mut gateway = Booted::installed();
    assert_eq!(gateway.container.failed_units(), [""; 0]);
    gateway.wait_for_status("not configured: write a [[server]] into /etc/wharfd/wharfd.toml");

    gateway.configure();
    gateway.container.sh("systemctl reload wharfd");
    gateway.wait_for_status("registered with coap://");
    delivers_and_installs(&gateway);
    gateway.wait_for_status("registered with coap://");

    gateway.container.reboot();
    assert_eq!(gateway.container.failed_units(), [""; 0]);
    gateway.wait_for("/9/1", "4/2");
    assert_eq!(gateway.version("hello").as_deref(), Some("1.0-1"));

    gateway.container.cut_power();
    gateway.container.boot();
    gateway.wait_for("/9/1", "4/2");
    gateway.client().execute("/9/1/6", "").expect("2.04");
    gateway.wait_for("/9/1", "0/0");
    assert_eq!(gateway.version("hello"), None);
}

/// Create, User Name and Password, Package URI, Observe, Install.
fn delivers_and_installs(gateway: &Booted) {
    gateway.origin.require("fleet", "correct horse");
    let uri = gateway.publish(&Package::new("hello", "1.0-1"));
    let client = gateway.client();
    client.create("/9", Some(1), &[]).expect("2.01");
    client.write_text("/9/1/14", "fleet").expect("2.04");
    client.write_text("/9/1/15", "correct horse").expect("2.04");
    client.observe("/9/1/7").expect("2.05");
    client.write_text("/9/1/3", &uri).expect("2.04");
    gateway.wait_for("/9/1", "3/0");
    client.execute("/9/1/4", "").expect("2.04");
    gateway.wait_for("/9/1", "4/2");
    let told: Vec<_> = gateway
        .server
        .story()
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(told, ["1", "2", "3", "4"]);
    assert_eq!(gateway.version("hello").as_deref(), Some("1.0-1"));
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_and_what_runs_goes_on() {
    let gateway = Booted::registered();
    let file = gateway.container.path().join("etc/wharfd/wharfd.toml");
    let sound = fs::read_to_string(&file).unwrap();
    fs::write(&file, "[[server]]\nurl = \"coap://127.0.0.1\"\n").unwrap();

    assert!(
        !gateway
            .container
            .try_sh("systemctl reload wharfd")
            .status
            .success()
    );
    let journal = gateway
        .container
        .sh("journalctl --unit wharfd --output cat");
    assert!(
        journal.contains("wharfd.toml, line 2: unknown field `url`"),
        "{journal}"
    );
    gateway.client().read("/9/0/7").expect("2.05");

    assert!(
        !gateway
            .container
            .try_sh("systemctl restart wharfd")
            .status
            .success()
    );
    gateway.container.wait_for_unit("wharfd", "failed");
    assert_eq!(
        gateway.container.unit::<i32>("wharfd", "ExecMainStatus"),
        78
    );

    fs::write(&file, sound).unwrap();
    gateway.container.sh("systemctl restart wharfd");
    gateway.wait_for_status("registered with coap://");
}
